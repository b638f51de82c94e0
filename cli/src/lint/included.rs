//! Lints of `include`: what adds nothing, and what is included for containers that are not selected.

use coaming_policy::builtin;
use coaming_policy::controls::Rule;
use coaming_policy::document::Include;
use coaming_policy::facts::ContainerType;
use coaming_policy::floor::{Bound, Source, Visitor};

use super::Lints;
use super::set::{Found, Member, covers};
use super::shadowed::says;

/// A built-in policy all of whose rules another one states, for every container that they are for.
pub(super) fn lint(members: &[Member<'_>], lints: &mut Found) {
    for (index, member) in members.iter().enumerate() {
        let Some(name) = &member.include else { continue };
        let same = |other: &&Member<'_>| is_same_include(member, other);
        // Each built-in is looked at once, at its first part.
        if members.iter().take(index).any(|other| same(&other)) {
            continue;
        }
        let mut needless = Needless { at: None, needless: true };
        for (place, part) in members.iter().enumerate().filter(|(_, other)| same(other)) {
            let others = members.iter().enumerate().filter(|(index, other)| {
                let twins = *index > place && is_needed_no_more(part, other);
                !is_same_include(part, other) && covers(other, part) && !twins
            });
            let floor =
                others.fold(part.floor.clone(), |floor, (_, other)| floor.meet(other.floor));
            floor.visit(&mut Said { part, needless: &mut needless });
        }
        if let (true, Some(at)) = (needless.needless, &needless.at) {
            let message = format!(
                "spec.include names {name}, which demands nothing that what is stated or included besides \
                 does not demand of every container that this selects"
            );
            lints.warn(&Source { include: None, ..at.clone() }, message);
        }
    }
}

fn is_same_include(one: &Member<'_>, other: &Member<'_>) -> bool {
    one.document.metadata.value == other.document.metadata.value && one.include == other.include
}

/// Whether two policies include the same for the same: then the second is the one too many.
fn is_needed_no_more(first: &Member<'_>, second: &Member<'_>) -> bool {
    first.include == second.include && covers(first, second)
}

struct Needless {
    at: Option<Source>,
    needless: bool,
}

/// Whether all that a part states is stated by others too.
struct Said<'a> {
    part: &'a Member<'a>,
    needless: &'a mut Needless,
}

impl Visitor for Said<'_> {
    fn control<R: Rule>(&mut self, bound: &Bound<R>) {
        let (own, others): (Vec<_>, Vec<_>) =
            bound.clauses().iter().partition(|clause| self.part.has(&clause.source));
        for clause in own {
            self.needless.at = Some(clause.source.clone());
            self.needless.needless &= others.iter().any(|other| says(other, clause));
        }
    }
}

/// Namespaces and sysctls are the sandbox's: without it a part of the built-in is never asked.
pub(super) fn lint_sandbox(lints: &mut Lints<'_>) {
    let selector = lints.document.selector();
    // A sandbox has no container name, and an image of its own.
    let names_others = selector.containers.is_some() || selector.images.is_some();
    if names_others || selector.container_types.contains(&ContainerType::Sandbox) {
        return;
    }
    let asks_sandboxes = |which: Include| {
        let documents = builtin::documents(which).unwrap_or_default();
        documents
            .iter()
            .any(|document| document.selector().container_types.contains(&ContainerType::Sandbox))
    };
    let document = lints.document;
    for at in document.spec.include.iter().flatten().filter(|at| asks_sandboxes(at.value)) {
        let name = at.value.name();
        lints.warn(
            at.line,
            format!(
                "spec.include names {name}, some of whose rules are for the pod's sandbox too, which has the \
                 pod's sysctls; to ask them of it, write spec.match.containerTypes: [sandbox, container]"
            ),
        );
    }
}
