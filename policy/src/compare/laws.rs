//! The comparison held to its word: where it reports nothing that loosens, nothing is looser.

use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::order::Order;
use super::*;
use crate::builtin;
use crate::controls::landlock::Landlock;
use crate::controls::laws::{greedy, request};
use crate::controls::{Executing, Node};
use crate::decide::{Door, Request, audit, decide};
use crate::demands::Demands;
use crate::document::{BuiltIn, Moment};
use crate::facts::Facts;
use crate::floor::{Action, Bound, Clause, Floor};
use crate::spec::edit::Edit;
use crate::verdict::Verdict;

const CASES: u32 = 128;

/// What a random policy may say of each control, weaker rules first.
const RULES: [(&str, &[&str]); 13] = [
    ("noNewPrivileges", &["false", "true"]),
    ("privileged", &["true", "false"]),
    ("readOnlyRootFilesystem", &["true"]),
    (
        "capabilities",
        &["{allow: [KILL, CHOWN]}", "{allow: [KILL]}", "{allow: [CHOWN]}", "{allow: []}"],
    ),
    ("maskedPaths", &["[/proc/kcore]", "[/proc/keys]", "[/proc/kcore, /proc/keys]"]),
    (
        "landlock",
        &["{bind: [80, 81]}", "{bind: [80]}", "{read: [/a]}", "{bind: [80], read: [/a, /b]}"],
    ),
    ("rlimits", &["{RLIMIT_CORE: 9}", "{RLIMIT_CORE: 0}", "{RLIMIT_CORE: 0, RLIMIT_CPU: 5}"]),
    ("user", &["{runAsNonRoot: true}", "{runAsUser: {ranges: [{min: 5, max: 9}]}}"]),
    (
        "exec",
        &[
            "{interactive: false}",
            "{commands: [[sh], [ls]]}",
            "{commands: [[sh]]}",
            "{commands: []}",
        ],
    ),
    ("appArmor", &["{allow: [a, b]}", "{allow: [a]}", "{default: a, allow: [a]}"]),
    (
        "seccomp",
        &[
            "{denySyscalls: [bpf]}",
            "{denySyscalls: [bpf, keyctl]}",
            "{architectures: []}",
            "{floor: runtime-default}",
            "{default: runtime-default, denySocketFamilies: [AF_ALG]}",
        ],
    ),
    (
        "annotations",
        &[
            "{deny: ['x.a']}",
            "{deny: ['x.*']}",
            "{deny: ['x.*', 'y']}",
            "{potentiallyUnsafe: {allow: [bundle]}}",
            "{potentiallyUnsafe: {allow: []}}",
        ],
    ),
    ("hostNamespaces", &["{allow: [pid, user]}", "{allow: [user]}", "{allow: []}"]),
];

const NAMESPACES: [&str; 4] = ["a", "b", "'a*'", "'*'"];
const POLICIES: [&str; 3] = ["p", "q", "r"];

#[derive(Debug, Clone)]
struct Policy {
    /// Lines of the spec before the controls.
    selector: String,
    mode: String,
    actions: String,
    rules: BTreeMap<&'static str, &'static str>,
}

fn list(names: &[&str]) -> String {
    format!("[{}]", names.join(", "))
}

fn selector() -> impl Strategy<Value = String> {
    let namespaces = proptest::option::weighted(0.7, subsequence(NAMESPACES.to_vec(), 0..=2));
    let containers = proptest::option::weighted(0.3, subsequence(vec!["x", "y"], 1..=2));
    let types = select(vec!["", "", "[sandbox]", "[sandbox, container]"]);
    let user_namespace = proptest::option::weighted(0.2, any::<bool>());
    (namespaces, containers, types, user_namespace).prop_map(
        |(namespaces, containers, types, own)| {
            let lists = [("namespaces", namespaces), ("containers", containers)];
            let mut fields: Vec<String> = lists
                .into_iter()
                .filter_map(|(name, names)| Some(format!("{name}: {}", list(&names?))))
                .collect();
            if !types.is_empty() {
                fields.push(format!("containerTypes: {types}"));
            }
            fields.extend(own.map(|own| format!("userNamespace: {own}")));
            format!("  match: {{{}}}\n", fields.join(", "))
        },
    )
}

