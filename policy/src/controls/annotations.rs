//! `annotations`: keys that steer the runtime instead of describing the container.
//!
//! crun takes raw BPF in place of the seccomp section from `run.oci.seccomp_bpf_data`, writes hook
//! output to any host file by `run.oci.hooks.stdout`, and changes the handler by `run.oci.handler`
//! (crun.1). runc passes `org.systemd.property.*` to systemd as unit properties (libcontainer
//! specconv, initSystemdProps) and `org.criu.config` to CRIU.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::glob::Glob;
use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const FIELD: &str = "annotations";

/// The annotations that are taken away. Those that describe the container (`io.kubernetes.*`) stay
/// unless a pattern matches them too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Annotations {
    /// Patterns of keys that are removed (`run.oci.*`), compared without regard to case. `*` stands
    /// for any run of characters.
    #[serde(default)]
    pub deny: BTreeSet<Glob>,
}

impl Annotations {
    fn denies(&self, key: &str) -> Option<&Glob> {
        self.deny.iter().find(|glob| glob.matches_ignoring_case(key))
    }
}

impl Rule for Annotations {
    const CONTROL: &'static str = "annotations";
    const SCOPE: Scope = Scope::Container;

    fn top() -> Self {
        Annotations::default()
    }

    fn meet(&self, other: &Self) -> Self {
        Annotations { deny: &self.deny | &other.deny }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        let (denied, kept): (Vec<_>, Vec<_>) =
            view::entries(asked.spec, FIELD).partition(|(key, _)| self.denies(key).is_some());
        let kept: Map<String, Value> =
            kept.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect();
        let remedy = vec![Edit::Set(FIELD.to_owned(), kept.into())];
        denied
            .into_iter()
            .filter_map(|(key, value)| {
                let glob = self.denies(key)?;
                Some(Finding {
                    field: format!("{FIELD}[{key}]"),
                    asked: value.clone(),
                    allowed: format!("no annotation {glob}"),
                    remedy: Some(remedy.clone()),
                })
            })
            .collect()
    }

    fn verify(&self, _seen: &Seen) -> Vec<Mismatch> {
        // The kernel knows nothing of annotations.
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced, is_within, touches_only};
    use proptest::prelude::*;
    use proptest::sample::subsequence;
    use serde_json::json;

    fn deny(globs: &[&str]) -> Annotations {
        Annotations { deny: globs.iter().map(|glob| glob.parse().unwrap()).collect() }
    }

    #[test]
    fn keys_that_match_go_and_the_rest_stays_in_order() {
        let spec = json!({"annotations": {"z": "1", "run.oci.seccomp_bpf_data": "x", "a": "2",
            "Run.OCI.Handler": "krun"}});
        let after = enforced(&deny(&["run.oci.*"]), &spec);
        assert_eq!(after.to_string(), r#"{"annotations":{"z":"1","a":"2"}}"#);
    }

    #[test]
    fn a_value_that_is_no_text_is_judged_by_its_key() {
        assert!(!is_within(&deny(&["run.*"]), &json!({"annotations": {"run.x": {"y": 1}}})));
        assert!(is_within(&deny(&["run.*"]), &json!({"annotations": null})));
    }

    impl Generated for Annotations {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let globs =
                ["run.oci.*", "*.handler", "org.criu.*", "*"].map(|glob| glob.parse().unwrap());
            let rules = subsequence(globs.to_vec(), 0..3)
                .prop_map(|deny: Vec<Glob>| Annotations { deny: deny.into_iter().collect() });
            let keys = ["run.oci.handler", "krun.handler", "org.criu.config", "io.kubernetes.pod"];
            let specs = subsequence(keys.to_vec(), 0..=4).prop_map(|keys| {
                let entries: Map<String, Value> =
                    keys.into_iter().map(|key| (key.to_owned(), json!("v"))).collect();
                json!({"annotations": entries})
            });
            (rules.boxed(), specs.boxed())
        }
    }

    #[test]
    fn changes_its_own_fields_alone() {
        touches_only(&deny(&["run.oci.*"]), &["annotations"]);
    }
}
