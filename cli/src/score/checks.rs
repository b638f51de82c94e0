//! The table of checks: what each is about, what it weighs, what measures it and which field closes it.
//! docs/score.md has the reasons of the weights.

use serde::Serialize;

use super::measures::{Measured, capabilities, confinement, host, identity, seccomp};
use super::subject::Subject;

/// A check.
pub(super) struct Check {
    id: &'static str,
    /// What it is about, in plain words.
    about: &'static str,
    /// Its part in the average.
    weight: u32,
    /// The number, in tenths, that a container has at least where this stands wide open, whatever
    /// else is closed. 0 where it opens nothing by itself.
    at_least: u32,
    /// The field of a policy that closes it.
    closed_by: &'static str,
    measure: fn(&Subject) -> Measured,
}

/// What a check found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Checked {
    pub(super) id: &'static str,
    pub(super) about: &'static str,
    pub(super) weight: u32,
    #[serde(skip)]
    pub(super) at_least: u32,
    /// Per cent.
    pub(super) exposure: u32,
    pub(super) found: String,
    pub(super) closed_by: &'static str,
}

impl Checked {
    /// What it adds to the average, before it is divided.
    pub(super) fn share(&self) -> u32 {
        self.weight * self.exposure
    }
}

/// Every check of a container, in the table's order.
pub(super) fn examine(subject: &Subject) -> Vec<Checked> {
    CHECKS
        .iter()
        .map(|check| {
            let Measured { exposure, found } = (check.measure)(subject);
            let Check { id, about, weight, at_least, closed_by, .. } = *check;
            Checked { id, about, weight, at_least, exposure, found, closed_by }
        })
        .collect()
}

macro_rules! checks {
    ($($id:literal $weight:literal $at_least:literal $measure:path, $closed_by:literal, $about:literal;)*) => {
        /// The table.
        pub(super) const CHECKS: &[Check] = &[$(Check {
            id: $id,
            about: $about,
            weight: $weight,
            at_least: $at_least,
            closed_by: $closed_by,
            measure: $measure,
        }),*];
    };
}

