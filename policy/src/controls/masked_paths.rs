//! `maskedPaths`: paths that no process of the container can read (runtime-spec, config-linux.md).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const FIELD: &str = "linux.maskedPaths";

/// Paths that must be masked, whatever the container asks for. The runtime skips those that do not
/// exist. A process with CAP_SYS_ADMIN and mount(2) can take a mask away: the floor of capabilities
/// or of seccomp is what keeps it there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct MaskedPaths(pub BTreeSet<String>);

impl Rule for MaskedPaths {
    const CONTROL: &'static str = "maskedPaths";
    const SCOPE: Scope = Scope::Container;

    fn top() -> Self {
        MaskedPaths::default()
    }

    fn meet(&self, other: &Self) -> Self {
        MaskedPaths(&self.0 | &other.0)
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        add_missing(FIELD, &self.0, asked.spec)
    }

    fn verify(&self, seen: &Seen) -> Vec<Mismatch> {
        // A mask is /dev/null over a file or an empty read-only tmpfs over a directory (runc
        // libcontainer/rootfs_linux.go, maskPath). What is absent needs none.
        self.0
            .iter()
            .filter_map(|path| {
                let found = match seen.mount_at(path) {
                    Some(mount) => {
                        let null = mount.root == "/null" || mount.root.ends_with("/null");
                        let empty =
                            mount.fs_type == "tmpfs" && mount.options.iter().any(|o| o == "ro");
                        (!null && !empty).then(|| mount.fs_type.clone())
                    }
                    None => seen.present.contains(path).then(|| "no mask".to_owned()),
                };
                Some(Mismatch {
                    what: format!("mount at {path}"),
                    found: found?,
                    allowed: "a mask".to_owned(),
                })
            })
            .collect()
    }
}

/// The finding for a list of paths in which some are missing; what is asked beyond them stays.
pub(super) fn add_missing(field: &str, required: &BTreeSet<String>, spec: &Value) -> Vec<Finding> {
    let present: BTreeSet<&str> = view::strings(spec, field).collect();
    let missing: Vec<&String> =
        required.iter().filter(|path| !present.contains(path.as_str())).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let mut paths: Vec<Value> = view::items(spec, field).to_vec();
    paths.extend(missing.iter().map(|path| json!(path)));
    vec![Finding {
        field: field.to_owned(),
        asked: view::at(spec, field).cloned().unwrap_or(Value::Null),
        allowed: format!(
            "at least {}",
            missing.iter().map(|path| path.as_str()).collect::<Vec<_>>().join(", ")
        ),
        remedy: Some(vec![Edit::Set(field.to_owned(), Value::Array(paths))]),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced};
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    #[test]
    fn adds_what_is_missing_and_keeps_what_is_asked() {
        let rule = MaskedPaths(["/proc/kcore".to_owned(), "/proc/keys".to_owned()].into());
        let after = enforced(&rule, &json!({"linux": {"maskedPaths": ["/x", "/proc/keys"]}}));
        assert_eq!(after["linux"]["maskedPaths"], json!(["/x", "/proc/keys", "/proc/kcore"]));
    }

    impl Generated for MaskedPaths {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let paths = ["/proc/kcore", "/proc/keys", "/sys/firmware"].map(str::to_owned).to_vec();
            let rules = subsequence(paths.clone(), 0..=3)
                .prop_map(|p| MaskedPaths(p.into_iter().collect()));
            let specs =
                subsequence(paths, 0..=3).prop_map(|p| json!({"linux": {"maskedPaths": p}}));
            (rules.boxed(), specs.boxed())
        }
    }

    #[test]
    fn verify_sees_a_file_mounted_where_the_mask_was() {
        let rule = MaskedPaths(["/proc/kcore".to_owned()].into());
        let mut seen = Seen::default();
        seen.read_mountinfo("1 2 0:5 /null /proc/kcore rw - devtmpfs devtmpfs rw\n");
        assert!(rule.verify(&seen).is_empty());
        seen.read_mountinfo("1 2 0:5 / /proc/kcore rw - proc proc rw\n");
        assert_eq!(rule.verify(&seen).len(), 1);
    }

    #[test]
    fn verify_sees_a_path_that_is_there_without_a_mask() {
        let rule = MaskedPaths(["/proc/kcore".to_owned()].into());
        let mut seen = Seen::default();
        seen.read_mountinfo("1 2 0:5 / /proc rw - proc proc rw\n");
        assert!(rule.verify(&seen).is_empty());
        seen.present.insert("/proc/kcore".to_owned());
        assert_eq!(rule.verify(&seen)[0].found, "no mask");
    }
}
