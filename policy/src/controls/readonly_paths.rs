//! `readonlyPaths`: paths that no process of the container can write (runtime-spec,
//! config-linux.md).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::masked_paths::add_missing;
use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;

const FIELD: &str = "linux.readonlyPaths";

/// Paths that must be read-only, whatever the container asks for (`/proc/sys`). The runtime skips
/// those that do not exist. A process with CAP_SYS_ADMIN and mount(2) can make them writable again:
/// the floor of capabilities or of seccomp is what keeps them so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct ReadonlyPaths(pub BTreeSet<String>);

impl Rule for ReadonlyPaths {
    const CONTROL: &'static str = "readonlyPaths";
    const SCOPE: Scope = Scope::Container;

    fn top() -> Self {
        ReadonlyPaths::default()
    }

    fn meet(&self, other: &Self) -> Self {
        ReadonlyPaths(&self.0 | &other.0)
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        add_missing(FIELD, &self.0, asked.spec)
    }

    fn verify(&self, seen: &Seen) -> Vec<Mismatch> {
        // The runtime binds each path onto itself and remounts it read-only (runc
        // libcontainer/rootfs_linux.go, readonlyPath). What is absent needs none of it.
        self.0
            .iter()
            .filter(|path| seen.mount_at(path).is_some() || seen.present.contains(*path))
            .filter(|path| !seen.is_in_read_only_mount(path))
            .map(|path| Mismatch {
                what: format!("mount at {path}"),
                found: "rw".to_owned(),
                allowed: "ro".to_owned(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced, touches_only};
    use proptest::prelude::*;
    use proptest::sample::subsequence;
    use serde_json::{Value, json};

    fn paths(paths: &[&str]) -> ReadonlyPaths {
        ReadonlyPaths(paths.iter().map(|path| (*path).to_owned()).collect())
    }

    #[test]
    fn adds_what_is_missing() {
        let after = enforced(&paths(&["/proc/sys"]), &json!({"linux": {"readonlyPaths": null}}));
        assert_eq!(after["linux"]["readonlyPaths"], json!(["/proc/sys"]));
    }

    impl Generated for ReadonlyPaths {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let all = ["/proc/sys", "/proc/irq", "/proc/bus"].map(str::to_owned).to_vec();
            let rules = subsequence(all.clone(), 0..=3)
                .prop_map(|p| ReadonlyPaths(p.into_iter().collect()));
            let specs =
                subsequence(all, 0..=3).prop_map(|p| json!({"linux": {"readonlyPaths": p}}));
            (rules.boxed(), specs.boxed())
        }
    }

    #[test]
    fn changes_its_own_fields_alone() {
        touches_only(&paths(&["/proc/sys"]), &["linux.readonlyPaths"]);
    }

    #[test]
    fn verify_sees_a_path_made_writable() {
        let mut seen = Seen::default();
        seen.read_mountinfo("1 2 0:5 /sys /proc/sys ro - proc proc rw\n");
        assert!(paths(&["/proc/sys", "/proc/absent"]).verify(&seen).is_empty());
        seen.read_mountinfo("1 2 0:5 /sys /proc/sys rw - proc proc rw\n");
        assert_eq!(paths(&["/proc/sys"]).verify(&seen)[0].found, "rw");
        seen.read_mountinfo("1 2 0:5 / /proc rw - proc proc rw\n");
        assert!(paths(&["/proc/sys"]).verify(&seen).is_empty());
        seen.present.insert("/proc/sys".to_owned());
        assert_eq!(paths(&["/proc/sys"]).verify(&seen)[0].found, "rw");
        seen.read_mountinfo("1 2 0:5 / / rw - ext4 x rw\n2 3 0:5 / /proc ro - proc proc rw\n");
        assert!(paths(&["/proc/sys"]).verify(&seen).is_empty());
    }
}
