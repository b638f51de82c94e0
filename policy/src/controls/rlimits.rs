//! `rlimits`: ceilings on what setrlimit(2) limits.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Value, json};

use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::{LIMITS, Seen};
use crate::spec::edit::Edit;
use crate::spec::view;
use coaming_config::suggest;

const FIELD: &str = "process.rlimits";

/// Ceilings by OCI name (`RLIMIT_CORE: 0`), in the units of setrlimit(2): bytes, seconds or a count.
/// The soft and the hard limit of every process come down to them. A limit that the container does
/// not ask for is set to the ceiling, since what it would inherit is the runtime's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Rlimits(#[schemars(with = "BTreeMap<String, u64>")] pub BTreeMap<Limit, u64>);

impl Rule for Rlimits {
    const CONTROL: &'static str = "rlimits";
    const SCOPE: Scope = Scope::Process;

    fn top() -> Self {
        Rlimits::default()
    }

    fn meet(&self, other: &Self) -> Self {
        let mut met = self.0.clone();
        for (limit, ceiling) in &other.0 {
            let lowest = met.entry(*limit).or_insert(*ceiling);
            *lowest = (*lowest).min(*ceiling);
        }
        Rlimits(met)
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        let items = view::items(asked.spec, FIELD);
        let mut lowered: Vec<Value> = items.iter().map(|item| self.lower(item)).collect();
        let mut found: Vec<(Limit, Value)> = Vec::new();
        for (limit, ceiling) in &self.0 {
            let asked: Vec<&Value> = items
                .iter()
                .filter(|item| view::text(item, "type") == Some(limit.name()))
                .collect();
            if asked.is_empty() {
                lowered.push(json!({"type": limit.name(), "hard": ceiling, "soft": ceiling}));
                found.push((*limit, Value::Null));
            }
            let wide = asked.into_iter().filter(|item| self.lower(item) != **item);
            found.extend(wide.map(|item| (*limit, item.clone())));
        }
        let remedy = vec![Edit::Set(FIELD.to_owned(), lowered.into())];
        found
            .into_iter()
            .map(|(limit, asked)| Finding {
                field: format!("{FIELD}[{limit}]"),
                asked,
                allowed: self
                    .0
                    .get(&limit)
                    .map_or_else(String::new, |most| format!("at most {most}")),
                remedy: Some(remedy.clone()),
            })
            .collect()
    }

    fn verify(&self, seen: &Seen) -> Vec<Mismatch> {
        self.0
            .iter()
            .filter_map(|(limit, ceiling)| {
                let (soft, hard) = *seen.rlimits.get(limit.name())?;
                (soft > *ceiling || hard > *ceiling).then(|| Mismatch {
                    what: limit.to_string(),
                    found: format!("soft {soft}, hard {hard}"),
                    allowed: ceiling.to_string(),
                })
            })
            .collect()
    }
}

impl Rlimits {
    /// An entry of `process.rlimits`, brought down to its ceiling.
    fn lower(&self, item: &Value) -> Value {
        let ceiling = view::text(item, "type")
            .and_then(|name| name.parse::<Limit>().ok())
            .and_then(|limit| self.0.get(&limit));
        let (Some(ceiling), Some(object)) = (ceiling, item.as_object()) else {
            return item.clone();
        };
        let mut object = object.clone();
        for key in ["soft", "hard"] {
            // Absent is zero for both runtimes. A number that is none of theirs is no limit.
            let within = match view::at(item, key) {
                None => true,
                Some(value) => value.as_u64().is_some_and(|value| value <= *ceiling),
            };
            if !within {
                object.insert(key.to_owned(), json!(ceiling));
            }
        }
        object.into()
    }
}

/// A resource limit of the kernel, by the name that the OCI spec and setrlimit(2) give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limit(&'static str);

impl Limit {
    /// The OCI name.
    pub fn name(self) -> &'static str {
        self.0
    }
}

impl FromStr for Limit {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        LIMITS.iter().find(|(_, oci)| *oci == name).map(|(_, oci)| Limit(oci)).ok_or(())
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(|()| {
            let known = LIMITS.iter().map(|(_, oci)| *oci);
            de::Error::custom(suggest::unknown("resource limit", &name, known))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced, is_within, touches_only};
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    fn ceilings(ceilings: &[(&str, u64)]) -> Rlimits {
        Rlimits(ceilings.iter().map(|(name, most)| (name.parse().unwrap(), *most)).collect())
    }

    #[test]
    fn both_limits_come_down_and_an_absent_one_is_set() {
        let rule = ceilings(&[("RLIMIT_CORE", 0), ("RLIMIT_NOFILE", 100)]);
        let spec = json!({"process": {"rlimits": [
            {"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 50},
            {"type": "RLIMIT_CPU", "hard": 9, "soft": 9},
        ]}});
        let after = enforced(&rule, &spec);
        assert_eq!(
            after["process"]["rlimits"],
            json!([
                {"type": "RLIMIT_NOFILE", "hard": 100, "soft": 50},
                {"type": "RLIMIT_CPU", "hard": 9, "soft": 9},
                {"type": "RLIMIT_CORE", "hard": 0, "soft": 0},
            ])
        );
    }

    #[test]
    fn what_is_no_number_is_no_limit() {
        for value in [json!(-1), json!("0"), json!(1e30), json!(u64::MAX)] {
            let spec = json!({"process": {"rlimits": [
                {"type": "RLIMIT_CORE", "hard": value, "soft": 0},
            ]}});
            assert!(!is_within(&ceilings(&[("RLIMIT_CORE", 5)]), &spec), "{value}");
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_suggests() {
        let error = serde_json::from_str::<Rlimits>(r#"{"RLIMIT_NOFILES": 1}"#).unwrap_err();
        assert!(error.to_string().contains("RLIMIT_NOFILE"), "{error}");
    }

    impl Generated for Rlimits {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let names = || subsequence(vec!["RLIMIT_CORE", "RLIMIT_NOFILE", "RLIMIT_CPU"], 0..=3);
            let rules = (names(), 0u64..4).prop_map(|(names, most)| {
                ceilings(&names.into_iter().map(|n| (n, most)).collect::<Vec<_>>())
            });
            let limit = select(vec![json!(0), json!(2), json!(9), json!(null)]);
            let specs = (names(), limit.clone(), limit).prop_map(|(names, soft, hard)| {
                let limits: Vec<Value> = names
                    .into_iter()
                    .map(|name| json!({"type": name, "soft": soft, "hard": hard}))
                    .collect();
                json!({"process": {"rlimits": limits}})
            });
            (rules.boxed(), specs.boxed())
        }
    }

    #[test]
    fn changes_its_own_fields_alone() {
        touches_only(&ceilings(&[("RLIMIT_NOFILE", 5)]), &["process.rlimits"]);
    }

    #[test]
    fn verify_compares_both_limits() {
        let mut seen = Seen::default();
        seen.rlimits.insert("RLIMIT_CORE".to_owned(), (0, u64::MAX));
        assert_eq!(ceilings(&[("RLIMIT_CORE", 0)]).verify(&seen)[0].what, "RLIMIT_CORE");
        assert!(ceilings(&[("RLIMIT_CORE", u64::MAX)]).verify(&seen).is_empty());
    }
}
