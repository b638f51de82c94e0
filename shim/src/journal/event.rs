//! What a line of the journal says.

use std::collections::BTreeMap;

use coaming_policy::document::Waived;
use coaming_policy::facts::{ContainerType, Facts};
use coaming_policy::verdict::{Change, Degraded, Reason};
use serde::{Deserialize, Serialize};

use super::totals::Totals;

/// The most entries of a list that a line keeps.
const MAX_ITEMS: usize = 24;
/// The most characters of a text that a line keeps.
const MAX_TEXT: usize = 256;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When it was written: RFC 3339, UTC.
    pub at: String,
    /// SHA-256, in lower-case hex, of the line before as it was written, without its line break;
    /// 64 zeros for the first.
    pub previous: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened. In JSON, `event` names the kind and the other keys stand beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "event")]
pub enum Event {
    /// A container was admitted, and its runtime called.
    Created(Decision),
    /// A request was refused, or could not be decided or carried out; nothing started.
    Refused(Refused),
    /// A process was admitted into a container that runs, and its runtime called.
    Executed(Decision),
    /// A process was held against its floor.
    Proved(Proved),
    /// The first line of each file.
    Checkpoint(Checkpoint),
    /// The line that stood last was not whole, as after a power cut, and was taken off.
    Repaired(Repaired),
    /// An event of a later version.
    #[serde(other)]
    Unknown,
}

/// The container, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Its id, as the runtime was told.
    pub id: String,
    /// Kubernetes namespace of its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of its pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Its name in the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The image, as requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Sandbox or workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_type: Option<ContainerType>,
}

/// A decision to admit, and what it rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Decision {
    /// The container.
    pub container: Container,
    /// The name that the wrapper was called by.
    pub wrapper: String,
    /// Path of the runtime behind it.
    pub runtime: String,
    /// The verb: `create`, `run`, `exec`, `update`, `start`, `restore`.
    pub door: String,
    /// SHA-256, in lower-case hex, of the set of policies in force: of its files' names and contents.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_set: Option<String>,
    /// The policies that changed or refused something.
    pub policies: Vec<String>,
    /// What was asked and not given.
    pub changes: Vec<Changed>,
    /// The controls that the node could not give in full.
    pub degraded: Vec<String>,
    /// The waivers that held.
    pub waived: Vec<String>,
    /// How much audited policies would have changed or refused.
    pub audited: u64,
    /// How long the decision took, from the wrapper's start, in microseconds.
    pub decision_micros: u64,
    /// Whether something was left out for its length.
    #[serde(skip_serializing_if = "is_false")]
    pub cut: bool,
}

/// A field that was brought down to the floor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Changed {
    /// The control.
    pub control: String,
    /// The field, as a place in the OCI spec.
    pub field: String,
    /// The first of the policies that demanded it.
    pub policy: String,
}

/// A refusal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Refused {
    /// What is known besides; nothing was changed.
    #[serde(flatten)]
    pub decision: Decision,
    /// `create`, `exec`, `update`, `restore` or `start`. A start is refused where the process is wider than
    /// its floor.
    pub operation: String,
    /// Why policy refuses. Empty where it was not policy that did.
    pub reasons: Vec<Because>,
    /// The whole message, where there are no reasons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A reason of a refusal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Because {
    /// The control that refuses.
    pub control: String,
    /// The field, as a place in the OCI spec; for a start, what was looked at.
    pub field: String,
    /// The policy; none where it is coaming itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What is allowed, in words.
    pub allowed: String,
}

/// A process that was held against its floor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proved {
    /// The container.
    pub container: Container,
    /// When.
    pub stage: Stage,
    /// With what result.
    pub outcome: Proof,
    /// The process, as the host numbers it; 0 where it was not found.
    pub pid: u32,
    /// In what it is wider.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mismatches: Vec<Wider>,
    /// Whose word it is, by control: `kernel`, `launcher`, or `none` where nobody tells.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by: BTreeMap<String, Word>,
    /// Why there is no proof, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether the process was killed for it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub killed: bool,
    /// Whether something was left out for its length.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cut: bool,
}

/// At which moment a process was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Stage {
    /// Before the runtime's `start`: the workload has run no instruction.
    Created,
    /// When the workload had been executed.
    Started,
    /// When the process of an exec had been executed.
    Executed,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Proof {
    /// Nothing that is told of the process is wider than its floor.
    Held,
    /// Something is.
    Mismatch,
    /// The process was gone before it could be looked at.
    Ended,
    /// It could not be looked at, or not in time.
    Unproven,
}

/// By whose word something holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Word {
    /// The kernel's, of the process itself.
    Kernel,
    /// The launcher's: it would not have executed the workload without.
    Launcher,
    /// Nobody's: no file of the kernel tells of it.
    None,
}

