//! The laws that every control keeps, as one suite: a control joins with a line in its tests.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Asked, Joined, Node, Rule};
use crate::facts::Facts;
use crate::spec::edit::Edit;
use crate::spec::view;

/// Facts and a node for requests in tests.
pub(crate) fn request() -> (Facts, Node) {
    let facts = Facts::of("test", &Value::Null);
    let joins = [("/proc/1/ns/pid", Joined::Host), ("/run/netns/pod", Joined::Other)];
    let digests = [("/usr/bin/hook-a", "a"), ("/usr/bin/hook-b", "b")];
    let node = Node {
        landlock_abi: 7,
        kernel: (6, 18),
        joins: joins.map(|(path, joined)| (path.to_owned(), joined)).into(),
        hook_digests: digests.map(|(path, digit)| (path.to_owned(), digit.repeat(64))).into(),
        ..Node::default()
    };
    (facts, node)
}

/// The spec after every remedy of `rule` is applied; panics where one has none.
pub(crate) fn enforced<R: Rule>(rule: &R, spec: &Value) -> Value {
    let (facts, node) = request();
    let mut after = spec.clone();
    for finding in rule.tighten(&Asked { spec, facts: &facts, node: &node, bounding: None }) {
        for edit in finding.remedy.unwrap_or_else(|| panic!("{} only refuses", finding.field)) {
            edit.apply(&mut after);
        }
    }
    after
}

/// Whether the request is within the rule.
pub(crate) fn is_within<R: Rule>(rule: &R, spec: &Value) -> bool {
    let (facts, node) = request();
    rule.tighten(&Asked { spec, facts: &facts, node: &node, bounding: None }).is_empty()
}

/// Holds that bringing a request that asks for too much of everything within `rule` changes the
/// fields that are the control's own, and no other.
pub(crate) fn touches_only<R: Rule>(rule: &R, fields: &[&str]) {
    let spec = greedy();
    let mut after = enforced(rule, &spec);
    assert_ne!(after, spec, "nothing was changed");
    assert!(is_within(rule, &after), "still not within: {after}");
    for field in fields {
        let asked = view::at(&spec, field).cloned().unwrap_or(Value::Null);
        Edit::Set((*field).to_owned(), asked).apply(&mut after);
        if view::at(&spec, field).is_none() {
            Edit::Remove((*field).to_owned()).apply(&mut after);
        }
    }
    assert_eq!(after, spec, "a field was changed that is not the control's own");
}

/// A request for too much of everything, and of nothing that could only be refused.
pub(crate) fn greedy() -> Value {
    let hook = json!({"path": "/tmp/hook", "args": ["hook"]});
    let all = json!(["CAP_SYS_ADMIN", "CAP_KILL"]);
    json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "annotations": {"run.oci.handler": "krun", "io.kubernetes.cri.sandbox-name": "pod"},
        "process": {
            "args": ["sh"], "cwd": "/", "env": ["A=B"],
            "user": {"uid": 1000, "gid": 1000, "additionalGids": [0, 1000, 2000]},
            "capabilities": {"bounding": all, "effective": all, "permitted": all},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 1024}],
            "apparmorProfile": "unconfined",
            "selinuxLabel": "system_u:system_r:spc_t:s0",
            "scheduler": {"policy": "SCHED_FIFO", "priority": 99},
        },
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "rw"]},
            {"destination": "/host", "type": "bind", "source": "/", "options": ["rbind", "rshared"]},
            {"destination": "/data", "type": "bind", "source": "/srv/data", "options": ["rbind"]},
        ],
        "hooks": {"prestart": [hook], "poststop": [hook]},
        "linux": {
            "namespaces": [{"type": "mount"}, {"type": "pid", "path": "/proc/1/ns/pid"}],
            "sysctl": {"kernel.core_pattern": "|/x", "net.ipv4.ip_forward": "1"},
            "devices": [{"path": "/dev/sda", "type": "b", "major": 8, "minor": 0}],
            "resources": {
                "devices": [{"allow": true, "access": "rwm"}],
                "memory": {"limit": -1}, "pids": {"limit": 0},
                "unified": {"memory.max": "max", "cpu.weight": "5"},
            },
            "rootfsPropagation": "rshared",
            "intelRdt": {"closID": "x"},
        },
        "unknown": {"field": [1]},
    })
}

/// Holds `meet` and `tighten` to their laws on random rules and requests:
///
/// - `meet` is commutative, associative, idempotent, and `top` is its unit and asks nothing;
/// - a tightened request is within the rule, and tightening it again changes nothing;
/// - a request within `a.meet(b)` is within `a` and within `b`, so adding a policy widens nothing;
/// - a rule survives the record (serialising and reading back).
pub(crate) fn hold<R: Rule>(
    rules: impl Strategy<Value = R> + Clone,
    specs: impl Strategy<Value = Value>,
) {
    let inputs = (rules.clone(), rules.clone(), rules, specs);
    proptest!(ProptestConfig::with_cases(256), |((a, b, c, spec) in inputs)| {
        prop_assert_eq!(a.meet(&b), b.meet(&a));
        prop_assert_eq!(a.meet(&b).meet(&c), a.meet(&b.meet(&c)));
        prop_assert_eq!(&a.meet(&a), &a);
        prop_assert_eq!(&a.meet(&R::top()), &a);
        prop_assert!(is_within(&R::top(), &spec));

        let text = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(&serde_json::from_str::<R>(&text).unwrap(), &a);

        let both = a.meet(&b);
        let (facts, node) = request();
        let asked = Asked { spec: &spec, facts: &facts, node: &node, bounding: None };
        let findings = both.tighten(&asked);
        if findings.iter().all(|finding| finding.remedy.is_some()) {
            let after = enforced(&both, &spec);
            prop_assert!(is_within(&both, &after), "not within after tightening: {after}");
            prop_assert_eq!(&enforced(&both, &after), &after);
            prop_assert!(is_within(&a, &after), "within the meet but not within a: {after}");
            prop_assert!(is_within(&b, &after), "within the meet but not within b: {after}");
            // Only tightens: whatever rule the request kept, its outcome keeps. A label put in the place
            // of another is no less and no more; only the kernel's profile can say.
            if !["appArmor", "seLinux"].contains(&R::CONTROL) && is_within(&c, &spec) {
                prop_assert!(is_within(&c, &after), "the request kept {c:?}, its outcome does not: {after}");
            }
        } else {
            prop_assert!(!is_within(&a, &spec) || !is_within(&b, &spec));
        }
        // What both allow, the meet allows: no stricter than it need be.
        if is_within(&a, &spec) && is_within(&b, &spec) {
            prop_assert!(is_within(&both, &spec), "both allow, the meet does not: {spec}");
        }
    });
}
