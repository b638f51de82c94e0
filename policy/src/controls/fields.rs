//! `fields`: fields of the OCI spec that have no control of their own and may be taken away.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::table::{Decision, FIELDS};
use crate::spec::view;
use coaming_config::suggest;

/// Fields that are removed when a container asks for them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fields {
    /// Places in the OCI spec (`linux.intelRdt`, `process.scheduler`). Only those that no other
    /// control judges may be named.
    #[serde(default)]
    #[schemars(with = "BTreeSet<String>")]
    pub deny: BTreeSet<Field>,
}

impl Rule for Fields {
    const CONTROL: &'static str = "fields";
    const SCOPE: Scope = Scope::Process;

    fn top() -> Self {
        Fields::default()
    }

    fn meet(&self, other: &Self) -> Self {
        Fields { deny: &self.deny | &other.deny }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        self.deny
            .iter()
            .filter_map(|field| {
                Some(Finding {
                    field: field.to_string(),
                    asked: view::at(asked.spec, field.0)?.clone(),
                    allowed: "nothing".to_owned(),
                    remedy: Some(vec![Edit::Remove(field.to_string())]),
                })
            })
            .collect()
    }

    fn verify(&self, _seen: &Seen) -> Vec<Mismatch> {
        // What these fields do is not told by one file of a process, or is not told at all.
        Vec::new()
    }
}

/// A field that may be denied, from the spec's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Field(&'static str);

impl Field {
    /// Every field that may be denied.
    pub fn all() -> impl Iterator<Item = Field> {
        // A field below an array or a map has no one place; the array or map itself does.
        FIELDS
            .iter()
            .filter(|(field, decision)| {
                *decision == Decision::Floored(Fields::CONTROL) && !field.contains(['[', '{'])
            })
            .map(|(field, _)| Field(field))
    }
}

impl fmt::Display for Field {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Field::all().find(|field| field.0 == name).ok_or_else(|| {
            let owner = FIELDS.iter().find(|(field, _)| *field == name).map(|(_, owner)| owner);
            de::Error::custom(match owner {
                Some(Decision::Floored(control)) if *control != Fields::CONTROL => {
                    format!("{name} cannot be denied here; it is judged by the control {control}")
                }
                Some(_) => format!("{name} cannot be denied"),
                None => suggest::unknown(
                    "field that may be denied",
                    &name,
                    Field::all().map(|field| field.0),
                ),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced, touches_only};
    use proptest::prelude::*;
    use proptest::sample::subsequence;
    use serde_json::{Value, json};

    fn deny(names: &[&str]) -> Fields {
        serde_json::from_value(json!({"deny": names})).unwrap()
    }

    fn error(name: &str) -> String {
        serde_json::from_value::<Fields>(json!({"deny": [name]})).unwrap_err().to_string()
    }

    #[test]
    fn denied_fields_go() {
        let spec =
            json!({"linux": {"intelRdt": {"closID": "x"}, "personality": {"domain": "LINUX32"}}});
        let after = enforced(&deny(&["linux.intelRdt", "linux.personality.domain"]), &spec);
        assert_eq!(after, json!({"linux": {"personality": {}}}));
    }

    #[test]
    fn only_fields_without_a_control_may_be_named() {
        assert!(error("linux.seccomp").contains("control seccomp"));
        assert!(error("hostname").contains("cannot be denied"));
        assert!(error("linux.intelRDT").contains("did you mean \"linux.intelRdt\""));
        assert!(error("linux.netDevices{}.name").contains("cannot be denied"));
    }

    impl Generated for Fields {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let names = || {
                let names = ["linux.intelRdt", "linux.intelRdt.closID", "process.scheduler"];
                subsequence(names.to_vec(), 0..=3)
            };
            let specs = names().prop_map(|names| {
                let mut spec = json!({"process": {}, "linux": {}});
                names
                    .iter()
                    .for_each(|name| Edit::Set((*name).to_owned(), json!("x")).apply(&mut spec));
                spec
            });
            (names().prop_map(|names| deny(&names)).boxed(), specs.boxed())
        }

        fn strict() -> Vec<Self> {
            let named = |field: &str| serde_json::from_value(json!({"deny": [field]})).ok();
            FIELDS.iter().filter_map(|(field, _)| named(field)).collect()
        }
    }

    #[test]
    fn changes_its_own_fields_alone() {
        let rule = deny(&["linux.intelRdt", "process.scheduler"]);
        touches_only(&rule, &["linux.intelRdt", "process.scheduler"]);
    }
}
