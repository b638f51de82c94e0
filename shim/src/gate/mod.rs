//! The gate: what a caller asks becomes what the runtime is given, or nothing.
//!
//! Every door ends here. What comes back is a canonical command line; the caller becomes the runtime
//! with it (execve), so that pid files, sockets, signals and exit codes are the runtime's own.

mod account;
mod create;
mod exec;
mod program;
mod start;
mod update;

pub(crate) use account::{admitted, under};
pub(crate) use create::remove_own_hooks;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use coaming_hooks::lookup::LookupError;
use coaming_policy::demands::Demands;
use coaming_policy::document::DocumentError;
use coaming_policy::facts::Facts;
use coaming_policy::floor::Floor;
use coaming_policy::json::JsonError;
use coaming_policy::spec::view;
use coaming_policy::verdict::{Reason, Refusal};
use serde_json::Value;

use crate::apparmor::{AppArmorError, Profiles};
use crate::argv::{Command, Global, Invocation, Plain, Verb};
use crate::bundle::BundleError;
use crate::config::Node;
use crate::exec_process::ExecProcessError;
use crate::family::Family;
use crate::handoff::{HandoffError, ProcessFile};
use crate::in_force::{Access, InForce};
use crate::journal::event::{Decision, Wider};
use crate::journal::{Journal, JournalError};
use crate::launch::LaunchError;
use crate::memory::Remembered;
use crate::prover::Prover;
use crate::runtime_probe::VulnerableError;
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
    /// The runtime has known ways out, and such are refused here.
    #[error("coaming refused to create the container: {0}")]
    Vulnerable(#[from] VulnerableError),
    /// The kernel would not confine by the profile that was decided.
    #[error("coaming starts nothing in container {id}: {error}")]
    AppArmor {
        /// The container.
        id: String,
        /// Why.
        error: AppArmorError,
    },
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
    /// A container that waited for its start is wider than what it was created under.
    #[error(
        "coaming refused to start container {id}: its process is wider than what it was created under \
         ({wider}). Something changed it after coaming decided; it was killed before its workload ran. \
         See `coaming journal --container {id}`, and create the container again"
    )]
    Wider {
        /// The container.
        id: String,
        /// In what, in words.
        wider: String,
        /// The same.
        mismatches: Vec<Wider>,
    },
    /// Nobody could look at the process later on.
    #[error("coaming cannot start the process that proves container {id}: {error}")]
    Prover {
        /// The container.
        id: String,
        /// The kernel's word.
        error: nix::errno::Errno,
    },
    /// The configuration wants everything to be written down.
    #[error(
        "coaming starts nothing that it cannot write down (journal.required in {file}): {error}",
        file = coaming_config::CONFIG_FILE
    )]
    Journal {
        /// What is wrong with the journal.
        error: JournalError,
    },
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
    /// Who looks at the process that the runtime starts.
    prover: Option<Box<Prover>>,
}

impl Handover {
    fn of(invocation: &Invocation) -> Self {
        Handover { arguments: invocation.to_argv(), document: None, undo: None, prover: None }
    }

    /// Sets to work who looks at the process that the runtime starts, for whoever becomes the runtime
    /// now.
    ///
    /// # Errors
    /// [`GateError::Prover`]: then nothing may be started.
    pub fn prove(&mut self) -> Result<(), GateError> {
        let Some(prover) = self.prover.take() else { return Ok(()) };
        let id = prover.container.id.clone();
        prover.launch().map_err(|error| GateError::Prover { id, error })
    }
}

/// Everything that a decision needs besides the command line.
#[derive(Debug)]
pub struct Gate {
    node: Node,
    runtime: PathBuf,
    family: Family,
    state: PathBuf,
    journal: Journal,
    /// Whether nothing starts that cannot be written down.
    journal_required: bool,
    begun: Instant,
}

impl Gate {
    /// The gate before the given runtime.
    pub fn new(node: Node, runtime: PathBuf) -> Gate {
        let family = Family::of(&runtime);
        let (journal, journal_required) = node.journal();
        let begun = Instant::now();
        let state = node.state();
        Gate { node, runtime, family, state, journal, journal_required, begun }
    }

    /// The same, with decisions timed from earlier on.
    pub fn since(self, begun: Instant) -> Gate {
        Gate { begun, ..self }
    }

