//! The answer for people.

use std::io::Write;

use coaming_policy::document::{Moment, Waived};
use coaming_policy::facts::Told;
use coaming_policy::floor::{Action, Source};
use coaming_policy::verdict::{Audit, brief};
use coaming_shim::exec_log::Executed;
use coaming_shim::journal::event::Word;
use coaming_shim::proof::hold::{Held, Outcome};
use serde_json::Value;

use super::in_force::Policy;
use super::{Decision, Report};
use crate::error::CommandError;
use crate::kernel::KernelView;
use crate::output::{self, count, printable};

pub(super) fn show(report: &Report, out: &mut dyn Write) -> Result<(), CommandError> {
    show_subject(report, out)?;
    writeln!(out)?;
    show_decision(report, out)?;
    list(
        out,
        "Degraded, by leave of bestEffort",
        report.degraded.iter().map(|degraded| {
            format!("{}: {} ({})", degraded.control, degraded.lost, origin(&degraded.policy))
        }),
    )?;
    list(
        out,
        "Waived",
        report.waived.iter().map(|waived| {
            let Waived { waiver, file, line, waived, owner, reason, expires, break_glass } = waived;
            let what = waived.join(", ");
            let signed = break_glass
                .as_ref()
                .map_or_else(String::new, |key| format!(", break-glass, signed by {key}"));
            format!(
                "{what}, until {expires}, by {waiver} {file}:{line} of {owner}{signed}: {reason}"
            )
        }),
    )?;
    show_audit(&report.audit, out)?;
    list(out, "Notes", report.notes.iter().cloned())?;
    list(out, "Policies in force", report.policies.iter().map(policy))?;
    show_execs(&report.execs, out)?;
    if let Some(kernel) = &report.kernel {
        show_kernel(kernel, out)?;
    }
    let planned = report.manifest.iter();
    list(out, "Approximated", planned.flat_map(|of| of.approximations.iter().cloned()))
}

fn show_subject(report: &Report, out: &mut dyn Write) -> Result<(), CommandError> {
    match (&report.created, &report.manifest) {
        (Some(_), _) => writeln!(out, "Container {}", report.id)?,
        (None, Some(manifest)) => writeln!(out, "{}", printable(&manifest.to_string()))?,
        (None, None) => writeln!(out, "Bundle {}", report.bundle)?,
    }
    let lines = [
        ("created", report.created.clone()),
        ("bundle", report.created.is_some().then(|| report.bundle.clone())),
        ("runtime", report.runtime.clone()),
    ];
    for (name, value) in lines {
        if let Some(value) = value {
            writeln!(out, "  {name:<13} {}", printable(&value))?;
        }
    }
    for Told { name, value, asserted_by } in &report.told {
        // What the runtime hands off to has this name above.
        let name = if *name == "runtime" { "wrapper" } else { name };
        writeln!(out, "  {name:<13} {}  (asserted by {asserted_by})", printable(value))?;
    }
    Ok(())
}

fn show_decision(report: &Report, out: &mut dyn Write) -> Result<(), CommandError> {
    if report.verdict == Decision::Refused {
        writeln!(out, "Refused, for {}:", count(report.reasons.len(), "reason", "reasons"))?;
        for reason in &report.reasons {
            writeln!(out, "  {}", printable(&reason.to_string()))?;
        }
        return Ok(());
    }
    let tense = if report.created.is_some() { "Created" } else { "Would be created" };
    let launcher = if report.launcher { ", behind the launcher" } else { "" };
    if report.changes.is_empty() {
        return Ok(writeln!(
            out,
            "{tense} as asked{launcher}; it asked for no more than is allowed."
        )?);
    }
    let changes = count(report.changes.len(), "field", "fields");
    writeln!(out, "{tense} with {changes} brought within policy{launcher}:")?;
    writeln!(out)?;
    let rows = report.changes.iter().map(|change| {
        let (asked, enforced) = compared(&change.asked, &change.enforced)
            .unwrap_or_else(|| (shown(&change.asked), shown(&change.enforced)));
        [
            change.field.clone(),
            cut(&asked),
            cut(&enforced),
            change.policies.iter().map(origin).collect::<Vec<_>>().join(", "),
        ]
    });
    output::table(out, ["FIELD", "ASKED", "ENFORCED", "POLICY"], rows)
}

/// What policies that are only audited would have done.
fn show_audit(audit: &Audit, out: &mut dyn Write) -> Result<(), CommandError> {
    let changes = audit.changes.iter().map(|change| {
        let policies = change.policies.iter().map(origin).collect::<Vec<_>>().join(", ");
        let (asked, enforced) = compared(&change.asked, &change.enforced)
            .unwrap_or_else(|| (shown(&change.asked), shown(&change.enforced)));
        format!("{}: {} would be {} ({policies})", change.field, cut(&asked), cut(&enforced))
    });
    let refusals = audit.refusals.iter().map(|reason| format!("would not start: {reason}"));
    list(out, "Audited, not enforced", changes.chain(refusals).chain(audit.notes.iter().cloned()))?;
    let logged = audit.kernel_log.iter().map(|log| {
        let more = |name: &String| match log.beyond.contains(name) {
            true => format!("{name} (of other arguments too)"),
            false => name.clone(),
        };
        let names: Vec<String> = log.syscalls.iter().map(more).collect();
        let policies: Vec<String> = log.policies.iter().map(origin).collect();
        format!("{} ({})", names.join(", "), policies.join(", "))
    });
    list(out, "Logged by the kernel, and not denied", logged)
}

