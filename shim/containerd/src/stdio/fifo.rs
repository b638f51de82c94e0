//! The fifos that containerd and its clients make.
//!
//! The shim holds each output fifo open for reading as well as writing: when containerd restarts the fifo keeps a
//! reader, the workload gets no SIGPIPE, and what was written stays in the fifo until somebody reads it. It holds the
//! writing side of standard input until CloseIO, so that a client may go and another may come.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, SFlag, fstat};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep};

use super::{StdioError, pipes};
use crate::sys;

/// The longest pause between two looks for a reader.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The same once the process is gone and nobody reads what it left.
const LONGEST_LINGER_PAUSE: Duration = Duration::from_millis(500);

/// A path that has been looked up once: what is opened later is the same inode.
pub(super) struct Pinned {
    path: PathBuf,
    handle: OwnedFd,
    is_fifo: bool,
}

impl Pinned {
    pub(super) fn new(path: &Path) -> Result<Self, StdioError> {
        let failed =
            |errno: Errno| StdioError::Open { path: path.to_owned(), source: errno.into() };
        let handle = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?;
        let kind = SFlag::from_bits_truncate(fstat(&handle).map_err(failed)?.st_mode);
        let is_fifo = kind & SFlag::S_IFMT == SFlag::S_IFIFO;
        Ok(Pinned { path: path.to_owned(), handle, is_fifo })
    }

    pub(super) fn is_fifo(&self) -> bool {
        self.is_fifo
    }

    /// Something that exists and is no fifo: a file or a device, for appending.
    pub(super) fn append(&self) -> Result<File, StdioError> {
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NONBLOCK;
        let file = self.reopen(flags).map_err(|errno| self.failed(errno))?;
        pipes::set_nonblocking(&file, false)
            .map_err(|source| StdioError::Open { path: self.path.clone(), source })?;
        Ok(File::from(file))
    }

    /// Waits until somebody has the fifo open for reading (clients open it while containerd calls the shim), then holds it.
    pub(super) async fn output(&self, deadline: Instant) -> Result<AsyncFd<File>, StdioError> {
        let mut pause = Duration::from_millis(1);
        let _seen_a_reader = loop {
            match self.reopen(OFlag::O_WRONLY | OFlag::O_NONBLOCK) {
                Ok(writer) => break writer,
                Err(Errno::ENXIO) if Instant::now() < deadline => {
                    sleep(pause).await;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
                Err(Errno::ENXIO) => {
                    return Err(StdioError::NoReader { path: self.path.clone() });
                }
                Err(errno) => return Err(self.failed(errno)),
            }
        };
        self.reopen(OFlag::O_RDWR | OFlag::O_NONBLOCK)
            .map_err(Into::into)
            .and_then(pipes::writable)
            .map_err(|source| StdioError::Open { path: self.path.clone(), source })
    }

    /// Standard input: its reader, and the writer that keeps it from ending.
    pub(super) fn input(&self) -> Result<(AsyncFd<File>, OwnedFd), StdioError> {
        if !self.is_fifo {
            return Err(StdioError::NotAFifo { path: self.path.clone() });
        }
        let open = || {
            let reader = self.reopen(OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
            let writer = self.reopen(OFlag::O_WRONLY | OFlag::O_NONBLOCK)?;
            Ok((pipes::readable(reader)?, writer))
        };
        open().map_err(|source| StdioError::Open { path: self.path.clone(), source })
    }

    fn reopen(&self, flags: OFlag) -> nix::Result<OwnedFd> {
        reopen(&self.handle, flags)
    }

    fn failed(&self, errno: Errno) -> StdioError {
        StdioError::Open { path: self.path.clone(), source: errno.into() }
    }
}

/// Lets go of an output fifo once the process has written its last. If nobody has it open and it holds bytes, it is kept
/// until a reader comes (a restarted containerd reads before it deletes): the kernel throws them away with the last close.
pub(super) async fn release(fifo: AsyncFd<File>) {
    let both_sides = fifo.into_inner();
    let Ok(writer) = reopen(&both_sides, OFlag::O_WRONLY | OFlag::O_NONBLOCK) else {
        return;
    };
    drop(both_sides);
    let mut pause = Duration::from_millis(5);
    while !has_reader(&writer) && sys::unread_bytes(writer.as_fd()).is_ok_and(|count| count > 0) {
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(LONGEST_LINGER_PAUSE);
    }
}

fn reopen(handle: &impl AsRawFd, flags: OFlag) -> nix::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    open(path.as_str(), flags | OFlag::O_CLOEXEC | OFlag::O_NOCTTY, Mode::empty())
}

/// A fifo whose last reader is gone shows POLLERR on its writing side (poll(2)).
fn has_reader(writer: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(writer.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut polled, PollTimeout::ZERO).is_err() {
        return true;
    }
    polled
        .first()
        .and_then(PollFd::revents)
        .is_none_or(|events| !events.contains(PollFlags::POLLERR))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};

