//! The laws that every control keeps, as one suite. A control of `for_each_control!` that does not
//! implement [`Generated`] does not compile in tests; `floor/laws.rs` runs them all.

use std::cell::Cell;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::seen::any_seen;
use super::{Asked, Finding, Joined, Node, Rule};
use crate::facts::Facts;
use crate::spec::edit::Edit;
use crate::spec::view;

/// Facts and a node for requests in tests.
pub(crate) fn request() -> (Facts, Node) {
    let facts = Facts::of("test", &Value::Null);
    let joins = [("/proc/1/ns/pid", Joined::Host), ("/run/netns/pod", Joined::Other)];
    let digests = [("/usr/bin/hook-a", "a"), ("/usr/bin/hook-b", "b"), ("/home/user/hook", "c")];
    let node = Node {
        landlock_abi: 7,
        stacks_app_armor: true,
        kernel: (6, 18),
        joins: joins.map(|(path, joined)| (path.to_owned(), joined)).into(),
        hook_digests: digests.map(|(path, digit)| (path.to_owned(), digit.repeat(64))).into(),
        unsafe_annotations: [
            "run.oci.",
            "bundle",
            "org.systemd.property.",
            "module.wasm.image/variant",
            "io.kubernetes.cri.container-type",
        ]
        .map(str::to_owned)
        .into(),
        hook_owners: [("/home/user/hook".to_owned(), 1000)].into(),
        ..Node::default()
    };
    (facts, node)
}

/// The spec after every remedy of `rule` is applied; panics where one has none.
pub(crate) fn enforced<R: Rule>(rule: &R, spec: &Value) -> Value {
    let mut after = spec.clone();
    for finding in findings_of(rule, spec) {
        for edit in finding.remedy.unwrap_or_else(|| panic!("{} only refuses", finding.field)) {
            edit.apply(&mut after);
        }
    }
    after
}

/// Whether the request is within the rule.
pub(crate) fn is_within<R: Rule>(rule: &R, spec: &Value) -> bool {
    findings_of(rule, spec).is_empty()
}

fn findings_of<R: Rule>(rule: &R, spec: &Value) -> Vec<Finding> {
    let (facts, node) = request();
    rule.tighten(&Asked::of(spec, &facts, &node))
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

/// What the suite needs of a control.
pub(crate) trait Generated: Rule {
    /// Whether a request that is too wide can be brought within a rule.
    const TIGHTENS: bool = true;
    /// Whether random rules may leave nothing at all, and the control says so.
    const CONTRADICTS: bool = false;

    /// Random rules, and random requests that are now within them, now wider.
    fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>);

    /// Rules besides, which between them look at every field of the control.
    fn strict() -> Vec<Self> {
        Vec::new()
    }
}

