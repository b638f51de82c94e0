//! What is decided about a request.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::floor::Source;
use crate::launch::Launch;

/// The verdict.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The container (or process) starts, as enforced.
    Admit(Box<Admission>),
    /// It does not start.
    Refuse(Refusal),
}

/// What starts, and what became of what was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Admission {
    /// The request within the floor.
    pub spec: Value,
    /// The seccomp section as enforced, whether the runtime or the launcher loads it.
    pub seccomp: Option<Value>,
    /// What the launcher does inside the container.
    pub launch: Launch,
    /// What was asked and not given.
    pub changes: Vec<Change>,
    /// What was demanded and cannot be enforced here, by leave of a `bestEffort`.
    pub degraded: Vec<Degraded>,
    /// What an operator should know besides.
    pub notes: Vec<String>,
}

/// A field that was brought down to the floor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The control that changed it.
    pub control: String,
    /// The field, as a place in the OCI spec.
    pub field: String,
    /// What was asked; null for an absent field.
    pub asked: Value,
    /// What is enforced; null for a removed field.
    pub enforced: Value,
    /// What the floor allows there, in words.
    pub allowed: String,
    /// The policies that demanded it.
    pub policies: Vec<Source>,
}

/// A control that this node cannot give in full, where the policy allows that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Degraded {
    /// The control.
    pub control: String,
    /// What is not enforced, and why.
    pub lost: String,
    /// The policy that demanded it.
    pub policy: Source,
}

/// What policies that are audited would have done, had they been enforced.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// What they would have brought down, beyond what is enforced.
    pub changes: Vec<Change>,
    /// Why they would have refused.
    pub refusals: Vec<Reason>,
    /// What cannot be known before they are enforced.
    pub notes: Vec<String>,
    /// What the kernel logs of it while the container runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_log: Option<KernelLog>,
}

/// System calls that the container may make, that an audited policy would deny, and that the kernel
/// therefore logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KernelLog {
    /// Their names; each is logged for all arguments or for some.
    pub syscalls: BTreeSet<String>,
    /// Those of them that are logged for arguments too for which the policy would allow them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub beyond: BTreeSet<String>,
    /// The policies that asked for it.
    pub policies: Vec<Source>,
}

impl Audit {
    /// Whether nothing would have been otherwise.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.refusals.is_empty()
            && self.notes.is_empty()
            && self.kernel_log.is_none()
    }
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Every reason, so that they can be mended together.
    pub reasons: Vec<Reason>,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// The control that refuses.
    pub control: String,
    /// The field, as a place in the OCI spec.
    pub field: String,
    /// What was asked; null for an absent field.
    pub asked: Value,
    /// What is allowed, in words.
    pub allowed: String,
    /// The policy that refuses; `None` for what coaming itself cannot do.
    pub policy: Option<Source>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, reason) in self.reasons.iter().enumerate() {
            if index > 0 {
                formatter.write_str("; ")?;
            }
            write!(formatter, "{reason}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.policy {
            Some(policy) => write!(formatter, "{policy} refuses ")?,
            None => formatter.write_str("refused: ")?,
        }
        let asked = brief(&self.asked);
        write!(formatter, "{}: asked {asked}, allowed is {}", self.field, self.allowed)
    }
}

/// A value in a message: absent fields in words, long values cut, so that the end of a line which
/// `kubectl describe pod` shows is still the reason.
pub fn brief(value: &Value) -> String {
    const LONGEST: usize = 160;
    let text = match value {
        Value::Null => return "nothing (the field is absent)".to_owned(),
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
