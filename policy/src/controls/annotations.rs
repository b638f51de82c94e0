//! `annotations`: keys that steer the runtime instead of describing the container.
//!
//! crun takes raw BPF in place of the seccomp section from `run.oci.seccomp_bpf_data`, writes hook
//! output to any host file by `run.oci.hooks.stdout`, and changes the handler by `run.oci.handler`
//! (crun.1). runc passes `org.systemd.property.*` to systemd as unit properties (libcontainer
//! specconv, initSystemdProps) and `org.criu.config` to CRIU. Each runtime names its own under
//! `potentiallyUnsafeConfigAnnotations` of its `features` (runtime-spec, features.md; runc 1.2, crun 1.10).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::allow_list::intersection;
use super::glob::Glob;
use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const FIELD: &str = "annotations";

/// What CRI itself writes of each container, and facts and other programs read. crun names it as unsafe,
/// since it tells by it which containers of a pod its wasm handlers leave alone.
const DESCRIBING: &str = "io.kubernetes.cri.container-type";

/// The annotations that are taken away. Those that describe the container (`io.kubernetes.*`) stay
/// unless a pattern matches them too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Annotations {
    /// Patterns of keys that are removed (`run.oci.*`), compared without regard to case. `*` stands
    /// for any run of characters.
    #[serde(default)]
    pub deny: BTreeSet<Glob>,
    /// Whether the annotations are removed too that the runtime itself calls potentially unsafe
    /// (`potentiallyUnsafeConfigAnnotations` of its `features`). Left out, they are not. A runtime that
    /// names none leaves it to `deny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub potentially_unsafe: Option<PotentiallyUnsafe>,
}

/// The annotations that the runtime calls potentially unsafe.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PotentiallyUnsafe {
    /// Keys of those that stay all the same. An empty list keeps none.
    #[serde(default)]
    pub allow: BTreeSet<String>,
}

impl Annotations {
    /// What denies a key, in words; `theirs` is what the runtime calls unsafe.
    fn denies(&self, key: &str, theirs: &[String]) -> Option<String> {
        if let Some(glob) = self.deny.iter().find(|glob| glob.matches_ignoring_case(key)) {
            return Some(format!("no annotation {glob}"));
        }
        let unsafe_ones = self.potentially_unsafe.as_ref()?;
        let same = |name: &str| name.eq_ignore_ascii_case(key);
        if same(DESCRIBING) || unsafe_ones.allow.iter().any(|allowed| same(allowed)) {
            return None;
        }
        let named = theirs.iter().find(|named| names(named, key))?;
        Some(format!("no annotation {named}, which the runtime itself calls potentially unsafe"))
    }
}

/// Whether an entry of the runtime's list names a key: one that ends in a full stop names all that begin so
/// (runtime-spec, features.md). Without regard to case, as `deny` is.
fn names(entry: &str, key: &str) -> bool {
    match entry.ends_with('.') {
        true => {
            key.get(..entry.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(entry))
        }
        false => entry.eq_ignore_ascii_case(key),
    }
}

impl Rule for Annotations {
    const CONTROL: &'static str = "annotations";
    const SCOPE: Scope = Scope::Container;

    fn top() -> Self {
        Annotations::default()
    }

