//! The workload cannot tell that the launcher was there.

use coaming_hooks::plan::{Layer, Plan};

use crate::needs_root;
use crate::root::{Ended, Root};
use crate::seccomp::allow_all;

/// A plan that forbids nothing that these workloads do, but takes every step.
fn harmless() -> Plan {
    Plan {
        layers: vec![Layer { handled_net: 1, ..Layer::default() }],
        filters: vec![allow_all()],
        ..Plan::default()
    }
}

/// Everything about a process that the runtime prepares for it.
const OBSERVE: &str = "tr '\\0' ' ' < /proc/self/cmdline; echo; ls -l /proc/self/fd | grep -c pipe; \
    ls /proc/$$/fd; umask; pwd; id; env; echo $0; \
    grep -E '^(Uid|Gid|Groups|Umask|SigPnd|SigBlk|SigIgn|SigCgt|Cap|NoNewPrivs|Threads)' /proc/$$/status; \
    cat /proc/$$/limits /proc/$$/oom_score_adj; tr '\\0' '\\n' < /proc/$$/environ; tr '\\0' ' ' < /proc/$$/cmdline";

#[test]
fn what_the_runtime_prepared_passes_through() {
    needs_root!();
    for plan in [Plan::default(), harmless()] {
        let root = Root::new(&plan);
        let arguments = ["sh", "-c", OBSERVE, "zero"];
        for before in ["", "umask 027", "trap '' PIPE HUP USR1", "ulimit -n 77; exec 7</dev/null"] {
            let environment = ["B=2", "PATH=/bin", "A=1", "EMPTY=", "LD_PRELOAD=/nonsense.so"];
            let with = root.run(&arguments).before(before).environment(&environment).end();
            let without = root.direct(&["/bin/sh", "-c", OBSERVE, "zero"]);
            let without = without.before(before).environment(&environment).end();
            assert_eq!(with.code, 0, "{}", with.err);
            // Its name is as it was asked for, which a direct execve of the path cannot show.
            assert_eq!(with.out, without.out.replace("/bin/sh -c", "sh -c"), "{before:?}");
            assert!(with.out.contains("EMPTY="), "the comparison compares something: {}", with.out);
        }
    }
}

#[test]
fn an_ignored_sigpipe_stays_ignored_and_a_default_one_default() {
    needs_root!();
    let root = Root::new(&harmless());
    let ignored = |before: &str| {
        let show = "grep SigIgn /proc/self/status";
        let Ended { out, .. } = root.run(&["sh", "-c", show]).before(before).end();
        u64::from_str_radix(out.trim_start_matches("SigIgn:").trim(), 16).unwrap() & (1 << 12) != 0
    };
    assert!(ignored("trap '' PIPE"));
    // The test harness ignores SIGPIPE, and a shell cannot restore what it found ignored.
    // By its path: a shell may have an env of its own, without that.
    assert!(!ignored("exec /usr/bin/env --default-signal=PIPE \"$@\""));
}

#[test]
fn no_descriptor_is_added() {
    needs_root!();
    let root = Root::new(&harmless());
    let list = "cd /proc/$$/fd; echo *";
    let with = root.run(&["sh", "-c", list]).end().out;
    assert_eq!(with, root.direct(&["/bin/sh", "-c", list]).end().out);
    assert!(with.starts_with("0 1 "), "{with}");
}

#[test]
fn the_first_argument_and_the_command_line_are_the_workloads() {
    needs_root!();
    let root = Root::new(&harmless());
    let arguments = ["cat", "/proc/self/cmdline", "/proc/self/comm", ""];
    let Ended { out, .. } = root.run(&arguments).end();
    assert_eq!(out, "cat\0/proc/self/cmdline\0/proc/self/comm\0\0cat\n");
}

#[test]
fn a_user_who_is_not_root_stays_who_it_is() {
    needs_root!();
    let root = Root::new(&harmless());
    let ended = root.run(&["id"]).user(1000).end();
    let direct = root.direct(&["/bin/id"]).user(1000).end();
    assert_eq!((ended.code, &ended.out), (0, &direct.out), "{}", ended.err);
    // Versions of busybox differ in whether they name the groups then.
    assert!(ended.out.starts_with("uid=1000 gid=1000"), "{}", ended.out);
}

#[test]
fn nothing_of_the_launcher_stays_mapped() {
    needs_root!();
    let root = Root::new(&harmless());
    let Ended { out, .. } = root.run(&["cat", "/proc/self/maps"]).end();
    assert!(out.contains("/bin/busybox") && !out.contains("coaming"), "{out}");
}

#[test]
fn exit_codes_are_the_workloads() {
    needs_root!();
    let root = Root::new(&harmless());
    assert_eq!(root.run(&["sh", "-c", "exit 42"]).end().code, 42);
    assert_eq!(root.run(&["sh", "-c", "kill -9 $$"]).end().code, 128 + 9);
}
