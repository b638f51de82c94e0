//! `coaming score`: how exposed a container is, as a number, with its reasons.

mod checks;
mod colour;
mod html;
#[cfg(test)]
mod laws;
mod measures;
mod number;
mod subject;
mod text;

use std::io::Write;
use std::path::Path;

use coaming_manifest::Role;
use coaming_shim::host;
use serde::Serialize;

use crate::demanded::Demanding;
use crate::error::CommandError;
use crate::explain::{bundle, container};
use crate::manifests::Chosen;
use crate::output::{self, Outcome};
use crate::source::Source;
use checks::Checked;
use number::Number;
use subject::{Kept, Subject};

/// Score how exposed containers are: 0.0 is confined, 10.0 is as good as no container.
///
/// What is scored is what a container would really have, under the policies in force; with --asked, what it
/// asks for. Each check says what it is about, what was found and which field of a policy closes it.
/// Exit codes: 0 all is scored, 1 a container is above --threshold, 2 there is nothing to score.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Score what is asked for, before policy.
    #[arg(long, conflicts_with = "container")]
    asked: bool,
    /// The highest number that is well, from 0.0 to 10.0: above it the exit code is 1.
    #[arg(long, value_name = "NUMBER")]
    threshold: Option<Number>,
    /// Show the checks that found nothing, too.
    #[arg(long)]
    all: bool,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum Format {
    /// Text for people; it may change.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// A page of its own, to be kept or sent on.
    Html,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// What was scored, as it was named.
    subject: String,
    /// Whether what is asked was scored, before policy.
    asked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<Number>,
    /// The highest number of any container that starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<Number>,
    containers: Vec<Scored>,
    /// Objects of a manifest that make no pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    passed_over: Vec<String>,
}

/// A container's score.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Scored {
    name: String,
    /// Nothing for a container that policy refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<Number>,
    /// What it would be without policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    number_asked: Option<Number>,
    /// Why it does not start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused: Vec<String>,
    /// What each check found, the heaviest first.
    checks: Vec<Checked>,
    /// In what a real node may make it otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    approximations: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let (subject, containers, passed_over) = gather(arguments)?;
    let number = containers.iter().filter_map(|scored| scored.number).max();
    let report = Report {
        subject,
        asked: arguments.asked,
        threshold: arguments.threshold,
        number,
        containers,
        passed_over,
    };
    match arguments.output {
        Format::Text => text::show(&report, arguments.all, colour::Colour::of_stdout(), out)?,
        Format::Json => output::json(&report, out)?,
        Format::Html => html::write(&report, out)?,
    }
    let above = report.containers.iter().any(|scored| scored.is_above(report.threshold));
    Ok(if above { Outcome::Findings } else { Outcome::Fine })
}

type Gathered = (String, Vec<Scored>, Vec<String>);

fn gather(arguments: &Arguments) -> Result<Gathered, CommandError> {
    if let Some(id) = &arguments.source.container {
        let record = container::find(
            id,
            arguments.source.root.as_deref(),
            &arguments.source.state.join("containers"),
        )?;
        let name = format!("container {}", record.id);
        let kept = Kept::read(record)?;
        return Ok((name.clone(), vec![Scored::of(name, &kept.subject(), None)], Vec::new()));
    }
    let demanding = match arguments.asked {
        true => None,
        false => Some(arguments.source.choice.read().map_err(CommandError::Policy)?),
    };
    if let Some(path) = &arguments.source.manifest {
        return of_manifest(path, arguments, demanding.as_ref());
    }
    // The group is required.
    let path = arguments.source.bundle.as_deref().unwrap_or(Path::new("."));
    let (bundle, id, spec) = bundle::read(path)?;
    let node = host::examine(&spec);
    let scored = Scored::under(id, &spec, &node, &[], demanding.as_ref())?;
    Ok((format!("bundle {}", bundle.path().display()), vec![scored], Vec::new()))
}

fn of_manifest(
    path: &Path,
    arguments: &Arguments,
    demanding: Option<&Demanding>,
) -> Result<Gathered, CommandError> {
    let manifests = arguments.source.assumed.read(path)?;
    let mut containers = Vec::new();
    for Chosen { pod, planned, node } in arguments.source.assumed.choose(&manifests) {
        if planned.role == Role::Sandbox && !arguments.source.assumed.names_one() {
            continue;
        }
        let name = format!("{} {}: {}", pod.kind, pod.name, planned.name);
        // A pod's sysctls are set through its sandbox, for all its containers.
        let sandbox = pod.containers.iter().filter(|other| other.role == Role::Sandbox);
        let beside: Vec<&serde_json::Value> = sandbox.map(|sandbox| &sandbox.spec).collect();
        let mut scored = Scored::under(name, &planned.spec, &node, &beside, demanding)?;
        scored.approximations.clone_from(&planned.approximations);
        containers.push(scored);
    }
    Ok((path.display().to_string(), containers, manifests.passed_over))
}

impl Scored {
    /// The score of what starts.
    fn of(name: String, subject: &Subject, asked: Option<Number>) -> Scored {
        let mut checks = checks::examine(subject);
        let number = Number::of(&checks);
        checks.sort_by_key(|checked| std::cmp::Reverse(checked.share()));
        Scored {
            name,
            number: Some(number),
            number_asked: asked,
            refused: Vec::new(),
            checks,
            approximations: Vec::new(),
        }
    }

    /// The score of a request under policy; of the request itself where no policy is asked.
    fn under(
        name: String,
        spec: &serde_json::Value,
        node: &coaming_policy::controls::Node,
        beside: &[&serde_json::Value],
        demanding: Option<&Demanding>,
    ) -> Result<Scored, CommandError> {
        let asked = Subject::asked(spec, node, beside);
        let Some(demanding) = demanding else { return Ok(Scored::of(name, &asked, None)) };
        let number_asked = Some(Number::of(&checks::examine(&asked)));
        match Subject::enforced(&name, spec, node, beside, demanding)? {
            Ok(subject) => Ok(Scored::of(name, &subject, number_asked)),
            Err(refusal) => Ok(Scored {
                name,
                number: None,
                number_asked,
                refused: refusal.reasons.iter().map(ToString::to_string).collect(),
                checks: Vec::new(),
                approximations: Vec::new(),
            }),
        }
    }

    fn is_above(&self, threshold: Option<Number>) -> bool {
        matches!((self.number, threshold), (Some(number), Some(threshold)) if number > threshold)
    }
}
