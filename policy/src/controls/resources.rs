//! `resources`: ceilings on what a container may use of the node (runtime-spec, config-linux.md).
//!
//! `unified` writes files of cgroup v2 after the typed limits and so over them (opencontainers/cgroups
//! fs2, setUnified). The kernel takes suffixes in its numbers there and the last of several lines;
//! what is not one plain number is taken for no limit.

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::glob::Glob;
use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const ROOT: &str = "linux.resources";

/// Ceilings on memory and processes. A container that asks for more, or for no limit, gets the
/// ceiling. `runc update` is held to them too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resources {
    /// The most memory that a container may be limited to, in bytes (Kubernetes:
    /// `resources.limits.memory`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<NonZeroU64>,
    /// The most memory and swap together, in bytes (OCI `memory.swap`). Limits memory alone too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_and_swap_limit: Option<NonZeroU64>,
    /// The most processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pids_limit: Option<NonZeroU64>,
    /// Files of cgroup v2 that a container may not write through `unified`, as globs. The built-in floors
    /// deny `cgroup.*`: a process id in `cgroup.procs` moves a process of the host, and
    /// `cgroup.subtree_control` or `cgroup.type` take limits away.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub deny_unified: BTreeSet<Glob>,
}

impl Rule for Resources {
    const CONTROL: &'static str = "resources";
    const SCOPE: Scope = Scope::Container;

    fn top() -> Self {
        Resources::default()
    }

    fn meet(&self, other: &Self) -> Self {
        Resources {
            memory_limit: lowest(self.memory_limit, other.memory_limit),
            memory_and_swap_limit: lowest(self.memory_and_swap_limit, other.memory_and_swap_limit),
            pids_limit: lowest(self.pids_limit, other.pids_limit),
            deny_unified: &self.deny_unified | &other.deny_unified,
        }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        let none = Value::Null;
        let resources = view::at(asked.spec, ROOT).unwrap_or(&none);
        let in_spec = |field: String| format!("{ROOT}.{field}");
        self.beyond(resources, Absent::NoLimit)
            .into_iter()
            .map(|finding| Finding {
                field: in_spec(finding.field),
                remedy: finding.remedy.map(|edits| {
                    edits
                        .into_iter()
                        .map(|edit| match edit {
                            Edit::Set(field, value) => Edit::Set(in_spec(field), value),
                            Edit::Remove(field) => Edit::Remove(in_spec(field)),
                        })
                        .collect()
                }),
                ..finding
            })
            .collect()
    }

    fn verify(&self, _seen: &Seen) -> Vec<Mismatch> {
        // Limits belong to the cgroup, of which a process's own files tell only the name.
        Vec::new()
    }
}

/// What it means that a limit is absent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Absent {
    /// At create: none.
    NoLimit,
    /// In an update: the one before.
    Unchanged,
}

/// A limit of the document: its place, its ceiling, and the file of cgroup v2 that overrides it.
struct Limit {
    field: &'static str,
    unified: &'static str,
    ceiling: u64,
}

impl Resources {
    /// What must change in the document of an update (`runc update --resources`), whose root is
    /// `linux.resources`. Absent means unchanged there.
    pub fn check_update(&self, resources: &Value) -> Vec<Finding> {
        self.beyond(resources, Absent::Unchanged)
    }

    fn beyond(&self, tree: &Value, absent: Absent) -> Vec<Finding> {
        let memory = lowest(self.memory_limit, self.memory_and_swap_limit);
        let limits: Vec<Limit> =
            [("memory.limit", "memory.max", memory), ("pids.limit", "pids.max", self.pids_limit)]
                .into_iter()
                .filter_map(|(field, unified, ceiling)| {
                    Some(Limit { field, unified, ceiling: ceiling?.get() })
                })
                .collect();
        let mut findings: Vec<Finding> = limits
            .iter()
            .filter(|limit| !is_within(tree, limit.field, limit.ceiling, absent))
            .map(|limit| {
                let mut remedy = vec![Edit::Set(limit.field.to_owned(), json!(limit.ceiling))];
                if limit.field == "memory.limit" {
                    remedy.extend(self.swap_beside(tree, limit.ceiling));
                }
                finding(tree, limit.field, limit.ceiling, remedy)
            })
            .collect();
        if let Some(ceiling) = self.memory_and_swap_limit.map(NonZeroU64::get)
            && !is_within(tree, "memory.swap", ceiling, absent)
        {
            let remedy = vec![Edit::Set("memory.swap".to_owned(), json!(ceiling))];
            findings.push(finding(tree, "memory.swap", ceiling, remedy));
        }
        findings.extend(self.unified_beyond(tree, &limits, memory.map(NonZeroU64::get)));
        findings
    }

