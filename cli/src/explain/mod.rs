//! `coaming explain`: what was asked, what is enforced, and which policy says so.

pub(crate) mod bundle;
pub(crate) mod container;
mod in_force;
mod manifest;
mod table;

use std::io::Write;

use coaming_policy::document::Waived;
use coaming_policy::facts::{Facts, Told};
use coaming_policy::floor::Floor;
use coaming_policy::verdict::{Audit, Change, Degraded, Reason};
use coaming_shim::exec_log::Executed;
use serde::Serialize;
use serde_json::Value;

use crate::error::CommandError;
use crate::explain::in_force::Policy;
use crate::explain::manifest::InManifest;
use crate::kernel::KernelView;
use crate::output::{self, Format, Outcome};
use crate::source::Source;

/// Explain what coaming does with a bundle or a manifest, or did with a container: asked, enforced, and by which policy.
///
/// Nothing is changed. Exit codes: 0 it starts as shown, 1 it is refused, or its process is wider than
/// its floor, 2 there is nothing to explain.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The container's id; for a bundle, the name of its folder.
    id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    bundle: String,
    /// Where it stands in a manifest.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    manifest: Option<InManifest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    facts: Facts,
    /// The facts one by one, each with who asserts it.
    told: Vec<Told>,
    verdict: Decision,
    reasons: Vec<Reason>,
    changes: Vec<Change>,
    degraded: Vec<Degraded>,
    waived: Vec<Waived>,
    audit: Audit,
    notes: Vec<String>,
    /// Whether the launcher stands before the workload, for Landlock and seccomp.
    launcher: bool,
    /// The digest of what the launcher does, as the record has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
    /// The spec as the runtime gets it, but for the launcher and coaming's own hooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    enforced: Option<Value>,
    policies: Vec<Policy>,
    floor: Floor,
    /// The execs that were kept, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    execs: Vec<Executed>,
    /// What the kernel says of the container's first process.
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel: Option<KernelView>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Decision {
    Admitted,
    Refused,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    if let Some(path) = &arguments.source.manifest {
        return manifest::run(path, arguments, out);
    }
    let report = match (&arguments.source.bundle, &arguments.source.container) {
        (Some(path), _) => bundle::explain(path, arguments)?,
        (None, Some(id)) => {
            container::explain(id, arguments.source.root.as_deref(), &arguments.source.state)?
        }
        // The group is required.
        (None, None) => return Ok(Outcome::Findings),
    };
    match arguments.output {
        Format::Text => table::show(&report, out)?,
        Format::Json => output::json(&report, out)?,
    }
    let wider = report.kernel.as_ref().is_some_and(KernelView::is_wider);
    Ok(match report.verdict {
        Decision::Admitted if !wider => Outcome::Fine,
        _ => Outcome::Findings,
    })
}
