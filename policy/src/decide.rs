//! The one function that decides, for every door.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::controls::landlock::Layer;
use crate::controls::seccomp::Seccomp;
use crate::controls::{Asked, Executing, Finding, Node, Rule, Scope, Support};
pub use crate::facts::Door;
use crate::facts::Facts;
use crate::floor::{Action, Bound, Clause, Floor, Source, Visitor};
use crate::launch;
use crate::memory::{Forgetful, Memory};
use crate::spec::edit::Edit;
use crate::spec::{table, view};
use crate::verdict::{Admission, Audit, Change, Degraded, Reason, Refusal, Verdict};

/// A request for a verdict.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The door.
    pub door: Door,
    /// What is asked: the container's spec; for an exec its `process`, with the seccomp section that
    /// the container was created with at `linux.seccomp`.
    pub spec: &'a Value,
    /// What is known of the container.
    pub facts: &'a Facts,
    /// What is known of the node.
    pub node: &'a Node,
    /// What is known of an exec besides; `None` for a create.
    pub exec: Option<Executing<'a>>,
}

/// Decides a request: enforced <= asked and enforced <= floor, or refused.
pub fn decide(request: &Request<'_>, floor: &Floor) -> Verdict {
    decide_with(request, floor, &Forgetful)
}

/// [`decide`], with a place for what is dear to work out. The verdict is the same.
pub fn decide_with(request: &Request<'_>, floor: &Floor, memory: &dyn Memory) -> Verdict {
    let mut pass = Pass::new(request, request.spec.clone(), memory);
    reject_reserved(request.spec, &mut pass.reasons);
    floor.visit(&mut pass);
    // The floor must hold of the outcome, whatever the controls did to each other's fields.
    let mut check = Pass::new(request, std::mem::take(&mut pass.spec), memory);
    floor.visit(&mut check);
    // As it was: where a second look changed it, nothing starts.
    let spec = check.spec;
    if pass.reasons.is_empty() {
        pass.reasons.extend(check.reasons);
        pass.reasons.extend(check.changes.into_iter().map(|change| Reason {
            control: change.control,
            field: change.field,
            asked: change.asked,
            allowed: format!(
                "{} (two controls undo each other here; this is a defect of coaming: report it)",
                change.allowed
            ),
            policy: change.policies.into_iter().next(),
        }));
    }
    if !pass.reasons.is_empty() {
        return Verdict::Refuse(Refusal { reasons: pass.reasons });
    }
    let mut notes = Vec::new();
    note_unknown_fields(request.spec, "", &mut notes);
    let seccomp = view::at(&spec, "linux.seccomp").cloned();
    match launch::plan(request.door, spec, pass.layers) {
        Ok((spec, launch)) => {
            notes.extend(launch.open_ends());
            Verdict::Admit(Box::new(Admission {
                spec,
                seccomp,
                launch,
                changes: pass.changes,
                degraded: pass.degraded,
                notes,
            }))
        }
        Err(reason) => Verdict::Refuse(Refusal { reasons: vec![*reason] }),
    }
}

/// What an audited floor would have done to a request that was admitted, beyond what is enforced. It
/// changes nothing.
pub fn audit(request: &Request<'_>, admission: &Admission, audited: &Floor) -> Audit {
    audit_with(request, admission, audited, &Forgetful)
}

/// [`audit`], with a place for what is dear to work out.
pub fn audit_with(
    request: &Request<'_>,
    admission: &Admission,
    audited: &Floor,
    memory: &dyn Memory,
) -> Audit {
    if *audited == Floor::default() {
        return Audit::default();
    }
    let mut spec = admission.spec.clone();
    if let Some(seccomp) = &admission.seccomp {
        Edit::Set("linux.seccomp".to_owned(), seccomp.clone()).apply(&mut spec);
    }
    let mut pass = Pass::new(request, spec, memory);
    audited.visit(&mut pass);
    let mut notes = Vec::new();
    for clause in audited.landlock.clauses() {
        notes.push(format!(
            "{} would confine files or ports by Landlock; which accesses that denies is not known before \
             it is enforced",
            clause.source
        ));
    }
    notes.extend(pass.degraded.into_iter().map(|degraded| {
        format!("{} would be degraded: {} ({})", degraded.control, degraded.lost, degraded.policy)
    }));
    Audit { changes: pass.changes, refusals: pass.reasons, notes, kernel_log: None }
}