    /// The swap limit counts memory too: where the memory limit comes down, it comes down by as much,
    /// or the container would be given swap that it did not ask for.
    fn swap_beside(&self, tree: &Value, ceiling: u64) -> Option<Edit> {
        let (limit, swap) = (limited(tree, "memory.limit")?, limited(tree, "memory.swap")?);
        let most = self.memory_and_swap_limit.map_or(u64::MAX, NonZeroU64::get);
        let swap = ceiling.saturating_add(swap.saturating_sub(limit)).min(most);
        Some(Edit::Set("memory.swap".to_owned(), json!(swap)))
    }

    fn unified_beyond(&self, tree: &Value, limits: &[Limit], memory: Option<u64>) -> Vec<Finding> {
        let ceiling_of = |key: &str| {
            if key == "memory.swap.max" {
                // Swap alone: what memory leaves of the ceiling for both.
                let most = self.memory_and_swap_limit?.get();
                let limit = limited(tree, "memory.limit").filter(|limit| Some(*limit) <= memory);
                return Some(limit.map_or(0, |limit| most.saturating_sub(limit)));
            }
            limits.iter().find(|limit| limit.unified == key).map(|limit| limit.ceiling)
        };
        let mut kept = Map::new();
        let mut found = Vec::new();
        for (key, value) in view::entries(tree, "unified") {
            let ceiling =
                ceiling_of(key).filter(|ceiling| plain(value).is_none_or(|asked| asked > *ceiling));
            if self.deny_unified.iter().any(|glob| glob.matches(key)) {
                found.push((key, value, "nothing".to_owned()));
            } else if let Some(ceiling) = ceiling {
                found.push((key, value, format!("at most {ceiling}")));
            } else {
                kept.insert(key.to_owned(), value.clone());
            }
        }
        let remedy = vec![Edit::Set("unified".to_owned(), kept.into())];
        found
            .into_iter()
            .map(|(key, value, allowed)| Finding {
                field: format!("unified[{key}]"),
                asked: value.clone(),
                allowed,
                remedy: Some(remedy.clone()),
            })
            .collect()
    }
}

fn finding(tree: &Value, field: &str, ceiling: u64, remedy: Vec<Edit>) -> Finding {
    Finding {
        field: field.to_owned(),
        asked: view::at(tree, field).cloned().unwrap_or(Value::Null),
        allowed: format!("at most {ceiling}"),
        remedy: Some(remedy),
    }
}

fn is_within(tree: &Value, field: &str, ceiling: u64, absent: Absent) -> bool {
    match view::at(tree, field) {
        None => absent == Absent::Unchanged,
        Some(_) => limited(tree, field).is_some_and(|limit| limit <= ceiling),
    }
}

/// The limit at a place. Zero and less are none to the runtimes; what is no number is none either.
fn limited(tree: &Value, field: &str) -> Option<u64> {
    view::at(tree, field).and_then(Value::as_u64).filter(|limit| *limit > 0)
}

