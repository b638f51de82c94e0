//! What init and an exec have in common: an id, streams, a state, and an end that is waited for.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{self, watch};

use crate::error::Error;
use crate::reaper::Exit;
use crate::stdio::{Stdio, StdioError, Streams};

/// How long the output of a process that has ended may take to be copied.
const DRAIN: Duration = Duration::from_secs(10);

/// Where a process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It waits for its start, which may be under way.
    Created,
    Running,
    /// The runtime has been asked to freeze it.
    Pausing,
    Paused,
    Stopped,
    /// The runtime has forgotten it.
    Deleted,
}

/// How a process ended, as far as it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) pid: i32,
    pub(crate) status: u32,
    /// `None`: it has not ended, or was never started.
    pub(crate) at: Option<SystemTime>,
}

/// One process of a container.
pub(crate) struct Process {
    id: String,
    streams: Streams,
    /// What changes the process takes turns at it.
    pub(super) turn: sync::Mutex<()>,
    now: Mutex<Now>,
    /// Whether there is nothing left to wait for.
    over: watch::Sender<bool>,
    stdio: Arc<sync::Mutex<Option<Stdio>>>,
}

struct Now {
    state: State,
    /// 0 until it is known.
    pid: i32,
    exit: Option<Exit>,
}

impl Process {
    pub(super) fn new(id: String, streams: Streams) -> Process {
        Process {
            id,
            streams,
            turn: sync::Mutex::default(),
            now: Mutex::new(Now { state: State::Created, pid: 0, exit: None }),
            over: watch::Sender::new(false),
            stdio: Arc::default(),
        }
    }

    /// The container's id, or the exec's.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// As containerd asked for them.
    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }

    pub(crate) fn state(&self) -> State {
        self.now().state
    }

    /// On the node; 0 until it is known.
    pub(crate) fn pid(&self) -> i32 {
        self.now().pid
    }

    pub(crate) fn ended(&self) -> Ended {
        let now = self.now();
        Ended {
            pid: now.pid,
            status: now.exit.map_or(0, |exit| exit.status),
            at: now.exit.map(|exit| exit.at),
        }
    }

    /// Ends when the process has, or when it is known that it never starts.
    pub(crate) async fn wait(&self) -> Ended {
        // The sender lives as long as this.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
        self.ended()
    }

    /// Nothing more comes from a terminal that is closed. A process may also be told twice.
    pub(crate) async fn close_stdin(&self) {
        if let Some(stdio) = self.stdio.lock().await.as_mut() {
            stdio.close_stdin();
        }
    }

    pub(crate) async fn resize(&self, width: u16, height: u16) -> Result<(), Error> {
        let result: io::Result<()> = match self.stdio.lock().await.as_ref() {
            Some(stdio) => stdio.resize(width, height),
            None => Ok(()),
        };
        let doing = "resize the terminal of";
        result.map_err(|error| Error::Process { doing, id: self.id.clone(), error })
    }

    /// Where it was, if it may be `to` from there.
    pub(super) fn change(&self, from: &[State], to: State) -> Result<State, State> {
        let mut now = self.now();
        let state = now.state;
        if !from.contains(&state) {
            return Err(state);
        }
        now.state = to;
        Ok(state)
    }

    pub(super) fn set_pid(&self, pid: i32) {
        self.now().pid = pid;
    }

    pub(super) async fn set_stdio(&self, stdio: Stdio) {
        *self.stdio.lock().await = Some(stdio);
    }

    /// The runtime has started the process, or its terminal: copying begins.
    pub(super) async fn connect(&self) -> Result<(), StdioError> {
        match self.stdio.lock().await.as_mut() {
            Some(stdio) => stdio.connect().await,
            None => Ok(()),
        }
    }

    /// The process has ended. Said twice, the first is kept.
    pub(super) fn set_exited(&self, exit: Exit) {
        {
            let mut now = self.now();
            if matches!(now.state, State::Stopped | State::Deleted) {
                return;
            }
            now.state = State::Stopped;
            now.exit = Some(exit);
        }
        self.over.send_replace(true);
        let tell = |stdio: &Option<Stdio>| {
            if let Some(stdio) = stdio {
                stdio.process_exited();
            }
        };
        match self.stdio.try_lock() {
            Ok(stdio) => tell(&stdio),
            Err(_) => {
                let stdio = Arc::clone(&self.stdio);
                tokio::spawn(async move { tell(&*stdio.lock().await) });
            }
        }
    }

    /// It never starts: who waits for it waits no longer.
    pub(super) fn set_failed(&self) {
        self.over.send_replace(true);
    }

    /// Whether it ended, or failed to start.
    pub(super) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Its output is copied to the end, as far as that takes a reasonable time. Of a process that has ended.
    pub(super) async fn drain(&self) {
        if let Some(stdio) = self.stdio.lock().await.as_mut() {
            stdio.drain(DRAIN).await;
        }
    }

    /// Nothing is left of its streams.
    pub(super) async fn close_streams(&self) {
        // Taken out first: a logger is given time to end, and nothing else waits for that.
        let stdio = self.stdio.lock().await.take();
        if let Some(stdio) = stdio {
            stdio.close().await;
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Created => "created",
            State::Running => "running",
            State::Pausing => "pausing",
            State::Paused => "paused",
            State::Stopped => "stopped",
            State::Deleted => "deleted",
        }
    }
}
