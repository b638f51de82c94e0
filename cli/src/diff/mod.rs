//! `coaming diff`: what a new set of policies tightens and loosens, and for whom.

mod containers;
mod show;

use std::io::Write;
use std::path::{Path, PathBuf};

use coaming_policy::compare::{Difference, compare};
use coaming_policy::document::{BuiltIn, Directory, read_directory};
use coaming_shim::config::Node;
use serde::Serialize;

use crate::demanded::FloorName;
use crate::error::CommandError;
use crate::output::{self, Format, Outcome};
use containers::Judged;

/// Compare two sets of policies: what the new one tightens, what it loosens, and for which containers.
///
/// Where nothing is said to loosen, the new set demands of every container at least what the old one does,
/// at every moment. What cannot be told counts as looser.
/// Exit codes: 0 equal or only tighter, 1 something is looser, 2 a set cannot be read.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The old and the new set, each a file or a directory; with --node the new one alone.
    #[arg(required = true, num_args = 1..=2, value_names = ["OLD", "NEW"])]
    sets: Vec<PathBuf>,
    /// Take the node's policies in force for the old set.
    #[arg(long)]
    node: bool,
    /// Decide of these containers under both sets too: bundles (folders of a config.json) and Kubernetes
    /// manifests.
    #[arg(long, value_name = "PATH", num_args = 1..)]
    containers: Vec<PathBuf>,
    /// The built-in floor beneath both sets, for --containers.
    #[arg(long, value_enum, default_value_t)]
    floor: FloorName,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    old: String,
    new: String,
    /// Whether anything is looser, or may be.
    loosens: bool,
    differences: Vec<Difference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Judged>,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let (old, new) = match (arguments.sets.as_slice(), arguments.node) {
        ([old, new], false) => (old.clone(), new),
        ([new], true) => {
            let node = Node::load("coaming-runc").map_err(CommandError::Policy)?;
            (node.policy_directory().to_owned(), new)
        }
        ([_], false) => {
            let wanted = "name the old set and the new one, or --node and the new one";
            return Err(CommandError::Usage(wanted.to_owned()));
        }
        _ => {
            let wanted = "--node takes the place of the old set; name the new one alone";
            return Err(CommandError::Usage(wanted.to_owned()));
        }
    };
    let before = read(&old, arguments.node)?;
    let after = read(new, false)?;
    let comparison = compare(&before, &after);
    let floor = BuiltIn::from(arguments.floor);
    let report = Report {
        old: old.display().to_string(),
        new: new.display().to_string(),
        loosens: comparison.looser().next().is_some(),
        differences: comparison.differences().to_vec(),
        containers: containers::judge(&arguments.containers, [&before, &after], floor)?,
    };
    match arguments.output {
        Format::Text => show::show(&report, out)?,
        Format::Json => output::json(&report, out)?,
    }
    Ok(if report.loosens { Outcome::Findings } else { Outcome::Fine })
}

/// A set. A directory that is not there holds no policies on a node; here it is a slip of the pen.
fn read(path: &Path, of_node: bool) -> Result<Directory, CommandError> {
    let wrong = |error| CommandError::Policies { path: path.to_owned(), error };
    if of_node {
        return read_directory(path).map_err(wrong);
    }
    let metadata = std::fs::metadata(path)
        .map_err(|error| CommandError::Path { path: path.to_owned(), error })?;
    match metadata.is_dir() {
        true => read_directory(path).map_err(wrong),
        false => Directory::of_file(path).map_err(wrong),
    }
}