/// The number that a file of cgroup v2 would be given, where it is one and nothing else.
fn plain(value: &Value) -> Option<u64> {
    let text = value.as_str()?.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The lower of two ceilings, either of which may be none.
fn lowest(ours: Option<NonZeroU64>, theirs: Option<NonZeroU64>) -> Option<NonZeroU64> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => Some(ours.min(theirs)),
        (ours, theirs) => ours.or(theirs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced, touches_only};
    use proptest::prelude::*;
    use proptest::sample::select;

    fn rule(memory: u64, both: u64, pids: u64) -> Resources {
        Resources {
            memory_limit: NonZeroU64::new(memory),
            memory_and_swap_limit: NonZeroU64::new(both),
            pids_limit: NonZeroU64::new(pids),
            ..Resources::default()
        }
    }

    fn after(rule: Resources, resources: Value) -> Value {
        enforced(&rule, &json!({"linux": {"resources": resources}}))["linux"]["resources"].clone()
    }

    #[test]
    fn no_limit_is_more_than_any() {
        for asked in [json!(null), json!(0), json!(-1), json!("9"), json!(5e9), json!(101)] {
            let after = after(rule(100, 0, 7), json!({"memory": {"limit": asked}}));
            assert_eq!(after, json!({"memory": {"limit": 100}, "pids": {"limit": 7}}), "{asked}");
        }
    }

    #[test]
    fn a_lower_limit_gives_no_swap_that_was_not_asked() {
        let memory = json!({"limit": 400, "swap": 400});
        assert_eq!(after(rule(100, 0, 0), json!({"memory": memory}))["memory"]["swap"], 100);
        let memory = json!({"limit": 400, "swap": 430});
        assert_eq!(after(rule(100, 120, 0), json!({"memory": memory}))["memory"]["swap"], 120);
    }

    #[test]
    fn unified_does_not_get_past_a_ceiling() {
        let memory = json!({"limit": 50, "swap": 60});
        let asked = |value: &str| {
            let unified = json!({"memory.max": value, "memory.swap.max": "70", "cpu.weight": "5"});
            let resources = json!({"memory": memory, "pids": {"limit": 1}, "unified": unified});
            after(rule(100, 110, 9), resources)["unified"].clone()
        };
        for value in ["max", "101", "1G", "50\nmax", "+5", ""] {
            assert_eq!(asked(value), json!({"cpu.weight": "5"}), "{value}");
        }
        assert_eq!(asked("100"), json!({"memory.max": "100", "cpu.weight": "5"}));
    }

    #[test]
    fn files_that_move_processes_are_not_written() {
        let rule: Resources = serde_json::from_value(json!({"denyUnified": ["cgroup.*"]})).unwrap();
        let unified = json!({"cgroup.procs": "1", "cgroup.type": "threaded", "memory.high": "5"});
        let found = rule.check_update(&json!({"unified": unified}));
        assert_eq!(found.len(), 2);
        assert_eq!(
            after(rule, json!({"unified": unified}))["unified"],
            json!({"memory.high": "5"})
        );
    }

    #[test]
    fn an_update_leaves_what_it_does_not_name() {
        let rule = rule(100, 0, 7);
        assert!(rule.check_update(&json!({"cpu": {"shares": 2}})).is_empty());
        let found =
            rule.check_update(&json!({"memory": {"limit": -1}, "unified": {"pids.max": "8"}}));
        let fields: Vec<&str> = found.iter().map(|finding| finding.field.as_str()).collect();
        assert_eq!(fields, ["memory.limit", "unified[pids.max]"]);
    }

    impl Generated for Resources {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let ceiling = || select(vec![0u64, 0, 0, 10, 20]);
            let rules = (ceiling(), ceiling(), ceiling(), proptest::bool::weighted(0.3)).prop_map(
                |(a, b, c, core)| Resources {
                    deny_unified: core.then(|| "cgroup.*".parse().unwrap()).into_iter().collect(),
                    ..rule(a, b, c)
                },
            );
            let limit =
                || select(vec![json!(null), json!(-1), json!(5), json!(8), json!(9), json!(15)]);
            let file =
                || select(vec![json!(null), json!(null), json!("max"), json!("4"), json!("12")]);
            let procs = select(vec![json!(null), json!("1")]);
            let specs = (limit(), limit(), limit(), (file(), file(), procs)).prop_map(
                |(memory, swap, pids, (max, swap_max, procs))| {
                    let files = [
                        ("memory.max", max),
                        ("memory.swap.max", swap_max),
                        ("cgroup.procs", procs),
                    ];
                    let files: Map<String, Value> = files
                        .into_iter()
                        .filter(|(_, value)| !value.is_null())
                        .map(|(file, value)| (file.to_owned(), value))
                        .collect();
                    json!({"linux": {"resources": {"memory": {"limit": memory, "swap": swap},
                        "pids": {"limit": pids}, "unified": files}}})
                },
            );
            (rules.boxed(), specs.boxed())
        }
    }

    #[test]
    fn changes_its_own_fields_alone() {
        let own = ["memory", "pids", "unified"].map(|field| format!("linux.resources.{field}"));
        touches_only(&rule(10, 20, 5), &own.each_ref().map(String::as_str));
    }
}
