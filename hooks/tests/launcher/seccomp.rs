//! Filters are loaded, last, and need not allow anything but the execve.

use coaming_hooks::plan::{Filter, Instruction, Plan};

use crate::needs_root;
use crate::root::Root;

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

/// What busybox makes a directory with, removes one, and removes a file: newer architectures have only the later calls.
#[cfg(target_arch = "x86_64")]
const MAKE_AND_REMOVE: [i64; 3] = [libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_unlink];
#[cfg(not(target_arch = "x86_64"))]
const MAKE_AND_REMOVE: [i64; 3] = [libc::SYS_mkdirat, libc::SYS_unlinkat, libc::SYS_renameat2];
/// What looks at a file and opens one.
#[cfg(target_arch = "x86_64")]
const LOOK_AND_OPEN: [i64; 2] = [libc::SYS_stat, libc::SYS_open];
#[cfg(not(target_arch = "x86_64"))]
const LOOK_AND_OPEN: [i64; 2] = [libc::SYS_newfstatat, libc::SYS_statx];

fn ret(action: u32) -> Instruction {
    Instruction { code: 0x06, jt: 0, jf: 0, k: action }
}

pub(crate) fn allow_all() -> Filter {
    Filter { flags: 0, instructions: vec![ret(ALLOW)] }
}

/// This action for these system calls, by number alone.
fn deny(numbers: &[i64], action: u32) -> Filter {
    let mut instructions = vec![Instruction { code: 0x20, jt: 0, jf: 0, k: 0 }];
    for number in numbers {
        let k = u32::try_from(*number).unwrap();
        instructions.push(Instruction { code: 0x15, jt: 0, jf: 1, k });
        instructions.push(ret(action));
    }
    instructions.push(ret(ALLOW));
    Filter { flags: 0, instructions }
}

fn plan(filters: Vec<Filter>) -> Plan {
    Plan { filters, ..Plan::default() }
}

#[test]
fn a_filter_answers_for_the_kernel() {
    needs_root!();
    let filter = deny(&MAKE_AND_REMOVE[..1], ERRNO | libc::EADDRNOTAVAIL as u32);
    let root = Root::new(&plan(vec![filter]));
    let denied = root.run(&["mkdir", "/tmp/a"]).end();
    assert_eq!(denied.code, 1);
    assert!(denied.err.contains("Cannot assign requested address"), "{}", denied.err);
    assert_eq!(root.direct(&["/bin/mkdir", "/tmp/a"]).end().code, 0);
}

#[test]
fn all_filters_are_loaded() {
    needs_root!();
    let filters = MAKE_AND_REMOVE.map(|number| deny(&[number], ERRNO | libc::EADDRNOTAVAIL as u32));
    let root = Root::new(&plan(filters.to_vec()));
    let status = root.run(&["grep", "Seccomp_filters", "/proc/self/status"]).end();
    let before = root.direct(&["/bin/grep", "Seccomp_filters", "/proc/self/status"]).end();
    let count = |text: &str| text.split_whitespace().last().unwrap().parse::<u32>().unwrap();
    assert_eq!(count(&status.out), count(&before.out) + 3, "{}", status.err);
}

#[test]
fn the_launcher_itself_needs_only_execve_from_them() {
    needs_root!();
    let used = [
        libc::SYS_landlock_create_ruleset,
        libc::SYS_landlock_add_rule,
        libc::SYS_landlock_restrict_self,
        libc::SYS_seccomp,
        libc::SYS_faccessat2,
        libc::SYS_faccessat,
        libc::SYS_openat2,
        libc::SYS_close,
    ];
    let used = [used.as_slice(), &LOOK_AND_OPEN].concat();
    let root = Root::new(&plan(vec![deny(&used, KILL_PROCESS)]));
    let ended = root.run(&["true"]).end();
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn flags_reach_the_kernel() {
    needs_root!();
    let mut filter = allow_all();
    filter.flags = 1 << 31;
    let ended = Root::new(&plan(vec![filter])).run(&["true"]).end();
    assert_eq!(ended.code, 125);
    assert!(ended.err.contains("seccomp filter 0"), "{}", ended.err);
}

#[test]
fn what_cannot_be_loaded_starts_nothing() {
    needs_root!();
    // Falls off its end, which the kernel's verifier refuses.
    let broken =
        Filter { flags: 0, instructions: vec![Instruction { code: 0, jt: 0, jf: 0, k: 0 }] };
    // The second cannot be loaded any more.
    let shut = deny(&[libc::SYS_seccomp], ERRNO | libc::EPERM as u32);
    // Would answer with a descriptor for somebody to listen on.
    let mut listener = allow_all();
    listener.flags = 1 << 3;
    for (filters, name) in [
        (vec![broken], "filter 0"),
        (vec![shut, allow_all()], "filter 1"),
        (vec![listener], "filter 0"),
    ] {
        let ended = Root::new(&plan(filters)).run(&["echo", "started"]).end();
        assert_eq!((ended.code, ended.out.as_str()), (125, ""), "{ended:?}");
        assert!(ended.err.contains(name), "{}", ended.err);
    }
}

#[test]
fn a_filter_that_forbids_execve_starts_nothing() {
    needs_root!();
    let root = Root::new(&plan(vec![deny(&[libc::SYS_execve], ERRNO | libc::EPERM as u32)]));
    let ended = root.run(&["echo", "started"]).end();
    assert_eq!((ended.code, ended.out.as_str()), (126, ""));
    assert_eq!(ended.err, "coaming-init: exec: \"echo\": operation not permitted\n");
}
