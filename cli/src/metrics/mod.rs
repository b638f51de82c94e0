//! `coaming metrics`: what the gate has done on this node and how it stands, for Prometheus.

mod collect;
#[cfg(test)]
mod exposition;
mod family;
mod listen;
mod textfile;

use std::io::Write;
use std::path::PathBuf;

use coaming_shim::config::STATE;
use coaming_shim::journal;

use crate::error::CommandError;
use crate::output::Outcome;

/// Print metrics of this node in Prometheus' text format.
///
/// Counters are from the journal and go on where it was rotated; they begin anew with a new journal. With
/// --textfile they are written to a file for node_exporter's textfile collector, with --listen they are served
/// until the command is ended. Labels are controls, operations and outcomes: never a pod, a container or an image.
/// Run it as root: the journal is root's alone. Exit codes: 0 written, 2 they cannot be.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write them to this file, whole or not at all, readable by all. Its folder is the collector's; its name ends
    /// in .prom.
    #[arg(long, value_name = "FILE", conflicts_with = "listen")]
    textfile: Option<PathBuf>,
    /// Serve them at http://ADDR:PORT/metrics. Without an address, and by default, on the loopback address alone.
    #[arg(long, value_name = "[ADDR:]PORT", num_args = 0..=1, default_missing_value = listen::DEFAULT)]
    listen: Option<listen::Address>,
    /// Where coaming keeps its records.
    #[arg(long, value_name = "DIR", default_value = STATE, hide = true)]
    state: PathBuf,
    /// Where the journal is.
    #[arg(long, value_name = "DIR", default_value = journal::FOLDER, hide = true)]
    journal: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let text = || collect::text(&arguments.journal, &arguments.state);
    if let Some(path) = &arguments.textfile {
        textfile::write(path, &text()?)
            .map_err(|error| CommandError::Write { path: path.clone(), error })?;
        return Ok(Outcome::Fine);
    }
    if let Some(address) = &arguments.listen {
        listen::serve(address, &text, out)?;
    }
    out.write_all(text()?.as_bytes())?;
    Ok(Outcome::Fine)
}
