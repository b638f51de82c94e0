//! The kernel's own view of a container's first process, held against its floor: now, and as it was
//! proved when it was created and started.

use std::path::Path;

use coaming_policy::controls::Node;
use coaming_shim::host;
use coaming_shim::journal::event::Proof as Proved;
use coaming_shim::proof::hold::{Against, Held, Outcome};
use coaming_shim::proof::{Look, Moment, Proofs, judge};
use coaming_shim::record::Record;
use coaming_shim::state::State;
use serde::Serialize;
use serde_json::Value;

/// What the kernel says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub(crate) enum KernelView {
    /// The process runs.
    Running { pid: u32, controls: Vec<Held> },
    /// The process is the runtime's own still, and not yet confined.
    Created { pid: u32 },
    /// No process runs, or none that can be looked at.
    Unknown { why: String },
}

/// What was proved of the process, and whether it still is so.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Standing {
    /// Whether the last look that was due found the floor kept.
    pub(crate) proven: bool,
    /// Why it is not proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// Whether the process is wider than its floor now.
    pub(crate) drift: bool,
    /// What was looked at, and when.
    #[serde(flatten)]
    pub(crate) proofs: Proofs,
}

impl KernelView {
    pub(crate) fn of(record: &Record) -> KernelView {
        let Some(init) = record.init() else {
            let folder = record.runtime_folder();
            return KernelView::Unknown {
                why: format!("the runtime has no state of it in {}", folder.display()),
            };
        };
        let ended =
            || KernelView::Unknown { why: format!("its first process, {}, has ended", init.pid) };
        if !init.runs() {
            return ended();
        }
        if record.waits(&init) {
            return KernelView::Created { pid: init.pid };
        }
        let look = Look::at(&init, &record.floor);
        // Another process may have been given the pid while it was looked at.
        if !init.runs() {
            return ended();
        }
        let look = match look {
            Ok(look) => look,
            Err(error) => {
                let why = format!("/proc/{} cannot be read: {error}", init.pid);
                return KernelView::Unknown { why };
            }
        };
        let node: Node = host::examine(&Value::Null);
        let against = Against {
            floor: &record.floor,
            node: &node,
            process: &record.process,
            filters: record.filters,
            late_filter: false,
            preserved: record.preserved,
        };
        let controls = judge(&look, against, Moment::Now).controls;
        KernelView::Running { pid: init.pid, controls }
    }

    pub(crate) fn is_wider(&self) -> bool {
        match self {
            KernelView::Running { controls, .. } => {
                controls.iter().any(|control| control.outcome == Outcome::Mismatch)
            }
            KernelView::Created { .. } | KernelView::Unknown { .. } => false,
        }
    }
}

impl Standing {
    pub(crate) fn of(record: &Record, base: &Path, view: &KernelView) -> Standing {
        let state = State::of(base, Path::new(&record.runtime_root), &record.id);
        let (proofs, unread) = match Proofs::read(&state) {
            Ok(proofs) => (proofs, None),
            Err(error) => (Proofs::default(), Some(error.to_string())),
        };
        let last = match view {
            KernelView::Created { .. } => None,
            _ => proofs.started.as_ref().or(proofs.created.as_ref()),
        };
        let why = match (unread, last) {
            (Some(error), _) => Some(error),
            (None, None) => Some(match view {
                KernelView::Created { .. } => "it has not been started".to_owned(),
                _ => "nobody looked at it when it started".to_owned(),
            }),
            (None, Some(proof)) => match proof.outcome {
                Proved::Held if proofs.started.is_some() => None,
                Proved::Held => {
                    Some("it held before the start, and was not looked at since".to_owned())
                }
                Proved::Mismatch => Some(format!("it was wider: {}", proof.in_words())),
                Proved::Ended | Proved::Unproven => {
                    Some(proof.why.clone().unwrap_or_else(|| "it is not said why".to_owned()))
                }
            },
        };
        Standing { proven: why.is_none(), why, drift: view.is_wider(), proofs }
    }

    /// In a word or two, for people.
    pub(crate) fn in_words(&self) -> String {
        match &self.why {
            None => "proven".to_owned(),
            Some(why) => format!("unproven ({why})"),
        }
    }
}
