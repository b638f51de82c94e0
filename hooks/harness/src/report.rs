//! What came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Phase;

/// All that was seen of a hook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The hook's file.
    pub program: Program,
    /// Each runtime with each phase.
    pub cases: Vec<Case>,
}

/// The hook's file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Program {
    /// Its path.
    pub path: String,
    /// Its owner.
    pub uid: u32,
    /// Its mode.
    pub mode: u32,
    /// Whether a dynamic loader, which obeys `LD_PRELOAD`, or an interpreter starts it.
    pub is_loaded: bool,
}

/// One runtime with one phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    /// The runtime.
    pub runtime: PathBuf,
    /// The first line of its `--version`.
    pub version: String,
    /// The phase.
    pub phase: Phase,
    /// What the hook was given; none where the runtime did not run it.
    pub seen: Option<Seen>,
    /// What the hook did; none where it did not end.
    pub did: Option<Did>,
    /// How often the runtime ran it.
    pub runs: usize,
    /// The runtime's verbs, in their order.
    pub calls: Vec<Call>,
    /// What the runtime does when a hook of this phase fails.
    pub on_failure: Option<OnFailure>,
    /// What the runtime does when a hook of this phase hangs.
    pub on_hang: Option<OnHang>,
    /// What was still there after the container was deleted, before it was cleared away.
    pub left: Vec<String>,
}

/// What a hook was given.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// The state on its standard input.
    pub state: StateSeen,
    /// Whose its namespaces are, by type: `runtime`, `container` or `other`.
    pub namespaces: BTreeMap<String, String>,
    /// Its working directory.
    pub cwd: String,
    /// Its root directory.
    pub root: String,
    /// Its environment.
    pub environment: Vec<String>,
    /// Its user ID, effective.
    pub uid: u32,
    /// Its group ID, effective.
    pub gid: u32,
    /// Its effective capabilities, as the kernel writes them.
    pub capabilities: String,
    /// Its open descriptors, and what each leads to.
    pub descriptors: BTreeMap<u32, String>,
}

/// A state as it came.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StateSeen {
    /// The container's id.
    pub id: Option<String>,
    /// The container's status.
    pub status: Option<String>,
    /// The container's process.
    pub pid: Option<i64>,
    /// The bundle.
    pub bundle: Option<String>,
    /// What besides the runtime-spec's fields is in it.
    pub more: BTreeSet<String>,
    /// In what it is not as the runtime-spec says.
    pub problems: Vec<String>,
}

/// What a hook did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Did {
    /// Its exit code.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why it could not be executed.
    pub not_executed: Option<String>,
    /// How long it took.
    pub milliseconds: u64,
    /// What it wrote to standard output, its beginning.
    pub stdout: String,
    /// What it wrote to standard error, its beginning.
    pub stderr: String,
    /// Whether it read all of its standard input.
    pub read_state: bool,
    /// The processes that it left running.
    pub left_behind: Vec<String>,
    /// Whether one of them kept its standard output or error open, so that a runtime that reads to their
    /// end waits for it.
    pub holds_output: bool,
    /// What was another way after it than before.
    pub changes: Changes,
}

/// What a hook changed, by kind: `mount`, `device`, `file`, `cgroup`, `interface`.
pub type Changes = BTreeMap<String, Vec<Changed>>;

/// Something that a hook changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// `added` or `removed`; what became something else is both.
    pub how: String,
    /// What.
    pub what: String,
}

/// A verb of a runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    /// The verb.
    pub verb: String,
    /// Its exit code; none where it was killed.
    pub code: Option<i32>,
    /// Whether it did not end in time, and was killed.
    pub hung: bool,
    /// How long it took.
    pub milliseconds: u64,
    /// What it wrote to standard error, its beginning.
    pub stderr: String,
}

/// What a runtime does when a hook exits with 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OnFailure {
    /// The verb that failed of it; none where all went on.
    pub failed: Option<String>,
    /// Whether what the hook wrote to standard error is in the runtime's.
    pub message_shown: bool,
    /// The container's status after that; none where the runtime has it no more.
    pub status: Option<String>,
}

/// What a runtime does when a hook does not end, and has a `timeout`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OnHang {
    /// The hook's `timeout`, in seconds.
    pub timeout_seconds: u32,
    /// Whether the runtime ended the hook at about that time.
    pub is_honoured: bool,
    /// The verb that failed of it; none where all went on.
    pub failed: Option<String>,
    /// How long the verb took.
    pub milliseconds: u64,
}
