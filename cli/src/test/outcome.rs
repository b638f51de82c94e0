//! What became of a case, and in what that is not as expected.

use std::collections::BTreeSet;

use coaming_policy::controls::{Executing, Rule};
use coaming_policy::decide::{Door, Request, audit, decide};
use coaming_policy::demands::Demands;
use coaming_policy::facts::Facts;
use coaming_policy::floor::{Bound, Floor, Visitor};
use coaming_policy::seccomp::{Action, Function, Profile, Reading, is_known};
use coaming_policy::spec::edit::Edit;
use coaming_policy::spec::view;
use coaming_policy::verdict::{Audit, Change, Reason, Verdict};
use serde_json::{Value, json};

use super::container::Container;
use super::document::{Decision, ExecSpec, Expect};

/// What policies did with a container, or an exec into it.
pub(super) struct Decided {
    decision: Decision,
    reasons: Vec<Reason>,
    changes: Vec<Change>,
    audit: Audit,
    waived: Vec<String>,
    seccomp: Option<Value>,
}

/// Decides as the gate would.
pub(super) fn decided(
    container: &Container,
    demands: &Demands,
    facts: &Facts,
    exec: Option<&ExecSpec>,
) -> Result<Decided, String> {
    let Container { spec, node, .. } = container;
    let request = Request { door: Door::Create, spec, facts, node, exec: None };
    let waived = demands.waived.iter().map(|waived| waived.waiver.clone()).collect();
    let refused = |reasons, waived| Decided {
        decision: Decision::Refuse,
        reasons,
        changes: Vec::new(),
        audit: Audit::default(),
        waived,
        seccomp: None,
    };
    let admission = match decide(&request, &demands.floor) {
        Verdict::Refuse(refusal) if exec.is_none() => return Ok(refused(refusal.reasons, waived)),
        Verdict::Refuse(refusal) => {
            return Err(format!("the container that is to be joined does not start: {refusal}"));
        }
        Verdict::Admit(admission) => admission,
    };
    let Some(exec) = exec else {
        return Ok(Decided {
            decision: Decision::Admit,
            reasons: Vec::new(),
            audit: audit(&request, &admission, &demands.audit),
            changes: admission.changes,
            waived,
            seccomp: admission.seccomp,
        });
    };
    // As CRI asks: the process of the container, with other words.
    let mut process = admission.spec.get("process").cloned().unwrap_or_default();
    Edit::Set("args".to_owned(), json!(exec.command)).apply(&mut process);
    Edit::Set("terminal".to_owned(), json!(exec.terminal)).apply(&mut process);
    let bounding: Vec<String> =
        view::strings(&process, "capabilities.bounding").map(str::to_owned).collect();
    let mut spec = json!({"process": process});
    if let Some(seccomp) = &admission.seccomp {
        Edit::Set("linux.seccomp".to_owned(), seccomp.clone()).apply(&mut spec);
    }
    let executing = Executing { bounding: &bounding, stdin: exec.stdin };
    let request = Request { door: Door::Exec, spec: &spec, facts, node, exec: Some(executing) };
    Ok(match decide(&request, &demands.floor) {
        Verdict::Refuse(refusal) => refused(refusal.reasons, waived),
        Verdict::Admit(admission) => Decided {
            decision: Decision::Admit,
            reasons: Vec::new(),
            audit: audit(&request, &admission, &demands.audit),
            changes: admission.changes,
            waived,
            seccomp: admission.seccomp,
        },
    })
}

