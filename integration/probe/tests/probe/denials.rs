//! Every attempt under a filter, without capabilities, and under Landlock.

use crate::{assert_allowed_if_known, assert_outcome, judge, outcome, root};

/// Each attempt with the call that carries it.
const CALLS: &[(&str, i64)] = &[
    ("mount", libc::SYS_mount),
    ("mount-proc", libc::SYS_mount),
    ("mount-bind", libc::SYS_mount),
    ("mount-new-api", libc::SYS_fsopen),
    ("mount-new-api", libc::SYS_fsmount),
    ("mount-new-api", libc::SYS_move_mount),
    ("fsopen", libc::SYS_fsopen),
    ("fspick", libc::SYS_fspick),
    ("open-tree", libc::SYS_open_tree),
    ("mount-setattr", libc::SYS_mount_setattr),
    ("umount /proc", libc::SYS_umount2),
    ("pivot-root", libc::SYS_pivot_root),
    ("chroot", libc::SYS_chroot),
    ("unshare-user", libc::SYS_unshare),
    ("unshare-mount", libc::SYS_unshare),
    ("unshare-net", libc::SYS_unshare),
    ("clone3", libc::SYS_clone3),
    ("clone3-user", libc::SYS_clone3),
    ("setns", libc::SYS_setns),
    ("ptrace", libc::SYS_ptrace),
    ("process-vm-readv", libc::SYS_process_vm_readv),
    ("pidfd-getfd", libc::SYS_pidfd_getfd),
    ("process-vm-writev", libc::SYS_process_vm_writev),
    ("process-madvise", libc::SYS_process_madvise),
    ("kcmp", libc::SYS_kcmp),
    ("nsenter 1", libc::SYS_setns),
    ("userns-mount", libc::SYS_unshare),
    ("userns-mount", libc::SYS_mount),
    ("userns-netfilter", libc::SYS_unshare),
    ("userns-netfilter", libc::SYS_socket),
    ("chroot-breakout", libc::SYS_chroot),
    ("mount-block", libc::SYS_mount),
    ("mount-overlay", libc::SYS_mount),
    ("vhangup", libc::SYS_vhangup),
    ("keyring-join", libc::SYS_keyctl),
    ("exec-memfd", libc::SYS_memfd_create),
    ("exec-memfd", libc::SYS_execve),
    ("exec-dropped", libc::SYS_execve),
    ("kill 1", libc::SYS_kill),
    ("io-uring", libc::SYS_io_uring_setup),
    ("keyctl", libc::SYS_keyctl),
    ("add-key", libc::SYS_add_key),
    ("request-key", libc::SYS_request_key),
    ("bpf", libc::SYS_bpf),
    ("perf-event-open", libc::SYS_perf_event_open),
    ("perf-event-kernel", libc::SYS_perf_event_open),
    ("userfaultfd", libc::SYS_userfaultfd),
    ("open-by-handle-at", libc::SYS_open_by_handle_at),
    ("fanotify", libc::SYS_fanotify_init),
    ("syslog", libc::SYS_syslog),
    ("modify-ldt", libc::SYS_modify_ldt),
    ("personality-exec", libc::SYS_personality),
    ("personality-aslr", libc::SYS_personality),
    ("init-module", libc::SYS_init_module),
    ("finit-module", libc::SYS_finit_module),
    ("delete-module", libc::SYS_delete_module),
    ("kexec-load", libc::SYS_kexec_load),
    ("kexec-file-load", libc::SYS_kexec_file_load),
    ("reboot", libc::SYS_reboot),
    ("swapon", libc::SYS_swapon),
    ("swapoff", libc::SYS_swapoff),
    ("acct", libc::SYS_acct),
    ("quotactl", libc::SYS_quotactl),
    ("settimeofday", libc::SYS_settimeofday),
    ("clock-settime", libc::SYS_clock_settime),
    ("adjtimex", libc::SYS_adjtimex),
    ("sethostname", libc::SYS_sethostname),
    ("setdomainname", libc::SYS_setdomainname),
    ("iopl", libc::SYS_iopl),
    ("ioperm", libc::SYS_ioperm),
    ("nice", libc::SYS_setpriority),
    ("setuid", libc::SYS_setresuid),
    ("setgid", libc::SYS_setresgid),
    ("setgroups", libc::SYS_setgroups),
    ("capset-raise", libc::SYS_capset),
    ("ambient-raise", libc::SYS_capset),
    ("af-alg", libc::SYS_socket),
    ("af-vsock", libc::SYS_socket),
    ("af-packet", libc::SYS_socket),
    ("af-netlink", libc::SYS_socket),
    ("raw-icmp", libc::SYS_socket),
    ("listen-unbound", libc::SYS_listen),
    ("connect 127.0.0.1 9", libc::SYS_connect),
    ("connect-mptcp 127.0.0.1 9", libc::SYS_connect),
    ("sendto-fastopen 127.0.0.1 9", libc::SYS_sendto),
    ("send-udp 127.0.0.1 9", libc::SYS_sendto),
    ("bind 0", libc::SYS_bind),
    ("bind-mptcp 0", libc::SYS_bind),
    ("bind-udp 0", libc::SYS_bind),
    ("mknod-char", libc::SYS_mknodat),
    ("mknod-block", libc::SYS_mknodat),
    ("mknod-open", libc::SYS_mknodat),
    ("exec /proc/self/exe list", libc::SYS_execve),
];

