//! The answer as text.

use std::io::Write;

use crate::error::CommandError;
use crate::output::{BAD, CAREFUL, GOOD, printable, styled, table};

use super::handlers::Ends;
use super::kernel::State;
use super::own::Grade;
use super::{Report, runtimes};

pub(super) fn show(report: &Report, out: &mut dyn Write) -> Result<(), CommandError> {
    handlers(report, out)?;
    for known in &report.runtimes {
        runtime(known, out)?;
    }
    kernel(report, out)?;
    writeln!(out, "\ncoaming itself")?;
    for check in &report.checks {
        let mark = match check.grade {
            Grade::Fine => styled(GOOD, "ok"),
            Grade::Note => "note".to_owned(),
            Grade::Wrong => styled(BAD, "WRONG"),
        };
        writeln!(out, "  {mark} {}: {}", check.what, printable(&check.found))?;
        if let Some(mend) = check.mend.as_ref().filter(|_| check.grade != Grade::Fine) {
            writeln!(out, "      {mend}")?;
        }
    }
    if let Some(policy) = &report.policy {
        policy.show(out)?;
    }
    if report.problems.is_empty() {
        return Ok(writeln!(out, "\n{}", styled(GOOD, "nothing is wrong"))?);
    }
    let count = crate::output::count(report.problems.len(), "problem", "problems");
    writeln!(out, "\n{}", styled(BAD, &count))?;
    for problem in &report.problems {
        writeln!(out, "  {}", printable(problem))?;
    }
    Ok(())
}

fn handlers(report: &Report, out: &mut dyn Write) -> Result<(), CommandError> {
    let found = &report.found;
    if found.handlers.is_empty() {
        writeln!(out, "no manager of containers was found")?;
    }
    let rows = found.handlers.iter().map(|handler| {
        let name = format!("{}{}", handler.name, if handler.default { " (default)" } else { "" });
        let ends = match handler.ends {
            Ends::Shim => "coaming's shim",
            Ends::Wrapper => "coaming's wrapper",
            Ends::Around => "AROUND COAMING",
        };
        [handler.manager.name().to_owned(), name, ends.to_owned(), handler.place.to_string()]
    });
    table(out, ["MANAGER", "HANDLER", "ENDS AT", "SAID BY"], rows.collect::<Vec<_>>())?;
    for handler in found.handlers.iter().filter(|handler| handler.ends == Ends::Around) {
        let name = format!("{} {}", handler.manager.name(), handler.name);
        writeln!(out, "  {} {}", styled(BAD, &name), printable(&handler.because))?;
        if let Some(mend) = &handler.mend {
            writeln!(out, "      to mend it: {}", printable(mend))?;
        }
    }
    for file in &found.unreadable {
        writeln!(out, "  {} {}", styled(BAD, "cannot be read:"), printable(file))?;
    }
    for note in &found.notes {
        writeln!(out, "  note: {}", printable(note))?;
    }
    Ok(())
}

fn runtime(known: &runtimes::Known, out: &mut dyn Write) -> Result<(), CommandError> {
    let version = known.version.as_deref().unwrap_or("unknown");
    let package =
        known.package.as_ref().map_or_else(String::new, |package| format!(", package {package}"));
    writeln!(
        out,
        "\nruntime {} behind {}: {}{package}",
        known.path,
        known.wrapper,
        printable(version)
    )?;
    if let Some(why) = &known.failed {
        writeln!(out, "  {} {}", styled(BAD, "it does not say what it is:"), printable(why))?;
    }
    for affecting in &known.vulnerabilities {
        let advisory = affecting.advisory;
        writeln!(
            out,
            "  {} ({:?}) {}; fixed in {}",
            styled(CAREFUL, advisory.cve),
            advisory.severity,
            advisory.summary,
            affecting.fixed
        )?;
    }
    Ok(())
}

fn kernel(report: &Report, out: &mut dyn Write) -> Result<(), CommandError> {
    writeln!(out, "\ncontrols on this kernel")?;
    let rows = report.controls.iter().map(|control| {
        let state = match control.state {
            State::Enforced => "enforced",
            State::Degraded => "DEGRADED",
            State::Impossible => "IMPOSSIBLE",
        };
        [control.control.to_owned(), state.to_owned(), control.because.clone(), String::new()]
    });
    table(out, ["CONTROL", "STATE", "BY", ""], rows.collect::<Vec<_>>())?;
    if let Some(why) = &report.kernel.trials.audit {
        writeln!(out, "  note: the kernel's audit records cannot be followed: {why}")?;
    }
    for unmet in &report.unmet {
        let what = if unmet.best_effort { "degraded (bestEffort)" } else { "CANNOT BE MET" };
        writeln!(
            out,
            "  {what}: policy {} ({}:{}) {}: {}",
            unmet.policy, unmet.file, unmet.line, unmet.field, unmet.lost
        )?;
    }
    Ok(())
}