    use super::*;

    fn fifo() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        (directory, path)
    }

    fn reader(path: &Path) -> File {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        File::from(open(path, flags, Mode::empty()).unwrap())
    }

    #[tokio::test]
    async fn an_output_waits_for_its_reader_and_then_needs_none() {
        let (_directory, path) = fifo();
        let pinned = Pinned::new(&path).unwrap();
        let soon = Instant::now() + Duration::from_millis(30);
        assert!(matches!(pinned.output(soon).await, Err(StdioError::NoReader { .. })));
        let (opened, mut client) =
            tokio::join!(pinned.output(Instant::now() + Duration::from_secs(5)), async {
                sleep(Duration::from_millis(20)).await;
                reader(&path)
            });
        let opened = opened.unwrap();
        opened.get_ref().write_all(b"one").unwrap();
        let mut text = [0; 16];
        assert_eq!(client.read(&mut text).unwrap(), 3);
        drop(client);
        opened.get_ref().write_all(b"two").unwrap();
        assert_eq!(reader(&path).read(&mut text).unwrap(), 3);
    }

    #[tokio::test]
    async fn the_last_bytes_wait_for_a_reader() {
        // Children that other tests start hold copies of all descriptors for a moment, and look like readers.
        for attempt in 0.. {
            let (_directory, path) = fifo();
            let client = reader(&path);
            let opened = Pinned::new(&path).unwrap().output(Instant::now()).await.unwrap();
            drop(client);
            opened.get_ref().write_all(b"last").unwrap();
            let lingering = tokio::spawn(release(opened));
            sleep(Duration::from_millis(50)).await;
            if lingering.is_finished() && attempt < 10 {
                continue;
            }
            assert!(!lingering.is_finished());
            let mut text = String::new();
            let mut client = reader(&path);
            lingering.await.unwrap();
            client.read_to_string(&mut text).unwrap();
            assert_eq!(text, "last");
            return;
        }
    }

    #[tokio::test]
    async fn a_fifo_that_is_read_or_empty_is_let_go_at_once() {
        for write in [&b""[..], b"bytes"] {
            let (_directory, path) = fifo();
            let client = reader(&path);
            let opened = Pinned::new(&path).unwrap().output(Instant::now()).await.unwrap();
            opened.get_ref().write_all(write).unwrap();
            if write.is_empty() {
                drop(client);
                release(opened).await;
            } else {
                release(opened).await;
                let mut text = Vec::new();
                (&client).read_to_end(&mut text).unwrap();
                assert_eq!(text, write);
            }
        }
    }

    #[tokio::test]
    async fn an_input_ends_only_when_the_shim_lets_go() {
        let (_directory, path) = fifo();
        let (input, keeper) = Pinned::new(&path).unwrap().input().unwrap();
        let write = |text: &[u8]| {
            let writer = open(&path, OFlag::O_WRONLY | OFlag::O_NONBLOCK, Mode::empty()).unwrap();
            File::from(writer).write_all(text).unwrap();
        };
        let mut text = [0; 16];
        write(b"one");
        assert_eq!(input.get_ref().read(&mut text).unwrap(), 3);
        let nothing = input.get_ref().read(&mut text).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        write(b"two");
        drop(keeper);
        assert_eq!(input.get_ref().read(&mut text).unwrap(), 3);
        assert_eq!(input.get_ref().read(&mut text).unwrap(), 0);
    }

    #[test]
    fn other_things_are_no_fifos() {
        let pinned = Pinned::new(Path::new("/dev/null")).unwrap();
        assert!(!pinned.is_fifo());
        assert!(matches!(pinned.input(), Err(StdioError::NotAFifo { .. })));
        pinned.append().unwrap().write_all(b"x").unwrap();
        assert!(Pinned::new(Path::new("/nonexistent/fifo")).is_err());
    }
}
