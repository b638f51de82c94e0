//! The system calls that the standard library has no words for, each behind a safe function.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_long};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::lookup::Refusal;
use crate::plan::Filter;

/// Whether the calling user may execute `path`: Go's `findExecutable` (Go 1.20 `os/exec/lp_unix.go`).
///
/// # Errors
/// The reason why not.
pub fn executable(path: &CStr) -> Result<(), Refusal> {
    // SAFETY: all-zero is a value of this struct of integers.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: path ends in NUL, and stat is ours to write.
    if unsafe { libc::stat(path.as_ptr(), &raw mut stat) } != 0 {
        return Err(Refusal::Stat(errno()));
    }
    if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(Refusal::Access(libc::EISDIR));
    }
    // The system call itself: the libc function may fork a helper where faccessat2(2) is missing.
    // AT_EACCESS, because without it the kernel leaves a user's ambient capabilities out.
    // SAFETY: path ends in NUL; the other arguments are integers.
    let result = unsafe {
        libc::syscall(
            libc::SYS_faccessat2,
            c_long::from(libc::AT_FDCWD),
            path.as_ptr(),
            c_long::from(libc::X_OK),
            c_long::from(libc::AT_EACCESS),
        )
    };
    match if result == 0 { 0 } else { errno() } {
        0 => Ok(()),
        // No such call, or a filter that hides it: the mode has to do, as it does for Go.
        libc::ENOSYS | libc::EPERM if stat.st_mode & 0o111 != 0 => Ok(()),
        libc::ENOSYS | libc::EPERM => Err(Refusal::Access(libc::EACCES)),
        errno => Err(Refusal::Access(errno)),
    }
}

/// open(2), always with `O_CLOEXEC`.
///
/// # Errors
/// What the kernel says.
pub fn open(path: &CStr, flags: c_int) -> io::Result<OwnedFd> {
    // SAFETY: path ends in NUL.
    owned(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) })
}

/// openat(2) of one name below a directory, always with `O_CLOEXEC`.
///
/// # Errors
/// What the kernel says.
pub fn open_at(directory: &OwnedFd, name: &CStr, flags: c_int) -> io::Result<OwnedFd> {
    // SAFETY: name ends in NUL, and directory stays open meanwhile.
    owned(unsafe { libc::openat(directory.as_raw_fd(), name.as_ptr(), flags | libc::O_CLOEXEC) })
}

/// openat2(2) below `root` as if it were `/`: `..`, absolute symlinks and magic links cannot leave it.
///
/// # Errors
/// What the kernel says.
pub fn open_in_root(root: &OwnedFd, path: &CStr, flags: c_int) -> io::Result<OwnedFd> {
    // SAFETY: all-zero is a value of this struct of integers.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::from((flags | libc::O_CLOEXEC).cast_unsigned());
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    // SAFETY: path ends in NUL, root stays open meanwhile, and how is as large as is said.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            c_long::from(root.as_raw_fd()),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    owned(c_int::try_from(fd).unwrap_or(-1))
}

/// The file a Landlock rule is about, as the calling user finds it, or nothing if it finds none there.
///
/// # Errors
/// When whether it is there cannot be said.
pub fn open_rule_path(path: &[u8]) -> io::Result<Option<OwnedFd>> {
    match open(&CString::new(path)?, libc::O_PATH) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) => match error.raw_os_error() {
            // To this user a path that it cannot reach is not there: to skip its rule only tightens.
            Some(libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::EACCES) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Makes `root` the root directory, and the working directory too.
///
/// # Errors
/// The call that failed and what the kernel says.
pub fn enter_root(root: &OwnedFd) -> Result<(), (&'static str, io::Error)> {
    // SAFETY: root stays open meanwhile.
    if unsafe { libc::fchdir(root.as_raw_fd()) } != 0 {
        return Err(("fchdir", io::Error::last_os_error()));
    }
    std::os::unix::fs::chroot(".").map_err(|error| ("chroot", error))
}

/// Whether no_new_privs is set on the calling thread.
#[must_use]
pub fn no_new_privs() -> bool {
    // SAFETY: integers only.
    unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 }
}

/// Takes the calling process out of reach of ptrace(2) by other processes of its user, until the next
/// execve: an exec's launcher must not be taken over by what already runs in the container. A process
/// in a Landlock domain cannot trace it in any case; one of another container in a shared pid
/// namespace might.
pub fn not_dumpable() {
    // SAFETY: integers only. It cannot fail for these values (prctl(2)).
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

/// Loads one seccomp filter on the calling thread, for good.
///
/// # Errors
/// What the kernel says.
pub fn load_filter(filter: &Filter) -> io::Result<()> {
    let length = u16::try_from(filter.instructions.len())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog {
        len: length,
        // Instruction has the layout of struct sock_filter; the kernel only reads it.
        filter: filter.instructions.as_ptr().cast_mut().cast(),
    };
    // SAFETY: program points to `len` instructions that live until after the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            c_long::from(libc::SECCOMP_SET_MODE_FILTER),
            c_long::from(filter.flags),
            &raw const program,
        )
    };
    match result {
        0 => Ok(()),
        -1 => Err(io::Error::last_os_error()),
        // A listener's descriptor, or a thread that could not follow: neither is a loaded filter
        // that a workload should start under.
        _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

/// execve(2). Returns only when it failed, with the errno.
///
/// # Safety
/// `argv` and `envp` are null-terminated arrays of C strings.
pub unsafe fn execve(path: &CStr, argv: *const *const c_char, envp: *const *const c_char) -> i32 {
    // SAFETY: path ends in NUL; the caller answers for the arrays.
    unsafe { libc::execve(path.as_ptr(), argv, envp) };
    errno()
}

/// Takes the identity of the container's user: its groups, then its gid, then its uid.
///
/// # Errors
/// The call that failed and what the kernel says.
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<(), (&'static str, io::Error)> {
    let check = |call, result| match result {
        0 => Ok(()),
        _ => Err((call, io::Error::last_os_error())),
    };
    // SAFETY: groups holds as many as is said.
    let result = unsafe { libc::setgroups(groups.len(), groups.as_ptr()) };
    check("setgroups", result)?;
    // SAFETY: integers only.
    check("setgid", unsafe { libc::setgid(gid) })?;
    // SAFETY: integers only.
    check("setuid", unsafe { libc::setuid(uid) })
}

/// The last system call's errno.
#[must_use]
pub fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// The descriptor as a file to read.
#[must_use]
pub fn file(fd: OwnedFd) -> File {
    File::from(fd)
}

fn owned(fd: c_int) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given this descriptor to us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
