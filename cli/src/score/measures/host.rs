//! What the container shares with its node: namespaces, paths, devices, kernel parameters.

use coaming_policy::spec::view;
use coaming_shim::config::HOOK;
use serde_json::Value;

use super::Measured;
use crate::score::subject::{Subject, clean};

pub(crate) fn user_namespace(subject: &Subject) -> Measured {
    Measured::open(!subject.has_user_namespace(), "no user namespace", "one of its own")
}

pub(crate) fn pid_namespace(subject: &Subject) -> Measured {
    shares(subject, "pid")
}

pub(crate) fn network_namespace(subject: &Subject) -> Measured {
    shares(subject, "network")
}

pub(crate) fn ipc_namespace(subject: &Subject) -> Measured {
    shares(subject, "ipc")
}

pub(crate) fn mount_namespace(subject: &Subject) -> Measured {
    shares(subject, "mount")
}

pub(crate) fn uts_namespace(subject: &Subject) -> Measured {
    shares(subject, "uts")
}

pub(crate) fn cgroup_namespace(subject: &Subject) -> Measured {
    shares(subject, "cgroup")
}

fn shares(subject: &Subject, kind: &str) -> Measured {
    Measured::open(subject.shares(kind), "the node's", "its own or its pod's")
}

/// Folders in which the kubelet and runtimes prepare volumes and files: the list of the built-in floor
/// `baseline`.
const PREPARED: [&str; 8] = [
    "/var/lib/kubelet/pods/",
    "/var/lib/kubelet/plugins/",
    "/var/lib/containerd/io.containerd.grpc.v1.cri/",
    "/run/containerd/io.containerd.grpc.v1.cri/",
    "/var/lib/docker/containers/",
    "/var/lib/docker/volumes/",
    "/var/lib/containers/storage/",
    "/run/containers/storage/",
];
/// Where a change, or a secret read, is the node's end.
const SENSITIVE: [&str; 18] = [
    "/etc",
    "/root",
    "/home",
    "/boot",
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/run",
    "/usr",
    "/lib",
    "/bin",
    "/sbin",
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/etcd",
    "/var/spool/cron",
];

pub(crate) fn host_paths(subject: &Subject) -> Measured {
    let mut worst = Measured::new(0, "none");
    for mount in view::items(subject.spec(), "mounts").iter().filter(|mount| is_bind(mount)) {
        let source = clean(view::text(mount, "source").unwrap_or_default());
        if PREPARED.iter().any(|folder| source.starts_with(folder)) {
            continue;
        }
        let read_only = is_read_only(mount);
        let exposure = match (is_sensitive(&source), read_only) {
            // A socket is talked to whether its mount is read-only or not.
            _ if source.ends_with(".sock") => 100,
            (true, false) => 100,
            (true, true) => 60,
            (false, false) => 40,
            (false, true) => 20,
        };
        if exposure > worst.exposure {
            let how = if read_only { "read-only" } else { "writable" };
            worst = Measured::new(exposure, format!("{source}, {how}"));
        }
    }
    worst
}

/// Whether a path is one of those above, lies below one, or has one below it.
fn is_sensitive(path: &str) -> bool {
    let within = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer.trim_end_matches('/'))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    SENSITIVE.iter().any(|known| within(path, known) || within(known, path))
}

fn is_bind(mount: &Value) -> bool {
    view::text(mount, "type") == Some("bind")
        || view::strings(mount, "options").any(|option| matches!(option, "bind" | "rbind"))
}

/// The last word counts, as to the runtimes.
fn is_read_only(mount: &Value) -> bool {
    let says = |option: &str| match option {
        "ro" | "rro" => Some(true),
        "rw" | "rrw" => Some(false),
        _ => None,
    };
    view::strings(mount, "options").filter_map(says).last().unwrap_or(false)
}

pub(crate) fn propagation(subject: &Subject) -> Measured {
    let root = view::text(subject.spec(), "linux.rootfsPropagation");
    let mounts = view::items(subject.spec(), "mounts")
        .iter()
        .flat_map(|mount| view::strings(mount, "options"));
    let words: Vec<&str> = root.into_iter().chain(mounts).collect();
    let has = |names: [&str; 2]| words.iter().any(|word| names.contains(word));
    if has(["shared", "rshared"]) {
        Measured::new(100, "both ways")
    } else if has(["slave", "rslave"]) {
        Measured::new(25, "the node's appear in it")
    } else {
        Measured::new(0, "neither")
    }
}

