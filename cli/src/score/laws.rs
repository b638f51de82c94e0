//! The laws of the scale: confining a container further never raises its number, nor what any check
//! finds; and every check is reached both ways.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeSet;

use coaming_policy::controls::{Joined, Node};
use coaming_policy::decide::{Door, Request, decide};
use coaming_policy::document::parse_policies;
use coaming_policy::facts::Facts;
use coaming_policy::floor::Floor;
use coaming_policy::spec::edit::Edit;
use coaming_policy::verdict::{Admission, Verdict};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::checks::{CHECKS, Checked, examine};
use super::number::Number;
use super::subject::Subject;

fn node() -> Node {
    let joins = [
        ("/proc/4194304/ns/net", Joined::Other),
        ("/proc/4194304/ns/user", Joined::Other),
        ("/proc/4194304/ns/pid", Joined::Host),
    ];
    Node {
        landlock_abi: 6,
        lsms: vec!["apparmor".to_owned(), "selinux".to_owned(), "landlock".to_owned()],
        kernel: (6, 12),
        joins: joins.into_iter().map(|(path, joined)| (path.to_owned(), joined)).collect(),
        ..Node::default()
    }
}

/// What a well confined container asks for: no check finds anything that a spec can close.
fn confined() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs", "readonly": true},
        "process": {
            "args": ["app"], "cwd": "/", "noNewPrivileges": true, "apparmorProfile": "app",
            "user": {"uid": 1000, "gid": 1000},
            "capabilities": {"bounding": [], "effective": [], "permitted": []},
        },
        "mounts": [
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "cgroup"}, {"type": "user"}],
            "resources": {"devices": [{"allow": false, "access": "rwm"}],
                "memory": {"limit": 1 << 20}, "pids": {"limit": 10}},
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
                "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
                "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "architectures": [],
                "syscalls": [{"names": ["read", "write", "execve"], "action": "SCMP_ACT_ALLOW"}]},
        },
    })
}

/// A policy that closes what no spec can.
const LANDLOCK: &str = "landlock: {read: [/], write: [/tmp], execute: [/usr], connect: [443], bind: [8080], \
                        scopes: [signal, abstractUnixSocket]}";

fn floor(specs: &[&str]) -> Floor {
    specs.iter().enumerate().fold(Floor::default(), |floor, (index, spec)| {
        let text = format!(
            "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: p{index}}}\nspec:\n  {spec}\n"
        );
        let policy = parse_policies("p.yaml", &text).unwrap_or_else(|error| panic!("{spec}: {error}"));
        let own = policy[0].floor(&format!("p{index}.yaml"), &mut |_| panic!("no profiles"));
        floor.meet(&own.unwrap_or_else(|error| panic!("{spec}: {error}")))
    })
}

fn admitted(spec: &Value, floor: &Floor) -> Option<Box<Admission>> {
    let facts = Facts::of("c", spec);
    let node = node();
    let request = Request { door: Door::Create, spec, facts: &facts, node: &node, exec: None };
    match decide(&request, floor) {
        Verdict::Admit(admission) => Some(admission),
        Verdict::Refuse(_) => None,
    }
}

fn checks_of(spec: &Value, floor: &Floor) -> Option<Vec<Checked>> {
    let admission = admitted(spec, floor)?;
    Some(examine(&Subject::admitted(*admission, &node(), &[])))
}

fn exposure(checks: &[Checked], id: &str) -> u32 {
    checks.iter().find(|checked| checked.id == id).unwrap().exposure
}

