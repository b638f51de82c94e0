//! The proof as it is kept beside the record.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use coaming_policy::controls::Node;
use nix::sys::utsname::uname;
use serde::{Deserialize, Serialize};

use super::hold::{Held, Judged};
use super::look::Look;
use super::process::Process;
use crate::journal::event::{Container, Proof as Outcome, Proved, Stage, Wider, Word, short};
use crate::state::{State, StateError};

/// The proof's file in the container's private state.
pub const FILE: &str = "proof.json";
/// The most mismatches that a line of the journal keeps.
const MAX_MISMATCHES: usize = 24;

/// What was proved of a container's first process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Proofs {
    /// When it waited for `start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Proof>,
    /// When it had executed its workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Proof>,
}

/// One look, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// When: RFC 3339, UTC.
    pub at: String,
    /// At what stage.
    pub stage: Stage,
    /// The process; none where none was found.
    pub process: Option<Process>,
    /// What came of it.
    pub outcome: Outcome,
    /// Control by control; empty where it could not be looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<Held>,
    /// The label of a security module, as the kernel has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `Seccomp` and `Seccomp_filters`.
    pub seccomp: (u32, u32),
    /// The kernel's release.
    pub kernel: String,
    /// The security modules that are active.
    pub security_modules: Vec<String>,
    /// Why there is no proof, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether the process was killed for it.
    #[serde(default)]
    pub killed: bool,
}

impl Proof {
    /// Of a process that was looked at.
    pub fn of(stage: Stage, process: Process, look: &Look, judged: Judged, node: &Node) -> Proof {
        Proof {
            outcome: judged.outcome(),
            why: judged.unproven(),
            controls: judged.controls,
            process: Some(process),
            label: look
                .seen
                .label
                .as_deref()
                .map(|label| short(label.trim_end_matches(['\n', '\0']))),
            seccomp: (look.seen.seccomp_mode, look.seen.seccomp_filters),
            ..Proof::without(stage, None, Outcome::Held, String::new(), node)
        }
    }

    /// Of a process that was not.
    pub fn without(
        stage: Stage,
        process: Option<Process>,
        outcome: Outcome,
        why: String,
        node: &Node,
    ) -> Proof {
        let release = uname().ok().and_then(|name| name.release().to_str().map(str::to_owned));
        let now = SystemTime::now().max(UNIX_EPOCH);
        Proof {
            at: humantime::format_rfc3339_millis(now).to_string(),
            stage,
            process,
            outcome,
            controls: Vec::new(),
            label: None,
            seccomp: (0, 0),
            kernel: release.unwrap_or_default(),
            security_modules: node.lsms.clone(),
            why: Some(why),
            killed: false,
        }
    }

    /// Everything in which the process was wider, in words.
    pub fn in_words(&self) -> String {
        Judged { controls: self.controls.clone() }.in_words()
    }

    /// The same.
    pub fn mismatches(&self) -> Vec<Wider> {
        Judged { controls: self.controls.clone() }.mismatches()
    }

    /// The journal's line of it.
    pub fn event(&self, container: Container) -> Proved {
        let mut mismatches = self.mismatches();
        let cut = mismatches.len() > MAX_MISMATCHES;
        mismatches.truncate(MAX_MISMATCHES);
        for wider in &mut mismatches {
            wider.found = short(&wider.found);
            wider.allowed = short(&wider.allowed);
            wider.what = short(&wider.what);
        }
        let by: BTreeMap<String, Word> =
            self.controls.iter().map(|held| (held.control.clone(), held.by)).collect();
        Proved {
            container,
            stage: self.stage,
            outcome: self.outcome,
            pid: self.process.map_or(0, |process| process.pid),
            mismatches,
            by,
            why: self.why.as_deref().map(short),
            killed: self.killed,
            cut,
        }
    }
}

impl Proofs {
    /// Reads a container's proofs; without a file, none were made.
    ///
    /// # Errors
    /// A file that cannot be read or understood.
    pub fn read(state: &State) -> Result<Proofs, StateError> {
        match state.read_document(FILE) {
            Err(StateError::Unknown { .. }) => Ok(Proofs::default()),
            proofs => proofs,
        }
    }

    /// Writes them.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn write(&self, state: &State) -> Result<(), StateError> {
        state.write_document(FILE, self)
    }
}
