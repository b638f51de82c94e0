//! The places in a container where the kernel speaks, and what the runtimes put there.
//!
//! Masked and read-only paths, and the LSM labels that the runtime writes through /proc, are undone
//! by a mount in their way (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881). runc itself refuses most
//! mounts below /proc (libcontainer/rootfs_linux.go, checkProcMount) and none below /sys and /dev.

use serde_json::Value;

use super::host_path::components;
use crate::spec::view;

/// What runtimes and kubelets mount in these places, as types and normal destinations.
const USUAL: [(&str, &[&str]); 9] = [
    ("proc", &["/proc"]),
    ("sysfs", &["/sys"]),
    ("cgroup", &["/sys/fs/cgroup"]),
    ("cgroup2", &["/sys/fs/cgroup"]),
    ("tmpfs", &["/dev", "/dev/shm"]),
    ("devpts", &["/dev/pts"]),
    ("mqueue", &["/dev/mqueue"]),
    ("hugetlbfs", &["/dev/hugepages"]),
    ("bind", BOUND),
];

/// Bind mounts: the pod's shared memory and message queues, the kubelet's termination log, huge
/// pages, and the files that lxcfs makes tell of the container instead of the host.
const BOUND: &[&str] = &[
    "/dev/shm",
    "/dev/mqueue",
    "/dev/termination-log",
    "/dev/hugepages",
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/sys/crypto/fips_enabled",
    "/sys/devices/system/cpu",
    "/sys/devices/system/cpu/online",
];

/// File systems that show the kernel's own objects: one of them elsewhere is a way around the masks.
const AT_HOME_ONLY: [&str; 4] = ["proc", "sysfs", "cgroup", "cgroup2"];

/// Whether the mount leaves the kernel's places as the runtimes make them.
pub(super) fn is_usual(mount: &Value) -> bool {
    let destination = view::text(mount, "destination").unwrap_or_default();
    let parts: Vec<&str> = components(destination).collect();
    // Where `..` leads depends on the links of the image.
    if parts.contains(&"..") {
        return false;
    }
    let kind = kind(mount);
    let place = format!("/{}", parts.join("/"));
    let reserved = match parts.first() {
        None => true,
        Some(first) => ["proc", "sys", "dev"].contains(first),
    };
    if !reserved && !AT_HOME_ONLY.contains(&kind) {
        return true;
    }
    let usual =
        USUAL.iter().any(|(usual, places)| *usual == kind && places.contains(&place.as_str()));
    usual || is_host_sysfs(mount, kind, &place)
}

/// The host's /sys, read-only with all below it: what containerd gives a pod that has the host's
/// network and a user namespace, in which sysfs cannot be mounted (internal/cri/server).
fn is_host_sysfs(mount: &Value, kind: &str, place: &str) -> bool {
    kind == "bind"
        && place == "/sys"
        && view::text(mount, "source") == Some("/sys")
        && view::strings(mount, "options").any(|option| option == "rro")
        && !view::strings(mount, "options").any(|option| option == "rrw")
}

/// The type of a mount. The option `bind` or `rbind` makes it a bind mount whatever its type says
/// (runc libcontainer/specconv, createLibcontainerMount); crun takes the type `bind` too.
pub(super) fn kind(mount: &Value) -> &str {
    if view::strings(mount, "options").any(|option| ["bind", "rbind"].contains(&option)) {
        return "bind";
    }
    view::text(mount, "type").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn usual(kind: &str, destination: &str) -> bool {
        is_usual(&json!({"type": kind, "destination": destination, "source": "/x"}))
    }

    #[test]
    fn what_the_runtimes_mount_stays() {
        for (kind, destination) in [
            ("proc", "/proc"),
            ("tmpfs", "/dev/"),
            ("tmpfs", "dev//shm"),
            ("bind", "/dev/shm"),
            ("cgroup", "/sys/fs/cgroup"),
            ("bind", "/proc/cpuinfo"),
            ("bind", "/data/proc"),
            ("tmpfs", "/run"),
        ] {
            assert!(usual(kind, destination), "{kind} {destination}");
        }
        let sys = json!({"destination": "/sys", "source": "/sys", "options": ["rbind", "rro"]});
        assert!(is_usual(&sys));
    }

    #[test]
    fn what_is_in_the_way_of_masks_does_not() {
        for (kind, destination) in [
            ("bind", "/proc"),
            ("bind", "/proc/self/attr"),
            ("tmpfs", "/proc/acpi"),
            ("bind", "//sys/./kernel/"),
            ("bind", "sys"),
            ("tmpfs", "/x/../proc/keys"),
            ("tmpfs", "/"),
            ("tmpfs", ""),
            ("proc", "/mnt"),
            ("sysfs", "/host/sys"),
            ("bind", "/dev/null"),
            ("", "/dev/x"),
        ] {
            assert!(!usual(kind, destination), "{kind} {destination}");
        }
        let bound = json!({"type": "proc", "destination": "/proc", "options": ["rbind"]});
        assert!(!is_usual(&bound), "the option makes it a bind mount");
    }
}
