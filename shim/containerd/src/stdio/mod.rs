//! The standard streams of a container's processes.
//!
//! [`Stdio::prepare`] makes what the runtime's command is given; [`Stdio::connect`] starts the copying once the runtime
//! has made the process. Each stream is one task of the event loop, none a thread. What containerd's own shim does is
//! the measure (cmd/containerd-shim-runc-v2/process/io.go); where this differs the code says so.

mod console;
mod copy;
mod fifo;
mod file;
mod logger;
mod pipes;
pub(crate) mod uri;

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use self::console::{Console, ConsoleSocket};
use self::copy::{AfterFailure, Sink, copy};
use self::fifo::Pinned;
use self::logger::{Logger, Names, READY};
use self::uri::Output;
use crate::reaper::Reaper;

/// How long clients may take to open the fifos that they have named, as with containerd's own shim.
const READERS: Duration = Duration::from_secs(30);

/// Where containerd wants a process's streams.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Streams {
    pub(crate) stdin: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) terminal: bool,
}

/// Whose streams they are.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) container: &'a str,
    pub(crate) exec: Option<&'a str>,
    pub(crate) io_uid: u32,
    pub(crate) io_gid: u32,
    /// Loggers are children, and every child of the shim is the reaper's.
    pub(crate) reaper: &'a Reaper,
}

/// What the runtime's command is given; `None` is /dev/null. To be dropped as soon as the runtime has been called: a
/// stream ends only when nobody has the process's end of it any more.
#[derive(Debug, Default)]
pub(crate) struct RuntimeEnds {
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    pub(crate) console_socket: Option<PathBuf>,
}

/// The streams of one process. Dropped, nothing of them stays; [`Stdio::close`] does the same in order.
pub(crate) struct Stdio {
    plan: Plan,
    /// The writing side of standard input's fifo, which keeps the input from ending when a client goes.
    stdin_keeper: Option<OwnedFd>,
    console: Option<Console>,
    /// Whether the process was said to have exited, which may be before its terminal has arrived.
    exited: AtomicBool,
    logger: Option<Logger>,
    tasks: Vec<JoinHandle<()>>,
    /// Ends when no copying task holds a sender.
    copied: Option<mpsc::Receiver<Infallible>>,
}

