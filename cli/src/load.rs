//! `coaming load`: brings the policy directory into force.

use std::io::Write;

use coaming_policy::snapshot::Kept;
use coaming_shim::config::Node;
use coaming_shim::in_force::Loaded;

use crate::error::CommandError;
use crate::output::{self, Format, Outcome, count};

/// Bring the node's policy directory into force, before the next container asks for it.
///
/// A start does the same by itself when the directory has changed; after this command it need not. Policies
/// that demand less than those in force are taken only with --loosen (or with a signature, as the
/// configuration has it); without it the answer says what would be loosened, and nothing changes.
/// Exit codes: 0 the directory is in force, 1 it is not, and what was in force still is, 2 the command cannot
/// be carried out.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Take policies that demand less, too.
    #[arg(long)]
    loosen: bool,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let node = Node::load("coaming-runc").map_err(CommandError::Policy)?;
    let directory = node.policy_directory().display().to_string();
    let loaded = node.keeper().load(arguments.loosen).map_err(CommandError::Policy)?;
    match arguments.output {
        Format::Text => show(&loaded, &directory, out)?,
        Format::Json => output::json(&loaded, out)?,
    }
    Ok(if loaded.in_force { Outcome::Fine } else { Outcome::Findings })
}

fn show(loaded: &Loaded, directory: &str, out: &mut dyn Write) -> Result<(), CommandError> {
    let set = format!(
        "{} and {}",
        count(loaded.policies, "policy", "policies"),
        count(loaded.waivers, "waiver", "waivers")
    );
    let since = loaded.since.as_deref().unwrap_or("before");
    let Some(refusal) = &loaded.refused else {
        let when =
            if loaded.unchanged { format!(", unchanged since {since}") } else { String::new() };
        writeln!(out, "{set} of {directory} in force{when}")?;
        if let Some(key) = &loaded.signed_by {
            writeln!(out, "signed by {key}")?;
        }
        return list(out, "loosened", &loaded.looser);
    };
    let what = match refusal.kind {
        Kept::Broken => "broken",
        Kept::Loosens => "looser than what is in force",
        Kept::Signature => "not signed as it must be",
    };
    writeln!(out, "{directory} is {what}: {}", refusal.why)?;
    list(out, "would be loosened", &refusal.looser)?;
    Ok(writeln!(out, "{set}, in force since {since}, stay in force")?)
}

fn list(out: &mut dyn Write, what: &str, lines: &[String]) -> Result<(), CommandError> {
    for line in lines {
        writeln!(out, "  {what}: {line}")?;
    }
    Ok(())
}
