//! How answers are given: for people, or as JSON.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;

use crate::error::CommandError;

/// What is wrong, or less than before.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What is to be looked at.
pub(crate) const CAREFUL: Style = AnsiColor::Yellow.on_default().bold();
/// What is as it should be, or more than before.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What stands out.
pub(crate) const STRONG: Style = Style::new().bold();

/// Text in a style. What goes to a file or a pipe, or where `NO_COLOR` is set, loses it again on its way
/// out (`main`).
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

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
    writeln!(to, "{} {error}", styled(BAD, "coaming:"))
}

/// Rows below their headings, in columns. Nothing where there is no row.
pub(crate) fn table(
    out: &mut dyn Write,
    head: [&str; 4],
    rows: impl IntoIterator<Item = [String; 4]>,
) -> Result<(), CommandError> {
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.into_iter().map(|row| row.map(|cell| printable(&cell))));
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

/// Text for a terminal: what an author of manifests or annotations wrote may hold what steers one.
pub(crate) fn printable(text: &str) -> String {
    let steers =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(steers) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_printed() {
        assert_eq!(printable("web-0 Ünïcode"), "web-0 Ünïcode");
        assert_eq!(printable("a\u{1b}[2J\nb\u{202e}"), "a\\u{1b}[2J\\u{a}b\\u{202e}");
    }
}
