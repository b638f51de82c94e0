//! What denied: the clauses of the container's floor, with the smallest change that would have allowed it.

use std::collections::BTreeMap;

use coaming_audit::{Answer, Subject};
use coaming_policy::controls::Rule;
use coaming_policy::floor::{Bound, Clause, Source};
use coaming_policy::proc::Seen;
use coaming_policy::seccomp::called;
use coaming_shim::record::Record;
use serde::Serialize;

use super::{calls, danger, files};

/// Why it was denied, and what would have allowed it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cause {
    /// The policies that denied it; each alone does.
    pub(super) policies: Vec<Source>,
    /// What denied it besides, or instead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) others: Vec<String>,
    /// What would have allowed it: all of it is needed.
    pub(super) changes: Vec<Change>,
    /// What is given away with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) caution: Option<&'static str>,
}

/// One change of a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Change {
    /// Where: `/etc/coaming/policy.d/payments.yaml:7`, or a folder for a new document.
    pub(super) at: String,
    /// What is to be done there.
    pub(super) what: String,
    /// What is to be written there, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fragment: Option<String>,
}

/// Causes that were found before: of the same denial it is the same, and a filter is not met in a moment.
#[derive(Debug, Default)]
pub(super) struct Causes(BTreeMap<(usize, Subject), Cause>);

/// The most causes that are remembered.
const MAX_REMEMBERED: usize = 4096;

impl Causes {
    /// The cause of a denial in the container at this place among the records.
    pub(super) fn of(&mut self, subject: &Subject, place: usize, record: &Record) -> Cause {
        if self.0.len() >= MAX_REMEMBERED {
            self.0.clear();
        }
        let cause = self.0.entry((place, subject.clone()));
        cause.or_insert_with(|| Cause::of(subject, record)).clone()
    }
}

impl Cause {
    /// The cause of a denial in a container.
    pub(super) fn of(subject: &Subject, record: &Record) -> Cause {
        match subject {
            Subject::Seccomp { arch, syscall, answer: Answer::Log } => {
                let log = record.audit.kernel_log.as_ref();
                let caution = called(*arch, *syscall).and_then(|(_, name)| danger::of_call(name));
                Cause {
                    policies: log.map(|log| log.policies.clone()).unwrap_or_default(),
                    others: vec![
                        "nothing yet: the policy is audited, and the call was made".to_owned(),
                    ],
                    caution,
                    ..Cause::default()
                }
            }
            Subject::Seccomp { arch, syscall, .. } => calls::cause(*arch, *syscall, record),
            Subject::Landlock { blockers, path, port, .. } => {
                files::cause(blockers, path.as_deref(), *port, record)
            }
            Subject::AppArmor { profile, .. } => Cause {
                policies: confining(&record.floor.app_armor),
                others: vec![format!(
                    "what the AppArmor profile {} says, as it is loaded in the node's kernel",
                    profile.as_deref().unwrap_or("of the process")
                )],
                ..Cause::default()
            },
            Subject::SeLinux { source, .. } => Cause {
                policies: confining(&record.floor.se_linux),
                others: vec![format!(
                    "what SELinux's policy for {source} says, as it is loaded in the node's kernel"
                )],
                ..Cause::default()
            },
        }
    }

    /// A waiver, for what no line of a policy allows by itself.
    pub(super) fn waiver(&mut self, record: &Record, source: &Source, control: &str) {
        let value = |fact: &Option<coaming_policy::facts::Fact>| {
            fact.as_ref().map_or_else(|| "...".to_owned(), |fact| quoted(&fact.value))
        };
        let facts = &record.facts;
        let fragment = format!(
            "apiVersion: coaming.dev/v1alpha1\nkind: Waiver\nmetadata: {{name: ...}}\nspec:\n  \
             match: {{namespaces: [{}], containers: [{}]}}\n  policies: [{}]\n  waives: [{control}]\n  \
             owner: ...\n  reason: ...\n  expires: ...\n",
            value(&facts.namespace),
            value(&facts.container),
            quoted(&source.policy)
        );
        let change = Change {
            at: "/etc/coaming/policy.d".to_owned(),
            what: format!(
                "a waiver of {control} of {}: nothing smaller allows it, and it takes more than this away",
                source.policy
            ),
            fragment: Some(fragment),
        };
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }
}

/// The clauses by which a security module confines the container: those under which it could not be without a label.
fn confining<R: Rule>(bound: &Bound<R>) -> Vec<Source> {
    let without = Seen { label: Some("unconfined".to_owned()), ..Seen::default() };
    let confines = |clause: &&Clause<R>| !clause.rule.verify(&without).is_empty();
    bound.clauses().iter().filter(confines).map(|clause| clause.source.clone()).collect()
}

/// Whether a rule can be changed where it stands.
pub(super) fn is_written(source: &Source) -> bool {
    source.file != "built-in" && source.include.is_none()
}

pub(super) fn place(source: &Source) -> String {
    format!("{}:{}", source.file, source.line)
}

/// A value for YAML: names of Kubernetes need no quotes, all else has them.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '/');
    if first && text.chars().all(plain) {
        return text.to_owned();
    }
    // A JSON string is a YAML string.
    serde_json::Value::from(text).to_string()
}
