//! Gaps as differences: what is one change to a document is told once.

use std::collections::BTreeSet;

use super::difference::{Difference, Direction, Place, Subject};
use super::gaps::{Cause, Gap, gaps};
use super::scope::Scope;
use super::stated::{Policy, Set};
use super::waivers::Waiver;
use super::words::cut;

/// Everything that differs between two sets.
pub(super) fn differences(old: &Set<'_>, new: &Set<'_>) -> Vec<Difference> {
    let mut all = told(old, new, false);
    for (of_rule, tighter) in told(new, old, true) {
        // A rule that allows here more and there less is one difference.
        let other = all.iter_mut().find(|(rule, looser)| {
            *rule && of_rule && looser.name == tighter.name && looser.field == tighter.field
        });
        match other {
            Some((_, looser)) => looser.direction = Direction::Incomparable,
            None => all.push((of_rule, tighter)),
        }
    }
    let mut all: Vec<Difference> = all.into_iter().map(|(_, difference)| difference).collect();
    let unheard = without_effect(old, new, &all);
    all.extend(unheard);
    all.sort_by(|a, b| {
        let key = |d: &Difference| (d.direction, d.subject, d.name.clone(), d.field.clone());
        key(a).cmp(&key(b))
    });
    all
}

/// Where sets cannot be compared at all.
pub(super) fn unknown(why: &str) -> Difference {
    Difference {
        direction: Direction::Incomparable,
        subject: Subject::Policy,
        name: "built-in".to_owned(),
        field: None,
        controls: Vec::new(),
        what: format!("the sets cannot be compared: {why}"),
        before: String::new(),
        after: String::new(),
        containers: Scope::everything().in_words(),
        old: None,
        new: None,
    }
}

/// What one difference is of: the name, the kind and the field of a document.
type Key<'a> = (&'a str, Subject, Option<String>);

/// What one set demands beyond the other, and whether it is of a rule; `backwards` where the one is the
/// newer.
fn told(old: &Set<'_>, new: &Set<'_>, backwards: bool) -> Vec<(bool, Difference)> {
    let mut groups: Vec<(Key<'_>, Vec<Gap<'_>>)> = Vec::new();
    for gap in gaps(old, new, backwards) {
        let key = match gap.cause {
            Cause::Waiver(index) => {
                let name = new.waivers.get(index).map_or("", Waiver::name);
                (name, Subject::Waiver, None)
            }
            _ => (gap.policy, Subject::Policy, field(&gap)),
        };
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, gaps)) => gaps.push(gap),
            None => groups.push((key, vec![gap])),
        }
    }
    let turned = |difference: Difference| match backwards {
        true => difference.reversed(),
        false => difference,
    };
    groups
        .into_iter()
        .filter_map(|((name, subject, field), gaps)| {
            let rule = gaps.iter().all(|gap| gap.cause == Cause::Rule);
            let difference = match subject {
                Subject::Policy => of_policy(name, field, &gaps, backwards)?,
                Subject::Waiver => of_waiver(old, new, &gaps, backwards)?,
            };
            Some((rule, turned(difference)))
        })
        .collect()
}

/// The field of the document that a gap is about.
fn field(gap: &Gap<'_>) -> Option<String> {
    Some(match gap.cause {
        Cause::NoPolicy => return None,
        Cause::NoControl | Cause::Rule | Cause::Waiver(_) => gap.field.clone(),
        Cause::Match => "spec.match".to_owned(),
        Cause::Enforcement if [&gap.before, &gap.after].iter().any(|said| *said == "audited") => {
            "spec.mode".to_owned()
        }
        Cause::Enforcement => "spec.rollout".to_owned(),
        Cause::Audit => "spec.audit".to_owned(),
        Cause::Action => "spec.actions".to_owned(),
        Cause::BestEffort => "spec.bestEffort".to_owned(),
    })
}

