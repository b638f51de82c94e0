//! Lints of `match`: selectors that select nothing, that rest on what a pod's author chooses, or that go by
//! what the runtimes do not tell.

use std::collections::BTreeSet;

use coaming_policy::controls::{Rule, Scope};
use coaming_policy::document::Match;
use coaming_policy::expression::FactsExpression;
use coaming_policy::facts::{ContainerType, Door};
use coaming_policy::floor::{Bound, Visitor};

use super::Lints;

pub(super) fn lint(lints: &mut Lints<'_>) {
    let Some(selector) = &lints.document.spec.selector else { return };
    let line = lints.own_line();
    if let Some(message) = selects_nothing(selector) {
        return lints.warn(line, message);
    }
    if let Some(message) = foreign_pattern(selector) {
        lints.warn(line, message);
    }
    let avoided = avoided_by(selector);
    if !avoided.is_empty() {
        lints.warn(
            line,
            format!(
                "is avoided by whoever writes a pod, since {} chosen there; state what must hold whatever is \
                 written in a policy that goes by namespaces, or by what the spec and the node say",
                are(&avoided)
            ),
        );
    }
    let in_pods = selector.namespaces.is_some() || selector.pods.is_some();
    if selector.goes_by_labels() && !in_pods {
        lints.warn(
            line,
            "goes by labels, which no container outside Kubernetes has: it applies to all of those; \
             namespaces: ['*'] leaves them out",
        );
    }
    through_doors(selector, lints);
}

/// What a waiver's `match` makes of it.
pub(super) fn waiver(selector: &Match) -> Option<String> {
    selects_nothing(selector).or_else(|| foreign_pattern(selector))
}

fn selects_nothing(selector: &Match) -> Option<String> {
    let sets = [
        ("podUIDs", selector.pod_uids.as_ref().is_some_and(BTreeSet::is_empty)),
        ("imageDigests", selector.image_digests.as_ref().is_some_and(BTreeSet::is_empty)),
        ("containerTypes", selector.container_types.is_empty()),
        ("doors", selector.doors.as_ref().is_some_and(BTreeSet::is_empty)),
    ];
    let lists = selector.lists().map(|(name, list)| (name, list.is_some_and(Vec::is_empty)));
    let keyed = [("annotations", &selector.annotations), ("labels", &selector.labels)];
    let values = keyed.into_iter().flat_map(|(name, keys)| {
        let keys = keys.iter().flatten().filter(|(_, globs)| globs.is_empty());
        keys.map(move |(key, _)| format!("{name}[{key:?}]"))
    });
    let empty: Vec<String> = lists
        .into_iter()
        .chain(sets)
        .filter(|(_, empty)| *empty)
        .map(|(name, _)| name.to_owned())
        .chain(values)
        .collect();
    if !empty.is_empty() {
        return Some(format!(
            "selects no container: spec.match.{} is empty, and an empty list matches nothing",
            empty.join(", spec.match.")
        ));
    }
    if selector.container_types == [ContainerType::Sandbox].into() && selector.containers.is_some()
    {
        return Some(
            "selects no container: a pod's sandbox has no container name to match spec.match.containers"
                .to_owned(),
        );
    }
    selector.exemptions().into_iter().find_map(|(name, exempt, list)| {
        let (exempt, list) = (exempt?, list?);
        let all = list.iter().all(|glob| exempt.iter().any(|exempt| exempt.covers(glob)));
        all.then(|| format!("selects no container: spec.match.{name} exempts all that it names"))
    })
}

/// A pattern in the manner of a shell: of names, only `*` stands for more than itself, and no name has
/// such characters.
fn foreign_pattern(selector: &Match) -> Option<String> {
    let exempt = selector.exemptions().map(|(name, exempt, _)| (name, exempt));
    let globs =
        selector.lists().into_iter().chain(exempt).flat_map(|(name, list)| {
            list.into_iter().flatten().map(move |glob| (name, glob.as_str()))
        });
    let mut foreign = globs.filter(|(_, glob)| glob.contains(['[', ']', '?', '{', '}']));
    foreign.next().map(|(name, glob)| {
        format!(
            "spec.match.{name} has {glob:?}, which matches that very text alone: only * stands for more than \
             itself; list each name, or use spec.match.expression"
        )
    })
}

/// The fields by which a pod's author has the container left out.
fn avoided_by(selector: &Match) -> Vec<&'static str> {
    let chosen = [
        ("annotations", selector.annotations.is_some() || names(selector, "annotations")),
        ("exceptImages", selector.except_images.as_ref().is_some_and(|list| !list.is_empty())),
        ("labels", selector.goes_by_labels()),
        ("imageDigests", selector.image_digests.is_some() || names(selector, "imageDigests")),
    ];
    chosen.into_iter().filter(|(_, chosen)| *chosen).map(|(name, _)| name).collect()
}

fn are(fields: &[&str]) -> String {
    let fields: Vec<String> = fields.iter().map(|field| format!("what {field} goes by")).collect();
    format!("{} is", fields.join(" and "))
}

fn names(selector: &Match, variable: &str) -> bool {
    let named = selector.expression.as_ref().map(FactsExpression::variables).unwrap_or_default();
    named.contains(&variable)
}

/// Controls that are never asked through the doors that are left.
fn through_doors(selector: &Match, lints: &mut Lints<'_>) {
    let Some(doors) = &selector.doors else { return };
    let mut idle = Idle { doors, fields: Vec::new() };
    lints.floor.visit(&mut idle);
    for (field, line) in idle.fields {
        lints.warn(line, format!("{field} says nothing through the doors of spec.match.doors"));
    }
}

struct Idle<'a> {
    doors: &'a BTreeSet<Door>,
    fields: Vec<(String, u64)>,
}

impl Visitor for Idle<'_> {
    fn control<R: Rule>(&mut self, bound: &Bound<R>) {
        let through = |door| self.doors.contains(&door);
        // What is changed by an update: limits, and cache schemas.
        let updated = ["resources", "fields"].contains(&R::CONTROL) && through(Door::Update);
        let asked = match R::SCOPE {
            Scope::Process => through(Door::Create) || through(Door::Exec),
            Scope::Container => through(Door::Create),
            Scope::Exec => through(Door::Exec),
        };
        if !asked && !updated {
            let clauses = bound.clauses().iter();
            self.fields
                .extend(clauses.map(|clause| (clause.source.field.clone(), clause.source.line)));
        }
    }
}
