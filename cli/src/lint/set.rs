//! Policies that apply to one container: which do, and where each rule of theirs stands.

use coaming_policy::document::{Directory, Mode, Part, PolicyDocument};
use coaming_policy::floor::{Floor, Source};

use super::{Warning, conflicts, included, shadowed, void};

/// One policy of a set, or what it includes for some of the containers that it selects.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) document: &'a PolicyDocument,
    pub(super) part: &'a Part,
}

impl Member<'_> {
    /// Whether a rule is of this member's policy and, if it includes it, of that built-in.
    pub(super) fn has(&self, source: &Source) -> bool {
        source.policy == self.document.metadata.value.name
            && source.include.as_deref() == self.part.include.map(|which| which.name())
    }
}

/// The lints of policies together.
///
/// Only policies that are certain to meet are held against each other: whatever one of them selects, all of
/// the others select too. Two whose patterns merely overlap may never have a container in common.
pub(crate) fn set(read: &Directory) -> Vec<Warning> {
    let members: Vec<Member<'_>> =
        read.parts().map(|(document, part)| Member { document, part }).collect();
    let mut lints = Found::default();
    for floor in floors(&members) {
        conflicts::lint(&floor, &mut lints);
        void::lint(&floor, &mut lints);
    }
    let first = read.names().next().map(|(_, file)| file);
    shadowed::lint(&members, first.unwrap_or_default(), &mut lints);
    included::lint(&members, &mut lints);
    lints.found
}

/// For each policy: what applies to every container that it selects, once each.
fn floors(members: &[Member<'_>]) -> Vec<Floor> {
    let mut groups: Vec<Vec<usize>> = members
        .iter()
        .filter(|member| member.part.selector.selects_any())
        .map(|member| {
            let covering = members.iter().enumerate();
            let covering = covering.filter(|(_, other)| covers(other, member));
            covering.map(|(index, _)| index).collect()
        })
        .collect();
    groups.sort();
    groups.dedup();
    let together = |group: Vec<usize>| {
        let floors = group.into_iter().filter_map(|index| members.get(index));
        floors.fold(Floor::default(), |met, member| met.meet(&member.part.floor))
    };
    groups.into_iter().map(together).collect()
}

/// Whether the first policy is known to apply to every container that the second selects.
pub(super) fn covers(policy: &Member<'_>, other: &Member<'_>) -> bool {
    // What is only tried out, or for some of the pods, holds nothing for certain but by itself.
    let spec = &policy.document.spec;
    let tried = spec.mode == Some(Mode::Audit) || spec.rollout.is_some() || spec.audit.is_some();
    if tried && policy.document.metadata.value != other.document.metadata.value {
        return false;
    }
    policy.part.selector.covers(&other.part.selector)
}

/// Lints as they are found, each once.
#[derive(Default)]
pub(super) struct Found {
    found: Vec<Warning>,
}

impl Found {
    pub(super) fn warn(&mut self, at: &Source, message: String) {
        self.add(at, message, false);
    }

    /// What keeps every container from starting to which it applies.
    pub(super) fn fail(&mut self, at: &Source, message: String) {
        self.add(at, message, true);
    }

    /// What is true of all policies together.
    pub(super) fn note(&mut self, file: &str, message: String) {
        let (file, fatal) = (file.to_owned(), false);
        self.found.push(Warning { file, line: None, policy: None, message, fatal });
    }

    fn add(&mut self, at: &Source, mut message: String, fatal: bool) {
        if let Some(include) = &at.include {
            message = format!("included {include}: {message}");
        }
        let warning = Warning {
            file: at.file.clone(),
            line: Some(at.line),
            policy: Some(at.policy.clone()),
            message,
            fatal,
        };
        if !self.found.contains(&warning) {
            self.found.push(warning);
        }
    }
}

/// A rule's field, and where it stands if that is in another policy than `at`.
pub(super) fn field(of: &Source, at: &Source) -> String {
    let include = |text: &str| match &of.include {
        Some(include) => format!("{text}, include {include}"),
        None => text.to_owned(),
    };
    match (of.policy == at.policy, of.include == at.include) {
        (true, true) => of.field.clone(),
        (true, false) => format!("{} ({})", of.field, include(&format!("line {}", of.line))),
        (false, _) => {
            let place = include(&format!("{}:{}", of.file, of.line));
            format!("{} of policy {} ({place})", of.field, of.policy)
        }
    }
}

/// The fields of several rules, the last of which is where the message will stand.
pub(super) fn fields(sources: &[Source], at: &Source) -> String {
    sources.iter().map(|source| field(source, at)).collect::<Vec<_>>().join(" and ")
}

/// The fewest of these for which `holds`, found by leaving out one after the other; none where it does
/// not hold for all of them.
pub(super) fn fewest<T: Clone>(all: &[T], holds: impl Fn(&[T]) -> bool) -> Vec<T> {
    let mut kept = all.to_vec();
    if !holds(&kept) {
        return Vec::new();
    }
    let mut index = 0;
    while index < kept.len() {
        let mut fewer = kept.clone();
        fewer.remove(index);
        if holds(&fewer) {
            kept = fewer;
        } else {
            index += 1;
        }
    }
    kept
}
