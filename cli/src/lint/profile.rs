//! Lints of the seccomp profiles that a policy names: rules that say nothing.

use std::collections::BTreeMap;
use std::path::Path;

use coaming_config::trust::read_root_owned;
use serde_json::Value;

use super::Lints;

pub(super) fn lint(lints: &mut Lints<'_>) {
    let Some(at) = &lints.document.spec.seccomp else { return };
    let (line, rules) = (at.line, &at.value);
    let folder = Path::new(lints.file).parent().unwrap_or(Path::new("."));
    let names: Vec<String> = rules.floor.iter().chain(&rules.default).cloned().collect();
    for name in names {
        // The name of a profile that is built in is no file's. A file was read before, and is sound.
        let Ok(bytes) = read_root_owned(&folder.join(&name)) else { continue };
        let Ok(profile) = serde_json::from_slice::<Value>(&bytes) else { continue };
        for message in needless(&profile) {
            lints.warn(line, format!("{name}: {message}"));
        }
    }
}

/// A rule for one system call: what it does, and under what conditions.
#[derive(PartialEq)]
struct OneCall<'a> {
    index: usize,
    action: &'a str,
    errno: Option<&'a Value>,
    conditions: Vec<&'a Value>,
}

fn needless(profile: &Value) -> Vec<String> {
    let rules = profile.get("syscalls").and_then(Value::as_array);
    let mut calls: BTreeMap<&str, Vec<OneCall<'_>>> = BTreeMap::new();
    for (index, rule) in rules.into_iter().flatten().enumerate() {
        let list = rule.get("names").and_then(Value::as_array).into_iter().flatten();
        // Docker's format had one name to a rule before it had a list.
        for name in list.chain(rule.get("name")).filter_map(Value::as_str) {
            calls.entry(name).or_default().push(OneCall {
                index,
                action: rule.get("action").and_then(Value::as_str).unwrap_or_default(),
                errno: rule.get("errnoRet").filter(|errno| !errno.is_null()),
                conditions: ["args", "includes", "excludes"]
                    .iter()
                    .filter_map(|key| rule.get(*key))
                    .filter(|value| !is_empty(value))
                    .collect(),
            });
        }
    }
    let default = profile.get("defaultAction").and_then(Value::as_str).unwrap_or_default();
    calls.into_iter().filter_map(|(name, rules)| about(name, &rules, default)).collect()
}

/// What is needless among the rules for one call. That two contradict each other is an error, found when the
/// profile was read.
fn about(name: &str, rules: &[OneCall<'_>], default: &str) -> Option<String> {
    let same = |a: &OneCall<'_>, b: &OneCall<'_>| {
        a.action == b.action && a.errno == b.errno && a.conditions == b.conditions
    };
    for (second, rule) in rules.iter().enumerate() {
        let earlier = rules.get(..second).unwrap_or_default();
        if let Some(first) = earlier.iter().find(|first| same(first, rule)) {
            let (first, second) = (first.index, rule.index);
            return Some(match first == second {
                true => format!("syscalls[{first}] names {name} twice"),
                false => format!("syscalls[{second}] says of {name} what syscalls[{first}] says"),
            });
        }
    }
    // Where the default refuses, naming a call has an effect even so: runc answers ENOSYS to numbers
    // above the highest that is named.
    let idle = rules.iter().find(|rule| rule.action == ALLOW && default == ALLOW)?;
    Some(format!("syscalls[{}] allows {name}, as the defaultAction does", idle.index))
}

const ALLOW: &str = "SCMP_ACT_ALLOW";

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.values().all(is_empty),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(default: &str, rules: Value) -> Vec<String> {
        needless(&json!({"defaultAction": default, "syscalls": rules}))
    }

    #[test]
    fn what_stands_twice_or_says_nothing_is_found() {
        let allow = |names: &[&str]| json!({"names": names, "action": "SCMP_ACT_ALLOW"});
        let found_in = |rules| found("SCMP_ACT_ERRNO", rules);
        assert_eq!(found_in(json!([allow(&["read", "read"])])), ["syscalls[0] names read twice"]);
        assert_eq!(
            found_in(json!([allow(&["read"]), allow(&["write", "read"])])),
            ["syscalls[1] says of read what syscalls[0] says"]
        );
        let idle = found("SCMP_ACT_ALLOW", json!([allow(&["read"])]));
        assert_eq!(idle, ["syscalls[0] allows read, as the defaultAction does"]);
        assert_eq!(found_in(json!([allow(&["read"])])), Vec::<String>::new());
    }

    #[test]
    fn rules_under_conditions_are_left_alone() {
        let args = |value: u64| {
            json!({"names": ["personality"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]})
        };
        let caps = json!({"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}});
        let none = json!({"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_BPF"]}});
        assert_eq!(
            found("SCMP_ACT_ERRNO", json!([args(0), args(8), caps, none])),
            Vec::<String>::new()
        );
    }
}
