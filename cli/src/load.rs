//! `coaming load`: brings the policy directory into force.

use std::collections::BTreeMap;
use std::io::Write;

use coaming_policy::snapshot::Kept;
use coaming_shim::apparmor::Had;
use coaming_shim::config::Node;
use coaming_shim::in_force::{Access, Loaded};
use coaming_shim::runtime_probe;
use serde::Serialize;

use crate::apparmor;
use crate::error::CommandError;
use crate::output::{self, Format, Outcome, count};
use crate::semodule;

/// Bring the node's policy directory into force, before the next container asks for it.
///
/// A start does the same by itself when the directory has changed; after this command it need not. Policies
/// that demand less than those in force are taken only with --loosen (or with a signature, as the
/// configuration has it); without it the answer says what would be loosened, and nothing changes. The AppArmor
/// profiles that the policies bring are loaded into a kernel that has AppArmor, and their SELinux modules by semodule(8)
/// where the node has not got them.
/// Exit codes: 0 the directory is in force, 1 it is not, and what was in force still is, or a module is not loaded, 2 the command cannot
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
    // So that the next start need not ask the runtimes what they are.
    runtime_probe::ahead(node.configuration());
    let loaded = node.keeper().load(arguments.loosen).map_err(CommandError::Policy)?;
    // So that no start need compile and load what policies bring. Of policies that are not in force nothing is loaded.
    let in_force = node.in_force(Access::Look).map_err(CommandError::Policy)?;
    let profiles = apparmor::ahead(node.configuration(), &in_force)?;
    let modules = match loaded.in_force {
        true => semodule::load(&node.policies().map_err(CommandError::Policy)?),
        false => Vec::new(),
    };
    match arguments.output {
        Format::Text => {
            show(&loaded, &directory, out)?;
            apparmor::show(&profiles, out)?;
            modules.iter().try_for_each(|module| writeln!(out, "{module}"))?;
        }
        Format::Json => {
            let answer = Answer { loaded: &loaded, app_armor: &profiles, modules: &modules };
            output::json(&answer, out)?;
        }
    }
    let fine = loaded.in_force && !modules.iter().any(semodule::Loaded::is_missing);
    Ok(if fine { Outcome::Fine } else { Outcome::Findings })
}

/// The answer as a document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(flatten)]
    loaded: &'a Loaded,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    app_armor: &'a BTreeMap<String, Had>,
    #[serde(rename = "seLinuxModules", skip_serializing_if = "<[_]>::is_empty")]
    modules: &'a [semodule::Loaded],
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
