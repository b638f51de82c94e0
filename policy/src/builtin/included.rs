//! The policies that others may include: what they are, and what including them does.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::subsequence;
use serde_json::{Value, json};

use crate::builtin;
use crate::controls::{Joined, Node};
use crate::decide::{Door, Request, decide};
use crate::demands::Demands;
use crate::document::{Directory, Include, Moment};
use crate::facts::Facts;
use crate::floor::{Action, Bound, Floor, Visitor};
use crate::verdict::Verdict;

fn directory(spec: &str) -> Directory {
    let head = "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n";
    Directory::of_text("p.yaml", &format!("{head}{spec}")).unwrap_or_else(|error| panic!("{error}"))
}

fn demanded(spec: &str, facts: &Facts) -> Demands {
    Demands::upon(facts, &directory(spec), ("none", Floor::default()), Moment(0))
}

const SANDBOX: &str = "sandbox";
const CONTAINER: &str = "container";

/// What containerd asks for a plain container, in its essentials.
fn ordinary(kind: &str) -> Value {
    let names = ["AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"];
    let more =
        ["NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"];
    let caps: Vec<String> = names.iter().chain(&more).map(|name| format!("CAP_{name}")).collect();
    let masked = [
        "/proc/acpi",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/sys/firmware",
    ];
    json!({
        "ociVersion": "1.2.0",
        "annotations": {"io.kubernetes.cri.container-type": kind, "io.kubernetes.cri.sandbox-uid": "9f"},
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps}},
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/etc/hosts", "type": "bind", "options": ["rbind", "rprivate", "rw"],
             "source": "/var/lib/kubelet/pods/9f/etc-hosts"},
            {"destination": "/dev/shm", "type": "bind", "options": ["rbind", "ro"],
             "source": "/run/containerd/io.containerd.grpc.v1.cri/sandboxes/1/shm"},
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "ipc", "path": "/proc/7/ns/ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "network", "path": "/proc/7/ns/net"}],
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "maskedPaths": masked,
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

fn verdict(spec: &str, asked: &Value) -> Verdict {
    let facts = Facts::of("c", asked);
    let joined = |path: &str| (path.to_owned(), Joined::Other);
    let node = Node {
        landlock_abi: 7,
        kernel: (6, 18),
        lsms: vec!["capability".to_owned()],
        joins: ["/proc/7/ns/ipc", "/proc/7/ns/net", "/proc/7/ns/user"].map(joined).into(),
        ..Node::default()
    };
    let request =
        Request { door: Door::Create, spec: asked, facts: &facts, node: &node, exec: None };
    decide(&request, &demanded(spec, &facts).floor)
}

fn refused(spec: &str, asked: &Value) -> BTreeSet<String> {
    match verdict(spec, asked) {
        Verdict::Refuse(refusal) => refusal.reasons.into_iter().map(|r| r.control).collect(),
        Verdict::Admit(admission) => {
            assert_eq!(admission.changes, [], "tightened and not refused");
            BTreeSet::new()
        }
    }
}

#[test]
fn the_documents_are_read_and_select_by_what_a_container_is_alone() {
    for which in Include::ALL {
        let documents = builtin::documents(which).unwrap();
        assert!(!documents.is_empty());
        for document in documents {
            let selector = serde_json::to_value(document.selector()).unwrap();
            let keys: Vec<&String> = selector.as_object().unwrap().keys().collect();
            let known = ["containerTypes", "userNamespace"];
            assert!(keys.iter().all(|key| known.contains(&key.as_str())), "{which:?}: {keys:?}");
            let spec = &document.spec;
            // These are the including policy's to say.
            assert!(spec.include.is_none() && spec.mode.is_none() && spec.audit.is_none());
            assert!(spec.rollout.is_none());
        }
        // What is written in a policy is what the name is read as.
        let read = directory(&format!("  include: [{}]\n", which.name()));
        assert_eq!(read.floors().count(), 1 + documents.len());
    }
}

