//! `coaming apparmor`: the AppArmor profiles that come with policies.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use coaming_config::Configuration;
use coaming_policy::controls::app_armor::{Brought, generate};
use coaming_policy::document::{Directory, read_directory};
use coaming_shim::apparmor::{Had, KEPT, Profiles, ROOT};
use coaming_shim::config::STATE;
use coaming_shim::in_force::InForce;

use crate::error::CommandError;
use crate::output::Outcome;

/// Make, print and compile the AppArmor profiles that come with policies.
///
/// They are loaded by `coaming load`, and where they are missing by the start that needs them.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a profile made of a policy's own rules.
    ///
    /// Of its landlock, capabilities and seccomp.denySocketFamilies, as `appArmor: {default: {generated: true}}` makes it,
    /// under the policy's name: to be looked at, or kept as a file and changed by hand.
    Generate {
        /// A file of policies, or a directory.
        policies: PathBuf,
        /// The policy, where there are several.
        #[arg(long, value_name = "NAME")]
        policy: Option<String>,
    },
    /// Print a file's profile as the kernel gets it, or the built-in one: under the name that carries its digest.
    ///
    /// Exit codes: 0 it is one that a policy may bring, 2 it is not.
    Show {
        /// A file, or coaming-default.
        profile: PathBuf,
    },
    /// Compile the profiles of policies ahead, for nodes without apparmor_parser.
    ///
    /// The files go to /var/lib/coaming/apparmor of nodes whose kernel has the features that are named. This machine's
    /// kernel need not have AppArmor.
    Compile {
        /// A file of policies, or a directory.
        policies: PathBuf,
        /// The kernel's features: a copy of /sys/kernel/security/apparmor/features of such a node, or a file of the
        /// parser's form.
        #[arg(long, value_name = "PATH", default_value = "/sys/kernel/security/apparmor/features")]
        features: PathBuf,
        /// Where they are written.
        #[arg(long, value_name = "DIR", default_value = KEPT)]
        into: PathBuf,
    },
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    match &arguments.command {
        Command::Generate { policies, policy } => {
            let directory = read(policies)?;
            let named = |name: &str| policy.as_ref().is_none_or(|wanted| wanted == name);
            let written = directory.written();
            let found: Vec<_> = written
                .iter()
                .filter(|(_, document, _)| named(&document.metadata.value.name))
                .collect();
            let [(_, document, floor)] = found.as_slice() else {
                let names: Vec<&str> = directory.names().map(|(name, _)| name).collect();
                return Err(CommandError::Usage(format!(
                    "{} has the policies {}; say --policy with one of them",
                    policies.display(),
                    names.join(", ")
                )));
            };
            let name = &document.metadata.value.name;
            let text = generate(name, floor).map_err(CommandError::Usage)?;
            write!(out, "{text}")?;
        }
        Command::Show { profile } => {
            let text = match Brought::built_in(&profile.display().to_string()) {
                Some(built_in) => built_in.text.clone(),
                None => {
                    let error = |error| CommandError::Path { path: profile.clone(), error };
                    let text = std::fs::read_to_string(profile).map_err(error)?;
                    let problem =
                        |why| CommandError::Usage(format!("{}: {why}", profile.display()));
                    Brought::read(&text).map_err(problem)?.text
                }
            };
            write!(out, "{text}")?;
        }
        Command::Compile { policies, features, into } => {
            let directory = read(policies)?;
            let parser = configuration()?.app_armor_parser();
            let profiles = Profiles::at(Path::new(ROOT), into, Path::new(STATE), parser);
            for (name, text) in brought(&directory) {
                let path = profiles.compile_ahead(&name, &text, features)?;
                writeln!(out, "{}", path.display())?;
            }
        }
    }
    Ok(Outcome::Fine)
}

/// Has the profiles of the policies in force in the kernel, where it has AppArmor.
pub(crate) fn ahead(
    configuration: &Configuration,
    in_force: &InForce,
) -> Result<BTreeMap<String, Had>, CommandError> {
    if !Path::new(ROOT).exists() {
        return Ok(BTreeMap::new());
    }
    let profiles = Profiles::of_node(configuration.app_armor_parser());
    let texts = in_force.app_armor_profiles().map_err(CommandError::Policy)?;
    let had = |(name, text): (String, String)| {
        let had = profiles.have(&name, &text)?;
        Ok((name, had))
    };
    texts.into_iter().map(had).collect()
}

/// What became of them.
pub(crate) fn show(
    profiles: &BTreeMap<String, Had>,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    for (name, had) in profiles {
        let what = match had {
            Had::Already => "is loaded",
            Had::Loaded => "was loaded",
            Had::Replaced => "was loaded again, in the place of another under its name",
        };
        writeln!(out, "AppArmor profile {name} {what}")?;
    }
    Ok(())
}

fn brought(directory: &Directory) -> BTreeMap<String, String> {
    let rules = directory.floors().map(|(_, floor)| floor.app_armor.met());
    rules.flat_map(|rule| rule.profiles).collect()
}

fn read(policies: &Path) -> Result<Directory, CommandError> {
    let read = match policies.is_dir() {
        true => read_directory(policies),
        false => Directory::of_file(policies),
    };
    read.map_err(|error| CommandError::Policies { path: policies.to_owned(), error })
}

fn configuration() -> Result<Configuration, CommandError> {
    Configuration::load().map_err(CommandError::Policy)
}