/// The last execs; all of them are in the JSON.
fn show_execs(execs: &[Executed], out: &mut dyn Write) -> Result<(), CommandError> {
    const SHOWN: usize = 10;
    let lines = execs.iter().skip(execs.len().saturating_sub(SHOWN)).map(|executed| {
        let became = match (executed.refused.first(), executed.changes.len()) {
            (Some(reason), _) => format!("refused: {reason}"),
            (None, 0) => "as asked".to_owned(),
            (None, some) => {
                format!("with {} brought within policy", count(some, "field", "fields"))
            }
        };
        let with = match (executed.terminal, executed.stdin) {
            (true, _) => ", on a terminal",
            (false, true) => ", with standard input",
            (false, false) => "",
        };
        format!("{} {:?}{with}: {became}", Moment(executed.at), executed.args)
    });
    list(out, "Last execs", lines)
}

/// Two lists, by what tells them apart: the rest is in the JSON.
fn compared(asked: &Value, enforced: &Value) -> Option<(String, String)> {
    let strings = |value: &Value| -> Option<Vec<String>> {
        value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let (asked, enforced) = (strings(asked)?, strings(enforced)?);
    let beyond = |list: &[String], other: &[String]| -> String {
        let only: Vec<&str> =
            list.iter().filter(|item| !other.contains(item)).map(String::as_str).collect();
        only.join(" ")
    };
    let with = |list: &[String], only: String| match only.as_str() {
        "" => list.len().to_string(),
        only => format!("{}, with {only}", list.len()),
    };
    Some((with(&asked, beyond(&asked, &enforced)), with(&enforced, beyond(&enforced, &asked))))
}

/// A cell that leaves room for the others on a line.
fn cut(text: &str) -> String {
    const WIDEST: usize = 44;
    match text.char_indices().nth(WIDEST) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A value in a cell.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if !text.starts_with('-') => brief_text(text),
        Value::Object(object) => match object.get("defaultAction").and_then(Value::as_str) {
            Some(action) => format!("a filter, by default {action}"),
            None => brief(value),
        },
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_string) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            brief_text(&items.join(" "))
        }
        other => brief(other),
    }
}

/// Without the quotes of [`brief`], and cut where it cuts.
fn brief_text(text: &str) -> String {
    let quoted = brief(&Value::String(text.to_owned()));
    match quoted.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').unwrap_or(rest).to_owned(),
        None => quoted,
    }
}

fn list(
    out: &mut dyn Write,
    title: &str,
    lines: impl Iterator<Item = String>,
) -> Result<(), CommandError> {
    for (index, line) in lines.enumerate() {
        if index == 0 {
            writeln!(out, "\n{title}:")?;
        }
        writeln!(out, "  {}", printable(&line))?;
    }
    Ok(())
}

fn origin(source: &Source) -> String {
    let include = source.include.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("{} {}:{}{include}", source.policy, source.file, source.line)
}

fn policy(policy: &Policy) -> String {
    let mut clauses: Vec<String> = policy
        .clauses
        .iter()
        .map(|clause| {
            let refuse = if clause.action == Action::Refuse { " (refuse)" } else { "" };
            let effort = if clause.best_effort { " (best effort)" } else { "" };
            format!("{}{refuse}{effort}", clause.control)
        })
        .collect();
    // What a Landlock rule implies stands beside what the policy states itself.
    clauses.dedup();
    let include =
        policy.include.as_ref().map(|name| format!(", include {name}")).unwrap_or_default();
    format!("{} ({}{include}): {}", policy.name, policy.file, clauses.join(", "))
}

fn show_kernel(kernel: &KernelView, out: &mut dyn Write) -> Result<(), CommandError> {
    writeln!(out)?;
    let controls = match kernel {
        KernelView::Unknown { why } => {
            return Ok(writeln!(out, "The kernel's view: none, {why}.")?);
        }
        KernelView::Created { pid } => {
            return Ok(writeln!(
                out,
                "The kernel's view: none yet; process {pid} is the runtime's until `start`."
            )?);
        }
        KernelView::Running { pid, controls } => {
            writeln!(out, "The kernel's view of process {pid}, held against the floor:")?;
            controls
        }
    };
    for Held { control, outcome, by, mismatches, why: _ } in controls {
        match outcome {
            Outcome::Held if *by == Word::Launcher => {
                writeln!(out, "  held      {control} (by the launcher's word)")?;
            }
            Outcome::Held => writeln!(out, "  held      {control}")?,
            Outcome::NotTold | Outcome::NotYet | Outcome::Unproven => {}
            Outcome::Mismatch => {
                for found in mismatches {
                    let (what, is, allowed) = (&found.what, &found.found, &found.allowed);
                    writeln!(out, "  MISMATCH  {control}: {what} is {is}, allowed is {allowed}")?;
                }
            }
        }
    }
    let not_told: Vec<&str> = controls
        .iter()
        .filter(|held| held.outcome == Outcome::NotTold)
        .map(|held| held.control.as_str())
        .collect();
    if !not_told.is_empty() {
        writeln!(out, "  not told by the kernel: {}", not_told.join(", "))?;
    }
    Ok(())
}
