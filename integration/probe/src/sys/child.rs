//! Child processes. The probe has one thread, so a fork is a whole copy and may do anything.

use std::ffi::CString;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::call::{Arg, call, last};
use crate::errno::Errno;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

/// What a child may say at most: a pipe's worth, so that nobody need read while it runs.
const LIMIT: usize = 60 * 1024;

/// Runs `work` in a child that has `seconds` to live, and gives what it returned (nothing when it died first).
pub(crate) fn run(work: impl FnOnce() -> Vec<u8>, seconds: u32) -> Result<(Vec<u8>, Exit), Errno> {
    let (reader, writer) = pipe()?;
    let pid = fork(|| {
        alarm(seconds);
        let answer = work();
        let _ = std::fs::File::from(writer).write_all(answer.get(..LIMIT).unwrap_or(&answer));
        0
    })?;
    let exit = wait(pid)?;
    Ok((drain(reader), exit))
}

/// Forks; the child runs `work` and exits with its result, without unwinding into the caller.
pub(crate) fn fork(work: impl FnOnce() -> i32) -> Result<i32, Errno> {
    // SAFETY: the process has one thread, so no lock is held by a thread that the child lacks.
    match unsafe { libc::fork() } {
        -1 => Err(last()),
        0 => exit_now(work()),
        pid => Ok(pid),
    }
}

/// A child that does nothing until it is killed and dies with us. It keeps descriptor 0 alone: one that held stdout
/// after an attempt was killed would make whoever reads the probe's output wait for it.
pub(crate) struct Companion(i32);

impl Companion {
    pub(crate) fn start() -> Result<Companion, Errno> {
        let parent = own_pid();
        fork(|| {
            let _ = call(
                libc::SYS_prctl,
                [Arg::Int(libc::PR_SET_PDEATHSIG.into()), Arg::Int(libc::SIGKILL.into())],
            );
            let _ =
                call(libc::SYS_close_range, [Arg::Int(1), Arg::Int(u32::MAX.into()), Arg::Int(0)]);
            alarm(30);
            // The parent may have died before the death signal was asked for.
            while i32::try_from(std::os::unix::process::parent_id()) == Ok(parent) {
                pause();
            }
            0
        })
        .map(Companion)
    }

    pub(crate) fn pid(&self) -> i32 {
        self.0
    }

    /// Waits for an end that came some other way.
    pub(crate) fn wait(self) -> Result<Exit, Errno> {
        let pid = self.0;
        std::mem::forget(self);
        wait(pid)
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        let _ = kill(self.0, libc::SIGKILL);
        let _ = wait(self.0);
    }
}

/// Replaces nothing: runs `path` in a child with stdout captured, and says how it ended, or why it did not start.
pub(crate) fn execute(path: &str, args: &[String]) -> Result<(Vec<u8>, Exit), Errno> {
    let path = CString::new(path).map_err(|_| Errno(libc::EINVAL))?;
    let args: Result<Vec<_>, _> = args.iter().map(|arg| CString::new(arg.as_str())).collect();
    let args = args.map_err(|_| Errno(libc::EINVAL))?;
    let mut argv: Vec<_> = std::iter::once(&path).chain(&args).map(|arg| arg.as_ptr()).collect();
    argv.push(std::ptr::null());
    let (failure, failed) = pipe()?;
    let (reader, writer) = pipe()?;
    let pid = fork(|| {
        // SAFETY: path and argv are alive, NUL-terminated, and argv ends with a null pointer; dup2 takes two numbers.
        unsafe {
            libc::dup2(writer.as_raw_fd(), 1);
            libc::execv(path.as_ptr(), argv.as_ptr());
        }
        let Errno(number) = last();
        let _ = std::fs::File::from(failed).write_all(&number.to_ne_bytes());
        127
    })?;
    let exit = wait(pid)?;
    match <[u8; 4]>::try_from(drain(failure)) {
        Ok(number) => Err(Errno(i32::from_ne_bytes(number))),
        Err(_) => Ok((drain(reader), exit)),
    }
}

