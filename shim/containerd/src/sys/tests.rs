//! What takes the kernel's own word.

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;

use super::create_core_scheduling_group;

/// The core scheduling cookie of this process, 0 for none; or what a kernel says that has no core scheduling.
fn cookie() -> nix::Result<u64> {
    let mut cookie = 0_u64;
    // SAFETY: the kernel writes one 64-bit number to the address, which is a variable's.
    let result = unsafe {
        libc::prctl(libc::PR_SCHED_CORE, libc::PR_SCHED_CORE_GET, 0_u64, 0_u64, &raw mut cookie)
    };
    Errno::result(result).map(|_| cookie)
}

#[test]
fn a_process_group_gets_core_scheduling_where_the_kernel_has_it() {
    // In a group of its own: the test's group is the developer's shell's.
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sys::tests::in_a_group_of_its_own", "--ignored", "--nocapture"])
        .process_group(0)
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

#[test]
#[ignore = "the test above runs it, in a process group of its own"]
fn in_a_group_of_its_own() {
    match cookie() {
        Ok(before) => {
            create_core_scheduling_group().unwrap();
            let after = cookie().unwrap();
            assert!(after != 0 && after != before, "{before} {after}");
        }
        // EINVAL without CONFIG_SCHED_CORE; ENODEV where no core has two threads (kernel/sched/core_sched.c).
        Err(errno) => assert_eq!(create_core_scheduling_group(), Err(errno)),
    }
}
