//! The system calls of the trials. Each is made in a child that lives for nothing else.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::ptr;

use nix::libc::{self, c_int, c_long, c_ulong};

/// A filter of two answers: one for a call, and `SECCOMP_RET_ALLOW` for all others.
pub(super) fn load_filter(call: c_long, answer: u32, flags: c_ulong) -> io::Result<c_int> {
    let code = |code: u32| u16::try_from(code).unwrap_or_default();
    let number = u32::try_from(call).map_err(io::Error::other)?;
    let instruction = |code: u16, jt: u8, jf: u8, k: u32| libc::sock_filter { code, jt, jf, k };
    let mut program = [
        // The call's number is the first word of struct seccomp_data.
        instruction(code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS), 0, 0, 0),
        instruction(code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), 0, 1, number),
        instruction(code(libc::BPF_RET | libc::BPF_K), 0, 0, answer),
        instruction(code(libc::BPF_RET | libc::BPF_K), 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: program points to `len` instructions that live until after the call.
    answered(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            c_long::from(libc::SECCOMP_SET_MODE_FILTER),
            flags,
            &raw const program,
        )
    })
}

/// Whether the kernel knows an answer (seccomp(2), `SECCOMP_GET_ACTION_AVAIL`).
pub(super) fn knows_action(action: u32) -> bool {
    // SAFETY: the kernel reads one u32, which lives until after the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            c_long::from(libc::SECCOMP_GET_ACTION_AVAIL),
            0 as c_long,
            &raw const action,
        )
    };
    result == 0
}

/// Calls getppid(2) past libc's wrapper, which cannot fail.
pub(super) fn getppid() -> io::Result<c_int> {
    // SAFETY: no arguments.
    answered(unsafe { libc::syscall(libc::SYS_getppid) })
}

/// Closes a descriptor that the kernel gave to us.
pub(super) fn close(fd: c_int) {
    // SAFETY: an integer only; what it was is not used again.
    unsafe { libc::close(fd) };
}

/// Sets `no_new_privs`, for good, and says whether it then is.
pub(super) fn set_no_new_privs() -> bool {
    // SAFETY: integers only.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1
    }
}

/// landlock_create_ruleset(2)'s attribute, as of ABI 6; an older kernel takes it where what it does not know is 0.
#[repr(C)]
pub(super) struct Rights {
    pub(super) files: u64,
    pub(super) net: u64,
    pub(super) scoped: u64,
}

/// The ABI, or 0.
pub(super) fn landlock_abi() -> u32 {
    const VERSION: c_long = 1;
    // SAFETY: with this flag the kernel reads no memory: the attribute must be null and its size 0.
    let abi = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<libc::c_void>(),
            0 as c_long,
            VERSION,
        )
    };
    u32::try_from(abi).unwrap_or(0)
}

/// Makes a ruleset that handles these rights and allows none of them anywhere.
pub(super) fn landlock_ruleset(rights: &Rights) -> io::Result<c_int> {
    // SAFETY: rights is as large as is said and lives until after the call.
    answered(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::from_ref(rights),
            size_of::<Rights>(),
            0 as c_long,
        )
    })
}

/// Takes on a ruleset, for good.
pub(super) fn landlock_restrict(ruleset: c_int) -> io::Result<c_int> {
    // SAFETY: integers only.
    answered(unsafe {
        libc::syscall(libc::SYS_landlock_restrict_self, c_long::from(ruleset), 0 as c_long)
    })
}

/// A mount of a folder's own that is attached nowhere (open_tree(2)).
pub(super) fn detached_mount(folder: &CStr) -> io::Result<c_int> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: folder ends in NUL; the other arguments are integers.
    answered(unsafe {
        libc::syscall(
            libc::SYS_open_tree,
            c_long::from(libc::AT_FDCWD),
            folder.as_ptr(),
            c_long::from(flags),
        )
    })
}

/// Maps a detached mount's ids as those of a user namespace (mount_setattr(2)).
pub(super) fn map_ids(mount: c_int, user_namespace: c_int) -> io::Result<c_int> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(user_namespace).map_err(io::Error::other)?,
    };
    // SAFETY: the path is empty and ends in NUL; attributes is as large as is said and lives until after the call.
    answered(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            c_long::from(mount),
            c"".as_ptr(),
            c_long::from(libc::AT_EMPTY_PATH),
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
}

/// Joins the multicast group of the kernel's audit records (linux/audit.h, `AUDIT_NLGRP_READLOG`).
pub(super) fn follow_audit() -> io::Result<()> {
    const NETLINK_AUDIT: c_int = 9;
    const READLOG: u32 = 1;
    // SAFETY: integers only.
    let socket = answered(c_long::from(unsafe {
        libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, NETLINK_AUDIT)
    }))?;
    // SAFETY: all-zero is a value of this struct of integers.
    let mut address: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
    address.nl_family = libc::sa_family_t::try_from(libc::AF_NETLINK).map_err(io::Error::other)?;
    address.nl_groups = READLOG;
    let length =
        libc::socklen_t::try_from(size_of::<libc::sockaddr_nl>()).map_err(io::Error::other)?;
    // SAFETY: address is as large as is said and lives until after the call.
    let result = unsafe { libc::bind(socket, ptr::from_ref(&address).cast(), length) };
    let bound = answered(c_long::from(result));
    close(socket);
    bound.map(drop)
}

fn answered(result: c_long) -> io::Result<c_int> {
    match c_int::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}
