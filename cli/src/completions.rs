//! `coaming completions`: what a shell completes.

use std::io::Write;

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell as Generator;

use crate::error::CommandError;
use crate::output::Outcome;

/// Print the completions of a shell; packages install them.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Fish,
    Zsh,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let shell = match arguments.shell {
        Shell::Bash => Generator::Bash,
        Shell::Fish => Generator::Fish,
        Shell::Zsh => Generator::Zsh,
    };
    let mut written = Vec::new();
    clap_complete::generate(shell, &mut crate::Arguments::command(), "coaming", &mut written);
    out.write_all(&written)?;
    Ok(Outcome::Fine)
}
