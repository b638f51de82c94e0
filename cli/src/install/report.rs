//! What was done, for people and as a document.

use std::io::Write;

use serde::Serialize;
use similar::TextDiff;

use crate::doctor::handlers::Manager;
use crate::error::CommandError;
use crate::output::{BAD, CAREFUL, GOOD, printable, styled};

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Whether it was only said, and not done.
    pub(in crate::install) dry_run: bool,
    pub(in crate::install) runtimes: Vec<Done>,
}

/// What became of one manager of containers.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Done {
    pub(super) manager: Manager,
    pub(super) state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) handler: Option<String>,
    pub(super) files: Vec<FileDone>,
    /// The command that found it in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) validated_by: Option<String>,
    /// Why nothing, or not all, was done.
    pub(super) reasons: Vec<String>,
    pub(super) notes: Vec<String>,
    /// What was restarted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) restarted: Option<String>,
    /// Whether something after the change did not work.
    #[serde(skip)]
    pub(super) failed: bool,
}

/// How it is with a manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum State {
    /// It was written.
    Installed,
    /// It was there.
    Unchanged,
    /// It would not be right, or the manager did not take it: all is as it was.
    Refused,
    /// It is not on this node.
    Absent,
    /// It was taken away.
    Removed,
}

/// A file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileDone {
    pub(super) path: String,
    /// What was done with it.
    pub(super) action: String,
    /// Unified.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) diff: String,
}

impl Done {
    pub(super) fn new(manager: Manager, state: State) -> Done {
        Done {
            manager,
            state,
            handler: None,
            files: Vec::new(),
            validated_by: None,
            reasons: Vec::new(),
            notes: Vec::new(),
            restarted: None,
            failed: false,
        }
    }

    pub(super) fn refused(manager: Manager, why: String) -> Done {
        Done { reasons: vec![why], ..Done::new(manager, State::Refused) }
    }

    /// What was done stays, and this did not work.
    pub(super) fn fail(&mut self, why: String) {
        self.failed = true;
        self.reasons.push(why);
    }
}

impl FileDone {
    pub(super) fn new(
        path: &str,
        action: &str,
        before: Option<&[u8]>,
        after: Option<&[u8]>,
    ) -> FileDone {
        FileDone {
            path: path.to_owned(),
            action: action.to_owned(),
            diff: diff(path, before, after),
        }
    }
}

/// As diff -u has it; a file that is not there is /dev/null.
fn diff(path: &str, before: Option<&[u8]>, after: Option<&[u8]>) -> String {
    let name = |bytes: Option<&[u8]>| {
        if bytes.is_some() { path.to_owned() } else { "/dev/null".to_owned() }
    };
    let text =
        |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    TextDiff::from_lines(text(before), text(after))
        .unified_diff()
        .context_radius(3)
        .header(&name(before), &name(after))
        .to_string()
}

impl Report {
    /// Whether all is as it was asked to be.
    pub(crate) fn is_fine(&self) -> bool {
        let changed = |done: &Done| matches!(done.state, State::Installed | State::Removed);
        !self.runtimes.iter().any(|done| {
            done.state == State::Refused || done.failed || (self.dry_run && changed(done))
        })
    }

    pub(crate) fn show(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        for done in &self.runtimes {
            done.show(self.dry_run, out)?;
        }
        if self.runtimes.is_empty() {
            writeln!(out, "nothing was written by coaming here: there is nothing to take away")?;
        }
        Ok(())
    }
}

impl Done {
    fn show(&self, dry_run: bool, out: &mut dyn Write) -> Result<(), CommandError> {
        let state = match (self.state, dry_run) {
            (State::Installed, false) => styled(GOOD, "installed"),
            (State::Installed, true) => styled(CAREFUL, "would be installed; nothing was written"),
            (State::Unchanged, _) => styled(GOOD, "in place already; nothing was changed"),
            (State::Refused, _) => styled(BAD, "REFUSED"),
            (State::Absent, _) => "not here".to_owned(),
            (State::Removed, false) => styled(GOOD, "taken away"),
            (State::Removed, true) => styled(CAREFUL, "would be taken away; nothing was written"),
        };
        let handler =
            self.handler.as_deref().map(|name| format!(", handler {name}")).unwrap_or_default();
        writeln!(out, "{}{handler}: {state}", self.manager.name())?;
        for reason in &self.reasons {
            lines(out, "  ", reason)?;
        }
        for file in &self.files {
            writeln!(out, "  {}: {}", file.path, file.action)?;
            lines(out, "    ", &file.diff)?;
        }
        if let Some(by) = &self.validated_by {
            writeln!(out, "  found in order by {by}")?;
        }
        if let Some(unit) = &self.restarted {
            writeln!(out, "  restarted: {unit}")?;
        }
        for note in &self.notes {
            lines(out, "  ", note)?;
        }
        Ok(())
    }
}

fn lines(out: &mut dyn Write, indent: &str, text: &str) -> Result<(), CommandError> {
    for line in text.lines() {
        // A tab steers no terminal any further than to its next stop.
        let parts: Vec<String> = line.split('\t').map(printable).collect();
        writeln!(out, "{}", format!("{indent}{}", parts.join("\t")).trim_end())?;
    }
    Ok(())
}
