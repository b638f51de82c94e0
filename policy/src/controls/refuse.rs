//! `refuse`: conditions over a container's spec for which no field of a policy asks.
//!
//! A condition is judged of what was asked, before anything is brought within other rules, so that no
//! other policy can make a container start that this one refuses.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::expression::{Outcome, SpecExpression};
use crate::proc::Seen;

/// A condition, and why a container for which it is true is refused.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Condition {
    /// An expression of CEL over the OCI spec, which is `spec`, and the facts. A container for which it
    /// is true does not start, nor does one for which it cannot be evaluated: ask with `has()` for what
    /// may not be there. Variables, functions and limits: docs/selection.md.
    #[serde(rename = "if")]
    pub condition: SpecExpression,
    /// Why, in a few words: they stand in the error that `kubectl describe pod` shows.
    pub because: Because,
}

/// Words of one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Because(#[schemars(length(min = 1, max = 150))] String);

/// The longest reason, in characters; what follows would be cut in the error.
const MAX_BECAUSE: usize = 150;

impl<'de> Deserialize<'de> for Because {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.trim().is_empty() {
            return Err(de::Error::custom("because is empty; say why such a container is refused"));
        }
        if text.chars().count() > MAX_BECAUSE || text.chars().any(char::is_control) {
            return Err(de::Error::custom(format!(
                "because is one line of at most {MAX_BECAUSE} characters"
            )));
        }
        Ok(Because(text))
    }
}

/// The rule: every condition must be false.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Refuse {
    /// The conditions.
    pub conditions: BTreeSet<Condition>,
}

impl From<Condition> for Refuse {
    fn from(condition: Condition) -> Self {
        Refuse { conditions: BTreeSet::from([condition]) }
    }
}

impl Rule for Refuse {
    const CONTROL: &'static str = "refuse";
    // An exec's request is its process alone, of which a condition over a container says nothing.
    const SCOPE: Scope = Scope::Container;
    const OF_WHAT_WAS_ASKED: bool = true;

    fn top() -> Self {
        Refuse::default()
    }

    fn meet(&self, other: &Self) -> Self {
        Refuse { conditions: &self.conditions | &other.conditions }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        let findings = self.conditions.iter().filter_map(|Condition { condition, because }| {
            let allowed = match condition.evaluate(asked.facts, asked.spec) {
                Outcome::False => return None,
                Outcome::True | Outcome::Contradictory => {
                    format!("no container for which this is true: {condition}")
                }
                Outcome::Fault(why) => {
                    format!("no container for which this cannot be told ({why}): {condition}")
                }
            };
            Some(Finding {
                field: "spec".to_owned(),
                asked: Value::String(because.0.clone()),
                allowed,
                remedy: None,
            })
        });
        findings.collect()
    }

    fn verify(&self, _seen: &Seen) -> Vec<Mismatch> {
        // A process does not tell what its container's spec asked for.
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::Node;
    use crate::controls::laws::{Generated, is_within};
    use crate::decide::{Door, Request, audit, decide};
    use crate::document::parse_policies;
    use crate::facts::Facts;
    use crate::floor::Floor;
    use crate::verdict::Verdict;
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};
    use serde_json::json;

    fn condition(text: &str) -> Condition {
        serde_json::from_value(json!({"if": text, "because": "it is so"})).unwrap()
    }

    const POLICY: &str = "
apiVersion: coaming.dev/v1alpha1
kind: Policy
metadata: {name: p}
spec:
  hostNamespaces: {allow: []}
  refuse:
    - if: spec.linux.namespaces.exists(n, n.type == 'pid' && has(n.path))
      because: shares the host's processes
    - {if: podNamespace == 'none', because: stands nowhere}
";

    fn floor(text: &str) -> Floor {
        let policy = parse_policies("p.yaml", text).unwrap().remove(0);
        policy.floor("p.yaml", &mut |_| panic!("no profiles")).unwrap()
    }

    fn spec(pid: Value) -> Value {
        json!({"process": {"args": ["sh"]}, "linux": {"namespaces": [pid, {"type": "user"},
            {"type": "mount"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "cgroup"}]}})
    }

    fn decided(door: Door, spec: &Value, floor: &Floor) -> Verdict {
        let (facts, node) = (Facts::of("c", spec), Node::default());
        decide(&Request { door, spec, facts: &facts, node: &node, exec: None }, floor)
    }

