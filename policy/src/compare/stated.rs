//! A set of policies, as it is compared.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::scope::Scope;
use super::waivers::Waiver;
use crate::builtin;
use crate::controls::Rule;
use crate::document::{BuiltIn, Directory, DocumentError, Match, Mode, PolicyDocument};
use crate::floor::{Action, Bound, Floor, Visitor};

/// The policies and waivers of a directory, and beneath them both built-in floors. Which of these is in
/// force is the node's configuration; each is held against itself.
#[derive(Debug)]
pub(super) struct Set<'a> {
    pub(super) policies: Vec<Policy<'a>>,
    pub(super) waivers: Vec<Waiver<'a>>,
}

/// A policy of a set.
#[derive(Debug)]
pub(super) struct Policy<'a> {
    pub(super) name: &'a str,
    pub(super) file: &'a str,
    pub(super) line: u64,
    pub(super) built_in: Option<BuiltIn>,
    pub(super) scope: Scope,
    /// The percentage of pods for which it is enforced.
    pub(super) reach: u8,
    pub(super) audit_mode: bool,
    /// Fields (`spec.landlock`) that are audited.
    audited: BTreeSet<String>,
    pub(super) floor: Cow<'a, Floor>,
}

impl<'a> Set<'a> {
    pub(super) fn of(directory: &'a Directory) -> Result<Set<'a>, DocumentError> {
        let mut policies = Vec::new();
        for which in [BuiltIn::Baseline, BuiltIn::Node] {
            policies.push(Policy::built_in(which)?);
        }
        let stated = directory.names().zip(directory.floors());
        policies
            .extend(stated.map(|((_, file), (document, floor))| Policy::of(file, document, floor)));
        let waivers = directory.waivers().map(|(file, waiver)| Waiver::of(file, waiver)).collect();
        Ok(Set { policies, waivers })
    }
}

impl<'a> Policy<'a> {
    fn of(file: &'a str, document: &'a PolicyDocument, floor: &'a Floor) -> Policy<'a> {
        let spec = &document.spec;
        let audit_mode = spec.mode == Some(Mode::Audit);
        let reach = match &spec.rollout {
            _ if audit_mode => 0,
            Some(rollout) => rollout.value.percentage,
            None => 100,
        };
        let audited = spec.audit.iter().flat_map(|at| &at.value);
        Policy {
            name: &document.metadata.value.name,
            file,
            line: document.metadata.line,
            built_in: None,
            scope: match &spec.selector {
                Some(selector) => Scope::of(selector),
                None => Scope::of(&Match::workloads()),
            },
            reach,
            audit_mode,
            audited: audited.map(|control| format!("spec.{control}")).collect(),
            floor: Cow::Borrowed(floor),
        }
    }

    fn built_in(which: BuiltIn) -> Result<Policy<'a>, DocumentError> {
        Ok(Policy {
            name: which.name(),
            file: "built-in",
            line: 1,
            built_in: Some(which),
            scope: Scope::everything(),
            reach: 100,
            audit_mode: false,
            audited: BTreeSet::new(),
            floor: Cow::Owned(builtin::floor(which)?),
        })
    }

    /// Whether what stands in a field of it is audited and not enforced.
    pub(super) fn audits(&self, field: &str) -> bool {
        self.audited.contains(field)
    }

    /// What tells it from the other policies of its set.
    pub(super) fn key(&self) -> (&'a str, Option<&'static str>) {
        (self.name, self.built_in.map(BuiltIn::name))
    }

    /// Whether it is enforced for every pod for which the other is, of those that both select.
    pub(super) fn reaches_as_far_as(&self, other: &Policy<'_>) -> bool {
        // Which pods a rollout reaches depends on the policy's name; see [`crate::document::Rollout`].
        self.reach >= 100 || (self.key() == other.key() && self.reach >= other.reach)
    }

    /// Whether the other says the same, wherever its lines stand.
    pub(super) fn says_what(&self, other: &Policy<'_>) -> bool {
        let selects = (&self.scope, self.enforcement(), &self.audited)
            == (&other.scope, other.enforcement(), &other.audited);
        let demands = |policy: &Policy<'_>| {
            let mut said = Said::default();
            policy.floor.visit(&mut said);
            said.0
        };
        selects && (self.floor == other.floor || demands(self) == demands(other))
    }

    /// How it is enforced, in words.
    pub(super) fn enforcement(&self) -> String {
        match self.reach {
            _ if self.audit_mode => "audited".to_owned(),
            100.. => "enforced".to_owned(),
            some => format!("enforced for {some} % of the pods"),
        }
    }
}

/// What clauses say, without where they stand.
#[derive(Default)]
struct Said(Vec<(&'static str, Action, bool, String)>);

impl Visitor for Said {
    fn control<R: Rule>(&mut self, bound: &Bound<R>) {
        for clause in bound.clauses() {
            let rule = serde_json::to_string(&clause.rule).unwrap_or_default();
            self.0.push((R::CONTROL, clause.action, clause.best_effort, rule));
        }
    }
}