/// For each check, what opens it in a container that is confined otherwise.
const OPENERS: &[(&str, &str, &str)] = &[
    ("capabilities.kernel", "process.capabilities.bounding", r#"["CAP_SYS_ADMIN"]"#),
    ("capabilities.network", "process.capabilities.bounding", r#"["CAP_NET_RAW"]"#),
    ("capabilities.files", "process.capabilities.ambient", r#"["CAP_CHOWN"]"#),
    ("capabilities.identity", "process.capabilities.permitted", r#"["CAP_SETUID"]"#),
    ("capabilities.other", "process.capabilities.inheritable", r#"["CAP_KILL"]"#),
    ("noNewPrivileges", "process.noNewPrivileges", "false"),
    ("user.root", "process.user.uid", "0"),
    ("user.groups", "process.user.additionalGids", "[0]"),
    ("namespaces.user", "linux.namespaces", r#"[{"type": "pid"}, {"type": "mount"}]"#),
    ("namespaces.pid", "linux.namespaces", r#"[{"type": "pid", "path": "/proc/4194304/ns/pid"}]"#),
    ("namespaces.network", "linux.namespaces", "[]"),
    ("namespaces.ipc", "linux.namespaces", "[]"),
    ("namespaces.mount", "linux.namespaces", "[]"),
    ("namespaces.uts", "linux.namespaces", "[]"),
    ("namespaces.cgroup", "linux.namespaces", "[]"),
    (
        "mounts.hostPaths",
        "mounts",
        r#"[{"destination": "/dev", "type": "tmpfs"}, {"destination": "/h", "type": "bind", "source": "/srv"}]"#,
    ),
    (
        "mounts.propagation",
        "mounts",
        r#"[{"destination": "/dev", "type": "tmpfs"}, {"destination": "/h", "type": "bind", "source": "/srv",
            "options": ["rshared"]}]"#,
    ),
    (
        "mounts.kernel",
        "mounts",
        r#"[{"destination": "/dev", "type": "tmpfs"}, {"destination": "/sys", "type": "sysfs"}]"#,
    ),
    (
        "mounts.token",
        "mounts",
        r#"[{"destination": "/dev", "type": "tmpfs"},
            {"destination": "/var/run/secrets/kubernetes.io/serviceaccount", "type": "bind", "source": "/x"}]"#,
    ),
    ("devices", "linux.resources.devices", r#"[{"allow": true, "access": "rwm"}]"#),
    ("sysctls", "linux.sysctl", r#"{"kernel.msgmax": "1"}"#),
    ("hooks", "hooks", r#"{"prestart": [{"path": "/x"}]}"#),
    ("annotations", "annotations", r#"{"run.oci.handler": "krun"}"#),
    ("seccomp.filter", "linux.seccomp", "null"),
    ("seccomp.kernel", "linux.seccomp", "null"),
    ("seccomp.namespaces", "linux.seccomp", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#),
    ("seccomp.ioUring", "linux.seccomp", r#"{"defaultAction": "SCMP_ACT_LOG"}"#),
    ("seccomp.sockets", "linux.seccomp", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#),
    ("seccomp.architectures", "linux.seccomp", "null"),
    ("landlock.files", "", ""),
    ("landlock.network", "", ""),
    ("landlock.scopes", "", ""),
    ("lsm", "process.apparmorProfile", r#""unconfined""#),
    ("readOnlyRootFilesystem", "root.readonly", "false"),
    ("maskedPaths", "linux.maskedPaths", r#"["/proc/kcore"]"#),
    ("readonlyPaths", "linux.readonlyPaths", r#"["/proc/bus"]"#),
    ("resources.memory", "linux.resources.memory.limit", "-1"),
    ("resources.pids", "linux.resources.pids", "null"),
];

#[test]
fn each_check_is_reached_both_ways() {
    let closed = floor(&[LANDLOCK]);
    let well = checks_of(&confined(), &closed).unwrap();
    for checked in &well {
        assert_eq!(checked.exposure, 0, "{}: {}", checked.id, checked.found);
    }
    assert_eq!(Number::of(&well).to_string(), "0.0");
    // Landlock takes more with it than files and ports: what a spec opens is seen without it.
    let before = examine(&Subject::asked(&confined(), &node(), &[]));
    let mut reached = BTreeSet::new();
    for (id, field, value) in OPENERS {
        let mut spec = confined();
        if !field.is_empty() {
            assert_eq!(exposure(&before, id), 0, "{id}");
            Edit::Set((*field).to_owned(), serde_json::from_str(value).unwrap()).apply(&mut spec);
        }
        let checks = examine(&Subject::asked(&spec, &node(), &[]));
        assert!(exposure(&checks, id) > 0, "{id} does not see {field} {value}");
        let sum = |checks: &[Checked]| checks.iter().map(Checked::share).sum::<u32>();
        assert!(field.is_empty() || sum(&checks) > sum(&before), "{id} weighs nothing");
        reached.insert(*id);
    }
    for checked in &well {
        assert!(reached.contains(checked.id), "nothing opens {}", checked.id);
    }
    assert_eq!(reached.len(), CHECKS.len());
}

/// Each field of a policy that the table names closes its check.
#[test]
fn the_field_that_is_named_closes_the_check() {
    let greedy = greedy();
    let asked = examine(&Subject::asked(&greedy, &node(), &[]));
    for (ids, spec) in [
        (
            &[
                "capabilities.kernel",
                "capabilities.network",
                "capabilities.files",
                "capabilities.identity",
                "capabilities.other",
            ][..],
            "capabilities: {allow: []}",
        ),
        (&["noNewPrivileges"], "noNewPrivileges: true"),
        (
            &[
                "namespaces.pid",
                "namespaces.network",
                "namespaces.ipc",
                "namespaces.uts",
                "namespaces.cgroup",
            ],
            "hostNamespaces: {allow: [user]}",
        ),
        (&["mounts.hostPaths"], "mounts: {hostPaths: {allow: []}}"),
        (
            &["mounts.propagation"],
            "mounts: {propagation: {allow: []}}\n  rootfsPropagation: {allow: []}",
        ),
        (&["mounts.kernel", "devices"], "privileged: false"),
        (&["devices"], "devices: {allow: []}"),
        (&["sysctls"], "sysctls: {allow: []}"),
        (&["hooks"], "hooks: {allow: []}"),
        (&["annotations"], "annotations: {deny: ['run.oci.*']}"),
        (
            &["seccomp.filter", "seccomp.kernel", "seccomp.namespaces"],
            "seccomp: {floor: runtime-default}\n  capabilities: {allow: []}",
        ),
        (
            &["seccomp.ioUring"],
            "seccomp: {denySyscalls: [io_uring_setup, io_uring_enter, io_uring_register]}",
        ),
        (
            &["seccomp.sockets"],
            "seccomp: {denySocketFamilies: [AF_ALG, AF_VSOCK, AF_KEY, AF_PACKET, AF_RDS, AF_TIPC, AF_SMC, AF_XDP]}",
        ),
        (&["seccomp.architectures"], "seccomp: {architectures: []}"),
        (&["landlock.files", "landlock.network", "landlock.scopes"], LANDLOCK),
        (&["lsm"], "appArmor: {default: coaming}"),
        (&["lsm"], "seLinux: {default: container_t}"),
        (&["readOnlyRootFilesystem"], "readOnlyRootFilesystem: true"),
        (
            &["maskedPaths"],
            "maskedPaths: [/proc/acpi, /proc/asound, /proc/interrupts, /proc/kcore, /proc/keys, /proc/latency_stats, /proc/sched_debug, /proc/scsi, /proc/timer_list, /proc/timer_stats, /sys/devices/virtual/powercap, /sys/firmware]",
        ),
        (
            &["readonlyPaths"],
            "readonlyPaths: [/proc/bus, /proc/fs, /proc/irq, /proc/sys, /proc/sysrq-trigger]",
        ),
        (&["resources.memory"], "resources: {memoryLimit: 1000000}"),
        (&["resources.pids"], "resources: {pidsLimit: 10}"),
    ] {
        let checks =
            checks_of(&greedy, &floor(&[spec])).unwrap_or_else(|| panic!("{spec} refuses"));
        for id in ids {
            assert!(exposure(&asked, id) > 0, "{id} is not asked for");
            let all = exposure(&checks, id);
            assert!(all < exposure(&asked, id), "{spec} does not lower {id}: {all}");
        }
    }
}

fn greedy() -> Value {
    let all = json!(["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_CHOWN", "CAP_SETUID", "CAP_KILL"]);
    json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "annotations": {"run.oci.handler": "krun"},
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0, "additionalGids": [0]},
            "capabilities": {"bounding": all, "effective": all, "permitted": all}},
        "mounts": [
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["rw"]},
            {"destination": "/h", "type": "bind", "source": "/etc", "options": ["rbind", "rshared"]},
        ],
        "hooks": {"prestart": [{"path": "/tmp/hook"}]},
        "linux": {"namespaces": [{"type": "mount"}], "sysctl": {"kernel.core_pattern": "|/x"},
            "resources": {"devices": [{"allow": true, "access": "rwm"}]}, "rootfsPropagation": "rshared"},
    })
}

/// For a user there is no remedy: whoever asks to be root is refused.
#[test]
fn who_asks_to_be_root_is_refused_by_the_field_that_is_named() {
    for spec in ["user: {runAsNonRoot: true}", "user: {runAsGroup: {ranges: [{min: 7, max: 9}]}}"] {
        assert!(checks_of(&greedy(), &floor(&[spec])).is_none(), "{spec}");
    }
}

/// Pieces of policies; any of them may stand together.
const PIECES: &[&str] = &[
    "privileged: false",
    "capabilities: {allow: []}",
    "capabilities: {allow: [CHOWN, KILL, NET_RAW]}",
    "noNewPrivileges: true",
    "user: {supplementalGroups: {ranges: [{min: 7, max: 9}]}}",
    "hostNamespaces: {allow: [user]}",
    "hostNamespaces: {allow: [user, network]}",
    "mounts: {hostPaths: {allow: [/srv/*]}}",
    "mounts: {propagation: {allow: [slave]}}",
    "mounts: {protectDestinations: true}",
    "rootfsPropagation: {allow: []}",
    "devices: {allow: []}",
    "sysctls: {allow: [kernel.shm_rmid_forced]}",
    "hooks: {allow: []}",
    "annotations: {deny: ['run.oci.*']}",
    "seccomp: {floor: runtime-default}",
    "seccomp: {default: runtime-default}",
    "seccomp: {denySyscalls: [bpf, mount], architectures: [SCMP_ARCH_X86]}",
    "seccomp: {denySocketFamilies: [AF_ALG]}",
    "landlock: {read: [/], write: [/tmp]}",
    "landlock: {execute: [/usr], connect: [443]}",
    "landlock: {write: [/], bind: [80], scopes: [signal]}",
    "appArmor: {default: coaming}",
    "seLinux: {default: container_t}",
    "readOnlyRootFilesystem: true",
    "maskedPaths: [/proc/kcore, /sys/firmware]",
    "readonlyPaths: [/proc/sys]",
    "resources: {memoryLimit: 1000000}",
    "resources: {pidsLimit: 10}",
];

/// A spec between the confined and the greedy one, in whatever fields.
fn any_spec() -> impl Strategy<Value = Value> {
    let openers: Vec<usize> = (0..OPENERS.len()).collect();
    let base = select(vec![confined(), greedy()]);
    (base, subsequence(openers, 0..OPENERS.len())).prop_map(|(mut spec, chosen)| {
        for (_, field, value) in chosen.into_iter().filter_map(|index| OPENERS.get(index)) {
            if !field.is_empty() {
                Edit::Set((*field).to_owned(), serde_json::from_str(value).unwrap())
                    .apply(&mut spec);
            }
        }
        spec
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// score(enforced) <= score(asked), in the whole and in each check.
    #[test]
    fn what_policy_enforces_is_no_more_exposed_than_what_was_asked(
        spec in any_spec(),
        pieces in subsequence(PIECES.to_vec(), 0..6),
    ) {
        let floor = floor(&pieces);
        let Some(enforced) = checks_of(&spec, &floor) else { return Ok(()) };
        let asked = examine(&Subject::asked(&spec, &node(), &[]));
        prop_assert!(Number::of(&enforced) <= Number::of(&asked));
        for (enforced, asked) in enforced.iter().zip(&asked) {
            prop_assert!(
                enforced.exposure <= asked.exposure,
                "{}: {} ({}) became {} ({}) under {pieces:?}",
                asked.id, asked.exposure, asked.found, enforced.exposure, enforced.found
            );
        }
    }

    /// A further policy never raises what is enforced.
    #[test]
    fn one_more_policy_exposes_nothing_more(
        spec in any_spec(),
        pieces in subsequence(PIECES.to_vec(), 1..6),
    ) {
        let fewer = floor(&pieces[1..]);
        let (Some(more), Some(fewer)) = (checks_of(&spec, &floor(&pieces)), checks_of(&spec, &fewer)) else {
            return Ok(());
        };
        for (more, fewer) in more.iter().zip(&fewer) {
            prop_assert!(
                more.exposure <= fewer.exposure,
                "{}: {} became {} by {}", fewer.id, fewer.found, more.found, pieces[0]
            );
        }
    }
}
