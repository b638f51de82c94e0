//! How answers are given: for people, or as JSON.

use std::io::Write;

use clap::ValueEnum;
use serde::Serialize;

use crate::error::CommandError;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// Text for people; it may change.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// What a command found; its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Fine,
    Findings,
}

pub(crate) fn json(value: &impl Serialize, out: &mut dyn Write) -> Result<(), CommandError> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(std::io::Error::from)?;
    Ok(writeln!(out)?)
}

pub(crate) fn finish(out: &mut dyn Write) -> Result<(), CommandError> {
    Ok(out.flush()?)
}

pub(crate) fn complain(error: &CommandError, to: &mut dyn Write) -> std::io::Result<()> {
    writeln!(to, "coaming: {error}")
}

/// Rows below their headings, in columns. Nothing where there is no row.
pub(crate) fn table(
    out: &mut dyn Write,
    head: [&str; 4],
    rows: impl IntoIterator<Item = [String; 4]>,
) -> Result<(), CommandError> {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows);
    if lines.len() == 1 {
        return Ok(());
    }
    let mut widths = [0; 4];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    for line in &lines {
        let cells: Vec<String> =
            line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        writeln!(out, "  {}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// `1 policy`, `2 policies`.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
