//! The answer of `coaming diff`, for people.

use std::io::Write;

use coaming_policy::compare::{Difference, Direction, Place, Subject};

use super::Report;
use super::containers::Judged;
use crate::error::CommandError;
use crate::output::{BAD, CAREFUL, GOOD, STRONG, count, printable, styled};

pub(super) fn show(report: &Report, out: &mut dyn Write) -> Result<(), CommandError> {
    for difference in &report.differences {
        show_difference(difference, out)?;
    }
    for judged in &report.containers {
        show_container(judged, out)?;
    }
    if report.differences.is_empty() {
        return Ok(writeln!(out, "{}: the sets demand the same", styled(GOOD, "equal"))?);
    }
    let number = |directions: &[Direction]| {
        let of = |difference: &&Difference| directions.contains(&difference.direction);
        report.differences.iter().filter(of).count()
    };
    let looser = match number(&[Direction::Looser, Direction::Incomparable]) {
        0 => styled(GOOD, "nothing looser"),
        some => styled(BAD, &format!("{some} looser")),
    };
    let neutral = match number(&[Direction::Neutral]) {
        0 => String::new(),
        some => format!(", {} without effect", count(some, "change", "changes")),
    };
    Ok(writeln!(out, "{looser}, {} tighter{neutral}", number(&[Direction::Tighter]))?)
}

fn show_difference(difference: &Difference, out: &mut dyn Write) -> Result<(), CommandError> {
    let style = match difference.direction {
        Direction::Looser | Direction::Incomparable => BAD,
        Direction::Tighter => GOOD,
        Direction::Neutral => CAREFUL,
    };
    let subject = match difference.subject {
        Subject::Policy => "policy",
        Subject::Waiver => "waiver",
    };
    let name = styled(STRONG, &format!("{subject} {}", printable(&difference.name)));
    let field = difference.field.as_deref().map(|field| format!(", {field}")).unwrap_or_default();
    let direction = styled(style, &difference.direction.to_string());
    writeln!(out, "{direction}: {name}{field}: {}", printable(&difference.what))?;
    writeln!(out, "  for {}", printable(&difference.containers))?;
    let at = |place: &Option<Place>| match place {
        Some(place) => format!("  ({place})"),
        None => String::new(),
    };
    let rows = [
        ("before", &difference.before, at(&difference.old)),
        ("after ", &difference.after, at(&difference.new)),
    ];
    for (word, said, place) in rows {
        let said = match said.as_str() {
            "" if place.is_empty() => continue,
            said => printable(said),
        };
        writeln!(out, "  {word}: {}", format!("{said}{place}").trim())?;
    }
    Ok(())
}

fn show_container(judged: &Judged, out: &mut dyn Write) -> Result<(), CommandError> {
    let name = styled(STRONG, &printable(&judged.name));
    if judged.before == judged.after {
        return Ok(writeln!(out, "container {name}: {}, as before", judged.after.verdict())?);
    }
    let (before, after) = (judged.before.verdict(), judged.after.verdict());
    match before == after {
        true => writeln!(out, "container {name}: {after}, otherwise than before")?,
        false => writeln!(out, "container {name}: was {before}, is {after}")?,
    }
    for line in judged.before.without(&judged.after) {
        writeln!(out, "  - {}", printable(&line))?;
    }
    for line in judged.after.without(&judged.before) {
        writeln!(out, "  + {}", printable(&line))?;
    }
    Ok(())
}
