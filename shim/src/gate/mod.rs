//! The gate: what a caller asks becomes what the runtime is given, or nothing.
//!
//! Every door ends here. What comes back is a canonical command line; the caller becomes the runtime
//! with it (execve), so that pid files, sockets, signals and exit codes are the runtime's own.

mod create;
mod exec;
mod program;
mod update;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use coaming_hooks::lookup::LookupError;
use coaming_policy::document::DocumentError;
use coaming_policy::json::JsonError;
use coaming_policy::verdict::{Reason, Refusal};

use crate::argv::{Command, Global, Invocation, Plain, Verb};
use crate::bundle::BundleError;
use crate::config::{self, Node};
use crate::exec_process::ExecProcessError;
use crate::family::Family;
use crate::handoff::{HandoffError, ProcessFile};
use crate::launch::LaunchError;
use crate::state::{self, State, StateError};

/// The state directories where none is named (runc main.go, crun src/libcrun/status.c).
const RUNC_ROOT: &str = "/run/runc";
const CRUN_ROOT: &str = "/run/crun";

/// Why nothing is started. The message is what `kubectl describe pod` shows.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The floor says no.
    #[error("coaming refused to {operation} container {id}: {refusal}")]
    Refused {
        /// `create`, `exec into` or `update`.
        operation: &'static str,
        /// The container.
        id: String,
        /// Each reason.
        refusal: Refusal,
    },
    /// Policy cannot be read; nothing starts until it can.
    #[error("coaming cannot read its policy, so no container starts: {0}")]
    Policy(#[from] DocumentError),
    /// The bundle cannot be read or trusted.
    #[error("coaming: {0}")]
    Bundle(#[from] BundleError),
    /// A JSON document is not one that runtimes and coaming read alike.
    #[error("coaming: {what}: {error}")]
    Json {
        /// Which document.
        what: String,
        /// What is wrong with it.
        error: JsonError,
    },
    /// A file that the caller named cannot be read.
    #[error("coaming: cannot read {}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        error: std::io::Error,
    },
    /// The container's state cannot be kept or found.
    #[error("coaming: {0}")]
    State(#[from] StateError),
    /// The launch plan cannot be made.
    #[error("coaming: {0}")]
    Launch(#[from] LaunchError),
    /// The container's command cannot be executed.
    #[error("unable to start container process of {id}: {error}")]
    Program {
        /// The container.
        id: String,
        /// As runc and crun say it.
        error: LookupError,
    },
    /// An exec's flags do not make a process.
    #[error("coaming: {0}")]
    Process(#[from] ExecProcessError),
    /// The runtime or a file for it cannot be handed over.
    #[error("coaming: {0}")]
    Handoff(#[from] HandoffError),
    /// A checkpoint brings back filters, capabilities and mounts of its own, past every control.
    #[error(
        "coaming refused to restore container {0}: a restored process has the filters and \
         capabilities of its checkpoint, not of the floor; create the container again"
    )]
    Restore(String),
}

/// What the runtime is to be given.
#[derive(Debug)]
pub struct Handover {
    /// The canonical command line, without the program's name.
    pub arguments: Vec<OsString>,
    /// A document in memory that the command line names; open until execve.
    pub document: Option<ProcessFile>,
    /// State to clear away should the runtime not be reached.
    pub undo: Option<State>,
}

impl Handover {
    fn of(invocation: &Invocation) -> Self {
        Handover { arguments: invocation.to_argv(), document: None, undo: None }
    }
}

/// Everything that a decision needs besides the command line.
#[derive(Debug)]
pub struct Gate {
    node: Node,
    runtime: PathBuf,
    family: Family,
    state: PathBuf,
}

impl Gate {
    /// The gate before the given runtime.
    pub fn new(node: Node, runtime: PathBuf) -> Gate {
        let family = Family::of(&runtime);
        Gate { node, runtime, family, state: PathBuf::from(config::STATE) }
    }

    /// Decides a command line.
    ///
    /// # Errors
    /// [`GateError`]: nothing is started.
    pub fn pass(&self, invocation: Invocation) -> Result<Handover, GateError> {
        let Invocation { global, command } = invocation;
        match command {
            Command::Create(create) => self.create(global, create, None),
            Command::Run(run) => self.create(global, run.create.clone(), Some(run)),
            Command::Exec(exec) => self.exec(global, exec),
            Command::Update(update) => self.update(global, update),
            Command::Restore(plain) => Err(GateError::Restore(
                plain.id.map_or_else(String::new, |id| id.as_str().to_owned()),
            )),
            Command::Pass(plain) => {
                self.forget_gone(&plain);
                Ok(Handover::of(&Invocation { global, command: Command::Pass(plain) }))
            }
            command @ (Command::Version | Command::Help(_)) => {
                Ok(Handover::of(&Invocation { global, command }))
            }
        }
    }

    /// A container whose create failed never runs its poststop hook; its caller deletes it all the
    /// same (containerd's shim does), and that is when its record goes. Where the runtime was killed
    /// amidst its create, or is crun 1.28 after a hook that failed, it has the container until this
    /// very delete, which runs no hook either: the next delete of any container clears it away.
    fn forget_gone(&self, plain: &Plain) {
        if plain.verb == Verb::Delete {
            state::sweep(&self.state);
        }
    }

    fn state_of(&self, global: &Global, id: &str) -> State {
        State::of(&self.state, &self.runtime_root(global), id)
    }

    /// The runtime's state directory.
    fn runtime_root(&self, global: &Global) -> PathBuf {
        global.root.clone().unwrap_or_else(|| match self.family {
            Family::Runc => PathBuf::from(RUNC_ROOT),
            Family::Crun => PathBuf::from(CRUN_ROOT),
        })
    }

    fn filters(&self) -> PathBuf {
        self.state.join("filters")
    }
}

/// The runtime that a container was created with, for a verb that needs no decision. The runtime's
/// state directory is the one that the command line names, or either runtime's own.
pub fn recorded_runtime(invocation: &Invocation) -> Option<PathBuf> {
    let Command::Pass(Plain { id: Some(id), .. }) = &invocation.command else { return None };
    let roots = match &invocation.global.root {
        Some(root) => vec![root.clone()],
        None => vec![PathBuf::from(RUNC_ROOT), PathBuf::from(CRUN_ROOT)],
    };
    roots.iter().find_map(|root| {
        let state = State::of(Path::new(config::STATE), root, id.as_str());
        Some(crate::record::Record::read(&state).ok()?.runtime.into())
    })
}

fn refused(operation: &'static str, id: &str, reasons: Vec<Reason>) -> GateError {
    GateError::Refused { operation, id: id.to_owned(), refusal: Refusal { reasons } }
}

/// Reads a regular file that the caller named, bounded, without following a link at it.
fn read_named(path: &Path) -> Result<Vec<u8>, GateError> {
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |error| GateError::Read { path: path.to_owned(), error };
    let limit = coaming_policy::json::MAX_BYTES as u64;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    let mut bytes = Vec::new();
    // One byte more than the limit, so that the parser sees that it is too large.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
