//! Copying a stream without a thread and without a buffer that grows.
//!
//! Bytes are read into one scratch buffer of the thread and written at once. Only what the other side does not take is
//! kept, and nothing more is read until it has been taken: a slow or absent reader fills the fifo, then the pipe, and
//! then the process waits in its write, as it would on a terminal.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;

use super::fifo;
use crate::log;

/// Half of what a pipe holds: a fast writer refills one half while the other is written out.
const CHUNK: usize = 32 * 1024;

/// After so many chunks in a row the other tasks of the thread have their turn.
const TURN: u32 = 16;

/// How long a full disk is left alone before the next attempt.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(1);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Where bytes go.
pub(super) enum Sink {
    /// Nowhere; the process must not wait for a reader that will never be.
    Discard,
    /// A fifo, which is also open for reading here.
    Fifo(AsyncFd<File>),
    /// A pipe to a child; its reader may go.
    Pipe(AsyncFd<File>),
    /// A regular file or a device, which cannot be waited for by epoll.
    File(Arc<File>),
}

/// What happens when the sink fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterFailure {
    /// The rest is read and thrown away, so that a container does not hang because its log is broken.
    Discard,
    /// Copying ends: the process does not read its input any more.
    Stop,
}

/// Copies until the end of the source.
pub(super) async fn copy(
    source: &AsyncFd<File>,
    sink: &mut Sink,
    after_failure: AfterFailure,
    what: &str,
) {
    let mut chunks = 0_u32;
    loop {
        let mut guard = match source.readable().await {
            Ok(guard) => guard,
            Err(error) => {
                log::warn!("{what} is not copied any more: waiting for it failed: {error}");
                return;
            }
        };
        let step = match guard.try_io(|source| transfer(source.get_ref(), sink)) {
            Ok(step) => step,
            Err(_would_block) => continue,
        };
        drop(guard);
        match step {
            Ok(Step::End) => return,
            Ok(Step::Copied) => {}
            Ok(Step::Left(rest)) => {
                if let Err(error) = sink.finish(rest).await
                    && !survives(sink, &error, after_failure, what)
                {
                    return;
                }
            }
            Ok(Step::SinkFailed(error)) => {
                if !survives(sink, &error, after_failure, what) {
                    return;
                }
            }
            Err(error) => {
                log::warn!("{what} is not copied any more: reading it failed: {error}");
                return;
            }
        }
        chunks = chunks.wrapping_add(1);
        if chunks.is_multiple_of(TURN) {
            tokio::task::yield_now().await;
        }
    }
}

/// What one read and the write after it came to.
pub(super) enum Step {
    End,
    Copied,
    /// These were read and not taken.
    Left(Vec<u8>),
    SinkFailed(io::Error),
}

/// Reads once and writes what was read, as far as that goes without waiting. An error is the source's.
pub(super) fn transfer(mut source: &File, sink: &Sink) -> io::Result<Step> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.resize(CHUNK, 0);
        let count = loop {
            match source.read(scratch) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        let read = scratch.get(..count).unwrap_or_default();
        if read.is_empty() {
            return Ok(Step::End);
        }
        Ok(match sink.offer(read) {
            Ok(taken) => match read.get(taken..).unwrap_or_default() {
                [] => Step::Copied,
                rest => Step::Left(rest.to_vec()),
            },
            Err(error) => Step::SinkFailed(error),
        })
    })
}

/// Whether copying goes on after the sink has failed.
pub(super) fn survives(
    sink: &mut Sink,
    error: &io::Error,
    after_failure: AfterFailure,
    what: &str,
) -> bool {
    match after_failure {
        AfterFailure::Stop => {
            log::debug!("{what} is not copied any more: {error}");
            false
        }
        AfterFailure::Discard => {
            log::warn!("{what} is thrown away from here on: writing it failed: {error}");
            *sink = Sink::Discard;
            true
        }
    }
}

impl Sink {
    /// Writes what is taken at once; how much that was.
    fn offer(&self, bytes: &[u8]) -> io::Result<usize> {
        let stream = match self {
            Sink::Discard => return Ok(bytes.len()),
            Sink::File(_) => return Ok(0),
            Sink::Fifo(stream) | Sink::Pipe(stream) => stream,
        };
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            match stream.get_ref().write(rest) {
                Ok(0) => break,
                Ok(count) => taken += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    /// Lets go of it after the last byte.
    pub(super) async fn release(self) {
        if let Sink::Fifo(fifo) = self {
            fifo::release(fifo).await;
        }
    }

    /// Writes the rest, however long that takes.
    pub(super) async fn finish(&self, bytes: Vec<u8>) -> io::Result<()> {
        match self {
            Sink::Discard => Ok(()),
            Sink::File(file) => append(file, bytes).await,
            Sink::Fifo(stream) | Sink::Pipe(stream) => {
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let mut guard = stream.writable().await?;
                    match guard.try_io(|stream| stream.get_ref().write(rest)) {
                        Ok(Ok(count)) => rest = rest.get(count..).unwrap_or_default(),
                        Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                        Ok(Err(error)) => return Err(error),
                        Err(_would_block) => {}
                    }
                }
                Ok(())
            }
        }
    }
}

/// Files are written on the blocking thread: a disk that hangs must not hang the task service. While the disk is full the
/// process is held back and nothing is lost.
async fn append(file: &Arc<File>, mut bytes: Vec<u8>) -> io::Result<()> {
    loop {
        let target = Arc::clone(file);
        let (rest, outcome) = tokio::task::spawn_blocking(move || {
            let mut written = 0;
            let outcome = loop {
                match bytes.get(written..) {
                    None | Some([]) => break Ok(()),
                    Some(rest) => match target.as_ref().write(rest) {
                        Ok(count) => written += count,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => break Err(error),
                    },
                }
            };
            bytes.drain(..written.min(bytes.len()));
            (bytes, outcome)
        })
        .await
        .map_err(io::Error::other)?;
        match outcome {
            Ok(()) => return Ok(()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
                ) =>
            {
                bytes = rest;
                tokio::time::sleep(FULL_DISK_PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}
