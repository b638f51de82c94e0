//! Pipes between the shim and a process.
//!
//! The two ends of a pipe are two open file descriptions, so the shim's end can be non-blocking while the end that the
//! process gets stays as every program expects it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::fchown;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::StdioError;
use crate::sys;

/// A pipe that the process reads from or writes to.
pub(super) struct ProcessPipe {
    /// The shim's end: non-blocking.
    pub(super) ours: OwnedFd,
    /// The process's end: blocking, owned by the user that the options name.
    pub(super) theirs: OwnedFd,
}

/// A pipe whose read end is the process's standard input.
pub(super) fn for_input(uid: u32, gid: u32) -> Result<ProcessPipe, StdioError> {
    make(uid, gid, |(reader, writer)| ProcessPipe { ours: writer, theirs: reader })
        .map_err(|source| StdioError::Pipe { stream: "stdin", source })
}

/// A pipe whose write end is the process's stdout or stderr.
pub(super) fn for_output(
    stream: &'static str,
    uid: u32,
    gid: u32,
) -> Result<ProcessPipe, StdioError> {
    make(uid, gid, |(reader, writer)| ProcessPipe { ours: reader, theirs: writer })
        .map_err(|source| StdioError::Pipe { stream, source })
}

/// A pipe whose both ends are handed to children, and so both block: its reader and its writer.
pub(super) fn between_children(stream: &'static str) -> Result<(OwnedFd, OwnedFd), StdioError> {
    pair().map_err(|source| StdioError::Pipe { stream, source })
}

/// For reading by the runtime's event loop.
pub(super) fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<File>> {
    set_nonblocking(&descriptor, true)?;
    sys::watch(File::from(descriptor), Interest::READABLE)
}

/// For writing by the runtime's event loop.
pub(super) fn writable(descriptor: OwnedFd) -> io::Result<AsyncFd<File>> {
    set_nonblocking(&descriptor, true)?;
    sys::watch(File::from(descriptor), Interest::WRITABLE)
}

pub(super) fn set_nonblocking(descriptor: &impl AsFd, nonblocking: bool) -> io::Result<()> {
    let mut flags = OFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFL)?);
    flags.set(OFlag::O_NONBLOCK, nonblocking);
    fcntl(descriptor, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

fn make(
    uid: u32,
    gid: u32,
    sides: impl FnOnce((OwnedFd, OwnedFd)) -> ProcessPipe,
) -> io::Result<ProcessPipe> {
    let pipe = sides(pair()?);
    // Both ends are one inode. A process in a user namespace may reopen /dev/stdout only if it owns it.
    fchown(&pipe.theirs, Some(uid), Some(gid))?;
    set_nonblocking(&pipe.ours, true)?;
    Ok(pipe)
}

/// The reader and the writer, both closed on exec.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    Ok((reader.into(), writer.into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn is_nonblocking(descriptor: &OwnedFd) -> bool {
        OFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFL).unwrap())
            .contains(OFlag::O_NONBLOCK)
    }

    fn is_closed_on_exec(descriptor: &OwnedFd) -> bool {
        fcntl(descriptor, FcntlArg::F_GETFD).unwrap() & nix::libc::FD_CLOEXEC != 0
    }

    #[test]
    fn the_process_gets_a_blocking_end_that_it_owns() {
        for pipe in [for_input(1234, 5678).unwrap(), for_output("stdout", 1234, 5678).unwrap()] {
            assert!(is_nonblocking(&pipe.ours) && !is_nonblocking(&pipe.theirs));
            assert!(is_closed_on_exec(&pipe.ours) && is_closed_on_exec(&pipe.theirs));
            let status = File::from(pipe.theirs).metadata().unwrap();
            assert_eq!((status.uid(), status.gid()), (1234, 5678));
        }
    }
}
