//! `coaming seccomp`: profiles combined, compared and checked, as functions and not as text.

mod check;
mod difference;
mod profile;

use std::io::Write;
use std::path::PathBuf;

use coaming_policy::seccomp::{Function, SeccompError, compile_as_written};

use crate::error::CommandError;
use crate::output::{self, Format, Outcome};
use crate::seccomp::profile::Conditions;

/// Combine, compare and check seccomp profiles.
///
/// A profile is a file, or the name `runtime-default` for the built-in one. A file holds an OCI
/// `linux.seccomp` section, the containerd and Docker format, or a SeccompProfile object of the
/// Security Profiles Operator, in YAML or JSON; which, is told by its content.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the profile that allows what both allow.
    ///
    /// The answer is an OCI `linux.seccomp` section in which every runtime reads the same.
    Meet(Pair),
    /// Print the least profile that allows what either allows.
    ///
    /// The answer is an OCI `linux.seccomp` section in which every runtime reads the same. Where no
    /// single profile is the more permissive of the two on every architecture, there is none.
    Join(Pair),
    /// Show where two profiles answer differently.
    ///
    /// Exit codes: 0 nowhere, 1 somewhere, 2 a profile cannot be read.
    Diff {
        #[command(flatten)]
        pair: Pair,
        /// The form of the answer.
        #[arg(long, value_enum, default_value_t)]
        output: Format,
    },
    /// Check a profile as a policy that names it would.
    ///
    /// Exit codes: 0 no problems, 1 problems, or wider than --within, 2 a file cannot be read.
    Check(check::Arguments),
}

#[derive(Debug, clap::Args)]
struct Pair {
    /// A file, or runtime-default.
    a: PathBuf,
    /// A file, or runtime-default.
    b: PathBuf,
    #[command(flatten)]
    conditions: Conditions,
}

impl Pair {
    fn read(&self) -> Result<(Function, Function), CommandError> {
        Ok((self.conditions.function(&self.a)?, self.conditions.function(&self.b)?))
    }
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    match &arguments.command {
        Command::Meet(pair) => combine(pair, Function::meet, out),
        Command::Join(pair) => combine(pair, Function::join, out),
        Command::Diff { pair, output } => {
            let (a, b) = pair.read()?;
            difference::show(&a.diff(&b), *output, out)
        }
        Command::Check(arguments) => check::run(arguments, out),
    }
}

fn combine(
    pair: &Pair,
    combine: fn(&Function, &Function) -> Result<Function, SeccompError>,
    out: &mut dyn Write,
) -> Result<Outcome, CommandError> {
    let (a, b) = pair.read()?;
    let written = combine(&a, &b).and_then(|function| function.to_profile());
    let profile = written.and_then(|profile| {
        // What libseccomp is known to compile wrong is not handed to anyone.
        compile_as_written(&profile).map(|_| profile)
    })?;
    output::json(&profile.to_oci(), out)?;
    Ok(Outcome::Fine)
}