#[test]
fn names_that_are_not_known_or_stand_twice_are_errors_with_their_place() {
    let head = "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n";
    for (include, words) in [
        ("[pss/restrictd]", "did you mean \"pss/restricted\""),
        ("[baselin]", "known: pss/baseline"),
        ("[cis, pss/baseline, cis]", "names cis twice"),
        ("cis", "a list"),
    ] {
        let text = format!("{head}  include: {include}\n");
        let error = Directory::of_text("p.yaml", &text).unwrap_err().to_string();
        assert!(error.starts_with("p.yaml:5:") && error.contains(words), "{error}");
    }
}

#[test]
fn what_is_refused_names_the_policy_its_line_and_the_built_in() {
    let mut asked = ordinary(CONTAINER);
    asked["mounts"].as_array_mut().unwrap().push(json!({"destination": "/host", "type": "bind",
        "source": "/", "options": ["rbind"]}));
    let Verdict::Refuse(refusal) = verdict("  include:\n    - cis\n    - pss/baseline\n", &asked)
    else {
        panic!("admitted")
    };
    let text = refusal.to_string();
    for words in [
        "policy p (p.yaml:6, include cis, spec.mounts)",
        "policy p (p.yaml:7, include pss/baseline, spec.mounts)",
    ] {
        assert!(text.contains(words), "{words} is not in: {text}");
    }
}

#[test]
fn the_policys_own_actions_and_leaves_count_for_what_it_includes() {
    let action_of = |spec: &str, include: &str, control: &str| -> Action {
        let read = directory(&format!("  include: [{include}]\n{spec}"));
        let mut found = Found { control, actions: BTreeSet::new(), best_effort: BTreeSet::new() };
        read.floors().for_each(|(_, floor)| floor.visit(&mut found));
        assert_eq!(found.actions.len(), 1, "{control} of {include}");
        *found.actions.first().unwrap()
    };
    assert_eq!(action_of("", "pss/baseline", "privileged"), Action::Refuse);
    assert_eq!(
        action_of("  actions: {privileged: tighten}\n", "pss/baseline", "privileged"),
        Action::Tighten
    );
    assert_eq!(
        action_of("  actions: {mounts: tighten}\n", "pss/baseline", "privileged"),
        Action::Refuse
    );
    assert_eq!(action_of("  actions: {default: tighten}\n", "cis", "privileged"), Action::Tighten);
    assert_eq!(action_of("  actions: {default: refuse}\n", "default", "seccomp"), Action::Refuse);
    assert_eq!(action_of("", "default", "seccomp"), Action::Tighten);

    let of_lsms = |spec: &str| {
        let read = directory(spec);
        let mut found =
            Found { control: "appArmor", actions: BTreeSet::new(), best_effort: BTreeSet::new() };
        read.floors().for_each(|(_, floor)| floor.visit(&mut found));
        found.best_effort
    };
    assert_eq!(of_lsms("  include: [pss/baseline]\n"), [true].into());
    // A policy that states the control itself has it on every node.
    assert_eq!(
        of_lsms("  include: [pss/baseline]\n  appArmor: {allow: [x]}\n"),
        [false, true].into()
    );
}

/// The actions and leaves of one control's clauses.
struct Found<'a> {
    control: &'a str,
    actions: BTreeSet<Action>,
    best_effort: BTreeSet<bool>,
}

impl Visitor for Found<'_> {
    fn control<R: crate::controls::Rule>(&mut self, bound: &Bound<R>) {
        for clause in bound.clauses().iter().filter(|_| R::CONTROL == self.control) {
            self.actions.insert(clause.action);
            self.best_effort.insert(clause.best_effort);
        }
    }
}