checks! {
    "capabilities.kernel" 12 80 capabilities::kernel, "spec.capabilities",
        "Capabilities that are as good as the whole node: mounts, modules, raw devices, other processes' memory";
    "capabilities.network" 4 0 capabilities::network, "spec.capabilities",
        "Capabilities over the network: interfaces, routes, raw packets";
    "capabilities.files" 3 0 capabilities::files, "spec.capabilities",
        "Capabilities that pass by the permissions of files";
    "capabilities.identity" 2 0 capabilities::identity, "spec.capabilities",
        "Capabilities to become another user";
    "capabilities.other" 1 0 capabilities::other, "spec.capabilities",
        "Every other capability";
    "noNewPrivileges" 6 0 identity::no_new_privileges, "spec.noNewPrivileges",
        "Whether a program can gain more than it was started with, by setuid or file capabilities";
    "user.root" 8 0 identity::root, "spec.user",
        "Whether it runs as root";
    "user.groups" 1 0 identity::groups, "spec.user",
        "Whether it is in root's group";
    "namespaces.user" 6 0 host::user_namespace, "spec.hostNamespaces",
        "Whether its root is the node's root (no user namespace)";
    "namespaces.pid" 6 50 host::pid_namespace, "spec.hostNamespaces",
        "Whether it sees the node's processes";
    "namespaces.network" 6 40 host::network_namespace, "spec.hostNamespaces",
        "Whether it is on the node's network, with its services on localhost and its abstract sockets";
    "namespaces.ipc" 3 20 host::ipc_namespace, "spec.hostNamespaces",
        "Whether it shares the node's shared memory and message queues";
    "namespaces.mount" 3 90 host::mount_namespace, "spec.hostNamespaces",
        "Whether it is in the node's mount namespace";
    "namespaces.uts" 1 0 host::uts_namespace, "spec.hostNamespaces",
        "Whether it shares the node's host name";
    "namespaces.cgroup" 1 0 host::cgroup_namespace, "spec.hostNamespaces",
        "Whether it sees the node's tree of cgroups";
    "mounts.hostPaths" 8 80 host::host_paths, "spec.mounts.hostPaths",
        "Paths of the node that are mounted into it";
    "mounts.propagation" 3 40 host::propagation, "spec.mounts.propagation",
        "Whether mounts that it makes appear on the node, and the node's in it";
    "mounts.kernel" 4 0 host::kernel_mounts, "spec.privileged",
        "Whether sysfs and the cgroup tree can be written to";
    "mounts.token" 3 0 host::token, "automountServiceAccountToken: false (of the pod)",
        "Whether a token for the cluster's API lies in it";
    "devices" 6 90 host::devices, "spec.devices",
        "Devices of the node";
    "sysctls" 2 0 host::sysctls, "spec.sysctls",
        "Kernel parameters beyond those that Kubernetes calls safe";
    "hooks" 2 0 host::hooks, "spec.hooks",
        "Programs that the runtime runs on the node for this container";
    "annotations" 3 60 host::annotations, "spec.annotations",
        "Annotations by which a runtime is steered past its spec";
    "seccomp.filter" 8 0 seccomp::filter, "spec.seccomp.floor",
        "Whether its system calls are filtered, by a list of what is allowed";
    "seccomp.kernel" 5 0 seccomp::kernel, "spec.seccomp.floor",
        "System calls that change the kernel or look into it";
    "seccomp.namespaces" 3 0 seccomp::namespaces, "spec.seccomp.floor",
        "System calls that mount and make namespaces, which open most of the kernel to attack";
    "seccomp.ioUring" 3 0 seccomp::io_uring, "spec.seccomp.denySyscalls",
        "io_uring, a second way to most system calls and a long list of holes";
    "seccomp.sockets" 2 0 seccomp::sockets, "spec.seccomp.denySocketFamilies",
        "Socket families that few programs need and that had many holes";
    "seccomp.architectures" 1 0 seccomp::architectures, "spec.seccomp.architectures",
        "Second sets of system calls beside the machine's own";
    "landlock.files" 6 0 confinement::files, "spec.landlock.write",
        "Whether Landlock says which files it may write and execute";
    "landlock.network" 4 0 confinement::network, "spec.landlock.connect",
        "Whether Landlock says which TCP ports it may use";
    "landlock.scopes" 1 0 confinement::scopes, "spec.landlock.scopes",
        "Whether Landlock keeps it from signals and abstract sockets of others";
    "lsm" 5 0 confinement::security_module, "spec.appArmor or spec.seLinux",
        "Whether AppArmor or SELinux confine it";
    "readOnlyRootFilesystem" 4 0 confinement::read_only_root, "spec.readOnlyRootFilesystem",
        "Whether its programs can be replaced";
    "maskedPaths" 3 0 confinement::masked, "spec.maskedPaths",
        "Files of the kernel that tell of the node";
    "readonlyPaths" 3 0 confinement::readonly, "spec.readonlyPaths",
        "Files of the kernel that change the node";
    "resources.memory" 2 0 confinement::memory, "spec.resources.memoryLimit",
        "Whether its memory is limited";
    "resources.pids" 1 0 confinement::pids, "spec.resources.pidsLimit",
        "Whether the number of its processes is limited (the kubelet limits a pod's besides)";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_check_with_its_weight() {
        let page = include_str!("../../../docs/score.md");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        for check in CHECKS {
            let at_least = match check.at_least {
                0 => String::new(),
                tenths => format!("{}.{}", tenths / 10, tenths % 10),
            };
            let begin = format!("| `{}` | {} | {at_least} | ", check.id, check.weight);
            assert!(rows.iter().any(|row| row.starts_with(&begin)), "no row {begin}");
        }
        let of_checks = rows.iter().filter(|row| !row.contains("--"));
        assert_eq!(of_checks.count(), CHECKS.len());
    }
}