/// Holds a control to its laws on random rules and requests:
///
/// - rules are a bounded semilattice: `meet` is commutative, associative and idempotent, and `top` is its
///   unit and asks nothing; `at_least_as_strict_as` is its order, in which `meet` is the greatest
///   lower bound;
/// - a tightened request is within the rule, and tightening it again changes nothing;
/// - a request within `a.meet(b)` is within `a` and within `b`, so adding a policy widens nothing, and a
///   process that satisfies one satisfies the other;
/// - a rule survives the record (serialising and reading back).
///
/// It fails too where the random cases hardly ever come to what is to be tested.
pub(crate) fn hold<R: Generated>() {
    let (rules, specs) = R::generators();
    let reached = Reached::default();
    let inputs = (rules.clone(), rules.clone(), rules, specs, any_seen());
    proptest!(ProptestConfig::with_cases(CASES), |((a, b, c, spec, seen) in inputs)| {
        let both = a.meet(&b);
        prop_assert_eq!(&both, &b.meet(&a));
        prop_assert_eq!(both.meet(&c), a.meet(&b.meet(&c)));
        prop_assert_eq!(&a.meet(&a), &a);
        prop_assert_eq!(&a.meet(&R::top()), &a);
        prop_assert!(is_within(&R::top(), &spec));
        prop_assert!(R::top().verify(&seen).is_empty());

        for rule in [&a, &both] {
            let text = serde_json::to_string(rule).unwrap();
            prop_assert_eq!(&serde_json::from_str::<R>(&text).unwrap(), rule);
        }
        if both.contradiction().is_some() {
            prop_assert!(findings_of(&both, &spec).iter().any(|finding| finding.remedy.is_none()));
            prop_assert!(both.meet(&c).contradiction().is_some());
            reached.contradicted.count(true);
        }

        // The order, on three rules as they come and on three of which each is below the next.
        let all = both.meet(&c);
        prop_assert!(a.at_least_as_strict_as(&a) && a.at_least_as_strict_as(&R::top()));
        prop_assert!(both.at_least_as_strict_as(&a) && both.at_least_as_strict_as(&b));
        prop_assert!(all.at_least_as_strict_as(&both) && all.at_least_as_strict_as(&a));
        prop_assert!(all.at_least_as_strict_as(&a.meet(&c)), "meet is not monotone");
        for (x, y, z) in [(&a, &b, &c), (&both, &a, &c), (&c, &both, &a), (&all, &both, &a)] {
            let below = x.at_least_as_strict_as(y);
            prop_assert!(!below || !y.at_least_as_strict_as(x) || x == y, "{x:?} and {y:?} are below each other");
            prop_assert!(!below || !y.at_least_as_strict_as(z) || x.at_least_as_strict_as(z));
            let below_both = below && x.at_least_as_strict_as(z);
            prop_assert!(!below_both || x.at_least_as_strict_as(&y.meet(z)));
            prop_assert!(!below || !is_within(x, &spec) || is_within(y, &spec), "{x:?} allows more than {y:?}");
            prop_assert!(!below || !x.verify(&seen).is_empty() || y.verify(&seen).is_empty());
        }
        reached.ordered.count(a != b && b != R::top() && a.at_least_as_strict_as(&b));
        reached.unordered.count(!a.at_least_as_strict_as(&b) && !b.at_least_as_strict_as(&a));

        let satisfied = a.verify(&seen).is_empty() && b.verify(&seen).is_empty();
        prop_assert_eq!(both.verify(&seen).is_empty(), satisfied, "of the process");
        reached.satisfied.count(satisfied && both != R::top());
        reached.violated.count(!satisfied);

        let findings = findings_of(&both, &spec);
        if findings.iter().all(|finding| finding.remedy.is_some()) {
            let after = enforced(&both, &spec);
            prop_assert!(is_within(&both, &after), "not within after tightening: {after}");
            prop_assert_eq!(&enforced(&both, &after), &after);
            prop_assert!(is_within(&a, &after), "within the meet but not within a: {after}");
            prop_assert!(is_within(&b, &after), "within the meet but not within b: {after}");
            reached.tightened.count(after != spec);
            // Only tightens: whatever rule the request kept, its outcome keeps. A label put in the place
            // of another is no less and no more; only the kernel's profile can say.
            if !["appArmor", "seLinux"].contains(&R::CONTROL) && is_within(&c, &spec) {
                prop_assert!(is_within(&c, &after), "the request kept {c:?}, its outcome does not: {after}");
                reached.kept.count(after != spec && c != R::top());
            }
        } else {
            prop_assert!(!is_within(&a, &spec) || !is_within(&b, &spec));
            reached.refused.count(true);
        }
        // What both allow, the meet allows: no stricter than it need be.
        if is_within(&a, &spec) && is_within(&b, &spec) {
            prop_assert!(is_within(&both, &spec), "both allow, the meet does not: {spec}");
            reached.allowed.count(both != R::top());
        }
    });
    eprintln!("{}: of {CASES} cases {reached:?}", R::CONTROL);
    let least = CASES / 64;
    assert!(reached.allowed.0.get() >= least, "hardly a request is allowed: {reached:?}");
    assert_eq!(reached.contradicted.0.get() > 0, R::CONTRADICTS, "of contradictions: {reached:?}");
    if R::TIGHTENS {
        assert!(reached.tightened.0.get() >= least, "hardly a request is tightened: {reached:?}");
    }
}

const CASES: u32 = 256;

/// How many cases came to each question of which the answer could have been wrong.
#[derive(Debug, Default)]
struct Reached {
    ordered: Count,
    unordered: Count,
    satisfied: Count,
    violated: Count,
    tightened: Count,
    kept: Count,
    refused: Count,
    allowed: Count,
    contradicted: Count,
}

#[derive(Default)]
struct Count(Cell<u32>);

impl Count {
    fn count(&self, reached: bool) {
        self.0.set(self.0.get() + u32::from(reached));
    }
}

impl std::fmt::Debug for Count {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.get().fmt(formatter)
    }
}
