//! Lints: what policies may say and hardly ever mean, or what can never work.
//!
//! Each lint is true of the policy alone, or of the policies that are certain to apply together, whatever
//! else is in force; a lint that would be wrong about a sound policy is left out. Of
//! AppArmor profiles, those are looked at that come with policies.

mod app_armor;
mod conflicts;
mod included;
mod landlock;
mod profile;
mod seccomp;
mod selection;
mod set;
mod shadowed;
mod start;
mod void;
mod waiver;

pub(crate) use set::set;
pub(crate) use waiver::waivers;

use std::fmt;
use std::path::Path;

use coaming_policy::controls::Rule;
use coaming_policy::document::PolicyDocument;
use coaming_policy::floor::{Bound, Floor, Visitor};
use serde::Serialize;

/// A warning.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Warning {
    /// The lint, for tools that sort by it.
    pub(crate) lint: &'static str,
    pub(crate) file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
    pub(crate) message: String,
    /// No container starts: this is an error.
    #[serde(skip)]
    pub(crate) fatal: bool,
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        formatter.write_str(if self.fatal { ": " } else { ": warning: " })?;
        if let Some(policy) = &self.policy {
            write!(formatter, "policy {policy}: ")?;
        }
        formatter.write_str(&self.message)
    }
}

/// Whether a directory of policies takes a file of this name for a policy.
pub(crate) fn is_policy_file(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    !is_hidden(path) && matches!(extension, Some("yaml" | "yml" | "json"))
}

/// A file that is not read. Hidden ones that do not look like policies are other tools' business.
pub(crate) fn ignored(path: &Path) -> Option<Warning> {
    let name = path.file_name()?.to_string_lossy();
    let message = if !is_hidden(path) {
        "not read: its name does not end in .yaml, .yml or .json"
    } else if name.contains(".yaml") || name.contains(".yml") || name.contains(".json") {
        "not read: its name begins with a dot"
    } else {
        return None;
    };
    Some(Warning {
        lint: "file-not-read",
        file: path.display().to_string(),
        line: None,
        policy: None,
        message: message.to_owned(),
        fatal: false,
    })
}

/// A file that was read and states nothing.
pub(crate) fn empty(path: &Path) -> Warning {
    Warning {
        lint: "file-empty",
        file: path.display().to_string(),
        line: None,
        policy: None,
        message: "holds no policy; fill it or remove it".to_owned(),
        fatal: false,
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// The lints of one policy; `floor` is what it demands.
pub(crate) fn policy(file: &str, document: &PolicyDocument, floor: &Floor) -> Vec<Warning> {
    let mut lints = Lints { lint: "demands-nothing", file, document, floor, found: Vec::new() };
    lints.demands();
    lints.lint = "selection";
    selection::lint(&mut lints);
    lints.lint = "names-other-controls";
    lints.names_other_controls();
    lints.lint = "include";
    included::lint_sandbox(&mut lints);
    lints.lint = "landlock";
    landlock::lint(&mut lints);
    lints.lint = "app-armor";
    app_armor::lint(&mut lints);
    lints.lint = "control-without-effect";
    profile::lint(&mut lints);
    lints.found
}

/// The lints of one policy, as they are found.
struct Lints<'a> {
    lint: &'static str,
    file: &'a str,
    document: &'a PolicyDocument,
    floor: &'a Floor,
    found: Vec<Warning>,
}

impl Lints<'_> {
    fn warn(&mut self, line: u64, message: impl Into<String>) {
        self.found.push(Warning {
            lint: self.lint,
            file: self.file.to_owned(),
            line: Some(line),
            policy: Some(self.document.metadata.value.name.clone()),
            message: message.into(),
            fatal: false,
        });
    }

    /// What keeps every container from starting.
    fn fail(&mut self, line: u64, message: impl Into<String>) {
        self.warn(line, message);
        if let Some(last) = self.found.last_mut() {
            last.fatal = true;
        }
    }

    fn own_line(&self) -> u64 {
        self.document.metadata.line
    }

    /// A control that demands nothing was meant to demand something.
    fn demands(&mut self) {
        let mut idle = Idle::default();
        self.floor.visit(&mut idle);
        if idle.demanding == 0 {
            return self.warn(
                self.own_line(),
                "demands nothing: no control in it restricts anything; fill it or remove it",
            );
        }
        for (field, line) in idle.fields {
            self.warn(
                line,
                format!("{field} demands nothing as it stands; leave it out or fill it"),
            );
        }
    }

    /// An action or a leave for a control that this policy does not state says nothing.
    fn names_other_controls(&mut self) {
        let mut stated = Stated::default();
        self.floor.visit(&mut stated);
        let spec = &self.document.spec;
        let actions = spec.actions.iter().flat_map(|at| {
            at.value.keys().filter(|name| *name != "default").map(|name| (at.line, "actions", name))
        });
        let best_effort = spec
            .best_effort
            .iter()
            .flat_map(|at| at.value.iter().map(|name| (at.line, "bestEffort", name)));
        let audit =
            spec.audit.iter().flat_map(|at| at.value.iter().map(|name| (at.line, "audit", name)));
        let idle: Vec<(u64, String)> = actions
            .chain(best_effort)
            .chain(audit)
            .filter(|(_, _, name)| !stated.0.contains(&name.as_str()))
            .map(|(line, field, name)| {
                let message = format!(
                    "spec.{field} names {name}, which this policy does not state; it says nothing of \
                     what other policies state"
                );
                (line, message)
            })
            .collect();
        for (line, message) in idle {
            self.warn(line, message);
        }
    }
}

/// Counts the controls that demand something and keeps those that do not.
#[derive(Default)]
struct Idle {
    demanding: usize,
    fields: Vec<(String, u64)>,
}

impl Visitor for Idle {
    fn control<R: Rule>(&mut self, bound: &Bound<R>) {
        for clause in bound.clauses() {
            if clause.rule == R::top() {
                self.fields.push((clause.source.field.clone(), clause.source.line));
            } else {
                self.demanding += 1;
            }
        }
    }
}

/// The controls that are stated.
#[derive(Default)]
struct Stated(Vec<&'static str>);

impl Visitor for Stated {
    fn control<R: Rule>(&mut self, bound: &Bound<R>) {
        if !bound.is_empty() {
            self.0.push(R::CONTROL);
        }
    }
}
