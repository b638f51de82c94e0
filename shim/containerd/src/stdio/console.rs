//! Terminals: the runtime makes one inside the container and sends its controlling side over a socket.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::copy::{AfterFailure, Sink, Step, survives, transfer};
use super::{StdioError, pipes};
use crate::{log, sys};

/// Where console sockets live, for the time of one call of the runtime. Not in the bundle: its path is longer than the
/// 107 bytes that the name of a socket may have.
pub(super) const CONSOLES: &str = "/run/coaming/console";

/// The runtime has sent the terminal before it ends; it is received after that.
const RECEIVE: Duration = Duration::from_secs(10);

/// Pauses between looks at a terminal that nobody has open.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The socket on which a terminal will arrive. Dropped, it is removed.
pub(super) struct ConsoleSocket {
    directory: PathBuf,
    listener: AsyncFd<UnixListener>,
}

impl ConsoleSocket {
    /// Makes the socket in a directory of its own that only root may enter.
    pub(super) fn bind(consoles: &Path) -> Result<Self, StdioError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let failed = |source| StdioError::ConsoleSocket { path: consoles.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(consoles).map_err(failed)?;
        let pid = std::process::id();
        let born = start_time(pid).unwrap_or_default();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = consoles.join(format!("{pid}-{born}-{number}"));
        DirBuilder::new().mode(0o700).create(&directory).map_err(failed)?;
        let listen = || {
            let listener = UnixListener::bind(directory.join("pty.sock"))?;
            listener.set_nonblocking(true)?;
            sys::watch(listener, Interest::READABLE)
        };
        match listen() {
            Ok(listener) => Ok(ConsoleSocket { directory, listener }),
            Err(source) => {
                let _ = fs::remove_dir_all(&directory);
                Err(failed(source))
            }
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.join("pty.sock")
    }

    /// Receives the terminal and removes the socket.
    pub(super) async fn receive(self) -> Result<OwnedFd, StdioError> {
        let receive = async {
            let stream = self.accept().await?;
            stream.set_nonblocking(true)?;
            let stream = sys::watch(stream, Interest::READABLE)?;
            loop {
                let mut guard = stream.readable().await?;
                let receive =
                    |stream: &AsyncFd<UnixStream>| sys::receive_descriptors(stream.as_fd());
                if let Ok(received) = guard.try_io(receive) {
                    return received;
                }
            }
        };
        let received = timeout(RECEIVE, receive)
            .await
            .map_err(|_elapsed| StdioError::Console("the runtime sent no terminal".to_owned()))?
            .map_err(|error| StdioError::Console(format!("receiving it failed: {error}")))?;
        let count = received.descriptors.len();
        let mut descriptors = received.descriptors.into_iter();
        let (Some(terminal), None, false) =
            (descriptors.next(), descriptors.next(), received.truncated)
        else {
            return Err(StdioError::Console(format!(
                "the runtime sent {count} descriptors instead of one"
            )));
        };
        sys::pseudo_terminal_number(terminal.as_fd()).map_err(|error| {
            StdioError::Console(format!("what the runtime sent is no terminal: {error}"))
        })?;
        Ok(terminal)
    }

    async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let mut guard = self.listener.readable().await?;
            if let Ok(accepted) = guard.try_io(|listener| listener.get_ref().accept()) {
                return accepted.map(|(stream, _address)| stream);
            }
        }
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Removes what shims left that were killed between a call of the runtime and its answer.
pub(super) fn sweep(consoles: &Path) {
    let Ok(entries) = fs::read_dir(consoles) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let mut parts = name.to_str().unwrap_or_default().splitn(3, '-');
        let (Some(pid), Some(born)) = (
            parts.next().and_then(|pid| pid.parse::<u32>().ok()),
            parts.next().and_then(|born| born.parse::<u64>().ok()),
        ) else {
            continue;
        };
        if start_time(pid) != Some(born) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// When a process began, in clock ticks: with the pid it names a process for good (proc_pid_stat(5), field 22).
fn start_time(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses, which may hold anything; the third follows the last parenthesis.
    let (_, fields) = status.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The controlling side of a terminal, while its output is copied.
pub(super) struct Console {
    terminal: Weak<File>,
    over: watch::Sender<bool>,
}

/// What copies a terminal's output.
pub(super) struct ConsoleOutput {
    terminal: Arc<File>,
    over: watch::Receiver<bool>,
}

/// What copies a terminal's input.
pub(super) struct ConsoleInput {
    terminal: AsyncFd<File>,
    over: watch::Sender<bool>,
}

/// The three users of a terminal. It is closed, and so hung up, when its output and its input have ended.
pub(super) fn split(
    terminal: OwnedFd,
    with_input: bool,
) -> Result<(Console, ConsoleOutput, Option<ConsoleInput>), StdioError> {
    let failed = |error: io::Error| StdioError::Console(format!("it cannot be used: {error}"));
    pipes::set_nonblocking(&terminal, true).map_err(failed)?;
    // epoll knows a descriptor by its number, so each direction has its own.
    let (sender, over) = watch::channel(false);
    let input = if with_input {
        let terminal = terminal.try_clone().and_then(pipes::writable).map_err(failed)?;
        Some(ConsoleInput { terminal, over: sender.clone() })
    } else {
        None
    };
    let terminal = Arc::new(File::from(terminal));
    let console = Console { terminal: Arc::downgrade(&terminal), over: sender };
    Ok((console, ConsoleOutput { terminal, over }, input))
}

impl Console {
    /// Output ends with what the terminal now holds.
    pub(super) fn end(&self) {
        self.over.send_replace(true);
    }

    pub(super) fn resize(&self, width: u16, height: u16) -> io::Result<()> {
        match self.terminal.upgrade() {
            Some(terminal) => sys::set_window_size(terminal.as_fd(), width, height),
            None => Ok(()),
        }
    }
}

impl ConsoleOutput {
    /// Copies until the process is gone and what it wrote has been read. That nobody has the terminal open (EIO) is not
    /// its end: a process may close it and open it again by name.
    pub(super) async fn copy(self, sink: &mut Sink) {
        let what = "a terminal's output";
        let ConsoleOutput { terminal, mut over } = self;
        let mut pause = SHORTEST_PAUSE;
        let mut watched = None;
        loop {
            let ending = *over.borrow();
            match transfer(&terminal, sink) {
                Ok(Step::End) => return,
                Ok(step) => {
                    pause = SHORTEST_PAUSE;
                    let outcome = match step {
                        Step::Left(rest) => sink.finish(rest).await,
                        Step::SinkFailed(error) => Err(error),
                        Step::Copied | Step::End => Ok(()),
                    };
                    if let Err(error) = outcome
                        && !survives(sink, &error, AfterFailure::Discard, what)
                    {
                        return;
                    }
                    // Others have their turn, and a terminal that is never empty stays fair.
                    tokio::task::yield_now().await;
                }
                // Read after the end was seen, "nothing there" is the end: the kernel hands over what is under way first.
                Err(error) if ending && is_empty(&error) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let fresh = match watched.take() {
                        Some(watched) => watched,
                        None => match Watched::new(&terminal) {
                            Ok(watched) => watched,
                            Err(error) => return log::warn!("{what} cannot be watched: {error}"),
                        },
                    };
                    watched = fresh.wait(&mut over).await;
                    if watched.is_none() && !*over.borrow() {
                        pause = wait_a_little(pause, &mut over).await;
                    }
                }
                Err(error) if is_empty(&error) => {
                    watched = None;
                    pause = wait_a_little(pause, &mut over).await;
                }
                Err(error) => return log::warn!("{what} is not copied any more: {error}"),
            }
        }
    }
}

/// A terminal that epoll watches. Once everyone has closed the terminal epoll says so for ever, even if it is opened
/// again, so the registration is then given up and made anew.
struct Watched(AsyncFd<Arc<File>>);

impl Watched {
    fn new(terminal: &Arc<File>) -> io::Result<Self> {
        sys::watch(Arc::clone(terminal), Interest::READABLE).map(Watched)
    }

    /// Waits until there is something to read or the end has come. `None`: everyone has closed it.
    async fn wait(self, over: &mut watch::Receiver<bool>) -> Option<Self> {
        let closed = tokio::select! {
            ready = self.0.readable() => match ready {
                Ok(mut guard) => {
                    let closed = guard.ready().is_read_closed();
                    // What is there is read next; if it comes between, the registration reports it again.
                    guard.clear_ready();
                    closed
                }
                Err(_) => true,
            },
            _ = over.wait_for(|over| *over) => false,
        };
        (!closed).then_some(self)
    }
}

async fn wait_a_little(pause: Duration, over: &mut watch::Receiver<bool>) -> Duration {
    tokio::select! {
        () = sleep(pause) => {}
        _ = over.wait_for(|over| *over) => {}
    }
    pause.saturating_mul(2).min(LONGEST_PAUSE)
}

/// Nothing to read: nothing was written (EAGAIN) or nobody has the terminal open (EIO).
fn is_empty(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || is_hung_up(error)
}

fn is_hung_up(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EIO as i32)
}

impl ConsoleInput {
    /// Copies until the input ends, and then hangs up, as the end of a terminal's input means; or until the process is gone.
    pub(super) async fn copy(self, source: &AsyncFd<File>) {
        let ConsoleInput { terminal, over } = self;
        let mut ended = over.subscribe();
        let forward = async {
            // Read into a small buffer: this is somebody typing.
            let mut buffer = [0_u8; 1024];
            loop {
                let Ok(mut guard) = source.readable().await else { return };
                let count = match guard
                    .try_io(|source| io::Read::read(&mut source.get_ref(), &mut buffer))
                {
                    Ok(Ok(count)) => count,
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Ok(Err(_)) => return,
                    Err(_would_block) => continue,
                };
                drop(guard);
                match buffer.get(..count) {
                    None | Some([]) => return,
                    Some(typed) => {
                        if type_in(&terminal, typed).await.is_err() {
                            return;
                        }
                    }
                }
            }
        };
        tokio::select! {
            () = forward => {}
            _ = ended.wait_for(|over| *over) => {}
        }
        over.send_replace(true);
    }
}

/// Writes to a terminal, whose process may be slow to read, or may not have it open just now.
async fn type_in(terminal: &AsyncFd<File>, mut typed: &[u8]) -> io::Result<()> {
    while !typed.is_empty() {
        match terminal.get_ref().write(typed) {
            Ok(0) => sleep(SHORTEST_PAUSE).await,
            Ok(count) => typed = typed.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // A terminal reports that it takes input again less reliably than a pipe does, so the wait has a limit.
                if let Ok(Ok(mut guard)) = timeout(LONGEST_PAUSE, terminal.writable()).await {
                    guard.clear_ready();
                }
                sleep(Duration::from_millis(1)).await;
            }
            Err(error) if is_hung_up(&error) => sleep(LONGEST_PAUSE).await,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
