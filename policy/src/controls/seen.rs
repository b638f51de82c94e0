//! Random processes, as the kernel might report them.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::proc::{Mount, Seen};

const PATHS: [&str; 8] = [
    "/proc/kcore",
    "/proc/keys",
    "/sys/firmware",
    "/proc/sys",
    "/proc/irq",
    "/proc/bus",
    "/",
    "/sys",
];
const LABELS: [&str; 7] = [
    "unconfined",
    "cri-a (enforce)",
    "b (enforce)",
    "b (complain)",
    "system_u:r:container_t:s0",
    "user_u:r:spc_t:s0:c1",
    "system_u:r:container_t:s0:c1",
];

/// A process that keeps some rules and not others: of each kind of value a few, those that the
/// generators of rules know.
pub(super) fn any_seen() -> impl Strategy<Value = Seen> {
    let flags = (any::<bool>(), select(vec![0u32, 2]));
    let few = || prop_oneof![Just(0u64), (0u64..1 << 9), Just(1 << 5), Just(1 << 5 | 1 << 21)];
    let ids = || proptest::collection::vec(select(vec![0u32, 5, 7, 10, 15]), 4);
    let groups = subsequence(vec![0u32, 5, 10, 15], 0..=2);
    let label = proptest::option::of(select(LABELS.to_vec()));
    let limits = subsequence(vec!["RLIMIT_CORE", "RLIMIT_NOFILE", "RLIMIT_CPU"], 0..=3);
    let limits = (limits, 0u64..4, 0u64..4);
    let host = subsequence(vec!["pid", "network", "ipc", "uts", "user", "cgroup", "mount"], 0..=2);
    let present = subsequence(PATHS.to_vec(), 0..=4);
    let mounts = proptest::collection::vec(
        prop_oneof![6 => any_mount(), 1 => Just(writable_sysfs())],
        0..=6,
    );
    ((flags, few(), few(), few()), (ids(), ids(), groups), (label, limits, host), (present, mounts))
        .prop_map(
            |(
                (flags, bounding, effective, ambient),
                (uids, gids, groups),
                told,
                (present, mounts),
            )| {
                let (label, (names, soft, hard), host) = told;
                let owned =
                    |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
                Seen {
                    no_new_privs: flags.0,
                    seccomp_mode: flags.1,
                    cap_bounding: bounding,
                    cap_effective: effective,
                    cap_permitted: effective,
                    cap_ambient: ambient,
                    uids,
                    gids,
                    groups,
                    label: label.map(str::to_owned),
                    rlimits: owned(names).into_iter().map(|name| (name, (soft, hard))).collect(),
                    host_namespaces: owned(host),
                    present: owned(present).into_iter().collect(),
                    mounts,
                    ..Seen::default()
                }
            },
        )
}

fn any_mount() -> impl Strategy<Value = Mount> {
    let options = select(vec!["ro", "rw", "ro"]);
    let propagation = select(vec![vec![], vec!["shared:1"], vec!["master:1"]]);
    let types = select(vec!["tmpfs", "proc", "sysfs", "nfs4", "debugfs", "ext4"]);
    let root = select(vec!["/", "/null", "/srv/data"]);
    (select(PATHS.to_vec()), options, propagation, types, root).prop_map(
        |(target, option, propagation, fs_type, root)| Mount {
            id: 1,
            device: "0:5".into(),
            target: target.to_owned(),
            options: vec![option.to_owned()],
            propagation: propagation.into_iter().map(str::to_owned).collect(),
            fs_type: fs_type.to_owned(),
            root: root.to_owned(),
        },
    )
}

fn writable_sysfs() -> Mount {
    Mount {
        id: 1,
        device: "0:5".into(),
        target: "/sys".to_owned(),
        options: vec!["rw".to_owned()],
        propagation: Vec::new(),
        fs_type: "sysfs".to_owned(),
        root: "/".to_owned(),
    }
}