    /// The path would have been taken away by `hostNamespaces`; it was asked for all the same.
    #[test]
    fn what_was_asked_is_refused_with_its_reason_and_line() {
        let host = spec(json!({"type": "pid", "path": "/proc/1/ns/pid"}));
        let Verdict::Refuse(refusal) = decided(Door::Create, &host, &floor(POLICY)) else {
            panic!("it was admitted")
        };
        let text = refusal.to_string();
        for words in
            ["policy p (p.yaml:8, spec.refuse)", "shares the host's processes", "has(n.path)"]
        {
            assert!(text.contains(words), "{text}");
        }
        let own = spec(json!({"type": "pid"}));
        assert!(matches!(decided(Door::Create, &own, &floor(POLICY)), Verdict::Admit(_)));
    }

    #[test]
    fn what_cannot_be_told_is_refused_too() {
        let bare = json!({"process": {"args": ["sh"]}});
        let only = POLICY.replace("  hostNamespaces: {allow: []}\n", "");
        let Verdict::Refuse(refusal) = decided(Door::Create, &bare, &floor(&only)) else {
            panic!("it was admitted")
        };
        assert!(refusal.to_string().contains("there is no linux"), "{refusal}");
        assert!(matches!(decided(Door::Exec, &bare, &floor(&only)), Verdict::Admit(_)));
    }

    /// What is only tried out refuses nothing, and is judged of what was asked too.
    #[test]
    fn audited_it_is_told_and_nothing_else() {
        let host = spec(json!({"type": "pid", "path": "/proc/1/ns/pid"}));
        let enforced = floor(&POLICY[..POLICY.find("  refuse:").unwrap()]);
        let Verdict::Admit(admission) = decided(Door::Create, &host, &enforced) else {
            panic!("it was refused")
        };
        let (facts, node) = (Facts::of("c", &host), Node::default());
        let request =
            Request { door: Door::Create, spec: &host, facts: &facts, node: &node, exec: None };
        let told = audit(&request, &admission, &floor(POLICY));
        assert_eq!(told.refusals.len(), 1, "{told:?}");
        assert!(told.refusals[0].to_string().contains("p.yaml:8"));
    }

    #[test]
    fn odd_documents_are_refused_with_their_place() {
        for (from, to, words) in [
            ("has(n.path)", "has(n.path", "column"),
            ("podNamespace ==", "podNmespace ==", "did you mean \"podNamespace\""),
            ("stands nowhere", "' '", "because is empty"),
            ("stands nowhere", &"x".repeat(151), "at most 150"),
            (", because: stands nowhere", "", "because"),
        ] {
            let error = parse_policies("p.yaml", &POLICY.replace(from, to)).unwrap_err();
            let (error, line) = (error.to_string(), if from.starts_with("has") { 8 } else { 10 });
            assert!(
                error.contains(words) && error.starts_with(&format!("p.yaml:{line}:")),
                "{error}"
            );
        }
    }

    impl Generated for Refuse {
        const TIGHTENS: bool = false;

        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let texts = [
                "spec.hostname == 'a'",
                "has(spec.hostname) && spec.hostname == 'b'",
                "has(spec.domainname)",
                "id == 'test' && has(spec.hostname) && spec.hostname.startsWith('c')",
            ];
            let rules = subsequence(texts.to_vec(), 0..=2).prop_map(|texts| Refuse {
                conditions: texts.into_iter().map(condition).collect(),
            });
            let hosts = select(vec![json!("a"), json!("b"), json!("cd"), json!("d"), json!("d")]);
            let specs = (hosts, select(vec![json!("x"), Value::Null, Value::Null, Value::Null]));
            let specs =
                specs.prop_map(|(host, domain)| json!({"hostname": host, "domainname": domain}));
            (rules.boxed(), specs.boxed())
        }
    }

    #[test]
    fn every_condition_counts() {
        let both: Refuse =
            Refuse::from(condition("spec.a == 1")).meet(&condition("spec.b == 1").into());
        assert!(is_within(&both, &json!({"a": 0, "b": 0})));
        assert!(
            !is_within(&both, &json!({"a": 1, "b": 0}))
                && !is_within(&both, &json!({"a": 0, "b": 1}))
        );
        assert!(!is_within(&both, &json!({"a": 0})), "what is not there cannot be told");
    }
}
