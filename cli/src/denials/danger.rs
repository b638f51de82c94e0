//! What is given away with a permission, where it is more than it seems.

/// Calls by what they give to whoever may make them.
const CALLS: [(&[&str], &str); 11] = [
    (
        &[
            "mount",
            "umount",
            "umount2",
            "pivot_root",
            "move_mount",
            "open_tree",
            "mount_setattr",
            "fsopen",
            "fsmount",
            "fsconfig",
            "fspick",
            "open_tree_attr",
        ],
        "whoever may mount can take masks and read-only paths away",
    ),
    (&["bpf", "perf_event_open"], "it reaches into the kernel, past the container"),
    (
        &["ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd"],
        "it takes over other processes of the same user",
    ),
    (
        &["init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load"],
        "it is to be the kernel",
    ),
    (
        &["unshare", "setns", "clone", "clone3"],
        "with a user namespace of its own a process has every capability in it, and much of the kernel that \
         it otherwise could not reach",
    ),
    (
        &["io_uring_setup", "io_uring_enter", "io_uring_register"],
        "io_uring makes calls that no filter sees",
    ),
    (&["keyctl", "add_key", "request_key"], "keys are the node's, and not the container's"),
    (&["open_by_handle_at"], "it opens files outside of the container (CVE-2014-3519)"),
    (&["userfaultfd"], "it makes races in the kernel easy to win"),
    (
        &["reboot", "swapon", "swapoff", "settimeofday", "clock_settime", "acct", "quotactl"],
        "it changes the node",
    ),
    (
        &["iopl", "ioperm", "modify_ldt", "personality"],
        "it is a way to the machine or around its defences",
    ),
];

/// A word of caution before a call is allowed.
pub(super) fn of_call(name: &str) -> Option<&'static str> {
    CALLS.iter().find(|(names, _)| names.contains(&name)).map(|(_, why)| *why)
}

/// A word of caution before a right on a file is allowed.
pub(super) fn of_path(path: &str) -> Option<&'static str> {
    let below = |root: &str| {
        path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if path == "/" {
        Some("it is every file of the container")
    } else if path.ends_with("docker.sock")
        || path.ends_with("containerd.sock")
        || path.ends_with("crio.sock")
    {
        Some("whoever reaches it is root on the node")
    } else if below("/proc/sys") || below("/sys") || path == "/proc" {
        Some("the kernel's settings are there")
    } else if below("/dev")
        && !["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"]
            .contains(&path)
    {
        Some("look at which device it is")
    } else {
        None
    }
}
