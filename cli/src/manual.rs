//! `coaming man`: the manual pages, from the definition of the command line.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::error::CommandError;
use crate::output::Outcome;

/// Write the manual pages (section 1), one for each command; packages install them.
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
    /// The folder that they are written to. Default: coaming(1) is printed.
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let mut command = crate::Arguments::command();
    // It gives each subcommand its full name.
    command.build();
    match &arguments.output_dir {
        None => Man::new(command).render(out)?,
        Some(folder) => write(&command, "coaming", folder)?,
    }
    Ok(Outcome::Fine)
}

/// The page of a command, and those of its subcommands.
fn write(command: &Command, name: &str, folder: &Path) -> Result<(), CommandError> {
    let path = folder.join(format!("{name}.1"));
    let failed = |error| CommandError::Write { path: path.clone(), error };
    let page = Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text).map_err(failed)?;
    fs::write(&path, text).map_err(failed)?;
    let shown = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    for sub in command.get_subcommands().filter(shown) {
        write(sub, &format!("{name}-{}", sub.get_name()), folder)?;
    }
    Ok(())
}
