//! Every control held to its laws, and whole floors of random clauses of all controls at once.

use std::cell::Cell;
use std::fmt;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::*;
use crate::controls::laws::{self, Generated};
use crate::decide::{Door, Request, decide};
use crate::spec::edit::Edit;
use crate::verdict::{Admission, Verdict};

macro_rules! hold_each {
    ($($field:ident: $rule:ty,)*) => {
        mod each {
            use super::*;

            $(#[test]
            fn $field() {
                laws::hold::<$rule>();
            })*
        }
    };
}
crate::for_each_control!(hold_each);

macro_rules! define_generators {
    ($($field:ident: $rule:ty,)*) => {
        fn any_floor() -> BoxedStrategy<Shown> {
            let floor = Just(Floor::default()).boxed();
            $(
                let floor = (floor, any_bound::<$rule>())
                    .prop_map(|(floor, $field)| Floor { $field, ..floor })
                    .boxed();
            )*
            floor.prop_map(Shown).boxed()
        }

        /// What the controls' own generators ask for, all together.
        fn any_spec() -> BoxedStrategy<Value> {
            let spec = base_spec().boxed();
            $(
                let own = proptest::option::of(<$rule>::generators().1);
                let spec = (spec, own)
                    .prop_map(|(mut spec, own)| {
                        own.into_iter().for_each(|own| merge(&mut spec, own));
                        spec
                    })
                    .boxed();
            )*
            spec
        }
    };
}
crate::for_each_control!(define_generators);

/// None, one or two clauses: most policies say nothing of most controls.
fn any_bound<R: Generated>() -> impl Strategy<Value = Bound<R>> {
    let clause = (R::generators().0, 0u8..8, select(vec!["a", "b", "c"]), 1u64..4).prop_map(
        |(rule, action, policy, line)| Clause {
            rule,
            action: if action == 0 { Action::Refuse } else { Action::Tighten },
            best_effort: action == 1,
            source: Source {
                policy: policy.to_owned(),
                file: format!("{policy}.yaml"),
                line,
                field: format!("spec.{}", R::CONTROL),
                include: (action == 2).then(|| "default".to_owned()),
            },
        },
    );
    let clauses = prop_oneof![
        5 => Just(Vec::new()),
        2 => clause.clone().prop_map(|clause| vec![clause]),
        1 => proptest::collection::vec(clause, 2),
    ];
    clauses.prop_map(|clauses| {
        clauses.into_iter().fold(Bound::default(), |bound, clause| bound.meet(&Bound::of(clause)))
    })
}

fn base_spec() -> impl Strategy<Value = Value> {
    let ordinary = json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 1000, "gid": 1000}},
        "mounts": [{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "network"},
            {"type": "ipc"}, {"type": "uts"}, {"type": "cgroup"}]},
    });
    let mut greedy = laws::greedy();
    merge(&mut greedy, json!({"mounts": [{"destination": "/dev", "type": "tmpfs"}]}));
    prop_oneof![3 => Just(ordinary), 1 => Just(greedy)]
}

/// Objects are merged and arrays appended; of other values the later counts.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(into), Value::Array(from)) => into.extend(from),
        (_, Value::Null) => {}
        (into, from) => *into = from,
    }
}

/// A floor that shows itself as its record would: what is not demanded is not there.
#[derive(Clone, PartialEq)]
struct Shown(Floor);

impl fmt::Debug for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&serde_json::to_string_pretty(&self.0).map_err(|_| fmt::Error)?)
    }
}

fn decided(door: Door, spec: &Value, floor: &Floor) -> Verdict {
    let (facts, mut node) = laws::request();
    node.lsms = ["landlock", "apparmor", "selinux"].map(str::to_owned).into();
    let request = Request { door, spec, facts: &facts, node: &node, exec: None };
    decide(&request, floor)
}

/// What was admitted, as a request: the launcher's filter stands in the spec again.
fn enforced(admission: &Admission) -> Value {
    let mut spec = admission.spec.clone();
    if let Some(section) = &admission.seccomp {
        Edit::Set("linux.seccomp".to_owned(), section.clone()).apply(&mut spec);
    }
    spec
}

/// An exec's request, of a container's spec.
fn exec_of(spec: &Value) -> Value {
    let mut asked = json!({"process": spec.get("process")});
    if let Some(section) = spec.pointer("/linux/seccomp") {
        asked["linux"] = json!({"seccomp": section});
    }
    asked
}

