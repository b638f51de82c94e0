//! The kernel's surface: system calls, socket families, architectures, capabilities, new privileges.

use coaming_integration::{Runtime, Suite};

use crate::case::{Ask, Case, Group, Ours, Places, absent, forbids, hides, keeps, kills};
use crate::spec;

macro_rules! seccomp_policy {
    () => {
        "seccomp:
  denySyscalls: [add_key, bpf, chroot, init_module, io_uring_setup, keyctl, modify_ldt, mount, perf_event_open, process_vm_readv, ptrace, unshare, userfaultfd]
  denySocketFamilies: [AF_ALG, AF_VSOCK]
  architectures: []"
    };
}

pub(crate) const GROUPS: &[Group] = &[
    // Beside Landlock the launcher loads the filter, without it the runtime does: the same cases for both.
    Group {
        name: "seccomp-launcher",
        floor: "node",
        policy: SECCOMP_AND_LANDLOCK,
        ask: Ask::Spec(spec::all_capabilities),
        cases: SECCOMP_CASES,
    },
    Group {
        name: "seccomp-runtime",
        floor: "node",
        policy: SECCOMP,
        ask: Ask::Spec(spec::all_capabilities),
        cases: SECCOMP_CASES,
    },
    Group {
        name: "capabilities",
        floor: "node",
        policy: "capabilities:\n  allow: []",
        ask: Ask::Spec(spec::all_capabilities),
        cases: &[
            forbids("capabilities", "mount", "EPERM"),
            forbids("capabilities", "mount-new-api", "EPERM"),
            forbids("capabilities", "umount /proc/keys", "EPERM"),
            forbids("capabilities", "remount-rw /proc/sys", "EPERM"),
            forbids("capabilities", "unshare-mount", "EPERM"),
            forbids("capabilities", "setns", "EPERM"),
            forbids("capabilities", "chroot", "EPERM"),
            forbids("capabilities", "pivot-root", "EPERM"),
            forbids("capabilities", "mknod-char", "EPERM"),
            forbids("capabilities", "mknod-block", "EPERM"),
            forbids("capabilities", "tun", "EPERM|ENOENT").under(opens_tun),
            forbids("capabilities", "af-packet", "EPERM"),
            forbids("capabilities", "raw-icmp", "EPERM"),
            forbids("capabilities", "setuid", "EPERM"),
            forbids("capabilities", "setgid", "EPERM"),
            forbids("capabilities", "setgroups", "EPERM"),
            forbids("capabilities", "securebits", "EPERM"),
            forbids("capabilities", "bpf", "EPERM"),
            forbids("capabilities", "perf-event-kernel", "EACCES|EPERM"),
            forbids("capabilities", "open-by-handle-at", "EPERM"),
            forbids("capabilities", "fanotify", "EPERM"),
            forbids("capabilities", "sethostname", "EPERM"),
            forbids("capabilities", "reboot", "EPERM"),
            forbids("capabilities", "swapon", "EPERM"),
            forbids("capabilities", "acct", "EPERM"),
            forbids("capabilities", "settimeofday", "EPERM"),
            forbids("capabilities", "adjtimex", "EPERM"),
            forbids("capabilities", "syslog", "EPERM"),
            keeps("capabilities", "ptrace"),
            keeps("capabilities", "keyctl"),
        ],
    },
    Group {
        name: "no-new-privileges",
        floor: "node",
        policy: "noNewPrivileges: true",
        ask: Ask::Spec(spec::new_privileges),
        cases: &[
            hides("noNewPrivileges", "setuid-gain /bin/probe-setuid"),
            keeps("noNewPrivileges", "exec /bin/probe-setuid list"),
        ],
    },
];

const SECCOMP: &str = seccomp_policy!();

const SECCOMP_AND_LANDLOCK: &str = concat!("landlock:\n  bind: [7002]\n", seccomp_policy!());

const SECCOMP_CASES: &[Case] = &[
    forbids("seccomp", "mount", "EPERM"),
    forbids("seccomp", "unshare-user", "EPERM"),
    forbids("seccomp", "ptrace", "EPERM"),
    // The container's first process, of the same user and with the same rights.
    forbids("seccomp", "ptrace-pid 1", "EPERM").only(Places::Exec),
    forbids("seccomp", "process-vm-readv", "EPERM"),
    forbids("seccomp", "io-uring", "EPERM"),
    forbids("seccomp", "keyctl", "EPERM"),
    forbids("seccomp", "add-key", "EPERM"),
    forbids("seccomp", "bpf", "EPERM"),
    forbids("seccomp", "perf-event-open", "EPERM"),
    forbids("seccomp", "userfaultfd", "EPERM"),
    forbids("seccomp", "modify-ldt", "EPERM"),
    forbids("seccomp", "chroot", "EPERM"),
    forbids("seccomp", "af-vsock", "EPERM"),
    // Kernels without these say so themselves; here the filter answers first.
    absent("seccomp", "af-alg", "EAFNOSUPPORT", Ours::Answers("EPERM")),
    absent("seccomp", "init-module", "ENOSYS", Ours::Answers("EPERM")),
    absent("seccomp", "x32", "ENOSYS", Ours::Killed),
    kills("seccomp", "i386"),
    // AF_UNIX, which every kernel has: the door to a filtered family that a native rule leaves open.
    kills("seccomp", "i386-socketcall 1"),
    kills("seccomp", "i386-socket 1"),
    keeps("seccomp", "clone-user"),
    keeps("seccomp", "af-packet"),
];

/// crun 1.8 alone does not open /dev/net/tun for every container.
fn opens_tun(runtime: Runtime) -> bool {
    runtime != Runtime::Crun(Suite::Bookworm)
}
