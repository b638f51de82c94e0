//! The answer for people, in a terminal.

use std::io::Write;

use super::colour::Colour;
use super::{Report, Scored};
use crate::error::CommandError;
use crate::output::{self, count, printable};

pub(super) fn show(
    report: &Report,
    all: bool,
    colour: Colour,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    for scored in &report.containers {
        show_container(scored, all, colour, out)?;
        writeln!(out)?;
    }
    for line in &report.passed_over {
        writeln!(out, "Passed over: {}", printable(line))?;
    }
    let refused = report.containers.iter().filter(|scored| scored.number.is_none()).count();
    let number = match report.number {
        Some(number) => colour.by(number, &format!("{number} {}", number.word())),
        None => "no number".to_owned(),
    };
    let of = count(report.containers.len(), "container", "containers");
    let what = if report.asked { "as asked" } else { "under policy" };
    write!(
        out,
        "{}: {of}, {refused} refused; at most {number}, {what}",
        printable(&report.subject)
    )?;
    match report.threshold {
        Some(threshold) => {
            let above =
                report.containers.iter().filter(|scored| scored.is_above(report.threshold)).count();
            writeln!(out, "; {above} above {threshold}")?;
        }
        None => writeln!(out)?,
    }
    Ok(())
}

fn show_container(
    scored: &Scored,
    all: bool,
    colour: Colour,
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let name = printable(&scored.name);
    let asked = scored.number_asked.map(|asked| format!(" (asked {asked})")).unwrap_or_default();
    let Some(number) = scored.number else {
        writeln!(out, "{name}: refused, so nothing starts{asked}")?;
        for reason in &scored.refused {
            writeln!(out, "  {}", printable(reason))?;
        }
        return Ok(());
    };
    let shown = colour.by(number, &format!("{number} {}", number.word()));
    writeln!(out, "{name}: {shown}{asked}")?;
    let rows = scored.checks.iter().filter(|checked| all || checked.exposure > 0).map(|checked| {
        [
            format!("{}%", checked.exposure),
            checked.id.to_owned(),
            cut(&checked.found),
            checked.closed_by.to_owned(),
        ]
    });
    output::table(out, ["OPEN", "CHECK", "FOUND", "CLOSED BY"], rows)?;
    if !scored.approximations.is_empty() {
        let number = count(scored.approximations.len(), "thing is", "things are");
        writeln!(out, "  {number} approximated: see explain --manifest")?;
    }
    Ok(())
}

/// A cell that leaves room for the others on a line.
fn cut(text: &str) -> String {
    const WIDEST: usize = 56;
    match text.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