fn holds_for(door: Door, spec: &Value, f: &Floor, g: &Floor) -> Result<bool, TestCaseError> {
    let both = f.meet(g);
    let verdict = decided(door, spec, &both);
    prop_assert_eq!(&decided(door, spec, &g.meet(f)), &verdict, "the order of policies shows");
    let admission = match verdict {
        Verdict::Admit(admission) => admission,
        Verdict::Refuse(refusal) => {
            prop_assert!(!refusal.reasons.is_empty());
            let defect = refusal.reasons.iter().find(|r| r.allowed.contains("this is a defect"));
            prop_assert!(defect.is_none(), "{defect:?}");
            return Ok(false);
        }
    };
    let outcome = enforced(&admission);
    let stack = Landlock::of(&admission.launch.layers);
    prop_assert_eq!(&stack, &both.landlock.met(), "the launcher is given other layers");
    for (name, floor) in [("the first", f), ("the second", g), ("both", &both)] {
        let again = decided(door, &outcome, floor);
        let Verdict::Admit(again) = again else {
            return Err(TestCaseError::fail(format!("{name} refuses {outcome:#}: {again:#?}")));
        };
        prop_assert!(again.changes.is_empty(), "{name} changes {outcome:#}: {:#?}", again.changes);
        prop_assert_eq!(&enforced(&again), &outcome);
        let layers = Landlock::of(&again.launch.layers);
        prop_assert!(stack.at_least_as_strict_as(&layers), "{name} asks for more layers");
    }
    Ok(outcome != *spec)
}

/// What is enforced under two floors is within each, whatever their order; and it stays as it is when it
/// is decided again.
#[test]
fn adding_a_policy_widens_nothing() {
    const CASES: u32 = 256;
    let (created, executed) = (Cell::new(0), Cell::new(0));
    proptest!(ProptestConfig::with_cases(CASES), |(
        f in any_floor(), g in any_floor(), spec in any_spec(),
    )| {
        let changed = holds_for(Door::Create, &spec, &f.0, &g.0)?;
        created.set(created.get() + u32::from(changed));
        let changed = holds_for(Door::Exec, &exec_of(&spec), &f.0, &g.0)?;
        executed.set(executed.get() + u32::from(changed));
    });
    let (created, executed) = (created.get(), executed.get());
    eprintln!(
        "of {CASES} requests each, {created} creates and {executed} execs were tightened and admitted"
    );
    assert!(
        created >= CASES / 64 && executed >= CASES / 64,
        "most are refused or changed in nothing"
    );
}

/// A policy that includes built-in ones is never wider than it is without, and never wider than they are.
#[test]
fn including_a_policy_widens_nothing() {
    use crate::document::{Include, parse_policies};
    const CASES: u32 = 64;
    let included = |list: &[Include]| {
        let names: Vec<&str> = list.iter().map(|which| which.name()).collect();
        let text = format!(
            "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  \
             actions: {{default: tighten}}\n  include: [{}]\n",
            names.join(", ")
        );
        parse_policies("p.yaml", &text).unwrap()[0].floor("p.yaml", &mut |_| panic!()).unwrap()
    };
    let changed = Cell::new(0);
    // Most random requests are of root or of nobody's AppArmor profile, and the standards refuse those.
    let some = proptest::sample::subsequence(Include::ALL.to_vec(), 1..=5);
    let lists = prop_oneof![Just(vec![Include::Default]), some];
    let floors = prop_oneof![Just(Shown(Floor::default())), any_floor()];
    proptest!(ProptestConfig::with_cases(CASES), |(f in floors, list in lists, spec in any_spec())| {
        let included = included(&list);
        let held = holds_for(Door::Create, &spec, &f.0, &included)?;
        let _ = holds_for(Door::Exec, &exec_of(&spec), &f.0, &included)?;
        changed.set(changed.get() + u32::from(held));
    });
    eprintln!("of {CASES} creates, {} were tightened and admitted", changed.get());
    assert!(changed.get() >= CASES / 32, "most are refused or changed in nothing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn floors_are_a_semilattice(f in any_floor(), g in any_floor(), h in any_floor()) {
        let (f, g, h) = (f.0, g.0, h.0);
        prop_assert_eq!(f.meet(&g), g.meet(&f));
        prop_assert_eq!(f.meet(&g).meet(&h), f.meet(&g.meet(&h)));
        prop_assert_eq!(&f.meet(&f), &f);
        prop_assert_eq!(&f.meet(&Floor::default()), &f);
        let text = serde_json::to_string(&f).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Floor>(&text).unwrap(), &f);
    }
}
