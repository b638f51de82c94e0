//! Policies that apply to one container: which do, and where each rule of theirs stands.

use coaming_policy::controls::Rule;
use coaming_policy::document::{Directory, Match, Mode, PolicyDocument};
use coaming_policy::floor::{Bound, Floor, Source, Visitor};

use super::{Warning, conflicts, included, shadowed, void};

/// One policy of a set, or what it includes for some of the containers that it selects.
#[derive(Clone)]
pub(super) struct Member<'a> {
    pub(super) document: &'a PolicyDocument,
    pub(super) floor: &'a Floor,
    /// For whom.
    pub(super) selector: Match,
    /// The built-in policy that it includes; `None` for its own rules.
    pub(super) include: Option<String>,
}

impl<'a> Member<'a> {
    fn of(document: &'a PolicyDocument, floor: &'a Floor) -> Member<'a> {
        let mut include = Included(None);
        floor.visit(&mut include);
        Member { document, floor, selector: document.selector(), include: include.0 }
    }

    /// Whether a rule is of this member's policy and, if it includes it, of that built-in.
    pub(super) fn has(&self, source: &Source) -> bool {
        source.policy == self.document.metadata.value.name && source.include == self.include
    }
}

/// The built-in policy that clauses are of, of which all are.
struct Included(Option<String>);

impl Visitor for Included {
    fn control<R: Rule>(&mut self, bound: &Bound<R>) {
        let clause = bound.clauses().first();
        self.0 = self.0.take().or_else(|| clause?.source.include.clone());
    }
}

/// The lints of policies together.
///
/// Only policies that are certain to meet are held against each other: whatever one of them selects, all of
/// the others select too. Two whose patterns merely overlap may never have a container in common.
pub(crate) fn set(read: &Directory) -> Vec<Warning> {
    let members: Vec<Member<'_>> =
        read.floors().map(|(document, floor)| Member::of(document, floor)).collect();
    let mut lints = Found::default();
    for floor in floors(&members) {
        lints.lint = "policies-conflict";
        conflicts::lint(&floor, &mut lints);
        lints.lint = "rule-void";
        void::lint(&floor, &mut lints);
    }
    let first = read.names().next().map(|(_, file)| file);
    lints.lint = "rule-shadowed";
    shadowed::lint(&members, first.unwrap_or_default(), &mut lints);
    lints.lint = "include";
    included::lint(&members, &mut lints);
    lints.found
}

/// For each policy: what applies to every container that it selects, once each.
fn floors(members: &[Member<'_>]) -> Vec<Floor> {
    let mut groups: Vec<Vec<usize>> = members
        .iter()
        .filter(|member| member.selector.selects_any())
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
        floors.fold(Floor::default(), |met, member| met.meet(member.floor))
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
    policy.selector.covers(&other.selector)
}

/// Lints as they are found, each once.
#[derive(Default)]
pub(super) struct Found {
    lint: &'static str,
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
        let lint = self.lint;
        self.found.push(Warning { lint, file, line: None, policy: None, message, fatal });
    }

    fn add(&mut self, at: &Source, mut message: String, fatal: bool) {
        if let Some(include) = &at.include {
            message = format!("included {include}: {message}");
        }
        let warning = Warning {
            lint: self.lint,
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