#[test]
fn a_filter_that_answers_shows_as_denied_with_its_errno() {
    for (attempt, nr) in CALLS {
        for errno in ["EPERM", "EACCES"] {
            let verdict = judge(&format!("under-seccomp {nr} {errno} {attempt}"));
            assert_eq!(verdict["outcome"], "denied", "{attempt}: {verdict}");
            assert_eq!(verdict["errno"], errno, "{attempt}: {verdict}");
        }
    }
}

#[test]
fn a_filter_that_kills_shows_as_killed() {
    // A program that is executed has a process of its own, so its parent lives.
    for (attempt, nr) in CALLS.iter().filter(|(attempt, _)| !attempt.starts_with("exec")) {
        let verdict = judge(&format!("under-seccomp {nr} kill {attempt}"));
        assert_eq!(verdict["outcome"], "killed", "{attempt}: {verdict}");
        assert_eq!(verdict["signal"], "SIGSYS", "{attempt}: {verdict}");
    }
}

#[test]
fn enosys_is_told_from_a_missing_call_where_the_kernel_must_have_it() {
    assert_outcome(&format!("under-seccomp {} ENOSYS clone3", libc::SYS_clone3), "denied");
    assert_outcome(
        &format!("under-seccomp {} ENOSYS io-uring", libc::SYS_io_uring_setup),
        "unsupported",
    );
}

#[test]
fn the_other_entries_are_seen_by_filters_of_their_own() {
    assert_outcome("under-seccomp x32:39 EPERM x32", "denied");
    assert_outcome("under-seccomp x32:39 kill x32", "killed");
    assert_outcome("under-seccomp x32:165 EPERM x32-call mount", "denied");
    if outcome("i386") == "allowed" {
        assert_outcome("under-seccomp i386:20 EPERM i386", "denied");
        assert_outcome("under-seccomp i386:20 kill i386", "killed");
        // AF_UNIX is there on every kernel, so the pointer that socketcall takes is known to arrive.
        assert_outcome("i386-socketcall 1", "allowed");
        assert_outcome("under-seccomp i386:102 EPERM i386-socketcall 1", "denied");
        assert_outcome("i386-socket 1", "allowed");
        assert_outcome("under-seccomp i386:359 EPERM i386-socket", "denied");
        assert_outcome("i386-call mount", "allowed");
        assert_outcome("under-seccomp i386:21 EPERM i386-call mount", "denied");
        assert_outcome("under-seccomp i386:21 kill i386-call mount", "killed");
        let mount = libc::SYS_mount;
        assert_outcome(&format!("under-seccomp {mount} EPERM i386-call mount"), "allowed");
        // A native rule says nothing about the other entry: that is the hole the attempt is for.
        let socket = libc::SYS_socket;
        assert_outcome(&format!("under-seccomp {socket} EPERM i386-socketcall 1"), "allowed");
    }
}

/// What a capability decides; without root they are denied both ways.
const PRIVILEGED: &[&str] = &[
    "mount",
    "mount-proc",
    "mount-bind",
    "mount-new-api",
    "fsopen",
    "fspick",
    "open-tree",
    "mount-setattr",
    "mount-block",
    "mount-overlay",
    "pivot-root",
    "chroot",
    "chroot-breakout",
    "vhangup",
    "unshare-mount",
    "unshare-net",
    "setns",
    "bpf",
    "perf-event-kernel",
    "fanotify",
    "open-by-handle-at",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "settimeofday",
    "clock-settime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    "nice",
    "setuid",
    "setgid",
    "setgroups",
    "ambient-raise",
    "securebits",
    "af-packet",
    "raw-icmp",
    "mknod-char",
    "mknod-block",
    "mknod-open",
];

#[test]
fn a_privileged_attempt_is_allowed_with_capabilities_and_denied_without() {
    if !root() {
        return;
    }
    for attempt in PRIVILEGED {
        assert_allowed_if_known(attempt);
        let denied = outcome(&format!("under-no-caps {attempt}"));
        assert!(denied == "denied" || denied == "unsupported", "{attempt}: {denied}");
    }
    assert_outcome("under-no-caps capset-raise", "denied");
}

#[test]
fn a_plain_user_is_not_root() {
    if !root() {
        return;
    }
    for attempt in [
        "mount",
        "chroot",
        "reboot",
        "proc-sys",
        "core-pattern",
        "setuid",
        "kill 1",
        "ptrace-pid 1",
    ] {
        assert_outcome(&format!("as-nobody {attempt}"), "denied");
    }
    assert_eq!(judge("as-nobody ids")["euid"], 65534);
}