    /// Decides a command line.
    ///
    /// # Errors
    /// [`GateError`]: nothing is started.
    pub fn pass(&self, invocation: Invocation) -> Result<Handover, GateError> {
        let Some(mut decision) = self.begin(&invocation.command) else {
            return self.decide(invocation, &mut Decision::default());
        };
        let global = invocation.global.clone();
        let decided = self.decide(invocation, &mut decision);
        self.account(&global, decision, decided)
    }

    /// Decides, and notes for the journal upon what.
    fn decide(
        &self,
        invocation: Invocation,
        decision: &mut Decision,
    ) -> Result<Handover, GateError> {
        let Invocation { global, command } = invocation;
        let global = self.rooted(global);
        match command {
            Command::Create(create) => self.create(global, create, None, decision),
            Command::Run(run) => self.create(global, run.create.clone(), Some(run), decision),
            Command::Exec(exec) => self.exec(global, exec, decision),
            Command::Update(update) => self.update(global, update, decision),
            Command::Restore(plain) => Err(GateError::Restore(
                plain.id.map_or_else(String::new, |id| id.as_str().to_owned()),
            )),
            Command::Pass(plain) if plain.verb == Verb::Start => {
                self.start(global, plain, decision)
            }
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
        global.root.clone().unwrap_or_else(|| default_root(&self.node, self.family))
    }

    /// Where none is named, crun, and runc for an ordinary user, would take it from `XDG_RUNTIME_DIR` (crun
    /// `status.c`, `get_run_directory`; runc `main.go`). That is no word of the caller's command line, and the next
    /// command may lack it: the runtime is told what the record says.
    fn rooted(&self, global: Global) -> Global {
        if matches!(self.family, Family::Runc) && self.node.user().is_none() {
            return global;
        }
        Global { root: Some(self.runtime_root(&global)), ..global }
    }

    /// Today's demands upon a container, with the set whose demands they are. The labels of its pod come to the facts,
    /// where they are needed.
    fn demanding(
        &self,
        global: &Global,
        facts: &mut Facts,
    ) -> Result<(InForce, Demands), DocumentError> {
        self.node.demanding(facts, Access::Keep, Some(&self.runtime_root(global)))
    }

    /// What was worked out at earlier starts.
    fn memory(&self) -> Remembered {
        Remembered::in_folder(&self.filters())
    }

    /// Has the profiles of a process's label in the kernel, as they are to be. Gives what an operator should be
    /// told.
    fn confine(
        &self,
        id: &str,
        spec: &Value,
        floor: &Floor,
        node: &coaming_policy::controls::Node,
    ) -> Result<Vec<String>, GateError> {
        let label = view::text(spec, "process.apparmorProfile").unwrap_or_default();
        // Where no policy demands one, a profile is between the container and the runtime. An ordinary user can neither
        // load nor look; the proof does, as far as he may.
        let asked = !floor.app_armor.is_empty();
        if !asked || node.rootless || !node.lsms.iter().any(|module| module == "apparmor") {
            return Ok(Vec::new());
        }
        Profiles::of_node(self.node.configuration().app_armor_parser())
            .ready(label, &floor.app_armor.met())
            .map_err(|error| GateError::AppArmor { id: id.to_owned(), error })
    }

    fn filters(&self) -> PathBuf {
        self.state.join("filters")
    }
}

/// The runtime that a container was created with, for a verb that needs no decision. The runtime's
/// state directory is the one that the command line names, or either runtime's own.
pub fn recorded_runtime(invocation: &Invocation) -> Option<PathBuf> {
    let Command::Pass(Plain { id: Some(id), .. }) = &invocation.command else { return None };
    let node = Node::default_for("");
    let roots = match &invocation.global.root {
        Some(root) => vec![root.clone()],
        None => [Family::Runc, Family::Crun].map(|family| default_root(&node, family)).into(),
    };
    roots.iter().find_map(|root| {
        let state = State::of(&node.state(), root, id.as_str());
        Some(crate::record::Record::read(&state).ok()?.runtime.into())
    })
}

fn default_root(node: &Node, family: Family) -> PathBuf {
    let (own, name) = match family {
        Family::Runc => (RUNC_ROOT, "runc"),
        Family::Crun => (CRUN_ROOT, "crun"),
    };
    node.user().map_or_else(|| own.into(), |user| user.runtime_directory().join(name))
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
