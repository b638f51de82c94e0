//! What can be told of a profile from its text alone.

use std::collections::BTreeSet;

use super::words::{statements, tokens};

/// What a profile's own rules say, its includes apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Says {
    /// Whether it includes others, which may say more.
    pub includes: bool,
    /// Whether it lets any file be executed.
    pub executes: bool,
    /// Whether it lets the launcher read its plan, at `/dev/.coaming`.
    pub launches: bool,
    /// The capabilities that it gives; none: all.
    pub capabilities: Option<BTreeSet<String>>,
    /// Those that it takes away.
    pub without: BTreeSet<String>,
    /// The kinds of rules that give something: `mount`, `ptrace`, `network`. What has none is denied.
    pub kinds: BTreeSet<String>,
}

impl Says {
    /// Reads a text that [`super::check`] has taken.
    pub fn of(text: &str) -> Says {
        let mut says = Says { capabilities: Some(BTreeSet::new()), ..Says::default() };
        let tokens = tokens(text).unwrap_or_default();
        let block = tokens.into_iter().skip_while(|token| token.text != "{").skip(1);
        let body: Vec<_> = block.take_while(|token| token.text != "}").collect();
        for statement in statements(&body) {
            let Some(first) = statement.rule() else { continue };
            let rest = statement
                .words
                .iter()
                .map(|token| token.text)
                .skip_while(|word| *word != first.text);
            let rest: Vec<&str> = rest.skip(1).collect();
            if !statement.denies() {
                says.kinds.insert(first.text.to_owned());
            }
            match (first.text, statement.denies()) {
                (word, _) if word.trim_start_matches('#') == "include" => says.includes = true,
                ("capability", true) => {
                    says.without.extend(rest.iter().map(|name| (*name).to_owned()))
                }
                ("capability", false) if rest.is_empty() => says.capabilities = None,
                ("capability", false) => {
                    let named = rest.iter().map(|name| (*name).to_owned());
                    says.capabilities =
                        says.capabilities.map(|given| given.into_iter().chain(named).collect());
                }
                ("file", false) if rest.is_empty() => (says.executes, says.launches) = (true, true),
                (_, false) => {
                    says.executes |= statement.execute().is_some();
                    let reaches = |word: &str| {
                        let word = word.trim_matches('"');
                        word.starts_with("/dev/.coaming")
                            || ["/**", "/{,**}", "/dev/**"].contains(&word)
                    };
                    says.launches |= statement.words.iter().any(|token| reaches(token.text));
                }
                (_, true) => {}
            }
        }
        says
    }

    /// Whether a process may have a capability, by the kernel's name without `CAP_`, as far as the text says.
    pub fn gives(&self, capability: &str) -> bool {
        let name = capability.to_ascii_lowercase();
        let given = self.capabilities.as_ref().is_none_or(|given| given.contains(&name));
        !self.without.contains(&name) && (given || self.includes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_says() {
        let all = Says::of("profile x { file, capability, deny capability mknod sys_admin, }");
        assert!(all.executes && all.launches && all.gives("KILL") && !all.gives("MKNOD"));
        let few = Says::of("profile x {\n  capability kill,\n  /etc/** r,\n  deny /bin/** x,\n}");
        assert!(!few.executes && !few.launches && few.gives("KILL") && !few.gives("CHOWN"));
        let kinds = Says::of("profile x { network inet, deny mount, audit ptrace read, }").kinds;
        assert_eq!(kinds, ["network", "ptrace"].map(str::to_owned).into());
        let more = Says::of(
            "profile x {\n  #include <abstractions/base>\n  /bin/** rix,\n  /dev/.coaming/* r,\n}",
        );
        assert!(more.includes && more.executes && more.launches && more.gives("CHOWN"));
    }
}