/// Why the streams of a process cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StdioError {
    /// A string that names no stream.
    #[error(
        "cannot use {uri:?} as a stream: {reason}; use a fifo, file://, binary:// or binary-v2://"
    )]
    Uri { uri: String, reason: String },
    #[error("cannot make the pipe for {stream}: {source}")]
    Pipe { stream: &'static str, source: io::Error },
    #[error("cannot open {} for a stream: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error("cannot make the directory {} of a log file: {source}", path.display())]
    LogDirectory { path: PathBuf, source: io::Error },
    #[error("{} is not a fifo, and standard input is read from a fifo", path.display())]
    NotAFifo { path: PathBuf },
    #[error("nobody has opened {} for reading within 30 s; the client makes and reads it", path.display())]
    NoReader { path: PathBuf },
    #[error("cannot watch {stream}: {source}")]
    Watch { stream: &'static str, source: io::Error },
    #[error("cannot make a console socket under {}: {source}", path.display())]
    ConsoleSocket { path: PathBuf, source: io::Error },
    #[error("cannot get the process's terminal: {0}")]
    Console(String),
    #[error("cannot run the logger {}: {source}", program.display())]
    Logger { program: PathBuf, source: io::Error },
    #[error("the logger {} is not ready: {reason}", program.display())]
    LoggerNotReady { program: PathBuf, reason: String },
}

/// What is done once the process is there.
#[derive(Default)]
struct Plan {
    /// The fifo, and the pipe to the process; a terminal has no such pipe.
    stdin: Option<(Pinned, Option<OwnedFd>)>,
    outputs: Vec<PlannedOutput>,
    terminal: Option<(ConsoleSocket, Target)>,
    /// A terminal has no stderr; its logger's descriptor 4 ends when its output does, not before.
    unused_stderr: Option<OwnedFd>,
}

struct PlannedOutput {
    stream: &'static str,
    source: OwnedFd,
    target: Target,
}

/// Where output goes, before it is open.
enum Target {
    Discard,
    Fifo(Pinned),
    File(Arc<File>),
    /// A pipe to a logger.
    Pipe(OwnedFd),
}

impl Stdio {
    /// Makes what the runtime's command is given. Nothing waits for a client here, but a logger is waited for.
    pub(crate) async fn prepare(
        streams: &Streams,
        owner: &Owner<'_>,
    ) -> Result<(Stdio, RuntimeEnds), StdioError> {
        let mut stdio = Stdio {
            plan: Plan::default(),
            stdin_keeper: None,
            console: None,
            exited: AtomicBool::new(false),
            logger: None,
            tasks: Vec::new(),
            copied: None,
        };
        let stdin = match uri::input(&streams.stdin)? {
            Some(path) => Some(Pinned::new(&path)?),
            None => None,
        };
        let stdout = uri::output(&streams.stdout)?;
        let ends = if streams.terminal {
            stdio.prepare_terminal(stdin, stdout, owner).await?
        } else if let Output::Logger(wanted) = stdout {
            stdio.prepare_logger(&wanted, owner).await?
        } else {
            stdio.prepare_pipes(stdin, stdout, uri::output(&streams.stderr)?, owner)?
        };
        Ok((stdio, ends))
    }

    /// Starts the copying, once the runtime has made the process. Waits for clients that have yet to open their fifos.
    pub(crate) async fn connect(&mut self) -> Result<(), StdioError> {
        let plan = std::mem::take(&mut self.plan);
        let deadline = Instant::now() + READERS;
        let (token, copied) = mpsc::channel(1);
        self.copied = Some(copied);

        let mut console_input = None;
        if let Some((socket, target)) = plan.terminal {
            let (console, output, input) =
                console::split(socket.receive().await?, plan.stdin.is_some())?;
            let mut sink = target.open("stdout", deadline).await?;
            if self.exited.load(Ordering::Relaxed) {
                console.end();
            }
            self.console = Some(console);
            console_input = input;
            let token = token.clone();
            let unused_stderr = plan.unused_stderr;
            self.tasks.push(tokio::spawn(async move {
                output.copy(&mut sink).await;
                drop((token, unused_stderr));
                sink.release().await;
            }));
        }
        if let Some((fifo, pipe)) = plan.stdin {
            let (source, keeper) = fifo.input()?;
            self.stdin_keeper = Some(keeper);
            if let Some(input) = console_input {
                self.tasks.push(tokio::spawn(async move { input.copy(&source).await }));
            } else if let Some(pipe) = pipe {
                let mut sink = Target::Pipe(pipe).open("stdin", deadline).await?;
                self.tasks.push(tokio::spawn(async move {
                    copy(&source, &mut sink, AfterFailure::Stop, "stdin").await;
                }));
            }
        }
        // All are open before any is copied: a client may open one only after it has opened the other.
        let mut open = Vec::with_capacity(plan.outputs.len());
        for PlannedOutput { stream, source, target } in plan.outputs {
            let sink = target.open(stream, deadline).await?;
            let source =
                pipes::readable(source).map_err(|source| StdioError::Watch { stream, source })?;
            open.push((stream, source, sink));
        }
        for (stream, source, mut sink) in open {
            let token = token.clone();
            self.tasks.push(tokio::spawn(async move {
                copy(&source, &mut sink, AfterFailure::Discard, stream).await;
                drop((token, source));
                sink.release().await;
            }));
        }
        Ok(())
    }

    /// To be called when the process has exited (not only when it is deleted): a terminal's output then ends with what is
    /// in it. Clients wait for that end before they delete. Pipes end by themselves.
    pub(crate) fn process_exited(&self) {
        self.exited.store(true, Ordering::Relaxed);
        if let Some(console) = &self.console {
            console.end();
        }
    }

    /// Standard input ends when the clients that have its fifo open have closed it.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin_keeper = None;
    }

    /// Sets the terminal's size; without a terminal there is nothing to do.
    pub(crate) fn resize(&self, width: u16, height: u16) -> io::Result<()> {
        match &self.console {
            Some(console) => console.resize(width, height),
            None => Ok(()),
        }
    }

    /// Waits until all output of an exited process has been copied, or until the limit has passed: what the process left
    /// running may have its streams open for ever.
    pub(crate) async fn drain(&mut self, limit: Duration) {
        self.process_exited();
        let deadline = Instant::now() + limit;
        if let Some(copied) = &mut self.copied
            && timeout_at(deadline, copied.recv()).await.is_err()
        {
            crate::log::warn!("output was still being written when its process was deleted");
        }
        if let Some(logger) = &mut self.logger {
            logger.finish(deadline.saturating_duration_since(Instant::now())).await;
        }
    }

    /// Ends what there still is: tasks, descriptors, the console socket, and the logger (SIGTERM, 12 s, SIGKILL).
    pub(crate) async fn close(mut self) {
        self.plan = Plan::default();
        self.stdin_keeper = None;
        let tasks = std::mem::take(&mut self.tasks);
        for task in &tasks {
            task.abort();
        }
        for task in tasks {
            // Cancelled, or ended long ago.
            let _ = task.await;
        }
        if let Some(logger) = self.logger.take() {
            logger.stop().await;
        }
    }

    fn prepare_pipes(
        &mut self,
        stdin: Option<Pinned>,
        stdout: Output,
        stderr: Output,
        owner: &Owner<'_>,
    ) -> Result<RuntimeEnds, StdioError> {
        let mut ends = RuntimeEnds::default();
        if let Some(fifo) = stdin {
            let pipe = pipes::for_input(owner.io_uid, owner.io_gid)?;
            self.plan.stdin = Some((fifo, Some(pipe.ours)));
            ends.stdin = Some(pipe.theirs);
        }
        // One file for both streams is opened once.
        let same = stdout == stderr;
        let stdout = Target::new(stdout)?;
        let stderr = match (&stdout, same) {
            (Some(Target::File(file)), true) => Some(Target::File(Arc::clone(file))),
            _ => Target::new(stderr)?,
        };
        for (stream, target, end) in
            [("stdout", stdout, &mut ends.stdout), ("stderr", stderr, &mut ends.stderr)]
        {
            let Some(target) = target else { continue };
            let pipe = pipes::for_output(stream, owner.io_uid, owner.io_gid)?;
            self.plan.outputs.push(PlannedOutput { stream, source: pipe.ours, target });
            *end = Some(pipe.theirs);
        }
        Ok(ends)
    }

    /// The process writes into the logger's pipes itself. As with containerd's own shim it has no standard input, both
    /// streams go to the logger that stdout names, and the pipes belong to root.
    async fn prepare_logger(
        &mut self,
        wanted: &uri::LoggerCommand,
        owner: &Owner<'_>,
    ) -> Result<RuntimeEnds, StdioError> {
        let (stdout_reader, stdout) = pipes::between_children("stdout")?;
        let (stderr_reader, stderr) = pipes::between_children("stderr")?;
        self.logger = Some(
            Logger::start(
                wanted,
                owner.names(),
                [stdout_reader, stderr_reader],
                READY,
                owner.reaper,
            )
            .await?,
        );
        Ok(RuntimeEnds { stdout: Some(stdout), stderr: Some(stderr), ..RuntimeEnds::default() })
    }

    async fn prepare_terminal(
        &mut self,
        stdin: Option<Pinned>,
        stdout: Output,
        owner: &Owner<'_>,
    ) -> Result<RuntimeEnds, StdioError> {
        let target = if let Output::Logger(wanted) = stdout {
            let (stdout_reader, stdout) = pipes::between_children("stdout")?;
            let (stderr_reader, stderr) = pipes::between_children("stderr")?;
            self.logger = Some(
                Logger::start(
                    &wanted,
                    owner.names(),
                    [stdout_reader, stderr_reader],
                    READY,
                    owner.reaper,
                )
                .await?,
            );
            self.plan.unused_stderr = Some(stderr);
            Target::Pipe(stdout)
        } else {
            Target::new(stdout)?.unwrap_or(Target::Discard)
        };
        let consoles = consoles();
        console::sweep(&consoles);
        let socket = ConsoleSocket::bind(&consoles)?;
        let console_socket = Some(socket.path());
        self.plan.stdin = stdin.map(|fifo| (fifo, None));
        self.plan.terminal = Some((socket, target));
        Ok(RuntimeEnds { console_socket, ..RuntimeEnds::default() })
    }
}