/// In what a case is not as expected, in words. An error where the expectation names what there is not.
pub(super) fn mismatches(expect: &Expect, found: &Decided) -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    let words = |decision| match decision {
        Decision::Admit => "admit",
        Decision::Refuse => "refuse",
    };
    if found.decision != expect.verdict {
        let (expected, got) = (words(expect.verdict), words(found.decision));
        let why: Vec<String> =
            found.reasons.iter().map(|r| format!("\n{}: {r}", r.control)).collect();
        wrong.push(format!("verdict: expected {expected}, got {got}{}", why.concat()));
    }
    if let Some(expected) = &expect.refused_by {
        known_controls("refusedBy", expected)?;
        let by = found.reasons.iter().map(|reason| reason.control.clone()).collect();
        wrong.extend(missing("refusedBy", expected, &by));
    }
    if let Some(expected) = &expect.changes {
        let told: Vec<String> = found.changes.iter().map(change).collect();
        for wanted in expected {
            let demanded = |change: &Change| {
                let by =
                    |name: &String| change.policies.iter().any(|source| source.policy == *name);
                change.field == wanted.field && wanted.policy.as_ref().is_none_or(by)
            };
            if !found.changes.iter().any(demanded) {
                let by = wanted.policy.as_ref().map(|name| format!(" by {name}"));
                let field = format!("{}{}", wanted.field, by.unwrap_or_default());
                wrong.push(format!("changes: expected {field}, got {}", list(&told)));
            }
        }
        if expected.is_empty() && !told.is_empty() {
            wrong.push(format!("changes: expected none, got {}", list(&told)));
        }
    }
    if let Some(expected) = &expect.audit {
        known_controls("audit", expected)?;
        let changes = found.audit.changes.iter().map(|change| change.control.clone());
        let refusals = found.audit.refusals.iter().map(|reason| reason.control.clone());
        wrong.extend(missing("audit", expected, &changes.chain(refusals).collect()));
    }
    if let Some(expected) = &expect.waived {
        wrong.extend(missing("waived", expected, &found.waived.iter().cloned().collect()));
    }
    if let Some(calls) = &expect.seccomp {
        let function = filter(found.seccomp.as_ref())?;
        for (expected, passes) in [(&calls.denies, false), (&calls.allows, true)] {
            for name in expected {
                if !is_known(name) {
                    return Err(format!("expect.seccomp: {name:?} is no system call"));
                }
                let answer = function.as_ref().map_or(Some(Action::Allow), |f| f.always(name));
                let as_expected = answer
                    .is_some_and(|answer| matches!(answer, Action::Allow | Action::Log) == passes);
                if !as_expected {
                    let word = if passes { "allows" } else { "denies" };
                    let got =
                        answer.map_or("an answer by its arguments".to_owned(), |a| a.to_string());
                    wrong.push(format!("seccomp.{word}: expected {name}, got {got}"));
                }
            }
        }
        if found.decision == Decision::Refuse {
            wrong.push("seccomp: nothing starts that would have a filter".to_owned());
        }
    }
    Ok(wrong)
}

fn filter(section: Option<&Value>) -> Result<Option<Function>, String> {
    let Some(section) = section else { return Ok(None) };
    Profile::from_oci(section)
        .and_then(|profile| Function::of(&profile, Reading::Runtime))
        .map(Some)
        .map_err(|error| format!("the enforced seccomp profile cannot be read: {error}"))
}

fn change(change: &Change) -> String {
    let by: BTreeSet<&str> = change.policies.iter().map(|source| source.policy.as_str()).collect();
    format!("{} by {}", change.field, by.into_iter().collect::<Vec<_>>().join(", "))
}

fn missing(field: &str, expected: &BTreeSet<String>, found: &BTreeSet<String>) -> Option<String> {
    let wrong = match expected.is_empty() {
        true => !found.is_empty(),
        false => !expected.is_subset(found),
    };
    let words = |names: &BTreeSet<String>| list(&names.iter().cloned().collect::<Vec<_>>());
    wrong.then(|| format!("{field}: expected {}, got {}", words(expected), words(found)))
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join("; ") }
}

/// A misspelt control would never be missed where a list is long.
fn known_controls(field: &str, names: &BTreeSet<String>) -> Result<(), String> {
    let mut known = Controls::default();
    Floor::default().visit(&mut known);
    match names.iter().find(|name| !known.0.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(coaming_config::suggest::unknown(
            &format!("control in expect.{field}"),
            name,
            known.0,
        )),
    }
}

#[derive(Default)]
struct Controls(Vec<&'static str>);

impl Visitor for Controls {
    fn control<R: Rule>(&mut self, _: &Bound<R>) {
        self.0.push(R::CONTROL);
    }
}
