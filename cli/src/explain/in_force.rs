//! The policies behind a floor.

use std::collections::BTreeMap;

use coaming_policy::controls::Rule;
use coaming_policy::floor::{Action, Bound, Floor, Visitor};
use serde::Serialize;

/// A policy that takes part in a floor.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) file: String,
    /// What it states, in the order in which it is applied.
    pub(super) clauses: Vec<Stated>,
}

/// One control that a policy states.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stated {
    pub(super) control: &'static str,
    pub(super) line: u64,
    pub(super) action: Action,
    pub(super) best_effort: bool,
}

/// The policies that a floor is made of.
pub(super) fn policies(floor: &Floor) -> Vec<Policy> {
    let mut gathered = Gathered::default();
    floor.visit(&mut gathered);
    gathered.0.into_iter().map(|((name, file), clauses)| Policy { name, file, clauses }).collect()
}

#[derive(Default)]
struct Gathered(BTreeMap<(String, String), Vec<Stated>>);

impl Visitor for Gathered {
    fn control<R: Rule>(&mut self, bound: &Bound<R>) {
        for clause in bound.clauses() {
            let source = &clause.source;
            self.0.entry((source.policy.clone(), source.file.clone())).or_default().push(Stated {
                control: R::CONTROL,
                line: source.line,
                action: clause.action,
                best_effort: clause.best_effort,
            });
        }
    }
}
