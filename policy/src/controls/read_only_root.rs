//! `readOnlyRootFilesystem`: the container's root is mounted read-only (runtime-spec, `root`).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const FIELD: &str = "root.readonly";

/// Whether the root file system must be read-only. Volumes, and the runtime's own `/dev`, `/run` and
/// `/tmp` where it mounts them, stay as they are; an image that writes anywhere else needs a volume
/// there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct ReadOnlyRootFilesystem(pub bool);

impl Rule for ReadOnlyRootFilesystem {
    const CONTROL: &'static str = "readOnlyRootFilesystem";
    const SCOPE: Scope = Scope::Container;

    fn top() -> Self {
        ReadOnlyRootFilesystem(false)
    }

    fn meet(&self, other: &Self) -> Self {
        ReadOnlyRootFilesystem(self.0 || other.0)
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        if !self.0 || view::flag(asked.spec, FIELD) {
            return Vec::new();
        }
        vec![Finding {
            field: FIELD.to_owned(),
            asked: view::at(asked.spec, FIELD).cloned().unwrap_or(Value::Null),
            allowed: "true".to_owned(),
            remedy: Some(vec![Edit::Set(FIELD.to_owned(), json!(true))]),
        }]
    }

    fn verify(&self, seen: &Seen) -> Vec<Mismatch> {
        if !self.0 || seen.is_read_only_mount("/") {
            return Vec::new();
        }
        vec![Mismatch {
            what: "mount at /".to_owned(),
            found: seen.mount_at("/").map_or("none", |_| "rw").to_owned(),
            allowed: "ro".to_owned(),
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced, is_within, touches_only};
    use proptest::prelude::*;

    #[test]
    fn is_set_where_it_is_absent_false_or_nonsense() {
        for asked in [json!(null), json!(false), json!("true")] {
            let spec = json!({"root": {"path": "r", "readonly": asked}});
            let after = enforced(&ReadOnlyRootFilesystem(true), &spec);
            assert_eq!(after["root"], json!({"path": "r", "readonly": true}));
        }
        assert!(is_within(&ReadOnlyRootFilesystem(true), &json!({"root": {"readonly": true}})));
    }

    impl Generated for ReadOnlyRootFilesystem {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let specs = proptest::option::of(any::<bool>())
                .prop_map(|asked| json!({"root": {"path": "r", "readonly": asked}}));
            (any::<bool>().prop_map(ReadOnlyRootFilesystem).boxed(), specs.boxed())
        }
    }

    #[test]
    fn changes_its_own_fields_alone() {
        touches_only(&ReadOnlyRootFilesystem(true), &["root.readonly"]);
    }

    #[test]
    fn verify_looks_at_the_mount_and_at_nothing_fails() {
        let mut seen = Seen::default();
        assert_eq!(ReadOnlyRootFilesystem(true).verify(&seen)[0].found, "none");
        seen.read_mountinfo("1 2 0:5 / / rw - overlay overlay ro\n");
        assert_eq!(ReadOnlyRootFilesystem(true).verify(&seen)[0].found, "rw");
        seen.read_mountinfo("1 2 0:5 / / ro,relatime - overlay overlay rw\n");
        assert!(ReadOnlyRootFilesystem(true).verify(&seen).is_empty());
    }
}
