//! What a policy's words stand for: paths, and the kernel's rights and scopes by name.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use coaming_config::suggest;

/// File rights by name, with the ABI that brought them (landlock(7), "VERSIONS").
pub(crate) const FS_RIGHTS: [(&str, u32); 16] = [
    ("EXECUTE", 1),
    ("WRITE_FILE", 1),
    ("READ_FILE", 1),
    ("READ_DIR", 1),
    ("REMOVE_DIR", 1),
    ("REMOVE_FILE", 1),
    ("MAKE_CHAR", 1),
    ("MAKE_DIR", 1),
    ("MAKE_REG", 1),
    ("MAKE_SOCK", 1),
    ("MAKE_FIFO", 1),
    ("MAKE_BLOCK", 1),
    ("MAKE_SYM", 1),
    ("REFER", 2),
    ("TRUNCATE", 3),
    ("IOCTL_DEV", 5),
];

pub(crate) const EXECUTE: u64 = 1;
pub(crate) const READ: u64 = 1 << 2 | 1 << 3;
/// Everything but EXECUTE and READ.
pub(crate) const WRITE: u64 = ((1 << FS_RIGHTS.len()) - 1) & !(EXECUTE | READ);
/// Moving and linking between directories.
pub(super) const REFER: u64 = 1 << 13;

/// An absolute path without `.`, `..` or empty parts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct AbsolutePath(pub String);

impl<'de> Deserialize<'de> for AbsolutePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = String::deserialize(deserializer)?;
        let clean = path == "/"
            || path
                .strip_prefix('/')
                .is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")));
        if !clean || path.contains('\0') || path.len() > 4095 {
            return Err(de::Error::custom(format!(
                "{path:?} is not an absolute path in its shortest form, such as /var/lib/app"
            )));
        }
        Ok(AbsolutePath(path))
    }
}

/// A file right of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FsRight(usize);

impl FsRight {
    pub(super) fn bit(self) -> u64 {
        1 << self.0
    }
}

impl Serialize for FsRight {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(FS_RIGHTS.get(self.0).map_or("?", |(name, _)| name))
    }
}

impl<'de> Deserialize<'de> for FsRight {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        FS_RIGHTS.iter().position(|(known, _)| *known == name).map(FsRight).ok_or_else(|| {
            let known = FS_RIGHTS.iter().map(|(known, _)| *known);
            de::Error::custom(suggest::unknown("Landlock right", &name, known))
        })
    }
}

/// What a domain may be cut off from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum ScopeName {
    /// Abstract Unix sockets that were created outside the domain.
    AbstractUnixSocket,
    /// Processes outside the domain, as the target of signals.
    Signal,
}

impl ScopeName {
    pub(crate) fn bit(self) -> u64 {
        match self {
            ScopeName::AbstractUnixSocket => 1,
            ScopeName::Signal => 1 << 1,
        }
    }
}
