//! The spec's table held to its word: a row that says `Floored` names a control that looks at the field.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::*;
use crate::controls::laws::{self, Generated};
use crate::controls::{Asked, Node};
use crate::facts::Facts;
use crate::spec::edit::Edit;
use crate::spec::table::{Decision, FIELDS};

/// How many random rules and requests a control is given to show that it looks at a field.
const TRIES: usize = 8;

macro_rules! define_search {
    ($($field:ident: $rule:ty,)*) => {
        /// Whether the control of this name looks at the field; `None` where there is no such control.
        fn is_looked_at(control: &str, place: &str) -> Option<bool> {
            $(if control == <$rule as Rule>::CONTROL {
                return Some(looks_at::<$rule>(place));
            })*
            None
        }
    };
}
crate::for_each_control!(define_search);

#[test]
fn every_floored_field_is_looked_at_by_its_control() {
    let mut wrong = Vec::new();
    for (place, decision) in FIELDS {
        if let Decision::Floored(control) = decision
            && is_looked_at(control, place) != Some(true)
        {
            wrong.push(format!("{place} by {control}"));
        }
    }
    assert!(wrong.is_empty(), "not looked at: {wrong:#?}");
}

#[test]
fn a_control_that_ignores_a_field_or_is_none_is_noticed() {
    assert_eq!(is_looked_at("capabilities", "process.capabilities.bounding"), Some(true));
    assert_eq!(is_looked_at("capabilities", "process.rlimits[].hard"), Some(false));
    assert_eq!(is_looked_at("hooks", "hooks.prestart[].timeout"), Some(true));
    assert_eq!(is_looked_at("hooks", "hooks.prestart[].args"), Some(false));
    assert_eq!(is_looked_at("mounts", "mounts[].uidMappings[].size"), Some(false));
    assert_eq!(is_looked_at("capability", "process.capabilities"), None);
}

/// A field is looked at where bringing a request within a rule does not commute with changing the
/// field: some rule and some request come out otherwise than the change alone accounts for.
fn looks_at<R: Generated>(place: &str) -> bool {
    let (rules, specs) = R::generators();
    let mut runner = TestRunner::deterministic();
    let mut draw =
        |strategy: &BoxedStrategy<Value>| strategy.new_tree(&mut runner).unwrap().current();
    let mut requests = vec![everything()];
    for mappings in ["linux.uidMappings", "linux.gidMappings"] {
        let mut root = everything();
        put(&mut root, &format!("{mappings}[].hostID"), Some(&json!(0)));
        requests.push(root);
    }
    requests.extend((0..TRIES).map(|_| draw(&specs)));
    let mut runner = TestRunner::deterministic();
    let mut strict = R::strict();
    strict.extend((0..TRIES).map(|_| rules.new_tree(&mut runner).unwrap().current()));
    strict.dedup();
    for (request, value) in
        requests.iter().flat_map(|request| values().into_iter().map(move |value| (request, value)))
    {
        let changed = |mut tree: Value| {
            put(&mut tree, place, value.as_ref());
            tree
        };
        let after = changed(request.clone());
        let told = |rule: &R| outcome(rule, &after) != outcome(rule, request).map(changed);
        if after != *request && strict.iter().any(told) {
            return true;
        }
    }
    // What is denied by name goes with all that is in it.
    R::CONTROL == Fields::CONTROL
        && strict.iter().any(|rule| {
            let mut before = everything();
            put(&mut before, place, Some(&json!("x")));
            let mut after = outcome(rule, &before).unwrap_or_default();
            let gone = after.clone();
            put(&mut after, place, Some(&json!("y")));
            before != everything() && after == gone
        })
}

/// What becomes of a request; `None` where it is refused.
fn outcome<R: Rule>(rule: &R, request: &Value) -> Option<Value> {
    let (facts, node): (Facts, Node) = laws::request();
    let asked = Asked::of(request, &facts, &node);
    let mut after = request.clone();
    for finding in rule.tighten(&asked) {
        finding.remedy?.into_iter().for_each(|edit: Edit| edit.apply(&mut after));
    }
    Some(after)
}

/// Values that mean something to some control, or nothing to any.
fn values() -> Vec<Option<Value>> {
    let values = json!([
        true,
        false,
        0,
        1,
        7,
        -1,
        4096,
        1099511627776u64,
        "",
        "x",
        "a",
        "rwm",
        "unconfined",
        "rshared",
        "user",
        "pid",
        "4096",
        "max",
        "/proc",
        "/proc/1/ns/pid",
        "/usr/bin/hook-a",
        "SCMP_ACT_ALLOW",
        "SCMP_ACT_NOTIFY",
        "SCMP_CMP_NE",
        "read",
        [],
        {},
        ["x"],
        ["rshared"],
        [0],
        ["A=1"],
        ["SCMP_ARCH_X32"],
        ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
        "run.oci.handler",
        "kernel.core_pattern",
        {"run.oci.handler": "x"},
        {"kernel.core_pattern": "x"},
        {"memory.max": "max"},
        {"prestart": [{"path": "/tmp/hook"}]},
        "system_u:object_r:x_t:s0",
        ["CAP_SYS_ADMIN"],
        ["/proc/kcore"],
    ]);
    let values = values.as_array().into_iter().flatten().cloned();
    std::iter::once(None).chain(values.map(Some)).collect()
}