    fn meet(&self, other: &Self) -> Self {
        let unsafe_ones = intersection(
            self.potentially_unsafe.as_ref().map(|unsafe_ones| &unsafe_ones.allow),
            other.potentially_unsafe.as_ref().map(|unsafe_ones| &unsafe_ones.allow),
        );
        Annotations {
            deny: &self.deny | &other.deny,
            potentially_unsafe: unsafe_ones.map(|allow| PotentiallyUnsafe { allow }),
        }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        let denies = |key: &str| self.denies(key, &asked.node.unsafe_annotations);
        let (denied, kept): (Vec<_>, Vec<_>) =
            view::entries(asked.spec, FIELD).partition(|(key, _)| denies(key).is_some());
        let kept: Map<String, Value> =
            kept.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect();
        let remedy = vec![Edit::Set(FIELD.to_owned(), kept.into())];
        denied
            .into_iter()
            .filter_map(|(key, value)| {
                Some(Finding {
                    field: format!("{FIELD}[{key}]"),
                    asked: value.clone(),
                    allowed: denies(key)?,
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
        let deny = globs.iter().map(|glob| glob.parse().unwrap()).collect();
        Annotations { deny, potentially_unsafe: None }
    }

    fn potentially_unsafe(allow: &[&str]) -> Annotations {
        let allow = allow.iter().map(|key| (*key).to_owned()).collect();
        Annotations { potentially_unsafe: Some(PotentiallyUnsafe { allow }), ..deny(&[]) }
    }

    #[test]
    fn keys_that_match_go_and_the_rest_stays_in_order() {
        let spec = json!({"annotations": {"z": "1", "run.oci.seccomp_bpf_data": "x", "a": "2",
            "Run.OCI.Handler": "krun"}});
        let after = enforced(&deny(&["run.oci.*"]), &spec);
        assert_eq!(after.to_string(), r#"{"annotations":{"z":"1","a":"2"}}"#);
    }

    /// The node of the laws has crun 1.28's list, and runc 1.3's.
    #[test]
    fn what_the_runtime_calls_unsafe_goes_but_for_what_is_named() {
        let spec = json!({"annotations": {"bundle": "/x", "org.systemd.property.Y": "z", "note": "1",
            "Run.oci.Handler": "wasm", "run.ociX": "2", "io.kubernetes.cri.container-type": "sandbox",
            "module.wasm.image/variant": "compat"}});
        let after = enforced(&potentially_unsafe(&[]), &spec);
        assert_eq!(
            after.to_string(),
            r#"{"annotations":{"note":"1","run.ociX":"2","io.kubernetes.cri.container-type":"sandbox"}}"#
        );
        let allowed = potentially_unsafe(&["MODULE.wasm.image/variant", "run.oci."]);
        let after = enforced(&allowed, &spec);
        assert!(after["annotations"].get("module.wasm.image/variant").is_some());
        assert!(
            after["annotations"].get("Run.oci.Handler").is_none(),
            "only whole keys are allowed"
        );
        assert!(is_within(&deny(&[]), &spec), "without the rule they stay");
        let denied =
            Annotations { deny: deny(&["io.kubernetes.*"]).deny, ..potentially_unsafe(&[]) };
        assert!(enforced(&denied, &spec)["annotations"].get(DESCRIBING).is_none());
    }

    #[test]
    fn of_two_lists_of_what_stays_both_count() {
        let met = potentially_unsafe(&["a", "b"]).meet(&potentially_unsafe(&["b", "c"]));
        assert_eq!(met, potentially_unsafe(&["b"]));
        assert_eq!(met.meet(&Annotations::top()), met);
        assert!(names("run.oci.", "run.oci.handler") && !names("run.oci.", "run.oci"));
        assert!(!names("é.", "e."), "no part of a character is compared");
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
            let allowed = ["bundle", "run.oci.handler"].map(str::to_owned).to_vec();
            let allowed = proptest::option::of(subsequence(allowed, 0..=2));
            let rules = (subsequence(globs.to_vec(), 0..3), allowed).prop_map(
                |(deny, allowed): (Vec<Glob>, Option<Vec<String>>)| Annotations {
                    deny: deny.into_iter().collect(),
                    potentially_unsafe: allowed
                        .map(|allow| PotentiallyUnsafe { allow: allow.into_iter().collect() }),
                },
            );
            let keys = [
                "run.oci.handler",
                "krun.handler",
                "org.criu.config",
                "io.kubernetes.pod",
                "bundle",
            ];
            let specs = subsequence(keys.to_vec(), 0..=5).prop_map(|keys| {
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
