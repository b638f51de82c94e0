//! What keeps a process within bounds inside its container.

use coaming_policy::spec::view;

use super::Measured;
use crate::score::subject::Subject;

/// LANDLOCK_ACCESS_FS_EXECUTE and _WRITE_FILE, LANDLOCK_ACCESS_NET_BIND_TCP and _CONNECT_TCP, and the
/// two scopes (include/uapi/linux/landlock.h).
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const NET: [(u64, &str); 2] = [(1, "bind"), (2, "connect")];
const SCOPES: [(u64, &str); 2] = [(1, "abstract sockets"), (2, "signals")];

/// What containerd, Docker and the built-in floor `baseline` mask.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub(crate) fn files(subject: &Subject) -> Measured {
    let everywhere = |right: u64| {
        subject.layers().iter().all(|layer| {
            let below_root = layer.paths.get("/").is_some_and(|rights| rights & right != 0);
            layer.handled_fs & right == 0 || below_root
        })
    };
    match (everywhere(WRITE_FILE), everywhere(EXECUTE)) {
        (true, true) => Measured::new(100, "every file may be written and executed"),
        (true, false) => Measured::new(70, "every file may be written"),
        (false, true) => Measured::new(30, "every file may be executed"),
        (false, false) => Measured::new(0, "files to write and to execute are listed"),
    }
}

pub(crate) fn network(subject: &Subject) -> Measured {
    let open = unhandled(subject, &NET, |layer| layer.handled_net);
    Measured::part(&open, NET.len(), "TCP ports are listed")
}

pub(crate) fn scopes(subject: &Subject) -> Measured {
    let open = unhandled(subject, &SCOPES, |layer| layer.scoped);
    Measured::part(&open, SCOPES.len(), "scoped")
}

fn unhandled(
    subject: &Subject,
    bits: &'static [(u64, &'static str)],
    handled: impl Fn(&coaming_policy::controls::landlock::Layer) -> u64,
) -> Vec<&'static str> {
    let by_any = |bit: u64| subject.layers().iter().any(|layer| handled(layer) & bit != 0);
    bits.iter().filter(|(bit, _)| !by_any(*bit)).map(|(_, name)| *name).collect()
}

pub(crate) fn security_module(subject: &Subject) -> Measured {
    let app_armor = view::text(subject.spec(), "process.apparmorProfile")
        .filter(|profile| *profile != "unconfined");
    // The type is the third part of a label; these two confine nothing.
    let label = view::text(subject.spec(), "process.selinuxLabel")
        .filter(|label| !matches!(label.split(':').nth(2), None | Some("spc_t" | "unconfined_t")));
    match (app_armor, label) {
        (Some(profile), _) => Measured::new(0, format!("AppArmor profile {profile}")),
        (None, Some(label)) => Measured::new(0, format!("SELinux label {label}")),
        (None, None) => Measured::new(100, "neither does"),
    }
}

pub(crate) fn read_only_root(subject: &Subject) -> Measured {
    let read_only = view::flag(subject.spec(), "root.readonly");
    Measured::open(!read_only, "the root file system can be written to", "read-only")
}

pub(crate) fn masked(subject: &Subject) -> Measured {
    let open = uncovered(subject, "linux.maskedPaths", &MASKED);
    Measured::part(&open, MASKED.len(), "all masked")
}

pub(crate) fn readonly(subject: &Subject) -> Measured {
    let open: Vec<&str> = uncovered(subject, "linux.readonlyPaths", &READONLY);
    // What is masked cannot be written to either.
    let masked = uncovered(subject, "linux.maskedPaths", &READONLY);
    let open: Vec<&str> = open.into_iter().filter(|path| masked.contains(path)).collect();
    Measured::part(&open, READONLY.len(), "all read-only")
}

fn uncovered(subject: &Subject, field: &str, wanted: &'static [&'static str]) -> Vec<&'static str> {
    let covers = |listed: &str, path: &str| {
        path.strip_prefix(listed.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let covered =
        |path: &str| view::strings(subject.spec(), field).any(|listed| covers(listed, path));
    wanted.iter().copied().filter(|path| !covered(path)).collect()
}

pub(crate) fn memory(subject: &Subject) -> Measured {
    limit(subject, "linux.resources.memory.limit")
}

pub(crate) fn pids(subject: &Subject) -> Measured {
    limit(subject, "linux.resources.pids.limit")
}

fn limit(subject: &Subject, field: &str) -> Measured {
    let limit = view::at(subject.spec(), field).and_then(serde_json::Value::as_i64);
    match limit.filter(|&limit| limit > 0) {
        Some(limit) => Measured::new(0, limit.to_string()),
        None => Measured::new(100, "no limit"),
    }
}
