//! Loads a one-rule seccomp filter, or a Landlock domain, over this process: the denials that the tests of the probe,
//! and of the suite, compare with.

use std::os::fd::AsRawFd;

use super::call::{Arg, call, call_fd};
use super::pack::Pack;
use crate::errno::Errno;

/// AUDIT_ARCH_X86_64 and AUDIT_ARCH_I386 (linux/audit.h).
pub(crate) const X86_64: u32 = 0xc000_003e;
pub(crate) const I386: u32 = 0x4000_0003;

/// no_new_privs, which an unprivileged filter and Landlock both need.
pub(crate) fn no_new_privs() -> Result<(), Errno> {
    let zero = || Arg::Int(0);
    call(
        libc::SYS_prctl,
        [Arg::Int(libc::PR_SET_NO_NEW_PRIVS.into()), Arg::Int(1), zero(), zero(), zero()],
    )
    .map(drop)
}

/// Answers call `nr` of `arch` with the seccomp return value `action`, and lets everything else through.
pub(crate) fn deny_call(arch: u32, nr: u32, action: u32) -> Result<(), Errno> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let program = [
        (LOAD, 0, 0, 4), // struct seccomp_data: nr at 0, arch at 4
        (JUMP_EQUAL, 0, 3, arch),
        (LOAD, 0, 0, 0),
        (JUMP_EQUAL, 0, 1, nr),
        (RETURN, 0, 0, action),
        (RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let code = program
        .iter()
        .fold(Pack::new(), |pack, &(code, jt, jf, k)| pack.u16(code).u8(jt).u8(jf).u32(k))
        .done();
    load(&code)
}

/// Puts this process under a filter: its instructions, `struct sock_filter` each.
pub(crate) fn load(code: &[u8]) -> Result<(), Errno> {
    let length = u16::try_from(code.len() / 8).map_err(|_| Errno(libc::EINVAL))?;
    let fprog = Pack::new().u16(length).pad_to(8).address(code).done();
    call(
        libc::SYS_seccomp,
        [Arg::Int(libc::SECCOMP_SET_MODE_FILTER.into()), Arg::Int(0), Arg::In(&fprog)],
    )
    .map(drop)
}

/// Handles every right this kernel knows; allows reading and executing below `/`, no port, nothing outside the scope.
pub(crate) fn landlock() -> Result<(), Errno> {
    const READ_AND_EXECUTE: u64 = 1 | 1 << 2 | 1 << 3;
    let abi = call(libc::SYS_landlock_create_ruleset, [Arg::Int(0), Arg::Int(0), Arg::Int(1)])?;
    let file_rights = match abi {
        1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    let (ports, scopes) = (if abi >= 4 { 3 } else { 0 }, if abi >= 6 { 3 } else { 0 });
    let size = match abi {
        ..4 => 8,
        4 | 5 => 16,
        _ => 24,
    };
    let mut attr = Pack::new().u64((1 << file_rights) - 1).u64(ports).u64(scopes).done();
    attr.truncate(size);
    let ruleset = call_fd(
        libc::SYS_landlock_create_ruleset,
        [Arg::In(&attr), Arg::Int(attr.len() as i64), Arg::Int(0)],
    )?;
    let root = call_fd(
        libc::SYS_openat,
        [
            Arg::Int(libc::AT_FDCWD.into()),
            Arg::Path(c"/"),
            Arg::Int((libc::O_PATH | libc::O_CLOEXEC).into()),
        ],
    )?;
    let rule = Pack::new().u64(READ_AND_EXECUTE).i32(root.as_raw_fd()).done();
    let ruleset_fd = || Arg::Int(ruleset.as_raw_fd().into());
    call(libc::SYS_landlock_add_rule, [ruleset_fd(), Arg::Int(1), Arg::In(&rule), Arg::Int(0)])?;
    no_new_privs()?;
    call(libc::SYS_landlock_restrict_self, [ruleset_fd(), Arg::Int(0)]).map(drop)
}
