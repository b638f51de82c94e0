//! A context, `user:role:type:level`; the level holds colons itself.

use super::level::Range;

/// The parts of a context, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context<'a> {
    /// The SELinux user.
    pub user: &'a str,
    /// The role.
    pub role: &'a str,
    /// The type.
    pub kind: &'a str,
    /// The level or range; empty where the context has none.
    pub level: &'a str,
}

impl<'a> Context<'a> {
    /// Splits a context; `None` for what has fewer than three parts.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(4, ':');
        let (user, role, kind) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Context { user, role, kind, level: parts.next().unwrap_or_default() })
    }

    /// A context as the kernel shows it in `/proc/<pid>/attr`, which may end in a newline or a NUL.
    pub fn of_attribute(text: &'a str) -> Option<Self> {
        Context::parse(text.trim_end_matches(['\n', '\0']))
    }

    /// What the level means; `None` for one that is none.
    pub fn range(&self) -> Option<Range> {
        self.level.parse().ok()
    }
}