/// One application of a floor.
struct Pass<'a> {
    request: &'a Request<'a>,
    memory: &'a dyn Memory,
    spec: Value,
    layers: BTreeSet<Layer>,
    changes: Vec<Change>,
    degraded: Vec<Degraded>,
    reasons: Vec<Reason>,
}

impl<'a> Pass<'a> {
    fn new(request: &'a Request<'a>, spec: Value, memory: &'a dyn Memory) -> Self {
        Pass {
            request,
            memory,
            spec,
            layers: BTreeSet::new(),
            changes: Vec::new(),
            degraded: Vec::new(),
            reasons: Vec::new(),
        }
    }

    /// The clauses as this node can enforce them; what it cannot is refused or recorded.
    fn supported<R: Rule>(&mut self, bound: &Bound<R>) -> Vec<Clause<R>> {
        let mut clauses = Vec::with_capacity(bound.clauses().len());
        for clause in bound.clauses() {
            match clause.rule.support(self.request.node) {
                Support::Full => clauses.push(clause.clone()),
                Support::Partial { rule, lost } if clause.best_effort => {
                    self.degraded.push(Degraded {
                        control: R::CONTROL.to_owned(),
                        lost,
                        policy: clause.source.clone(),
                    });
                    clauses.push(Clause { rule, ..clause.clone() });
                }
                Support::Partial { lost, .. } => self.reasons.push(Reason {
                    control: R::CONTROL.to_owned(),
                    field: R::CONTROL.to_owned(),
                    asked: Value::String("a container on this node".to_owned()),
                    allowed: format!(
                        "only what the node can enforce: {lost}; list {} under spec.bestEffort to \
                         start without it",
                        R::CONTROL
                    ),
                    policy: Some(clause.source.clone()),
                }),
            }
        }
        clauses
    }

    /// Which clauses alone find fault with a field; all of them where none does alone.
    fn demanders<R: Rule>(clauses: &[Clause<R>], field: &str, each: &[&[Finding]]) -> Vec<Source> {
        let alone: Vec<Source> = clauses
            .iter()
            .zip(each)
            .filter(|(_, findings)| findings.iter().any(|finding| finding.field == field))
            .map(|(clause, _)| clause.source.clone())
            .collect();
        if alone.is_empty() {
            clauses.iter().map(|clause| clause.source.clone()).collect()
        } else {
            alone
        }
    }
}

impl Visitor for Pass<'_> {
    fn control<R: Rule>(&mut self, bound: &Bound<R>) {
        let applies = match (self.request.door, R::SCOPE) {
            // New limits are judged control by control and do not come here; should they, all is held
            // against them that holds of the container.
            (_, Scope::Process)
            | (Door::Create | Door::Update, Scope::Container)
            | (Door::Exec, Scope::Exec) => true,
            (Door::Create | Door::Update, Scope::Exec) => false,
            (Door::Exec, Scope::Container) => R::CONTROL == Seccomp::CONTROL,
        };
        if bound.is_empty() || !applies {
            return;
        }
        let clauses = self.supported(bound);
        let met = clauses.iter().fold(R::top(), |met, clause| met.meet(&clause.rule));
        self.layers.extend(met.layers());
        let spec = std::mem::take(&mut self.spec);
        let asked = Asked {
            spec: if R::OF_WHAT_WAS_ASKED { self.request.spec } else { &spec },
            facts: self.request.facts,
            node: self.request.node,
            exec: self.request.exec,
            memory: self.memory,
            in_brief: false,
        };
        let findings = met.tighten(&asked);
        let mut edits = Vec::new();
        if !findings.is_empty() {
            // Only now is it asked who demanded what: most requests are within most rules.
            let in_brief = Asked { in_brief: true, ..asked };
            let alone: Vec<Vec<Finding>> = match clauses.as_slice() {
                [_] => Vec::new(),
                clauses => clauses.iter().map(|clause| clause.rule.tighten(&in_brief)).collect(),
            };
            let each: Vec<&[Finding]> = match clauses.as_slice() {
                [_] => vec![&findings],
                _ => alone.iter().map(Vec::as_slice).collect(),
            };
            for (clause, alone) in clauses.iter().zip(&each) {
                for finding in *alone {
                    if clause.action == Action::Refuse || finding.remedy.is_none() {
                        self.reasons.push(Reason {
                            control: R::CONTROL.to_owned(),
                            field: finding.field.clone(),
                            asked: finding.asked.clone(),
                            allowed: finding.allowed.clone(),
                            policy: Some(clause.source.clone()),
                        });
                    }
                }
            }
            let demanders: Vec<Vec<Source>> = findings
                .iter()
                .map(|finding| Self::demanders(&clauses, &finding.field, &each))
                .collect();
            for (finding, policies) in findings.into_iter().zip(demanders) {
                let Some(remedy) = finding.remedy else {
                    // Wider than the rules only together (an empty intersection, say).
                    if !self.reasons.iter().any(|reason| reason.field == finding.field) {
                        self.reasons.push(Reason {
                            control: R::CONTROL.to_owned(),
                            field: finding.field,
                            asked: finding.asked,
                            allowed: finding.allowed,
                            policy: policies.into_iter().next(),
                        });
                    }
                    continue;
                };
                edits.extend(remedy);
                self.changes.push(Change {
                    control: R::CONTROL.to_owned(),
                    field: finding.field,
                    asked: finding.asked,
                    enforced: Value::Null,
                    allowed: finding.allowed,
                    policies,
                });
            }
        }
        self.spec = spec;
        for edit in edits {
            edit.apply(&mut self.spec);
        }
        for change in self.changes.iter_mut().filter(|change| change.control == R::CONTROL) {
            change.enforced = view::at(&self.spec, &change.field).cloned().unwrap_or(Value::Null);
        }
    }
}

