//! The proof of containers whose runtime no wrapper stands before: by a poststart hook, against what was decided
//! of them by [`crate::validation`].
//!
//! runc calls poststart hooks at the end of `create`, when the container's process waits, with its filter, for
//! `start`: it is looked at there and then, and once more by a process beside when its workload has been
//! executed. crun calls them at `start`, when the process is about to execute its workload, or has: it is waited
//! for. Either way what is wider is killed here, since crun before 1.28 takes no notice of a hook that fails.

use std::io::{Read, sink};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use coaming_hooks::state::{self, State as Told};
use coaming_policy::document::DocumentError;
use coaming_policy::json;
use nix::errno::Errno;
use nix::unistd::geteuid;
use serde_json::Value;

use crate::argv::Global;
use crate::bundle::Bundle;
use crate::config::Node;
use crate::journal::event::{Container, Proof as Outcome, Stage};
use crate::journal::{Event, JournalError};
use crate::proof::hold::Against;
use crate::proof::{Look, Moment, Process, Proof, Proofs, judge};
use crate::prover::{Prover, Subject};
use crate::record::Record;
use crate::state::{State, StateError};
use crate::unwrapped::{self, NAME};
use crate::{host, refusal_log};

/// How long the runtime waits for a workload that is being executed; then a process beside does.
const SOON: Duration = Duration::from_secs(2);

/// Why the container does not run on.
#[derive(Debug, thiserror::Error)]
pub enum ProvingError {
    /// What the runtime wrote to stdin is no state of a container.
    #[error(
        "coaming cannot prove a container: its state on stdin {0}; a runtime writes it, so run this as a hook"
    )]
    State(#[from] state::StateError),
    /// Policy cannot be read.
    #[error("coaming cannot prove container {id}, so it was killed: {error}")]
    Configuration {
        /// The container.
        id: String,
        /// What is wrong.
        error: DocumentError,
    },
    /// Nothing was decided of it.
    #[error(
        "coaming killed container {id}: nothing is recorded of it that it could be held against; beside `coaming-hook prove` \
         (poststart) there must be `coaming-hook validate` (createRuntime, or prestart)"
    )]
    Unjudged {
        /// The container.
        id: String,
    },
    /// The record cannot be read.
    #[error("coaming cannot prove container {id}, so it was killed: {error}")]
    Record {
        /// The container.
        id: String,
        /// What is wrong.
        error: StateError,
    },
    /// The runtime names another process than before.
    #[error(
        "coaming killed container {id}: its runtime names process {now} as its first, and named {before} when it was \
         judged"
    )]
    Another {
        /// The container.
        id: String,
        /// The process now.
        now: i32,
        /// The one that was judged.
        before: u32,
    },
    /// It is wider than it may be.
    #[error(
        "coaming killed container {id}: its process is wider than what it was created under ({wider}). Something \
         changed it after coaming decided. See `coaming journal --container {id}`, and create the container again"
    )]
    Wider {
        /// The container.
        id: String,
        /// In what, in words.
        wider: String,
    },
    /// It cannot be looked at.
    #[error(
        "coaming cannot prove container {id}, so it was killed: /proc/{pid} cannot be read: {error}"
    )]
    Look {
        /// The container.
        id: String,
        /// Its process.
        pid: u32,
        /// The system's answer.
        error: std::io::Error,
    },
    /// Nobody could look at the process later on.
    #[error(
        "coaming cannot start the process that proves container {id}, so it was killed: {error}"
    )]
    Prover {
        /// The container.
        id: String,
        /// The kernel's word.
        error: Errno,
    },
    /// The configuration wants everything to be written down.
    #[error(
        "coaming killed container {id}, since it cannot write down what it proved (journal.required in {file}): {error}",
        file = coaming_config::CONFIG_FILE
    )]
    Journal {
        /// The container.
        id: String,
        /// What is wrong with the journal.
        error: JournalError,
    },
}

/// Looks at the container whose state `input` has, and holds it against its record. What cannot be proved is
/// killed; a container that has ended, or that crossed the wrapper, is left to itself.
///
/// # Errors
/// [`ProvingError`]: it was killed.
pub fn prove(input: impl Read) -> Result<(), ProvingError> {
    let told = Told::read(input)?;
    let proved = held(&told);
    // What was wider is dead already; whatever else is wrong, nothing runs that nobody has looked at.
    if proved.is_err()
        && let Some(process) = unwrapped::process(&told)
    {
        let _ = process.hold().map(|handle| handle.kill());
    }
    proved
}