impl Drop for Stdio {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl<'a> Owner<'a> {
    fn names(&self) -> Names<'a> {
        Names { namespace: self.namespace, id: self.exec.unwrap_or(self.container) }
    }
}

impl Target {
    /// `None` for a stream that is not wanted.
    fn new(output: Output) -> Result<Option<Self>, StdioError> {
        Ok(match output {
            Output::Null => None,
            Output::Path(path) => Some(Target::existing(&path)?),
            Output::File(path) => Some(match file::create(&path)? {
                Some(file) => Target::File(Arc::new(file)),
                None => Target::existing(&path)?,
            }),
            Output::Logger(wanted) => {
                return Err(StdioError::Uri {
                    uri: wanted.program.display().to_string(),
                    reason: "a logger is named by stdout, and takes stderr too".to_owned(),
                });
            }
        })
    }

    fn existing(path: &Path) -> Result<Self, StdioError> {
        let pinned = Pinned::new(path)?;
        if pinned.is_fifo() {
            Ok(Target::Fifo(pinned))
        } else {
            Ok(Target::File(Arc::new(pinned.append()?)))
        }
    }

    async fn open(self, stream: &'static str, deadline: Instant) -> Result<Sink, StdioError> {
        Ok(match self {
            Target::Discard => Sink::Discard,
            Target::Fifo(fifo) => Sink::Fifo(fifo.output(deadline).await?),
            Target::File(file) => Sink::File(file),
            Target::Pipe(pipe) => Sink::Pipe(
                pipes::writable(pipe).map_err(|source| StdioError::Watch { stream, source })?,
            ),
        })
    }
}

/// Removes console sockets that killed shims left behind.
pub(crate) fn sweep_consoles() {
    console::sweep(&consoles());
}

fn consoles() -> PathBuf {
    if cfg!(test) {
        std::env::temp_dir().join("coaming-shim-test-consoles")
    } else {
        PathBuf::from(console::CONSOLES)
    }
}
