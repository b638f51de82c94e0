//! The answer for people.

use std::io::Write;

use coaming_hook_harness::findings::{Finding, Severity};
use coaming_hook_harness::{Case, Report, Seen};

use crate::error::CommandError;
use crate::output::{BAD, CAREFUL, GOOD, STRONG, count, printable, styled};

pub(super) fn write(
    report: &Report,
    findings: &[Finding],
    out: &mut dyn Write,
) -> Result<(), CommandError> {
    let kind = if report.program.is_loaded { "started by a loader" } else { "static" };
    let path = printable(&report.program.path);
    writeln!(out, "{} ({kind}, uid {})", styled(STRONG, &path), report.program.uid)?;
    for case in &report.cases {
        write_case(case, out)?;
    }
    writeln!(out)?;
    for finding in findings {
        let style = match finding.severity {
            Severity::Error => BAD,
            Severity::Warning => CAREFUL,
            Severity::Note => STRONG,
        };
        let line = printable(&finding.to_string());
        let rest = line.strip_prefix(&finding.severity.to_string()).unwrap_or(&line);
        writeln!(out, "{}{rest}", styled(style, &finding.severity.to_string()))?;
    }
    let number = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (number(Severity::Error), number(Severity::Warning));
    let summary = format!(
        "{}, {}, {}",
        count(errors, "error", "errors"),
        count(warnings, "warning", "warnings"),
        count(number(Severity::Note), "note", "notes")
    );
    let style = if errors > 0 {
        BAD
    } else if warnings > 0 {
        CAREFUL
    } else {
        GOOD
    };
    Ok(writeln!(out, "{}", styled(style, &summary))?)
}

fn write_case(case: &Case, out: &mut dyn Write) -> Result<(), CommandError> {
    let runtime = printable(&format!("{} ({})", case.runtime.display(), case.version));
    writeln!(out, "\n{} with {runtime}", styled(STRONG, case.phase.name()))?;
    match &case.seen {
        None => writeln!(out, "  not run")?,
        Some(seen) => write_seen(seen, out)?,
    }
    if let Some(did) = &case.did {
        let end = match (&did.not_executed, did.exit, did.signal) {
            (Some(_), _, _) => "not executed".to_owned(),
            (_, Some(code), _) => format!("exit {code}"),
            (_, _, signal) => format!("signal {}", signal.unwrap_or_default()),
        };
        line(out, "did", &format!("{end} after {} ms", did.milliseconds))?;
        for (kind, changes) in &did.changes {
            for change in changes {
                line(out, "changed", &format!("{kind} {} {}", change.how, change.what))?;
            }
        }
        for (name, text) in [("stdout", &did.stdout), ("stderr", &did.stderr)] {
            for said in text.lines().take(5) {
                line(out, name, said)?;
            }
        }
    }
    if let Some(failure) = &case.on_failure {
        let what = match &failure.failed {
            None => "all goes on".to_owned(),
            Some(verb) => format!(
                "{verb} fails, {}, the container is {}",
                if failure.message_shown { "with its message" } else { "without its message" },
                failure.status.as_deref().unwrap_or("gone")
            ),
        };
        line(out, "on exit 1", &what)?;
    }
    if let Some(hang) = &case.on_hang {
        let end = match &hang.failed {
            None => "all goes on".to_owned(),
            Some(verb) => format!("{verb} fails"),
        };
        let honoured = if hang.is_honoured { "honoured" } else { "not honoured" };
        let what = format!(
            "a timeout of {} s is {honoured} ({} ms), {end}",
            hang.timeout_seconds, hang.milliseconds
        );
        line(out, "on hanging", &what)?;
    }
    Ok(())
}

fn write_seen(seen: &Seen, out: &mut dyn Write) -> Result<(), CommandError> {
    let state = &seen.state;
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let pid = state.pid.map_or_else(|| "none".to_owned(), |pid| pid.to_string());
    let said = format!("status {}, pid {pid}, bundle {}", text(&state.status), text(&state.bundle));
    line(out, "state", &said)?;
    for whose in ["runtime", "container", "other"] {
        let kinds: Vec<&str> = seen
            .namespaces
            .iter()
            .filter(|(_, owner)| *owner == whose)
            .map(|(kind, _)| kind.as_str())
            .collect();
        if !kinds.is_empty() {
            line(out, "namespaces", &format!("the {whose}'s {}", kinds.join(", ")))?;
        }
    }
    line(out, "cwd", &seen.cwd)?;
    line(out, "runs as", &format!("uid {}, CapEff {}", seen.uid, seen.capabilities))?;
    let environment = match seen.environment.is_empty() {
        true => "empty".to_owned(),
        false => seen.environment.join(" "),
    };
    line(out, "environment", &environment)?;
    for (number, to) in seen.descriptors.iter().filter(|(number, _)| **number > 2) {
        line(out, "descriptor", &format!("{number} {to}"))?;
    }
    Ok(())
}

fn line(out: &mut dyn Write, name: &str, value: &str) -> Result<(), CommandError> {
    Ok(writeln!(out, "  {name:<12} {}", printable(value))?)
}