#[test]
fn a_policys_match_mode_audit_and_waivers_hold_for_what_it_includes() {
    let facts = Facts::of("c", &ordinary(CONTAINER));
    let other = "  match: {namespaces: [elsewhere]}\n  include: [pss/restricted]\n";
    assert_eq!(demanded(other, &facts), Demands::default());
    let audited = demanded("  mode: audit\n  include: [pss/restricted]\n", &facts);
    assert!(audited.floor == Floor::default() && !audited.audit.capabilities.is_empty());
    let one = demanded("  audit: [capabilities]\n  include: [pss/restricted]\n", &facts);
    assert!(one.floor.capabilities.is_empty() && !one.floor.user.is_empty());

    let waiver = "---\napiVersion: coaming.dev/v1alpha1\nkind: Waiver\nmetadata: {name: w}\nspec:\n  \
                  owner: o\n  reason: r\n  expires: 2027-03-31\n  match: {namespaces: [a]}\n  \
                  waives: [user]\n  policies: [p]\n";
    let mut asked = ordinary(CONTAINER);
    asked["annotations"]["io.kubernetes.cri.sandbox-namespace"] = json!("a");
    let waived =
        demanded(&format!("  include: [pss/restricted]\n{waiver}"), &Facts::of("c", &asked));
    assert!(waived.floor.user.is_empty() && !waived.floor.capabilities.is_empty());
    assert_eq!(waived.waived[0].waived, ["user of p"]);
}

#[test]
fn a_sandbox_is_asked_what_is_the_pods() {
    let facts = Facts::of("c", &ordinary(SANDBOX));
    let both = "  match: {containerTypes: [sandbox, container]}\n";
    for which in Include::ALL {
        let include = format!("  include: [{}]\n", which.name());
        assert_eq!(demanded(&include, &facts), Demands::default());
        // Its own user, capabilities and filter are the runtime's business: with them no pod would start.
        let Verdict::Admit(admission) = verdict(&format!("{both}{include}"), &ordinary(SANDBOX))
        else {
            panic!("{which:?} refuses the pause container")
        };
        assert_eq!(admission.changes, [], "{which:?}");
    }
    let mut asked = ordinary(SANDBOX);
    asked["linux"]["sysctl"] = json!({"kernel.msgmax": "65536"});
    for level in ["pss/baseline", "pss/restricted"] {
        assert_eq!(
            refused(&format!("{both}  include: [{level}]\n"), &asked),
            ["sysctls".to_owned()].into()
        );
        assert_eq!(refused(&format!("  include: [{level}]\n"), &asked), [].into());
    }
}

#[test]
fn in_a_user_namespace_the_standards_ask_for_less() {
    let mut asked = ordinary(CONTAINER);
    asked["linux"]["maskedPaths"] = json!([]);
    let baseline = "  include: [pss/baseline]\n";
    assert_eq!(refused(baseline, &asked), ["maskedPaths".to_owned()].into());
    let root = refused("  include: [pss/restricted]\n", &asked);
    assert!(root.contains("user"), "{root:?}");
    let namespace = json!({"type": "user", "path": "/proc/7/ns/user"});
    asked["linux"]["namespaces"].as_array_mut().unwrap().push(namespace);
    let mapped = |host: u64| json!([{"containerID": 0, "hostID": host, "size": 65536}]);
    asked["linux"]["uidMappings"] = mapped(65536);
    assert_eq!(refused(baseline, &asked), [].into());
    let nobody = refused("  include: [pss/restricted]\n", &asked);
    assert!(nobody.contains("maskedPaths") && !nobody.contains("user"), "{nobody:?}");
    // One in which root is the host's is no boundary.
    asked["linux"]["uidMappings"] = mapped(0);
    assert_eq!(refused(baseline, &asked), ["maskedPaths".to_owned()].into());
    // A policy for one kind alone takes of a built-in what is for that kind.
    let own = "  match: {userNamespace: true}\n  include: [pss/baseline]\n";
    let read = directory(own);
    assert!(read.floors().all(|(document, _)| document.selector().user_namespace == Some(true)));
    assert!(read.floors().any(|(document, _)| document.selector().container_types.is_empty()));
}

