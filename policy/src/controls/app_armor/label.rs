//! Labels: the names of one profile or of several stacked ones, as they are asked for and as the kernel
//! shows them.

use std::collections::BTreeSet;

/// What the kernel calls a process that no profile confines.
pub(super) const UNCONFINED: &str = "unconfined";
/// Between the profiles of a stack (apparmor(7); security/apparmor/label.c, `aa_label_snxprint`).
pub(super) const STACKED: &str = "//&";

/// The profiles that a label names, all of which confine; none where it confines nothing or not surely.
///
/// A stack with `unconfined` in it is shown with mode `mixed`; a name that begins with a colon is another
/// policy namespace's, which may hold anything; `//null-` is how the kernel names what a profile in complain
/// mode has learned, which denies nothing.
pub(super) fn profiles(label: &str) -> BTreeSet<&str> {
    let names: BTreeSet<&str> = label.split(STACKED).collect();
    let confines = |name: &&str| {
        !name.is_empty()
            && **name != *UNCONFINED
            && !name.starts_with([':', '^'])
            && !name.contains("//null-")
            && !name.contains("//&")
            && !name.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    if names.iter().all(confines) { names } else { BTreeSet::new() }
}

/// The label of these profiles together.
pub(super) fn stack<'a>(profiles: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = profiles.into_iter().collect();
    names.join(STACKED)
}

/// The label in the text of `attr/current`, which reads `name (mode)`, or `unconfined` alone. Only in mode
/// `enforce` does each of its profiles confine.
pub(super) fn enforced(current: &str) -> &str {
    current.strip_suffix(" (enforce)").unwrap_or(UNCONFINED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_surely_confine_names_nothing() {
        for label in [
            "",
            "unconfined",
            "a//&unconfined",
            ":ns:a",
            ":ns://a",
            "a//null-/bin/sh",
            "a b",
            "a\nb",
            "a//&",
            "//&a",
            "a//&//&b",
            "^hat",
        ] {
            assert!(profiles(label).is_empty(), "{label}");
        }
        assert_eq!(profiles("b//&a"), BTreeSet::from(["a", "b"]));
        assert_eq!(enforced("a//&b (enforce)"), "a//&b");
        for current in ["a (complain)", "a//&b (mixed)", "unconfined", "a (kill)"] {
            assert_eq!(enforced(current), UNCONFINED);
        }
    }

    proptest! {
        #[test]
        fn a_stack_is_what_it_was_made_of(names in proptest::collection::btree_set("[a-z/.]{1,6}[a-z]", 1..4)) {
            let made = stack(names.iter().map(String::as_str));
            let read: BTreeSet<String> = profiles(&made).into_iter().map(str::to_owned).collect();
            prop_assert_eq!(read, names);
        }
    }
}
