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
    /// The built-in policy that it includes, and whose rules these are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) include: Option<String>,
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
    let policy = |((name, file, include), clauses)| Policy { name, file, include, clauses };
    gathered.0.into_iter().map(policy).collect()
}

#[derive(Default)]
struct Gathered(BTreeMap<(String, String, Option<String>), Vec<Stated>>);

impl Visitor for Gathered {
    fn control<R: Rule>(&mut self, bound: &Bound<R>) {
        for clause in bound.clauses() {
            let source = &clause.source;
            let of = (source.policy.clone(), source.file.clone(), source.include.clone());
            self.0.entry(of).or_default().push(Stated {
                control: R::CONTROL,
                line: source.line,
                action: clause.action,
                best_effort: clause.best_effort,
            });
        }
    }
}
