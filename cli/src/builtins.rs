//! `coaming policy`: the policies that are compiled in.

use std::io::Write;

use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use coaming_policy::builtin;
use coaming_policy::document::Include;

use crate::error::CommandError;
use crate::output::Outcome;

/// Show the policies that are compiled in: the floors, and those that a policy may include.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them.
    List,
    /// Print one, as it was reviewed.
    Show {
        /// Its name: pss/restricted.
        #[arg(value_parser = PossibleValuesParser::new(names()))]
        name: String,
    },
}

/// The floors by their names and texts.
const FLOORS: [(&str, &str); 2] = [("baseline", builtin::BASELINE), ("node", builtin::NODE)];

fn all() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let floors = FLOORS.into_iter().map(|(name, text)| (name, "floor", text));
    let includes =
        Include::ALL.into_iter().map(|which| (which.name(), "include", builtin::text(which)));
    floors.chain(includes)
}

fn names() -> impl Iterator<Item = &'static str> {
    all().map(|(name, _, _)| name)
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    match &arguments.command {
        Command::List => {
            writeln!(out, "{:<16}{:<9}WHAT", "NAME", "USED AS")?;
            for (name, used, text) in all() {
                writeln!(out, "{name:<16}{used:<9}{}", summary(text))?;
            }
        }
        Command::Show { name } => {
            if let Some((_, _, text)) = all().find(|(known, _, _)| known == name) {
                out.write_all(text.as_bytes())?;
            }
        }
    }
    Ok(Outcome::Fine)
}

/// The beginning of a text's comment, up to its first full stop or semicolon.
fn summary(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix("# "));
    let comment = lines.collect::<Vec<_>>().join(" ");
    let end = [";", ". "].into_iter().filter_map(|mark| comment.find(mark)).min();
    comment.get(..end.unwrap_or(comment.len())).unwrap_or_default().to_owned()
}
