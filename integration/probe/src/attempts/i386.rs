//! What the other tables of system calls hold: a filter that names a call for one of them only has a door beside it.

use super::{Attempt, text, with};
use crate::errno::Errno;
use crate::sys::abi::i386;
use crate::sys::{Arg, call};
use crate::verdict::{Judged, Reading, Stop, Verdict};

pub(super) const ATTEMPTS: &[Attempt] = &[
    with(
        "i386-call",
        "<name>",
        (1, 1),
        "that call by int 0x80, with arguments that the kernel refuses: is it let through?",
        i386_call,
    ),
    with(
        "x32-call",
        "<name>",
        (1, 1),
        "that call by its x32 number, with arguments that the kernel refuses: is it let through?",
        x32_call,
    ),
];

/// An address that nobody maps: EFAULT, and never a null pointer, which means something to some calls.
const NOWHERE: u32 = 1;
const NO_DESCRIPTOR: u32 = u32::MAX;

/// Numbers of arch/x86/entry/syscalls/syscall_32.tbl. The arguments succeed only where the effect ends with the
/// attempting process; whatever the kernel says of the others but EPERM, EACCES and ENOSYS, it was asked.
const I386: &[(&str, u32, [u32; 3])] = &[
    ("acct", 51, [NOWHERE, 0, 0]),
    ("add_key", 286, [NOWHERE, 0, 0]),
    ("bpf", 357, [u32::MAX, NOWHERE, 0]),
    ("chroot", 61, [NOWHERE, 0, 0]),
    ("clone3", 435, [NOWHERE, 64, 0]),
    ("fanotify_init", 338, [4, 0, 0]),
    ("fsopen", 430, [NOWHERE, 0, 0]),
    ("init_module", 128, [NOWHERE, 4, NOWHERE]),
    ("io_uring_setup", 425, [1, NOWHERE, 0]),
    ("kcmp", 349, [0, 0, 0]),
    ("kexec_load", 283, [0, 0, NOWHERE]),
    ("keyctl", 288, [0, u32::MAX - 1, 1]),
    ("modify_ldt", 123, [0, NOWHERE, 0]),
    ("mount", 21, [NOWHERE, NOWHERE, NOWHERE]),
    ("mount_setattr", 442, [NO_DESCRIPTOR, NOWHERE, 0]),
    ("move_mount", 429, [NO_DESCRIPTOR, NOWHERE, NO_DESCRIPTOR]),
    ("open_by_handle_at", 342, [NO_DESCRIPTOR, NOWHERE, 0]),
    ("open_tree", 428, [NO_DESCRIPTOR, NOWHERE, 1]),
    ("perf_event_open", 336, [NOWHERE, 0, 0]),
    ("personality", 136, [0x0040_0000, 0, 0]),
    ("pivot_root", 217, [NOWHERE, NOWHERE, 0]),
    ("process_vm_readv", 347, [0, NOWHERE, 1]),
    ("ptrace", 26, [u32::MAX, 0, 0]),
    ("quotactl", 131, [0, NOWHERE, 0]),
    ("reboot", 88, [0, 0, 0]),
    ("request_key", 287, [NOWHERE, 0, 0]),
    ("setns", 346, [NO_DESCRIPTOR, 0, 0]),
    ("settimeofday", 79, [0, 0, 0]),
    ("swapon", 87, [NOWHERE, 0, 0]),
    ("syslog", 103, [9, 0, 0]),
    ("umount2", 52, [NOWHERE, 0, 0]),
    ("unshare", 310, [0x1000_0000, 0, 0]),
    ("userfaultfd", 374, [0, 0, 0]),
];

/// Those that have the number of the native table (arch/x86/entry/syscalls/syscall_64.tbl, the rows `common`).
const X32: &[(&str, i64)] =
    &[("bpf", 321), ("keyctl", 250), ("mount", 165), ("unshare", 272), ("io_uring_setup", 425)];

const ASKED: Reading = Reading {
    reached: &[
        libc::EFAULT,
        libc::EINVAL,
        libc::EBADF,
        libc::ESRCH,
        libc::E2BIG,
        libc::ENODEV,
        libc::ENOENT,
        libc::ENOKEY,
        libc::EIO,
    ],
    ..Reading::OPTIONAL
};

fn i386_call(args: &[String]) -> Judged {
    let name = text(args, 0, "");
    let Some((_, nr, words)) = I386.iter().find(|(known, ..)| *known == name) else {
        return Err(Stop::Usage(format!("there is no number for {name}")));
    };
    super::abi::in_i386(&format!("i386 {name}"), ASKED, || i386(*nr, *words))
}

fn x32_call(args: &[String]) -> Judged {
    const X32_BIT: i64 = 0x4000_0000;
    let name = text(args, 0, "");
    let Some((_, nr)) = X32.iter().find(|(known, ..)| *known == name) else {
        return Err(Stop::Usage(format!("there is no number for {name}")));
    };
    let nowhere = || Arg::Int(NOWHERE.into());
    let what = format!("x32 {name}");
    let result: Result<i64, Errno> = call(X32_BIT | nr, [nowhere(), nowhere(), nowhere()]);
    Ok(match result {
        Ok(_) => Verdict::allowed(what),
        Err(errno) => ASKED.judge_errno(&what, errno),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_call_has_one_number() {
        let mut numbers: Vec<u32> = I386.iter().map(|(_, nr, _)| *nr).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), I386.len());
        assert!(I386.is_sorted_by_key(|(name, ..)| *name));
    }
}