#[test]
fn restricted_asks_all_that_baseline_does() {
    for user_namespace in [false, true] {
        for kind in [SANDBOX, CONTAINER] {
            let mut facts = Facts::of("c", &ordinary(kind));
            facts.user_namespace = user_namespace;
            let of = |level: &str| {
                let both = "  match: {containerTypes: [sandbox, container]}\n";
                demanded(&format!("{both}  include: [{level}]\n"), &facts).floor
            };
            let (baseline, restricted) = (of("pss/baseline"), of("pss/restricted"));
            macro_rules! compare {
                ($($field:ident: $rule:ty,)*) => {
                    $(assert!(
                        crate::controls::Rule::at_least_as_strict_as(&restricted.$field.met(), &baseline.$field.met()),
                        "{} of {kind}", stringify!($field)
                    );)*
                };
            }
            crate::for_each_control!(compare);
        }
    }
}

#[test]
fn under_the_default_an_ordinary_container_starts_with_less() {
    let Verdict::Admit(admission) = verdict("  include: [default]\n", &ordinary(CONTAINER)) else {
        panic!("refused")
    };
    let process = &admission.spec["process"];
    assert_eq!(process["noNewPrivileges"], true);
    let bounding: Vec<&str> = process["capabilities"]["bounding"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(bounding.contains(&"CAP_SETUID") && !bounding.contains(&"CAP_NET_RAW"), "{bounding:?}");
    assert!(admission.spec["linux"]["seccomp"]["syscalls"].is_array());
    assert!(admission.spec["linux"]["maskedPaths"].as_array().unwrap().len() > 9);
    assert_eq!(admission.spec["mounts"], ordinary(CONTAINER)["mounts"]);
    assert!(admission.degraded.is_empty());
}

#[test]
fn the_hardening_guides_refuse_root_and_tighten_what_nobody_asked_for() {
    for which in ["cis", "nsa-hardening"] {
        let include = format!("  include: [{which}]\n");
        let Verdict::Refuse(refusal) = verdict(&include, &ordinary(CONTAINER)) else {
            panic!("{which}")
        };
        assert!(refusal.reasons.iter().any(|reason| reason.control == "user"), "{which}");
        let mut asked = ordinary(CONTAINER);
        asked["process"]["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [0, 1000]});
        asked["root"]["readonly"] = json!(true);
        let Verdict::Admit(admission) = verdict(&include, &asked) else {
            panic!("{which}: {:?}", verdict(&include, &asked))
        };
        let changed: BTreeSet<&str> =
            admission.changes.iter().map(|c| c.control.as_str()).collect();
        let both = ["capabilities", "noNewPrivileges", "seccomp"];
        assert!(both.iter().all(|control| changed.contains(control)), "{which}: {changed:?}");
        assert_eq!(changed.contains("user"), which == "nsa-hardening", "group 0 goes");
    }
}

fn includes() -> impl Strategy<Value = Vec<Include>> {
    subsequence(Include::ALL.to_vec(), 0..=5).prop_shuffle()
}

fn listed(includes: &[Include]) -> String {
    let names: Vec<&str> = includes.iter().map(|which| which.name()).collect();
    format!("  include: [{}]\n", names.join(", "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The order of the list shows in no clause. One list's floor met with itself, or with that of a part of
    /// the list, is itself. And a policy demands with its list all that it demands without.
    #[test]
    fn include_is_free_of_order_and_idempotent(mut list in includes(), few in 0_usize..5) {
        let floor = |list: &[Include]| {
            directory(&format!("{}  noNewPrivileges: true\n", listed(list))).written().remove(0).2
        };
        let written = floor(&list);
        list.reverse();
        prop_assert_eq!(&floor(&list), &written);
        prop_assert_eq!(&written.meet(&written), &written);
        let without = directory("  mode: enforce\n  noNewPrivileges: true\n").written().remove(0).2;
        prop_assert_eq!(&written.meet(&without), &written);
        list.truncate(few);
        prop_assert_eq!(&floor(&list).meet(&written), &written);
    }
}
