//! The built-in floors, against containers that ask for all that they can.

use coaming_integration::cri::{ContainerSpec, Pod, Profile};

use crate::case::{Ask, Case, Group, Ours, Stock, absent, case, forbids, keeps};
use crate::spec;

pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "baseline",
        floor: "baseline",
        policy: "",
        ask: Ask::Spec(spec::all_capabilities),
        cases: BASELINE,
    },
    Group {
        name: "baseline-ctr",
        floor: "baseline",
        policy: "",
        ask: Ask::Ctr(&["--privileged"]),
        cases: BASELINE,
    },
    Group {
        name: "baseline-cri",
        floor: "baseline",
        policy: "",
        ask: Ask::Cri(privileged),
        cases: BASELINE,
    },
    Group {
        name: "node-cri",
        floor: "node",
        policy: "",
        ask: Ask::Cri(privileged),
        cases: &[
            absent("seccomp", "af-alg", "EAFNOSUPPORT", Ours::Answers("EPERM")),
            absent("seccomp", "i386-socketcall", "EAFNOSUPPORT", Ours::Answers("EPERM|ENOSYS")),
            absent("seccomp", "init-module", "ENOSYS", Ours::Answers("EPERM")),
            absent("seccomp", "finit-module", "ENOSYS", Ours::Answers("EPERM")),
            absent("seccomp", "delete-module", "ENOSYS", Ours::Answers("EPERM")),
            absent("seccomp", "kexec-load", "ENOSYS", Ours::Answers("EPERM")),
            absent("seccomp", "kexec-file-load", "ENOSYS", Ours::Answers("EPERM")),
            absent("seccomp", "x32", "ENOSYS", Ours::Killed),
            keeps("seccomp", "mount"),
            keeps("seccomp", "i386"),
            keeps("seccomp", "io-uring"),
        ],
    },
];

/// `privileged: true`, `seccomp: Unconfined`.
fn privileged(pod: &mut Pod, container: &mut ContainerSpec) {
    pod.privileged = true;
    container.privileged = true;
    container.seccomp = Some(Profile::Unconfined);
}

const BASELINE: &[Case] = &[
    forbids("capabilities", "mount", "EPERM"),
    forbids("capabilities", "mount-proc", "EPERM"),
    forbids("capabilities", "mount-new-api", "EPERM"),
    forbids("capabilities", "open-tree", "EPERM"),
    forbids("capabilities", "mount-setattr", "EPERM"),
    forbids("capabilities", "unshare-mount", "EPERM"),
    forbids("capabilities", "setns", "EPERM"),
    forbids("seccomp", "unshare-user", "EPERM"),
    forbids("seccomp", "clone-user", "EPERM"),
    // libc's fall back to clone, whose flags a filter can see, when clone3 is not there.
    forbids("seccomp", "clone3-user", "ENOSYS"),
    forbids("seccomp", "io-uring", "EPERM"),
    forbids("seccomp", "keyctl", "EPERM"),
    forbids("seccomp", "add-key", "EPERM"),
    forbids("seccomp", "request-key", "EPERM"),
    forbids("seccomp", "bpf", "EPERM"),
    forbids("seccomp", "perf-event-open", "EPERM"),
    forbids("seccomp", "userfaultfd", "EPERM"),
    forbids("seccomp", "open-by-handle-at", "EPERM"),
    forbids("seccomp", "fanotify", "EPERM"),
    forbids("seccomp", "syslog", "EPERM"),
    forbids("seccomp", "reboot", "EPERM"),
    forbids("seccomp", "swapon", "EPERM"),
    forbids("seccomp", "acct", "EPERM"),
    forbids("seccomp", "settimeofday", "EPERM"),
    forbids("seccomp", "quotactl", "EPERM"),
    forbids("seccomp", "af-vsock", "EPERM"),
    forbids("capabilities", "af-packet", "EPERM"),
    forbids("capabilities", "raw-icmp", "EPERM"),
    forbids("capabilities", "nice", "EPERM|EACCES"),
    absent("seccomp", "af-alg", "EAFNOSUPPORT", Ours::Answers("EPERM")),
    absent("seccomp", "i386-socketcall", "EAFNOSUPPORT", Ours::Answers("EPERM|ENOSYS")),
    absent("seccomp", "init-module", "ENOSYS", Ours::Answers("EPERM")),
    absent("seccomp", "finit-module", "ENOSYS", Ours::Answers("EPERM")),
    absent("seccomp", "delete-module", "ENOSYS", Ours::Answers("EPERM")),
    absent("seccomp", "kexec-load", "ENOSYS", Ours::Answers("EPERM")),
    absent("seccomp", "iopl", "ENOSYS", Ours::Answers("EPERM")),
    absent("seccomp", "x32", "ENOSYS", Ours::Killed),
    case("readonlyPaths", "sysrq", Stock::NotHere("ENOENT"), Ours::Answers("ENOENT|EROFS")),
    keeps("seccomp", "i386"),
    keeps("seccomp", "setuid"),
    keeps("seccomp", "chroot"),
];
