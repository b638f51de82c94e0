//! What coaming would do with the containers of a manifest.

use std::fmt;
use std::io::Write;
use std::path::Path;

use coaming_manifest::{Manifests, Role};
use serde::Serialize;

use super::{Arguments, Decision, Report, bundle, table};
use crate::error::CommandError;
use crate::manifests::Chosen;
use crate::output::{self, Format, Outcome, count, printable};

/// Where a container stands in a manifest.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InManifest {
    kind: String,
    name: String,
    container: String,
    role: &'static str,
    /// In what a real node may make it otherwise.
    pub(super) approximations: Vec<String>,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    manifest: String,
    containers: Vec<Report>,
    /// Objects of the manifest that make no pods.
    passed_over: Vec<String>,
}

pub(super) fn run(
    path: &Path,
    arguments: &Arguments,
    out: &mut dyn Write,
) -> Result<Outcome, CommandError> {
    let manifests = arguments.source.assumed.read(path)?;
    let demanding = arguments.source.choice.read().map_err(CommandError::Policy)?;
    let mut containers = Vec::new();
    for chosen in arguments.source.assumed.choose(&manifests) {
        let Chosen { planned, node, .. } = &chosen;
        let mut report = bundle::judge(&planned.name, &planned.spec, node, &demanding)?;
        report.manifest = Some(InManifest::of(&chosen));
        containers.push(report);
    }
    let refused = containers.iter().filter(|report| report.verdict == Decision::Refused).count();
    let Manifests { passed_over, .. } = manifests;
    let answer = Answer { manifest: path.display().to_string(), containers, passed_over };
    match arguments.output {
        Format::Text => show(&answer, refused, out)?,
        Format::Json => output::json(&answer, out)?,
    }
    Ok(if refused == 0 { Outcome::Fine } else { Outcome::Findings })
}

fn show(answer: &Answer, refused: usize, out: &mut dyn Write) -> Result<(), CommandError> {
    for report in &answer.containers {
        table::show(report, out)?;
        writeln!(out)?;
    }
    for line in &answer.passed_over {
        writeln!(out, "Passed over: {}", printable(line))?;
    }
    let of = count(answer.containers.len(), "container", "containers");
    writeln!(out, "{}: {of}, {refused} refused", answer.manifest)?;
    Ok(())
}

impl InManifest {
    fn of(chosen: &Chosen<'_>) -> InManifest {
        InManifest {
            kind: chosen.pod.kind.clone(),
            name: chosen.pod.name.clone(),
            container: chosen.planned.name.clone(),
            role: chosen.planned.role.name(),
            approximations: chosen.planned.approximations.clone(),
        }
    }
}

impl fmt::Display for InManifest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InManifest { kind, name, container, role, .. } = self;
        if *role == Role::Sandbox.name() {
            return write!(formatter, "{kind} {name}: the pod's sandbox");
        }
        write!(formatter, "{kind} {name}: {role} container {container}")
    }
}