/// A request must not use the place that is the launcher's, nor hide a mount below it.
fn reject_reserved(spec: &Value, reasons: &mut Vec<Reason>) {
    for mount in view::items(spec, "mounts") {
        let destination = view::text(mount, "destination").unwrap_or_default();
        if launch::is_reserved(destination) {
            reasons.push(Reason {
                control: "mounts".to_owned(),
                field: "mounts".to_owned(),
                asked: Value::String(destination.to_owned()),
                allowed: format!("nothing at or below {}, the launcher's place", launch::PLACE),
                policy: None,
            });
        }
    }
}

/// Fields that the table does not have are kept, since dropping them could only break or widen what
/// they ask for; an operator is told, since no control judges them.
fn note_unknown_fields(value: &Value, place: &str, notes: &mut Vec<String>) {
    match value {
        Value::Object(object) if table::has_free_keys(place) => {
            for value in object.values() {
                note_unknown_fields(value, &table::free_child(place), notes);
            }
        }
        Value::Object(object) => {
            for (key, value) in object {
                let place = table::child(place, key);
                if table::decision(&place).is_some() {
                    note_unknown_fields(value, &place, notes);
                } else {
                    notes.push(format!("{place} is not a field that coaming knows; it was kept"));
                }
            }
        }
        Value::Array(items) => {
            let place = format!("{place}[]");
            items.iter().for_each(|item| note_unknown_fields(item, &place, notes));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::parse_policies;

    #[test]
    fn what_the_node_lacks_is_left_out_by_leave_of_the_policy_and_by_nothing_else() {
        let decided = |leave: &str| {
            let text = format!(
                "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  \
                 landlock: {{write: [/tmp], connect: [443]}}\n{leave}"
            );
            let policy = parse_policies("p.yaml", &text).unwrap().remove(0);
            let floor = policy.floor("p.yaml", &mut |_| panic!("no profiles")).unwrap();
            let spec = json!({
                "process": {"args": ["sh"]},
                "mounts": [{"destination": "/dev", "type": "tmpfs"}],
            });
            let facts = Facts::of("c", &spec);
            let node = Node { landlock_abi: 2, kernel: (6, 1), ..Node::default() };
            let request =
                Request { door: Door::Create, spec: &spec, facts: &facts, node: &node, exec: None };
            decide(&request, &floor)
        };
        let Verdict::Refuse(refusal) = decided("") else { panic!("started without TCP rules") };
        assert!(refusal.to_string().contains("bestEffort"), "{refusal}");
        let Verdict::Admit(admission) = decided("  bestEffort: [landlock]\n") else {
            panic!("refused in spite of bestEffort")
        };
        assert!(admission.degraded.iter().any(|degraded| degraded.lost.contains("TCP ports")));
        // The launcher would fail under rules that the kernel does not know.
        let layers = &admission.launch.layers;
        assert!(
            !layers.is_empty() && layers.iter().all(|layer| layer.handled_net == 0),
            "{layers:?}"
        );
    }
}