fn mode() -> impl Strategy<Value = String> {
    let audited = RULES.map(|(control, _)| control).to_vec();
    prop_oneof![
        6 => Just(String::new()),
        1 => Just("  mode: audit\n".to_owned()),
        2 => select(vec![0, 30, 60, 100])
            .prop_map(|part| format!("  rollout: {{percentage: {part}}}\n")),
        2 => subsequence(audited, 1..=4).prop_map(|names| format!("  audit: {}\n", list(&names))),
    ]
}

fn actions() -> impl Strategy<Value = String> {
    let refused = select(vec![
        "",
        "",
        "  actions: {default: refuse}\n",
        "  actions: {privileged: refuse, rlimits: refuse}\n",
    ]);
    let best_effort = select(vec!["", "", "  bestEffort: [landlock, appArmor]\n"]);
    let included =
        select(vec!["", "", "", "  include: [pss/baseline]\n", "  include: [pss/restricted]\n"]);
    (refused, best_effort, included)
        .prop_map(|(refused, leave, included)| format!("{refused}{leave}{included}"))
}

fn rules() -> impl Strategy<Value = BTreeMap<&'static str, &'static str>> {
    let chosen = subsequence(RULES.to_vec(), 1..=5);
    (chosen, any::<[usize; 5]>()).prop_map(|(chosen, places)| {
        let rules = chosen.into_iter().zip(places);
        rules.map(|((control, rules), place)| (control, rules[place % rules.len()])).collect()
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    (selector(), mode(), actions(), rules()).prop_map(|(selector, mode, actions, rules)| Policy {
        selector,
        mode,
        actions,
        rules,
    })
}

impl Policy {
    fn text(&self, name: &str) -> String {
        let Policy { selector, mode, actions, rules } = self;
        let rules: Vec<String> =
            rules.iter().map(|(control, rule)| format!("  {control}: {rule}\n")).collect();
        format!(
            "---\napiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: {name}}}\n\
             spec:\n{selector}{mode}{actions}{}",
            rules.concat()
        )
    }
}

fn waiver() -> impl Strategy<Value = String> {
    let namespaces = subsequence(NAMESPACES[..3].to_vec(), 1..=2);
    let containers = select(vec!["", "", ", containers: [x]"]);
    let waives = subsequence(RULES.map(|(control, _)| control).to_vec(), 1..=6);
    let policies = select(vec![
        "",
        "",
        "  policies: [p]\n",
        "  policies: [q, r]\n",
        "  policies: [baseline]\n",
    ]);
    let period = select(vec![
        "  expires: 1970-01-02T00:00:00Z\n",
        "  expires: 1970-01-03T00:00:00Z\n",
        "  starts: 1970-01-02T00:00:00Z\n  duration: 1day\n",
        "  starts: 1970-01-01T12:00:00Z\n  duration: 1day\n",
    ]);
    (namespaces, containers, waives, policies, period).prop_map(
        |(namespaces, containers, waives, policies, period)| {
            format!(
                "  owner: o\n  reason: r\n  match: {{namespaces: {}{containers}}}\n  waives: {}\n{policies}{period}",
                list(&namespaces),
                list(&waives)
            )
        },
    )
}

/// A set: policies by their names, and waivers.
type Model = (Vec<(String, Policy)>, Vec<String>);

fn model() -> impl Strategy<Value = Model> {
    let policies = proptest::collection::vec(policy(), 1..=3).prop_map(|policies| {
        POLICIES.iter().map(|name| (*name).to_owned()).zip(policies).collect::<Vec<_>>()
    });
    (policies, proptest::collection::vec(waiver(), 0..=2))
}

/// A set that came of another: most of it is as it was.
fn descendant(old: Model) -> impl Strategy<Value = (Model, Model)> {
    let count = old.0.len() + 1;
    let changes = proptest::collection::vec((0usize..20, policy()), count);
    let waivers = proptest::collection::vec((0usize..8, waiver()), 0..=2);
    (Just(old), changes, waivers, any::<bool>()).prop_map(|(old, changes, waivers, turned)| {
        let mut new = old.clone();
        for ((_, policy), (change, other)) in new.0.iter_mut().zip(&changes) {
            match change {
                0 => policy.selector.clone_from(&other.selector),
                1 => policy.mode.clone_from(&other.mode),
                2 => policy.actions.clone_from(&other.actions),
                3 | 4 => policy.rules.extend(&other.rules),
                5 => policy.rules.clone_from(&other.rules),
                6 => {
                    policy.selector = "  match: {containerTypes: [sandbox, container]}\n".to_owned()
                }
                7 => policy.actions = "  actions: {default: refuse}\n".to_owned(),
                8 => policy.mode.clear(),
                9 => *policy = other.clone(),
                _ => {}
            }
        }
        match changes.last() {
            Some((0 | 1, _)) => {
                new.0.remove(0);
            }
            Some((2 | 3, _)) => new.0[0].0 = "renamed".to_owned(),
            Some((4 | 5, other)) => new.0.push(("added".to_owned(), other.clone())),
            _ => {}
        }
        if turned {
            new.0.reverse();
        }
        for (index, (change, waiver)) in waivers.into_iter().enumerate() {
            match change {
                0 => new.1.push(waiver),
                1 if index < new.1.len() => new.1[index] = waiver,
                2 | 3 if index < new.1.len() => {
                    new.1.remove(index);
                }
                _ => {}
            }
        }
        (old, new)
    })
}

fn directory((policies, waivers): &Model) -> Directory {
    let mut text: String = policies.iter().map(|(name, policy)| policy.text(name)).collect();
    for (index, waiver) in waivers.iter().enumerate() {
        text.push_str(&format!(
            "---\napiVersion: coaming.dev/v1alpha1\nkind: Waiver\nmetadata: {{name: w{index}}}\nspec:\n{waiver}"
        ));
    }
    Directory::of_text("p.yaml", &text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn facts() -> impl Strategy<Value = Facts> {
    let namespaces = select(vec![None, Some("a"), Some("b"), Some("ab"), Some("c")]);
    let names = select(vec![None, Some("x"), Some("y")]);
    let uid = proptest::option::of(0u8..20);
    let kinds = select(vec!["container", "container", "sandbox"]);
    let spaces = select(vec![json!([]), json!([]), json!([{"type": "user"}])]);
    (namespaces.clone(), namespaces, names, uid, kinds, spaces).prop_map(|facts| {
        let (said, also, name, uid, kind, spaces) = facts;
        let mut annotations = json!({"io.kubernetes.cri.container-type": kind});
        for (key, value) in [
            ("io.kubernetes.cri.sandbox-namespace", said),
            ("io.kubernetes.pod.namespace", also.or(said)),
            ("io.kubernetes.cri.container-name", name),
        ] {
            if let Some(value) = value {
                annotations[key] = json!(value);
            }
        }
        if let Some(uid) = uid {
            annotations["io.kubernetes.cri.sandbox-uid"] = json!(uid.to_string());
        }
        Facts::of("c", &json!({"annotations": annotations, "linux": {"namespaces": spaces}}))
    })
}

fn spec() -> impl Strategy<Value = Value> {
    let changes = [
        ("process.user.uid", json!(0)),
        ("process.user.uid", json!(7)),
        ("linux.namespaces", json!([{"type": "mount"}, {"type": "pid"}])),
        ("process.apparmorProfile", json!("a")),
        ("process.noNewPrivileges", json!(true)),
        ("process.rlimits", json!([])),
        ("annotations", json!({"x.a": "1", "x.b": "2", "y": "3", "bundle": "4"})),
    ];
    subsequence(changes.to_vec(), 0..=6).prop_map(|changes| {
        let mut spec = greedy();
        for (field, value) in changes {
            Edit::Set(field.to_owned(), value).apply(&mut spec);
        }
        spec
    })
}

/// Which clauses count.
type Kind<'a, R> = &'a dyn Fn(&Clause<R>) -> bool;

/// Whether what clauses demand together is within what others do; of all clauses, of those that refuse,
/// and of those that no node may leave out.
fn is_kept<R: Order>(old: &Bound<R>, new: &Bound<R>) -> bool {
    let met = |bound: &Bound<R>, counts: Kind<'_, R>| {
        let clauses = bound.clauses().iter().filter(|clause| counts(clause));
        clauses.fold(R::top(), |met, clause| met.meet(&clause.rule))
    };
    let kinds: [Kind<'_, R>; 4] = [
        &|_| true,
        &|clause| clause.action == Action::Refuse,
        &|clause| !clause.best_effort,
        &|clause| clause.action == Action::Refuse && !clause.best_effort,
    ];
    kinds.iter().all(|counts| met(new, counts).is_within(&met(old, counts)))
}

macro_rules! define_lost {
    ($($field:ident: $rule:ty,)*) => {
        /// The controls in which the new floor demands less than the old one.
        fn lost(old: &Floor, new: &Floor) -> Vec<&'static str> {
            let mut lost = Vec::new();
            $(if !is_kept(&old.$field, &new.$field) {
                lost.push(stringify!($field));
            })*
            lost
        }
    };
}
crate::for_each_control!(define_lost);

/// Decides under both floors: what starts under the new one would have started so under the old.
fn starts_no_wider(
    facts: &Facts,
    (spec, landlock_abi): (&Value, u32),
    old: &Floor,
    new: &Floor,
) -> Result<(), TestCaseError> {
    let (_, node) = request();
    let lsms = vec!["apparmor".to_owned()];
    let node = Node { lsms, landlock_abi, ..node };
    let exec = Executing { bounding: &[], stdin: true };
    for (door, exec) in [(Door::Create, None), (Door::Exec, Some(exec))] {
        let request = Request { door, spec, facts, node: &node, exec };
        let was = decide(&request, old);
        match decide(&request, new) {
            Verdict::Refuse(_) => {}
            Verdict::Admit(admission) => {
                if let Verdict::Refuse(refusal) = &was {
                    // A default that was added is what starts in the place of what is not allowed.
                    let other = refusal.reasons.iter().find(|r| r.control != "appArmor");
                    prop_assert!(other.is_none(), "no longer refused: {other:?}");
                }
                let missing = audit(&request, &admission, old);
                prop_assert!(
                    missing.changes.is_empty() && missing.refusals.is_empty(),
                    "started wider than the old floor: {missing:?}"
                );
                // What a node lacks is left out by leave of a policy, and of the same one as before.
                if let Verdict::Admit(was) = &was {
                    let [before, after] =
                        [was, &admission].map(|started| Landlock::of(&started.launch.layers));
                    prop_assert!(after.is_within(&before), "{after:?} beyond {before:?}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn what_is_not_reported_is_not_looser() {
    let (same, kept, lost_some) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let pairs = prop_oneof![
        5 => model().prop_flat_map(descendant),
        1 => (model(), model()),
    ];
    let moments = select(vec![0u64, 43_200, 86_399, 86_400, 129_600, 172_799, 172_800, 1_000_000]);
    let asked = proptest::collection::vec((facts(), moments), 16);
    proptest!(ProptestConfig::with_cases(CASES), |((old_model, new_model) in pairs, asked in asked, spec in spec(), abi in select(vec![7u32, 7, 2]))| {
        let (old, new) = (directory(&old_model), directory(&new_model));
        let comparison = compare(&old, &new);
        let loosens = comparison.looser().next().is_some();
        prop_assert!(compare(&old, &old).differences().is_empty());
        let mut lost_here = false;
        for (index, (facts, now)) in asked.iter().enumerate() {
            for which in [BuiltIn::Baseline, BuiltIn::Node] {
                let upon = |directory: &Directory| {
                    let beneath = builtin::floor(which).unwrap();
                    Demands::upon(facts, directory, (which.name(), beneath), Moment(*now)).floor
                };
                let (before, after) = (upon(&old), upon(&new));
                let lost = lost(&before, &after);
                lost_here |= !lost.is_empty();
                prop_assert!(loosens || lost.is_empty(), "{lost:?} of {facts:?} at {now}: {comparison:#?}");
                if !loosens && index == 0 && which == BuiltIn::Node {
                    starts_no_wider(facts, (&spec, abi), &before, &after)?;
                }
            }
        }
        let changed = comparison.tighter().next().is_some();
        same.set(same.get() + u32::from(!loosens && !changed));
        kept.set(kept.get() + u32::from(!loosens && changed));
        lost_some.set(lost_some.get() + u32::from(loosens && lost_here));
    });
    let (same, kept, lost) = (same.get(), kept.get(), lost_some.get());
    let told = CASES - same - kept;
    eprintln!(
        "of {CASES} pairs {same} the same, {kept} tighter alone, {told} looser, {lost} of these seen to be"
    );
    assert!(kept >= CASES / 16, "hardly a pair is tighter alone: {kept}");
    // It is no use to call everything looser.
    assert!(lost * 2 >= told, "of {told} pairs that are told to be looser, {lost} were seen to be");
}
