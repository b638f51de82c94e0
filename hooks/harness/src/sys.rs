//! The system calls that no library of ours wraps safely.
#![allow(unsafe_code)]

use std::io::{self, PipeReader};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

/// Has the kernel kill this process when the one that started it ends (prctl(2), `PR_SET_PDEATHSIG`).
pub(crate) fn die_with_parent() {
    // SAFETY: integers only; it cannot fail for these values.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
}

/// Closes all but standard input, output and error: what a caller left open is none of the hook's
/// surroundings.
pub(crate) fn close_inherited() {
    // SAFETY: nothing in this process has opened a descriptor yet; the arguments are integers. A kernel
    // before 5.9 has no such call, and then they stay.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
}

/// Gives this process the orphans among its descendants (prctl(2), `PR_SET_CHILD_SUBREAPER`).
pub(crate) fn adopt_orphans() {
    // SAFETY: integers only; it cannot fail for these values.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

/// The same as [`die_with_parent`] of a command.
pub(crate) fn dies_with_us(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec it makes one system call, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            die_with_parent();
            Ok(())
        })
    }
}

/// How much is in a pipe and not read yet, in bytes (`FIONREAD`, ioctl_tty(2)).
pub(crate) fn unread(pipe: &PipeReader) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the pipe is open, and the kernel writes one int, which is ours.
    let result = unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    if result == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// Runs `work` in a child process, and returns its exit code.
///
/// # Errors
/// Those of fork(2) and waitpid(2).
pub(crate) fn in_child(work: impl FnOnce() -> i32) -> io::Result<i32> {
    // SAFETY: the driver's process has one thread, so that the child may do all that it could.
    match unsafe { fork() }? {
        ForkResult::Child => {
            die_with_parent();
            std::process::exit(work());
        }
        ForkResult::Parent { child } => loop {
            match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, code)) => return Ok(code),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as i32),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        },
    }
}

/// Collects children that have ended. Whether there are some that have not.
pub(crate) fn reap() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}
