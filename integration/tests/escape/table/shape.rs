//! What a container is made of: its file systems, namespaces, devices, limits, user, and what the runtime is told.

use coaming_integration::{Runtime, Suite};

use crate::case::{Ask, Group, Places, forbids, hides, keeps, spares};
use crate::spec;

pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "privileged",
        floor: "node",
        policy: "privileged: false",
        ask: Ask::Ctr(&["--privileged"]),
        cases: &[
            forbids("privileged", "mount", "EPERM"),
            forbids("privileged", "proc-sys", "EROFS|EACCES"),
            forbids("privileged", "mknod-open b 7 0", "EPERM"),
            forbids("privileged", "sethostname", "EPERM"),
            hides("privileged", "read-masked /proc/keys"),
        ],
    },
    Group {
        name: "read-only-root",
        floor: "node",
        policy: "readOnlyRootFilesystem: true",
        ask: Ask::Spec(spec::nothing),
        cases: &[
            forbids("readOnlyRootFilesystem", "create /new", "EROFS"),
            forbids("readOnlyRootFilesystem", "write /etc/passwd", "EROFS"),
            forbids("readOnlyRootFilesystem", "create /tmp/new", "EROFS"),
            keeps("readOnlyRootFilesystem", "create /run/new"),
        ],
    },
    Group {
        name: "masked-paths",
        floor: "node",
        policy: "maskedPaths: [/etc, /proc/keys, /proc/meminfo, /sys/class]",
        ask: Ask::Spec(spec::unmasked),
        cases: &[
            hides("maskedPaths", "read-masked /proc/meminfo"),
            hides("maskedPaths", "read-masked /proc/keys"),
            hides("maskedPaths", "read-masked /etc"),
            hides("maskedPaths", "read-masked /sys/class"),
            forbids("maskedPaths", "read /etc/passwd", "ENOENT"),
            keeps("maskedPaths", "read-masked /proc/uptime"),
        ],
    },
    Group {
        name: "readonly-paths",
        floor: "node",
        policy: "readonlyPaths: [/proc/sys, /var]",
        ask: Ask::Spec(spec::unmasked),
        cases: &[
            forbids("readonlyPaths", "proc-sys", "EROFS"),
            forbids("readonlyPaths", "core-pattern", "EROFS"),
            forbids("readonlyPaths", "create /var/new", "EROFS"),
            keeps("readonlyPaths", "create /tmp/new"),
        ],
    },
    Group {
        name: "host-namespaces",
        floor: "node",
        policy: "hostNamespaces:\n  allow: [user, cgroup, time]",
        ask: Ask::Spec(spec::node_namespaces),
        cases: &[
            hides("hostNamespaces", "host-namespace pid {pid}"),
            hides("hostNamespaces", "host-namespace net {net}"),
            hides("hostNamespaces", "host-namespace ipc {ipc}"),
            hides("hostNamespaces", "host-namespace uts {uts}"),
            forbids("hostNamespaces", "kill {outsider}", "ESRCH"),
            forbids("hostNamespaces", "ptrace-pid {outsider}", "ESRCH"),
            forbids("hostNamespaces", "abstract-unix coaming-escape", "ECONNREFUSED"),
        ],
    },
    Group {
        name: "host-namespaces-by-path",
        floor: "node",
        policy: "hostNamespaces:\n  allow: [user, cgroup, time]",
        ask: Ask::Spec(spec::node_namespaces_by_path),
        cases: &[
            hides("hostNamespaces", "host-namespace net {net}"),
            hides("hostNamespaces", "host-namespace ipc {ipc}"),
            hides("hostNamespaces", "host-namespace uts {uts}"),
        ],
    },
    Group {
        name: "rlimits",
        floor: "node",
        policy: "rlimits:\n  RLIMIT_NOFILE: 64",
        ask: Ask::Spec(spec::limits),
        cases: &[hides("rlimits", "status-has /rlimits/Max~open~files 1024")],
    },
    Group {
        name: "resources",
        floor: "node",
        policy: "resources:\n  pidsLimit: 16",
        ask: Ask::Spec(spec::nothing),
        cases: &[forbids("resources", "processes 40", "EAGAIN"), keeps("resources", "processes 4")],
    },
    Group {
        name: "mounts",
        floor: "node",
        policy: "mounts:
  hostPaths:
    allow: [/var/lib/kubelet]
  propagation:
    allow: [private, rprivate, slave, rslave]
  protectDestinations: true
  fileSystems:
    allow: []",
        ask: Ask::Spec(spec::mounts),
        cases: &[
            forbids("mounts", "read /node/secret", "ENOENT"),
            hides("mounts", "holds /proc/self/mountinfo ~/node~"),
            forbids("mounts", "read /proc2/keys", "ENOENT"),
            hides("mounts", "holds /proc/self/mountinfo ~shared:{kubelet}~"),
            hides("mounts", "holds /proc/self/mountinfo ramfs"),
            keeps("mounts", "create /shared/new"),
        ],
    },
    Group {
        name: "devices",
        floor: "node",
        policy: "devices:\n  allow: []",
        ask: Ask::Spec(spec::devices),
        cases: &[
            forbids("devices", "dev-fuse", "ENOENT"),
            forbids("devices", "open-device /dev/loop0", "ENOENT"),
            forbids("devices", "mknod-open c 10 229", "EPERM"),
            forbids("devices", "mknod-open b 7 0", "EPERM"),
            // Not c 10 200 (tun): runc and crun open it for every container, after the rules of the spec (runc
            // 1.1 and 1.3, libcontainer/specconv, AllowedDevices). Without MKNOD there is no node to open it by.
            keeps("devices", "open-device /dev/null"),
        ],
    },
    Group {
        name: "sysctls",
        floor: "node",
        policy: "sysctls:\n  allow: [kernel.shm_rmid_forced]",
        ask: Ask::Spec(spec::sysctls),
        cases: &[
            hides("sysctls", "holds /proc/sys/net/ipv4/ip_default_ttl 42"),
            keeps("sysctls", "holds /proc/sys/kernel/shm_rmid_forced 1"),
        ],
    },
    Group {
        name: "user",
        floor: "node",
        policy: "user:
  runAsNonRoot: true
  supplementalGroups:
    ranges: [{min: 1, max: 99}]",
        ask: Ask::Spec(spec::groups),
        cases: &[hides("user", "status-has /groups 4242"), keeps("user", "status-has /uid 1000")],
    },
    Group {
        name: "rootfs-propagation",
        floor: "node",
        policy: "rootfsPropagation:\n  allow: [private, rprivate, slave, rslave]",
        ask: Ask::Spec(spec::shared_root),
        cases: &[hides("rootfsPropagation", "holds /proc/self/mountinfo ~shared:{kubelet}~")],
    },
    Group {
        name: "hooks",
        floor: "node",
        policy: "hooks:\n  allow: []",
        ask: Ask::Spec(spec::hooks),
        cases: &[spares("hooks", "/run/escape/hook", "ociVersion")],
    },
    // By the floor `node` itself.
    Group {
        name: "annotations",
        floor: "node",
        policy: "",
        ask: Ask::Spec(spec::annotations),
        cases: &[
            spares("annotations", "/run/escape/hook", "run.oci.escape"),
            spares("annotations", "/run/escape/hook-stdout", "from the hook").under(is_crun),
        ],
    },
    Group {
        name: "fields",
        floor: "node",
        policy: "fields:\n  deny: [linux.personality]",
        ask: Ask::Spec(spec::personality),
        cases: &[
            spares(
                "fields",
                "/run/containerd/io.containerd.runtime.v2.task/default/{id}/config.json",
                "LINUX32",
            ),
            hides("fields", "holds /proc/self/personality 00000008")
                .only(Places::Init)
                .under(sets_personality),
        ],
    },
];

fn is_crun(runtime: Runtime) -> bool {
    matches!(runtime, Runtime::Crun(_))
}

/// runc since 1.2.
fn sets_personality(runtime: Runtime) -> bool {
    matches!(runtime, Runtime::Crun(_) | Runtime::Runc(Suite::Sid))
}