/// One thing in which a process is wider than it may be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wider {
    /// The control.
    pub control: String,
    /// What was looked at (`CapBnd`).
    pub what: String,
    /// What the kernel reports.
    pub found: String,
    /// What is allowed.
    pub allowed: String,
}

/// The first line of each file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Checkpoint {
    /// The number of the first line of the oldest file that was kept when this one was begun.
    pub oldest: u64,
    /// What was counted since the journal began.
    pub totals: Totals,
}

/// A line that was not whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Repaired {
    /// How many bytes were taken off.
    pub torn_bytes: u64,
    /// Their SHA-256, in lower-case hex.
    pub torn_sha256: String,
}

impl Container {
    /// What is known of a container.
    pub fn of(facts: &Facts) -> Container {
        let value =
            |fact: Option<&coaming_policy::facts::Fact>| fact.map(|fact| short(&fact.value));
        Container {
            id: short(&facts.id),
            namespace: value(facts.namespace.as_ref()),
            pod: value(facts.pod.as_ref()),
            container: value(facts.container.as_ref()),
            image: value(facts.image.as_ref()),
            container_type: Some(facts.container_type),
        }
    }

    /// A container of which only the id is known.
    pub fn named(id: &str) -> Container {
        Container { id: short(id), ..Container::default() }
    }
}

impl Decision {
    /// Notes what was changed, and by whom.
    pub fn changed(&mut self, changes: &[Change]) {
        for change in changes {
            let mut names = change.policies.iter().map(|source| short(&source.policy));
            let policy = names.next().unwrap_or_default();
            self.name(std::iter::once(policy.clone()).chain(names));
            self.keep(changes.len());
            if self.changes.len() < MAX_ITEMS {
                let (control, field) = (short(&change.control), short(&change.field));
                self.changes.push(Changed { control, field, policy });
            }
        }
    }

    /// Notes what the node could not give.
    pub fn degraded(&mut self, degraded: &[Degraded]) {
        self.keep(degraded.len());
        let controls = degraded.iter().map(|degraded| short(&degraded.control));
        self.degraded = distinct(controls);
    }

    /// Notes which waivers held.
    pub fn waived(&mut self, waived: &[Waived]) {
        self.keep(waived.len());
        self.waived = distinct(waived.iter().map(|waived| short(&waived.waiver)));
    }

    fn keep(&mut self, count: usize) {
        self.cut |= count > MAX_ITEMS;
    }

    fn name(&mut self, policies: impl Iterator<Item = String>) {
        for policy in policies.filter(|policy| !policy.is_empty()) {
            if self.policies.contains(&policy) {
                continue;
            }
            if self.policies.len() >= MAX_ITEMS {
                self.cut = true;
                return;
            }
            self.policies.push(policy);
        }
    }
}

impl Refused {
    /// Notes the reasons.
    pub fn because(&mut self, reasons: &[Reason]) {
        self.decision.keep(reasons.len());
        let policy = |reason: &Reason| reason.policy.as_ref().map(|source| short(&source.policy));
        self.decision.name(reasons.iter().filter_map(policy));
        self.reasons = reasons
            .iter()
            .take(MAX_ITEMS)
            .map(|reason| Because {
                control: short(&reason.control),
                field: short(&reason.field),
                policy: policy(reason),
                allowed: short(&reason.allowed),
            })
            .collect();
    }
}

impl Refused {
    /// Notes in what a process was wider.
    pub fn wider(&mut self, mismatches: &[Wider]) {
        self.decision.keep(mismatches.len());
        self.reasons = mismatches
            .iter()
            .take(MAX_ITEMS)
            .map(|wider| Because {
                control: short(&wider.control),
                field: short(&wider.what),
                policy: None,
                allowed: short(&wider.allowed),
            })
            .collect();
    }
}

impl Event {
    /// The same without its lists, for a line that is too long with them.
    pub(super) fn without_lists(self) -> Event {
        let bare = |decision: Decision| Decision {
            policies: Vec::new(),
            changes: Vec::new(),
            degraded: Vec::new(),
            waived: Vec::new(),
            cut: true,
            ..decision
        };
        match self {
            Event::Created(decision) => Event::Created(bare(decision)),
            Event::Executed(decision) => Event::Executed(bare(decision)),
            Event::Refused(refused) => Event::Refused(Refused {
                decision: bare(refused.decision),
                reasons: Vec::new(),
                ..refused
            }),
            Event::Proved(proved) => Event::Proved(Proved {
                mismatches: Vec::new(),
                by: BTreeMap::new(),
                cut: true,
                ..proved
            }),
            other => other,
        }
    }
}

/// A text as a line keeps it.
pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn distinct(names: impl Iterator<Item = String>) -> Vec<String> {
    let names: std::collections::BTreeSet<String> = names.take(MAX_ITEMS).collect();
    names.into_iter().collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !flag
}