fn held(told: &Told) -> Result<(), ProvingError> {
    let id = || told.id.clone();
    let node = Node::load(NAME).map_err(|error| ProvingError::Configuration { id: id(), error })?;
    let state = unwrapped::state_of(&node, told);
    let record = match Record::read(&state) {
        Err(StateError::Unknown { .. }) if has_crossed(&node, told) => return Ok(()),
        Err(StateError::Unknown { .. }) => return Err(ProvingError::Unjudged { id: id() }),
        record => record.map_err(|error| ProvingError::Record { id: id(), error })?,
    };
    let Some(process) = record.first_process else {
        return Err(ProvingError::Unjudged { id: id() });
    };
    // 0 where it has ended (crun).
    if told.pid != 0 && u32::try_from(told.pid) != Ok(process.pid) {
        return Err(ProvingError::Another { id: id(), now: told.pid, before: process.pid });
    }
    let starts = told.status == "running";
    let first = match waiting(&record, process, starts) {
        Ok(first) => first,
        Err(error) => return Err(ProvingError::Look { id: id(), pid: process.pid, error }),
    };
    let mut before = None;
    if let Some((look, mut proof)) = first {
        let wider = proof.outcome == Outcome::Mismatch;
        if wider {
            proof.killed = process.hold().is_ok_and(|handle| handle.kill().is_ok());
        }
        let words = proof.in_words();
        tell(&node, &state, &record, proof)?;
        if wider {
            return Err(ProvingError::Wider { id: id(), wider: words });
        }
        before = Some(Box::new(look));
    }
    later(&node, state, record, process, before, starts)
}

/// What is seen of a process that has not executed its workload; nothing where it has.
fn waiting(
    record: &Record,
    process: Process,
    starts: bool,
) -> std::io::Result<Option<(Look, Proof)>> {
    if !record.waits(&process) {
        return Ok(None);
    }
    let look = Look::at(&process, &record.floor);
    // It may have gone on meanwhile: then it was half the one and half the other.
    if !record.waits(&process) {
        return Ok(None);
    }
    let look = look?;
    let node = host::examine(&Value::Null);
    let against = Against {
        floor: &record.floor,
        node: &node,
        process: &record.process,
        filters: record.filters,
        // crun's (src/libcrun/container.c, `container_init`), which alone calls at `start`.
        late_filter: starts && record.process.get("noNewPrivileges") == Some(&Value::Bool(true)),
        preserved: record.preserved,
    };
    let judged = judge(&look, against, Moment::Created);
    let proof = Proof::of(Stage::Created, process, &look, judged, &node);
    Ok(Some((look, proof)))
}

/// Looks once the workload has been executed: now where it is being started, and else beside.
fn later(
    node: &Node,
    state: State,
    record: Record,
    process: Process,
    before: Option<Box<Look>>,
    starts: bool,
) -> Result<(), ProvingError> {
    let id = record.id;
    let prover = Prover {
        stage: Stage::Started,
        subject: Subject::Known(process, before),
        container: Container::of(&record.facts),
        state,
        runtime_folder: PathBuf::new(),
        floor: record.floor,
        process: record.process,
        filters: record.filters,
        launchers: Vec::new(),
        preserved: record.preserved,
        journal: node.journal().0,
    };
    match starts.then(|| prover.look_within(SOON)).flatten() {
        Some(proof) if proof.outcome == Outcome::Mismatch => {
            Err(ProvingError::Wider { id, wider: proof.in_words() })
        }
        Some(_) => Ok(()),
        None => prover.launch_for_later().map_err(|error| ProvingError::Prover { id, error }),
    }
}

/// Writes down what was seen of the process that waits.
fn tell(node: &Node, state: &State, record: &Record, proof: Proof) -> Result<(), ProvingError> {
    let (journal, required) = node.journal();
    let now = SystemTime::now();
    let event = Event::Proved(proof.event(Container::of(&record.facts)));
    let kept = Proofs { created: Some(proof), started: None }.write(state);
    let written = journal.append(event, now);
    let warn = |error: &dyn std::fmt::Display| {
        let told = format!("coaming cannot write down what it proved: {error}");
        refusal_log::warn(&Global::default(), &told, now, &mut sink());
    };
    if let Err(error) = kept {
        warn(&error);
    }
    match written {
        Err(error) if required => Err(ProvingError::Journal { id: record.id.clone(), error }),
        Err(error) => {
            warn(&error);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Whether the wrapper has judged it, and proves it.
fn has_crossed(node: &Node, told: &Told) -> bool {
    let crossed = || {
        let bundle = Bundle::open(Some(&told.bundle), geteuid()).ok()?;
        let spec = json::parse_spec(&bundle.read_config().ok()?.bytes).ok()?;
        Some(unwrapped::has_crossed(&spec, &told.id, bundle.path(), &node.state()))
    };
    crossed() == Some(true)
}