/// Puts a value, or nothing, in every field that the row's place stands for, where there is what holds it.
fn put(tree: &mut Value, place: &str, value: Option<&Value>) {
    let (head, rest) = match place.find(['.', '[', '{']) {
        Some(0) if place.starts_with('.') => return put(tree, &place[1..], value),
        Some(0) => {
            let rest = &place[2..];
            // The keys of a map are data too.
            if let (Value::Object(entries), true, Some(Value::String(key))) =
                (&mut *tree, rest.is_empty(), value)
            {
                entries.insert(key.clone(), json!("1"));
                return;
            }
            let each: Vec<&mut Value> = match tree {
                Value::Array(items) => items.iter_mut().collect(),
                Value::Object(entries) => entries.values_mut().collect(),
                _ => return,
            };
            for item in each {
                match (rest.is_empty(), value) {
                    (true, Some(value)) => *item = value.clone(),
                    (true, None) => *item = Value::Null,
                    (false, value) => put(item, rest, value),
                }
            }
            return;
        }
        Some(end) => place.split_at(end),
        None => (place, ""),
    };
    let Value::Object(object) = tree else { return };
    match (rest.is_empty(), value) {
        (true, Some(value)) => {
            object.insert(head.to_owned(), value.clone());
        }
        (true, None) => {
            object.shift_remove(head);
        }
        (false, value) => {
            if let Some(child) = object.get_mut(head) {
                put(child, rest, value);
            }
        }
    }
}

/// A request with something in every field that is floored.
fn everything() -> Value {
    let hook = json!({"path": "/tmp/hook", "args": ["hook"], "env": ["A=1"]});
    let good = json!({"path": "/usr/bin/hook-a", "args": ["hook"], "env": ["A=1"]});
    let hooks = json!([hook, good]);
    let mut spec = laws::greedy();
    let more = [
        ("process.capabilities.inheritable", json!(["CAP_SYS_ADMIN"])),
        ("process.capabilities.ambient", json!(["CAP_SYS_ADMIN"])),
        ("process.noNewPrivileges", json!(false)),
        (
            "process.scheduler",
            json!({"policy": "SCHED_FIFO", "nice": 1, "priority": 9, "flags": [],
            "runtime": 1, "deadline": 1, "period": 1}),
        ),
        ("process.ioPriority", json!({"class": "IOPRIO_CLASS_RT", "priority": 1})),
        ("process.execCPUAffinity", json!({"initial": "0", "final": "0"})),
        ("root.readonly", json!(false)),
        (
            "hooks",
            json!({"prestart": hooks, "createRuntime": hooks, "createContainer": hooks,
            "startContainer": hooks, "poststart": hooks, "poststop": hooks}),
        ),
        ("linux.uidMappings", json!([{"containerID": 0, "hostID": 100000, "size": 65536}])),
        ("linux.gidMappings", json!([{"containerID": 0, "hostID": 100000, "size": 65536}])),
        (
            "linux.namespaces",
            json!([{"type": "mount"}, {"type": "user"}, {"type": "pid", "path": "/run/netns/pod"}]),
        ),
        (
            "linux.resources.devices",
            json!([{"allow": true, "type": "c", "major": 10, "minor": 200, "access": "rwm"}]),
        ),
        ("linux.resources.memory.disableOOMKiller", json!(true)),
        ("linux.resources.memory.swap", json!(-1)),
        ("linux.resources.cpu", json!({"realtimeRuntime": 1, "realtimePeriod": 1})),
        (
            "linux.resources.network",
            json!({"classID": 1, "priorities": [{"name": "eth0", "priority": 1}]}),
        ),
        ("linux.netDevices", json!({"eth0": {"name": "eth1"}})),
        (
            "linux.seccomp",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"], "syscalls": [{"names": ["keyctl"], "action": "SCMP_ACT_ERRNO",
            "errnoRet": 1, "args": [{"index": 0, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_EQ"}]}]}),
        ),
        (
            "linux.intelRdt",
            json!({"closID": "x", "schemata": [], "l3CacheSchema": "x", "memBwSchema": "x",
            "enableCMT": true, "enableMBM": true, "enableMonitoring": true}),
        ),
        ("linux.memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0", "flags": []})),
        ("linux.personality", json!({"domain": "LINUX32", "flags": []})),
        ("linux.timeOffsets", json!({"monotonic": {"secs": 1, "nanosecs": 1}})),
        ("linux.mountLabel", json!("system_u:object_r:container_file_t:s0")),
        ("linux.maskedPaths", json!([])),
        ("linux.readonlyPaths", json!([])),
    ];
    for (field, value) in more {
        Edit::Set(field.to_owned(), value).apply(&mut spec);
    }
    spec
}
