//! `capabilities`: a ceiling over all five capability sets (capabilities(7)).

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Value, json};

use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;
use coaming_config::suggest;

/// The ceiling. A capability that it does not name leaves every set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capabilities {
    /// The capabilities that a process may have in any set, by name, with or without `CAP_`.
    /// An empty list allows none. Left out, all are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<String>>")]
    pub allow: Option<BTreeSet<Capability>>,
}

/// The five sets, as the OCI spec and `/proc/<pid>/status` name them.
pub(crate) const SETS: [(&str, &str); 5] = [
    ("bounding", "CapBnd"),
    ("effective", "CapEff"),
    ("inheritable", "CapInh"),
    ("permitted", "CapPrm"),
    ("ambient", "CapAmb"),
];

impl Rule for Capabilities {
    const CONTROL: &'static str = "capabilities";
    const SCOPE: Scope = Scope::Process;

    fn top() -> Self {
        Capabilities { allow: None }
    }

    fn meet(&self, other: &Self) -> Self {
        let allow = match (&self.allow, &other.allow) {
            (Some(ours), Some(theirs)) => Some(ours & theirs),
            (ours, theirs) => ours.as_ref().or(theirs.as_ref()).cloned(),
        };
        Capabilities { allow }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        let Some(allow) = &self.allow else { return Vec::new() };
        // Without a capabilities object runc and crun leave the process what they hold themselves:
        // everything (runc libcontainer/init_linux.go, finalizeNamespace).
        if view::at(asked.spec, "process").is_some()
            && view::at(asked.spec, "process.capabilities").is_none()
        {
            let none: serde_json::Map<String, Value> =
                SETS.iter().map(|(set, _)| ((*set).to_owned(), json!([]))).collect();
            return vec![Finding {
                field: "process.capabilities".to_owned(),
                asked: Value::Null,
                allowed: list(allow),
                remedy: Some(vec![Edit::Set("process.capabilities".to_owned(), none.into())]),
            }];
        }
        SETS.iter()
            .filter_map(|(set, _)| {
                let field = format!("process.capabilities.{set}");
                let held: Vec<&str> = view::strings(asked.spec, &field).collect();
                // A name that no kernel of ours knows is not within any ceiling.
                let kept: Vec<&str> = held
                    .iter()
                    .copied()
                    .filter(|name| name.parse().is_ok_and(|capability| allow.contains(&capability)))
                    .collect();
                (kept.len() < held.len()).then(|| Finding {
                    asked: json!(held),
                    allowed: list(allow),
                    remedy: Some(vec![Edit::Set(field.clone(), json!(kept))]),
                    field,
                })
            })
            .collect()
    }

    fn verify(&self, seen: &Seen) -> Vec<Mismatch> {
        let Some(allow) = &self.allow else { return Vec::new() };
        let ceiling = allow.iter().fold(0u64, |mask, capability| mask | capability.bit());
        let sets = [
            seen.cap_bounding,
            seen.cap_effective,
            seen.cap_inheritable,
            seen.cap_permitted,
            seen.cap_ambient,
        ];
        SETS.iter()
            .zip(sets)
            .filter(|(_, held)| held & !ceiling != 0)
            .map(|((_, name), held)| Mismatch {
                what: (*name).to_owned(),
                found: format!("{held:016x}"),
                allowed: format!("{ceiling:016x}"),
            })
            .collect()
    }
}

fn list(allow: &BTreeSet<Capability>) -> String {
    if allow.is_empty() {
        return "no capability".to_owned();
    }
    allow.iter().map(Capability::to_string).collect::<Vec<_>>().join(", ")
}

/// A capability of the kernel, ordered by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability(caps::Capability);

impl Capability {
    /// Every capability, in the order of their numbers.
    pub fn all() -> impl Iterator<Item = Capability> {
        let mut all: Vec<Capability> = caps::all().into_iter().map(Capability).collect();
        all.sort();
        all.into_iter()
    }

    /// The capability's bit in the masks of `/proc/<pid>/status`.
    pub fn bit(self) -> u64 {
        self.0.bitmask()
    }
}

impl FromStr for Capability {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        // crun takes names in any case (src/libcrun/linux.c); Go's table is upper case.
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        format!("CAP_{bare}").parse().map(Capability).map_err(|_| ())
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.to_string();
        formatter.write_str(name.strip_prefix("CAP_").unwrap_or(&name))
    }
}

impl PartialOrd for Capability {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Capability {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bit().cmp(&other.bit())
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(|()| {
            // With or without CAP_: compared with the names that have none.
            let name = name.strip_prefix("CAP_").unwrap_or(&name);
            let known: Vec<String> = Capability::all().map(|known| known.to_string()).collect();
            de::Error::custom(suggest::unknown(
                "capability",
                name,
                known.iter().map(String::as_str),
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced, is_within};
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    fn allow(names: &[&str]) -> Capabilities {
        Capabilities { allow: Some(names.iter().map(|name| name.parse().unwrap()).collect()) }
    }

    #[test]
    fn all_five_sets_come_down_to_the_ceiling() {
        let caps = json!(["CAP_SYS_ADMIN", "CAP_KILL", "cap_net_raw", "CAP_NEW_IN_LINUX_9"]);
        let spec = json!({"process": {"capabilities": {
            "bounding": caps, "effective": caps, "inheritable": caps, "permitted": caps,
            "ambient": caps,
        }}});
        let after = enforced(&allow(&["KILL", "CHOWN"]), &spec);
        for (set, _) in SETS {
            assert_eq!(after["process"]["capabilities"][set], json!(["CAP_KILL"]), "{set}");
        }
    }

    #[test]
    fn an_absent_object_is_everything_and_becomes_nothing() {
        let after = enforced(&allow(&["KILL"]), &json!({"process": {"args": ["a"]}}));
        assert_eq!(after["process"]["capabilities"]["bounding"], json!([]));
        assert!(is_within(&Capabilities::top(), &json!({"process": {}})));
    }

    impl Generated for Capabilities {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let all: Vec<Capability> = Capability::all().take(8).collect();
            let rules = proptest::option::of(subsequence(all, 4..=8))
                .prop_map(|allow| Capabilities { allow: allow.map(BTreeSet::from_iter) });
            let names = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_BPF", "CAP_FUTURE"];
            let set = || {
                let few = subsequence(names[..3].to_vec(), 0..=2);
                prop_oneof![2 => few, 1 => subsequence(names.to_vec(), 0..5)]
            };
            let specs =
                (select(vec![true, false]), set(), set(), set()).prop_map(|(object, a, b, c)| {
                    let mut spec = json!({"process": {}});
                    if object {
                        spec["process"]["capabilities"] = json!({"bounding": a, "effective": b,
                        "permitted": b, "ambient": c});
                    }
                    spec
                });
            (rules.boxed(), specs.boxed())
        }
    }

    #[test]
    fn names_are_the_kernels() {
        let last = Capability::all().last().unwrap();
        assert_eq!((last.to_string().as_str(), last.bit()), ("CHECKPOINT_RESTORE", 1 << 40));
        assert_eq!("CAP_SYS_ADMIN".parse::<Capability>().unwrap().bit(), 1 << 21);
        assert!("SYS_ADMN".parse::<Capability>().is_err());
    }

    #[test]
    fn verify_names_the_set_that_is_too_wide() {
        let seen =
            Seen { cap_bounding: 1 << 21 | 1 << 5, cap_effective: 1 << 5, ..Seen::default() };
        let found = allow(&["KILL"]).verify(&seen);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].what, "CapBnd");
    }
}