fn of_policy(
    name: &str,
    field: Option<String>,
    gaps: &[Gap<'_>],
    backwards: bool,
) -> Option<Difference> {
    // What Landlock implies stands in its field, and is told after it.
    let own = |gap: &&Gap<'_>| gap.field.strip_prefix("spec.") == Some(gap.control);
    let first = gaps.iter().find(own).or(gaps.first())?;
    let controls = controls(gaps);
    let of = controls.join(", ");
    let what = match (first.cause, backwards) {
        (Cause::NoPolicy, false) => format!("is gone, with {of}"),
        (Cause::NoPolicy, true) => format!("is new, with {of}"),
        (Cause::NoControl, false) => "is no longer stated".to_owned(),
        (Cause::NoControl, true) => "is stated now".to_owned(),
        (Cause::Match, false) => "no longer selects them".to_owned(),
        (Cause::Match, true) => "selects them now".to_owned(),
        (Cause::Enforcement, false) => format!("was {}, is {}", first.before, first.after),
        (Cause::Enforcement, true) => format!("was {}, is {}", first.after, first.before),
        (Cause::Audit, false) => format!("{of} audited and no longer enforced"),
        (Cause::Audit, true) => format!("{of} enforced and no longer only audited"),
        (Cause::Action, false) => format!("{of} tightened where it was refused"),
        (Cause::Action, true) => format!("{of} refused where it was tightened"),
        (Cause::BestEffort, false) => format!("{of} left out where a node cannot enforce it"),
        (Cause::BestEffort, true) => format!("{of} demanded where a node cannot enforce it too"),
        (Cause::Rule | Cause::Waiver(_), _) => first.change.clone().unwrap_or_default(),
    };
    let each = |said: &[&String]| {
        let all = gaps.iter().zip(said).map(|(gap, said)| format!("{}: {said}", gap.control));
        cut(all.collect::<Vec<_>>().join("; "))
    };
    let said = |said: Vec<&String>| match said.as_slice() {
        [first, others @ ..] if others.iter().any(|other| other != first) => each(&said),
        [first, ..] => (*first).clone(),
        [] => String::new(),
    };
    let (before, after) = match first.cause {
        Cause::NoPolicy => (
            each(&gaps.iter().map(|gap| &gap.before).collect::<Vec<_>>()),
            said(gaps.iter().map(|gap| &gap.after).collect()),
        ),
        _ => (first.before.clone(), first.after.clone()),
    };
    Some(Difference {
        direction: Direction::Looser,
        subject: Subject::Policy,
        name: name.to_owned(),
        field,
        controls,
        what,
        before,
        after,
        containers: containers(gaps),
        old: Some(first.old.clone()),
        new: first.new.clone(),
    })
}

fn controls(gaps: &[Gap<'_>]) -> Vec<String> {
    let mut controls: Vec<String> = Vec::new();
    for gap in gaps {
        if !controls.iter().any(|known| known == gap.control) {
            controls.push(gap.control.to_owned());
        }
    }
    controls
}

fn containers(gaps: &[Gap<'_>]) -> String {
    let mut parts: Vec<Scope> = Vec::new();
    for part in gaps.iter().flat_map(|gap| &gap.parts) {
        if !parts.contains(part) {
            parts.push(part.clone());
        }
    }
    let all = Scope::gathered(&parts).in_words();
    match gaps.iter().find_map(|gap| gap.except.as_ref()) {
        Some(except) => format!("{all}, except {}", except.in_words()),
        None => all,
    }
}

fn of_waiver(
    old: &Set<'_>,
    new: &Set<'_>,
    gaps: &[Gap<'_>],
    backwards: bool,
) -> Option<Difference> {
    let Cause::Waiver(index) = gaps.first()?.cause else { return None };
    let waiver = new.waivers.get(index)?;
    let before = old.waivers.iter().find(|other| other.name() == waiver.name());
    let what: BTreeSet<String> =
        gaps.iter().map(|gap| format!("{} of {}", gap.control, gap.policy)).collect();
    let what = what.into_iter().collect::<Vec<_>>().join(", ");
    let place = |waiver: &Waiver<'_>| Place {
        file: waiver.file.to_owned(),
        line: waiver.document.metadata.line,
    };
    let (begins, ends) = waiver.period();
    let field = before.map(|before| {
        let known = before.period();
        if !before.scope.includes(&waiver.scope) {
            "spec.match"
        } else if begins < known.0 || ends > known.1 {
            "spec.expires"
        } else if waiver.document.spec.waives.value.is_subset(&before.document.spec.waives.value) {
            "spec.policies"
        } else {
            "spec.waives"
        }
    });
    let what = match (field, backwards) {
        (None, false) => format!("is new and waives {what}"),
        (None, true) => format!("is gone and no longer waives {what}"),
        (Some("spec.expires"), false) => format!("is prolonged, of {what}"),
        (Some("spec.expires"), true) => format!("is shortened, of {what}"),
        (Some(_), false) => format!("is widened and waives {what}"),
        (Some(_), true) => format!("is narrowed and no longer waives {what}"),
    };
    Some(Difference {
        direction: Direction::Looser,
        subject: Subject::Waiver,
        name: waiver.name().to_owned(),
        field: field.map(str::to_owned),
        controls: controls(gaps),
        what,
        before: before.map_or_else(|| "not waived".to_owned(), Waiver::in_words),
        after: waiver.in_words(),
        containers: waiver.scope.in_words(),
        old: before.map(place),
        new: Some(place(waiver)),
    })
}

/// Documents that one set alone has, or that say something else, and of which nothing was told: what they
/// demand is audited only, or demanded elsewhere as well.
fn without_effect(old: &Set<'_>, new: &Set<'_>, told: &[Difference]) -> Vec<Difference> {
    let is_told = |subject: Subject, name: &str| {
        told.iter().any(|difference| difference.subject == subject && difference.name == name)
    };
    let place = |file: &str, line: u64| Place { file: file.to_owned(), line };
    let neutral = |subject, name: &str, what: &str, scope: &Scope| Difference {
        direction: Direction::Neutral,
        subject,
        name: name.to_owned(),
        field: None,
        controls: Vec::new(),
        what: what.to_owned(),
        before: String::new(),
        after: String::new(),
        containers: scope.in_words(),
        old: None,
        new: None,
    };
    let mut found = Vec::new();
    // A policy may be in several parts, for different containers.
    let of = |set: &Set<'_>, policy: &Policy<'_>| -> Vec<usize> {
        let numbered = set.policies.iter().enumerate();
        numbered.filter(|(_, other)| other.key() == policy.key()).map(|(at, _)| at).collect()
    };
    let same = |policy: &Policy<'_>| {
        let (before, after) = (of(old, policy), of(new, policy));
        before.len() == after.len()
            && before.iter().zip(&after).all(|(before, after)| {
                let both = (old.policies.get(*before), new.policies.get(*after));
                matches!(both, (Some(before), Some(after)) if before.says_what(after))
            })
    };
    let first = |set: &Set<'_>, policy: &Policy<'_>| {
        set.policies.iter().position(|other| other.key() == policy.key())
    };
    for (at, policy) in old.policies.iter().enumerate() {
        if is_told(Subject::Policy, policy.name) || first(old, policy) != Some(at) {
            continue;
        }
        let before = Some(place(policy.file, policy.line));
        match first(new, policy).and_then(|at| new.policies.get(at)) {
            None => found.push(Difference {
                old: before,
                ..neutral(
                    Subject::Policy,
                    policy.name,
                    "is gone; nothing less is enforced",
                    &policy.scope,
                )
            }),
            Some(after) if !same(policy) => found.push(Difference {
                old: before,
                new: Some(place(after.file, after.line)),
                ..neutral(
                    Subject::Policy,
                    policy.name,
                    "is changed; nothing else is enforced",
                    &after.scope,
                )
            }),
            Some(_) => {}
        }
    }
    for (at, policy) in new.policies.iter().enumerate() {
        let is_new = first(old, policy).is_none() && first(new, policy) == Some(at);
        if is_new && !is_told(Subject::Policy, policy.name) {
            found.push(Difference {
                new: Some(place(policy.file, policy.line)),
                ..neutral(
                    Subject::Policy,
                    policy.name,
                    "is new; nothing more is enforced",
                    &policy.scope,
                )
            });
        }
    }
    for (set, other, what, is_new) in [
        (old, new, "is gone; it waived nothing that is enforced", false),
        (new, old, "is new; it waives nothing that is enforced", true),
    ] {
        for waiver in &set.waivers {
            let known = other.waivers.iter().any(|other| other.name() == waiver.name());
            if known || is_told(Subject::Waiver, waiver.name()) {
                continue;
            }
            let at = Some(place(waiver.file, waiver.document.metadata.line));
            let difference = neutral(Subject::Waiver, waiver.name(), what, &waiver.scope);
            found.push(match is_new {
                true => Difference { new: at, ..difference },
                false => Difference { old: at, ..difference },
            });
        }
    }
    found
}