/// Waits for `pid` to end.
pub(crate) fn wait(pid: i32) -> Result<Exit, Errno> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is ours to write.
        let result = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
        if result == pid || (pid == -1 && result > 0) {
            return Ok(if libc::WIFSIGNALED(status) {
                Exit::Signal(libc::WTERMSIG(status))
            } else {
                Exit::Code(libc::WEXITSTATUS(status))
            });
        }
        if result == -1 && last() != Errno(libc::EINTR) {
            return Err(last());
        }
    }
}

/// How `pid` ended, if it has.
pub(crate) fn try_wait(pid: i32) -> Result<Option<Exit>, Errno> {
    let mut status = 0;
    // SAFETY: `status` is ours to write.
    match unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } {
        0 => Ok(None),
        -1 => Err(last()),
        _ if libc::WIFSIGNALED(status) => Ok(Some(Exit::Signal(libc::WTERMSIG(status)))),
        _ => Ok(Some(Exit::Code(libc::WEXITSTATUS(status)))),
    }
}

/// Keeps SIGCHLD for [`await_sigchld`].
pub(crate) fn block_sigchld() {
    let set = sigchld();
    // SAFETY: the set is initialised; both pointers are valid.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

/// Waits for a SIGCHLD, so many seconds at most.
pub(crate) fn await_sigchld(seconds: i64) {
    let set = sigchld();
    let limit = libc::timespec { tv_sec: seconds, tv_nsec: 0 };
    // SAFETY: both structs are initialised and ours.
    unsafe { libc::sigtimedwait(&raw const set, std::ptr::null_mut(), &raw const limit) };
}

fn sigchld() -> libc::sigset_t {
    // SAFETY: the set is initialised by sigemptyset before use.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        set
    }
}

/// kill(2).
pub(crate) fn kill(pid: i32, signal: i32) -> Result<(), Errno> {
    call(libc::SYS_kill, [Arg::Int(pid.into()), Arg::Int(signal.into())]).map(drop)
}

/// This process's id, asked of the kernel.
pub(crate) fn own_pid() -> i32 {
    // SAFETY: getpid takes nothing and cannot fail.
    unsafe { libc::getpid() }
}

/// Ends with SIGALRM after `seconds`; 0 takes it back.
pub(crate) fn alarm(seconds: u32) {
    // SAFETY: alarm takes a number and cannot fail; its action is the default one, termination.
    unsafe { libc::alarm(seconds) };
}

/// Sleeps until a signal comes.
pub(crate) fn pause() {
    // SAFETY: pause takes nothing.
    unsafe { libc::pause() };
}

/// Blocks SIGCHLD, SIGINT and SIGTERM and gives the next of them: how a pid 1, whose default actions the kernel
/// ignores (pid_namespaces(7)), can still be told to stop.
pub(crate) fn next_signal() -> i32 {
    // SAFETY: the set is initialised by sigemptyset before use; all pointers are to locals.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut set);
        for signal in [libc::SIGCHLD, libc::SIGINT, libc::SIGTERM] {
            libc::sigaddset(&raw mut set, signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        let mut signal = 0;
        libc::sigwait(&raw const set, &raw mut signal);
        signal
    }
}

/// Reaps whatever has ended, without waiting.
pub(crate) fn reap() {
    // SAFETY: a null status pointer is allowed (waitpid(2)).
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
}

fn exit_now(code: i32) -> ! {
    // SAFETY: _exit ends the process; buffers of the parent must not be flushed twice, hence not exit().
    unsafe { libc::_exit(code) }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut fds = [0; 2];
    // SAFETY: the kernel writes two numbers into the array.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } == -1 {
        return Err(last());
    }
    let [reader, writer] = fds;
    // SAFETY: both descriptors were just made for us.
    Ok(unsafe { (OwnedFd::from_raw_fd(reader), OwnedFd::from_raw_fd(writer)) })
}

/// What is in the pipe now. Non-blocking: a process left behind with the other end open must not hold us.
fn drain(reader: OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = std::fs::File::from(reader).read_to_end(&mut bytes);
    bytes
}
