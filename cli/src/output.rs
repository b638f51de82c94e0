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

/// `1 policy`, `2 policies`.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
