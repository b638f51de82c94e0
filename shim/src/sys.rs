//! What needs unsafe code: SIGPIPE's disposition as it was before main, a process of our own beside the
//! runtime, and system calls that no library of ours wraps.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

static SIGPIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Run by the loader before main. Rust's runtime ignores SIGPIPE (library/std, `sys::init`), an
/// ignored signal stays ignored across execve (signal(7)), and so every process of every
/// container would get EPIPE in place of the signal. What the caller had set is known only now.
// SAFETY: the loader calls the functions in .init_array with (argc, argv, envp), which a C function
// may leave unread; this one calls nothing but sigaction(2) and touches one atomic.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = note_sigpipe;

/// Gives SIGPIPE back the disposition that the caller passed on to us.
pub(crate) fn restore_sigpipe() -> nix::Result<()> {
    if SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed) {
        return Ok(());
    }
    // SAFETY: the default action replaces no handler that other code relies on: the only one to
    // touch SIGPIPE is Rust's runtime, and the caller is about to leave this program by execve.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.map(drop)
}

extern "C" fn note_sigpipe() {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null new action only reads; `now` is large enough, and all zeroes are a valid
    // sigaction.
    let ignored = unsafe {
        libc::sigaction(libc::SIGPIPE, ptr::null(), now.as_mut_ptr()) == 0
            && now.assume_init().sa_sigaction == libc::SIG_IGN
    };
    SIGPIPE_WAS_IGNORED.store(ignored, Ordering::Relaxed);
}

/// The extended attribute in which SELinux keeps a file's label (linux/xattr.h).
const LABEL: &CStr = c"security.selinux";

/// The SELinux label of a file, links followed, as the kernel has it.
pub(crate) fn label(path: &Path) -> io::Result<Vec<u8>> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    let mut label = vec![0; 4096];
    // SAFETY: both strings end in a NUL, and the kernel writes at most `label.len()` bytes there.
    let length = unsafe {
        libc::getxattr(path.as_ptr(), LABEL.as_ptr(), label.as_mut_ptr().cast(), label.len())
    };
    label.truncate(usize::try_from(length).map_err(|_| io::Error::last_os_error())?);
    Ok(label)
}

/// Gives a file or folder an SELinux label.
pub(crate) fn set_label(path: &Path, label: &str) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: both strings end in a NUL, and the kernel reads `label.len()` bytes of the label.
    let set = unsafe {
        libc::lsetxattr(path.as_ptr(), LABEL.as_ptr(), label.as_ptr().cast(), label.len(), 0)
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has a program killed when we are: whoever kills us cannot know of it.
pub(crate) fn die_with_us(command: &mut Command) {
    // SAFETY: between fork and execve the child calls prctl(2), which is async-signal-safe, and nothing else.
    unsafe {
        command.pre_exec(|| {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).map_err(Into::into)
        });
    }
}

/// The kernel's Landlock ABI; 0 where it has none (landlock_create_ruleset(2), "version" flag).
pub(crate) fn landlock_abi() -> u32 {
    const LANDLOCK_CREATE_RULESET_VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the kernel reads no memory: the attribute must be null and its size 0.
    let abi = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<libc::c_void>(),
            0usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(abi).unwrap_or(0)
}

/// A descriptor of a process, which never leads to a later one of the same number (pidfd_open(2)).
pub(crate) fn pidfd_open(pid: u32) -> nix::Result<OwnedFd> {
    // SAFETY: two plain numbers; the kernel reads no memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = Errno::result(fd).and_then(|fd| i32::try_from(fd).map_err(|_| Errno::EBADF))?;
    // SAFETY: the kernel has just made it for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Kills the process of a descriptor (pidfd_send_signal(2)).
pub(crate) fn pidfd_kill(process: &OwnedFd) -> nix::Result<()> {
    let fd = process.as_raw_fd();
    // SAFETY: with a null siginfo the kernel reads no memory.
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            fd,
            libc::SIGKILL,
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    Errno::result(done).map(drop)
}

/// Waits until a process has ended, and no longer than `most`.
pub(crate) fn wait_for_end(process: &OwnedFd, most: Duration) {
    let mut poll = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let millis = i32::try_from(most.as_millis().max(1)).unwrap_or(i32::MAX);
    // SAFETY: one structure of ours, which outlives the call. What comes back does not matter.
    unsafe { libc::poll(&mut poll, 1, millis) };
}

/// Does `work` in a process of its own that is nobody's child whom he would wait for: its parent has
/// ended by the time that this returns, so that it is its reaper's from the start. It has no descriptor
/// of ours, stdio included, so that nobody waits for the end of a pipe; no controlling terminal; and
/// ends when the work is done.
///
/// For a process without threads, as the wrapper is.
///
/// # Errors
/// There cannot be another process.
pub(crate) fn beside(name: &CStr, work: impl FnOnce()) -> nix::Result<()> {
    // SAFETY: there are no threads, so the child has all of its memory in a sound state.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => loop {
            match waitpid(child, None) {
                Err(Errno::EINTR) => {}
                // With SIGCHLD ignored there is nothing to wait for; it has ended.
                Ok(WaitStatus::Exited(_, 0)) | Err(Errno::ECHILD) => return Ok(()),
                _ => return Err(Errno::EAGAIN),
            }
        },
        ForkResult::Child => {
            // SAFETY: as above.
            let status = match unsafe { fork() } {
                Ok(ForkResult::Child) => {
                    let _ = nix::unistd::setsid();
                    let _ = nix::unistd::chdir(c"/");
                    // SAFETY: plain numbers, and a name that outlives the call. No descriptor is used
                    // after this that was opened before: the work opens its own.
                    unsafe {
                        libc::prctl(libc::PR_SET_NAME, name.as_ptr());
                        libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0);
                        for _ in 0..3 {
                            libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
                        }
                    }
                    work();
                    0
                }
                Ok(ForkResult::Parent { .. }) => 0,
                Err(_) => 1,
            };
            // SAFETY: ends this process without running what belongs to the other.
            unsafe { libc::_exit(status) }
        }
    }
}
