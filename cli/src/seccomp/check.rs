//! `coaming seccomp check`: what a policy would say to a profile, and whether it stays within another.

use std::io::Write;
use std::path::{Path, PathBuf};

use coaming_policy::seccomp::{Excess, SeccompError, Source, compile_as_written};
use serde_json::{Value, json};

use super::profile::{self, Conditions};
use crate::error::CommandError;
use crate::output::{self, Format, Outcome};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A file, or runtime-default.
    profile: PathBuf,
    /// A file, or runtime-default: the profile must nowhere be more permissive than it.
    #[arg(long, value_name = "PROFILE")]
    within: Option<PathBuf>,
    #[command(flatten)]
    conditions: Conditions,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let conditions = &arguments.conditions;
    let mut excess = None;
    let source = profile::read(&arguments.profile)?;
    let problem = source.and_then(|source| problem(&source, conditions)).err();
    if let (Some(bound), None) = (&arguments.within, &problem) {
        for caps in conditions.extremes() {
            let function = |path: &Path| conditions.function_with(path, &caps);
            let found = function(&arguments.profile)?.exceeds(&function(bound)?);
            excess = excess.or(found);
        }
    }
    let (name, bound) =
        (arguments.profile.display(), arguments.within.as_ref().map(|b| b.display()));
    match arguments.output {
        Format::Json => {
            let problems: Vec<String> = problem.iter().map(SeccompError::to_string).collect();
            output::json(
                &json!({"problems": problems, "exceeds": excess.as_ref().map(in_json)}),
                out,
            )?;
        }
        Format::Text => {
            if let Some(problem) = &problem {
                writeln!(out, "{name}: {problem}")?;
            } else if let (Some(excess), Some(bound)) = (&excess, &bound) {
                writeln!(out, "{name}: wider than {bound}: {excess}")?;
            } else {
                let within = bound.map(|bound| format!(", and within {bound}")).unwrap_or_default();
                writeln!(out, "{name}: no problems{within}")?;
            }
        }
    }
    Ok(if problem.is_some() || excess.is_some() { Outcome::Findings } else { Outcome::Fine })
}

/// The first problem that loading a policy or starting a container under it would meet.
fn problem(source: &Source, conditions: &Conditions) -> Result<(), SeccompError> {
    for caps in conditions.extremes() {
        let function = profile::function(&conditions.resolve(source, &caps)?)?;
        compile_as_written(&function.to_profile()?)?;
    }
    Ok(())
}

fn in_json(excess: &Excess) -> Value {
    match excess {
        Excess::Call(call) => json!({
            "syscall": call.syscall,
            "architecture": call.arch.oci(),
            "args": call.args,
            "ours": call.ours.to_string(),
            "theirs": call.theirs.to_string(),
        }),
        other => json!({"reason": other.to_string()}),
    }
}
