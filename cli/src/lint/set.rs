//! Policies that apply to one container: which do, and where each rule of theirs stands.

use coaming_policy::document::{Directory, Match, Mode, PolicyDocument};
use coaming_policy::floor::{Floor, Source};

use super::{Warning, conflicts, shadowed, void};

/// One policy of a set.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) document: &'a PolicyDocument,
    pub(super) floor: &'a Floor,
}

/// The lints of policies together.
///
/// Only policies that are certain to meet are held against each other: whatever one of them selects, all of
/// the others select too. Two whose patterns merely overlap may never have a container in common.
pub(crate) fn set(read: &Directory) -> Vec<Warning> {
    let members: Vec<Member<'_>> =
        read.floors().map(|(document, floor)| Member { document, floor }).collect();
    let mut lints = Found::default();
    for floor in floors(&members) {
        conflicts::lint(&floor, &mut lints);
        void::lint(&floor, &mut lints);
    }
    let first = read.names().next().map(|(_, file)| file);
    shadowed::lint(&members, first.unwrap_or_default(), &mut lints);
    lints.found
}

/// For each policy: what applies to every container that it selects, once each.
fn floors(members: &[Member<'_>]) -> Vec<Floor> {
    let mut groups: Vec<Vec<usize>> = members
        .iter()
        .filter(|member| selects_any(member.document))
        .map(|member| {
            let covering = members.iter().enumerate();
            let covering = covering.filter(|(_, other)| covers(other.document, member.document));
            covering.map(|(index, _)| index).collect()
        })
        .collect();
    groups.sort();
    groups.dedup();
    let together = |group: Vec<usize>| {
        let floors = group.into_iter().filter_map(|index| members.get(index));
        floors.fold(Floor::default(), |met, member| met.meet(member.floor))
    };
    groups.into_iter().map(together).collect()
}

/// Whether the first policy is known to apply to every container that the second selects.
pub(super) fn covers(policy: &PolicyDocument, other: &PolicyDocument) -> bool {
    // What is only tried out, or for some of the pods, holds nothing for certain but by itself.
    let spec = &policy.spec;
    let tried = spec.mode == Some(Mode::Audit) || spec.rollout.is_some() || spec.audit.is_some();
    if tried && policy.metadata.value != other.metadata.value {
        return false;
    }
    let workloads = Match::workloads();
    let wide = policy.spec.selector.as_ref().unwrap_or(&workloads);
    let narrow = other.spec.selector.as_ref().unwrap_or(&workloads);
    wide.covers(narrow)
}

fn selects_any(document: &PolicyDocument) -> bool {
    document.spec.selector.as_ref().is_none_or(Match::selects_any)
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

    fn add(&mut self, at: &Source, message: String, fatal: bool) {
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
    match of.policy == at.policy {
        true => of.field.clone(),
        false => format!("{} of policy {} ({}:{})", of.field, of.policy, of.file, of.line),
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