pub(crate) fn kernel_mounts(subject: &Subject) -> Measured {
    let writable = |kinds: &[&str]| {
        view::items(subject.spec(), "mounts").iter().any(|mount| {
            view::text(mount, "type").is_some_and(|kind| kinds.contains(&kind))
                && !is_read_only(mount)
        })
    };
    match (writable(&["sysfs"]), writable(&["cgroup", "cgroup2"])) {
        (true, true) => Measured::new(100, "sysfs and cgroup"),
        (true, false) => Measured::new(80, "sysfs"),
        (false, true) => Measured::new(50, "cgroup"),
        (false, false) => Measured::new(0, "neither"),
    }
}

pub(crate) fn token(subject: &Subject) -> Measured {
    let place = "/run/secrets/kubernetes.io/serviceaccount";
    let mounted = view::items(subject.spec(), "mounts").iter().any(|mount| {
        let at = clean(view::text(mount, "destination").unwrap_or_default());
        at == place || at.strip_prefix("/var").is_some_and(|rest| rest == place)
    });
    Measured::open(mounted, "mounted", "none")
}

pub(crate) fn devices(subject: &Subject) -> Measured {
    let rules = view::items(subject.spec(), "linux.resources.devices");
    let is_all = |rule: &Value| {
        let any = |field: &str| {
            view::at(rule, field)
                .is_none_or(|value| value.as_i64().is_some_and(|number| number < 0))
        };
        matches!(view::text(rule, "type"), None | Some("a")) && any("major") && any("minor")
    };
    // The last rule over all of them counts, and what is allowed after it.
    let last = rules.iter().rposition(is_all);
    if last.and_then(|at| rules.get(at)).is_some_and(|rule| view::flag(rule, "allow")) {
        return Measured::new(100, "every device of the node");
    }
    let later = rules.get(last.map_or(0, |at| at + 1)..).unwrap_or_default();
    let opened = later.iter().any(|rule| view::flag(rule, "allow") && !is_ordinary(rule));
    let nodes = view::items(subject.spec(), "linux.devices");
    if opened || nodes.iter().any(|node| !is_ordinary(node)) {
        return Measured::new(50, "some that not every container has");
    }
    match last {
        Some(_) => Measured::new(0, "those of every container"),
        None => Measured::new(20, "left to the runtime"),
    }
}

/// What every container has: null, zero, full, random, urandom, tty, console, ptmx and terminals.
fn is_ordinary(device: &Value) -> bool {
    let number = |field: &str| view::at(device, field).and_then(Value::as_i64);
    let character = matches!(view::text(device, "type"), Some("c" | "u"));
    // Creating a node is no access to what is behind it.
    if view::text(device, "access") == Some("m") {
        return true;
    }
    character
        && matches!(
            (number("major"), number("minor")),
            (Some(1), Some(3 | 5 | 7 | 8 | 9)) | (Some(5), Some(0..=2)) | (Some(136), _)
        )
}

/// What Pod Security's baseline allows; namespaced, and harmless to others.
const SAFE_SYSCTLS: [&str; 14] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_notsent_lowat",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_slow_start_after_idle",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

pub(crate) fn sysctls(subject: &Subject) -> Measured {
    let beyond: Vec<&str> = subject
        .sysctls()
        .filter(|name| !SAFE_SYSCTLS.contains(&name.replace('/', ".").as_str()))
        .collect();
    match beyond.as_slice() {
        [] => Measured::new(0, "none"),
        [name, ..] => Measured::new(100, (*name).to_owned()),
    }
}

pub(crate) fn hooks(subject: &Subject) -> Measured {
    let mut hooks = view::entries(subject.spec(), "hooks")
        .filter_map(|(_, list)| list.as_array())
        .flatten()
        .filter_map(|hook| view::text(hook, "path"))
        .filter(|path| *path != HOOK);
    match hooks.next() {
        Some(path) => Measured::new(100, path.to_owned()),
        None => Measured::new(0, "none"),
    }
}

pub(crate) fn annotations(subject: &Subject) -> Measured {
    const STEERING: [&str; 4] = ["run.oci.", "krun.", "org.criu.", "org.systemd.property."];
    let mut found = view::entries(subject.spec(), "annotations")
        .map(|(key, _)| key)
        .filter(|key| STEERING.iter().any(|prefix| key.starts_with(prefix)));
    match found.next() {
        Some(key) => Measured::new(100, key.to_owned()),
        None => Measured::new(0, "none"),
    }
}
