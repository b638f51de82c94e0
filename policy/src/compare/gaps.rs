//! What one set demands and another is not known to.
//!
//! Clause by clause: for each that is enforced, and each part of the containers that it is for, the clauses
//! of the other set are gathered that count wherever it does, and their meet must be within its rule. What
//! is missing is a gap, with everything that keeps the clause's own successor from filling it.

use std::collections::HashMap;

use super::difference::Place;
use super::order::Order;
use super::scope::Scope;
use super::stated::{Policy, Set};
use super::waivers::{Waivable, beyond};
use super::words;
use crate::controls::annotations::Annotations;
use crate::controls::app_armor::AppArmor;
use crate::controls::capabilities::Capabilities;
use crate::controls::devices::Devices;
use crate::controls::exec::Exec;
use crate::controls::fields::Fields;
use crate::controls::hooks::Hooks;
use crate::controls::host_namespaces::HostNamespaces;
use crate::controls::landlock::Landlock;
use crate::controls::log_denials::LogDenials;
use crate::controls::masked_paths::MaskedPaths;
use crate::controls::mounts::Mounts;
use crate::controls::no_new_privileges::NoNewPrivileges;
use crate::controls::privileged::Privileged;
use crate::controls::read_only_root::ReadOnlyRootFilesystem;
use crate::controls::readonly_paths::ReadonlyPaths;
use crate::controls::refuse::Refuse;
use crate::controls::resources::Resources;
use crate::controls::rlimits::Rlimits;
use crate::controls::rootfs_propagation::RootfsPropagation;
use crate::controls::se_linux::SeLinux;
use crate::controls::seccomp::Seccomp;
use crate::controls::sysctls::Sysctls;
use crate::controls::user::User;
use crate::floor::{Action, Bound, Clause, Floor};

/// A demand of one set that the other is not known to make.
#[derive(Debug)]
pub(super) struct Gap<'a> {
    pub(super) policy: &'a str,
    pub(super) control: &'static str,
    /// The field of the policy in which the demand stands.
    pub(super) field: String,
    pub(super) cause: Cause,
    /// What differs between two rules, from the old set to the new one.
    pub(super) change: Option<String>,
    pub(super) before: String,
    pub(super) after: String,
    /// The containers for which it is missing.
    pub(super) parts: Vec<Scope>,
    /// Those of them for which it is made all the same, where only some are no longer selected.
    pub(super) except: Option<Scope>,
    pub(super) old: Place,
    pub(super) new: Option<Place>,
}

/// Why the other set does not make the demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Cause {
    /// It has no policy of that name.
    NoPolicy,
    /// Its policy does not state the control there.
    NoControl,
    /// Its rule allows what this one does not.
    Rule,
    /// Its policy does not select these containers.
    Match,
    /// Its policy is not enforced, or for fewer pods.
    Enforcement,
    /// It audits the control.
    Audit,
    /// It tightens what was refused.
    Action,
    /// It lets containers start where a node cannot enforce it.
    BestEffort,
    /// A waiver, by its place in the other set.
    Waiver(usize),
}

/// A clause with the policy that states it.
type Stated<'s, 'a, R> = (&'s Policy<'a>, &'s Clause<R>);

macro_rules! define_all {
    ($($field:ident: $rule:ty,)*) => {
        /// What `old` demands and `new` is not known to, of every control; `backwards` where it is the
        /// newer set that is held against the older.
        pub(super) fn gaps<'a>(old: &Set<'a>, new: &Set<'_>, backwards: bool) -> Vec<Gap<'a>> {
            let mut gaps = Vec::new();
            $(Search::<$rule>::of(old, new, |floor| &floor.$field, backwards).run(&mut gaps);)*
            gaps
        }
    };
}
crate::for_each_control!(define_all);

/// The search for the gaps of one control.
struct Search<'s, 'a, 'b, R: Order> {
    old: &'s Set<'a>,
    new: &'s Set<'b>,
    backwards: bool,
    demands: Vec<Stated<'s, 'a, R>>,
    candidates: Vec<Stated<'s, 'b, R>>,
    by_policy: HashMap<(&'b str, Option<&'static str>), Vec<usize>>,
}

impl<'s, 'a, 'b, R: Order> Search<'s, 'a, 'b, R> {
    fn of(
        old: &'s Set<'a>,
        new: &'s Set<'b>,
        bound: fn(&Floor) -> &Bound<R>,
        backwards: bool,
    ) -> Self {
        let enforced = |(policy, clause): &Stated<'s, 'a, R>| {
            policy.reach > 0 && !policy.audits(&clause.source.field) && clause.rule != R::top()
        };
        let candidates: Vec<Stated<'s, 'b, R>> = stated(new, bound).collect();
        let mut by_policy: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, (policy, _)) in candidates.iter().enumerate() {
            by_policy.entry(policy.key()).or_default().push(index);
        }
        Search {
            old,
            new,
            backwards,
            demands: stated(old, bound).filter(enforced).collect(),
            candidates,
            by_policy,
        }
    }

    fn run(self, gaps: &mut Vec<Gap<'a>>) {
        for demand in &self.demands {
            let own = self.of_policy(demand.0.key());
            let mut open = demand.0.scope.parts();
            // Most policies are as they were: the successor is asked first.
            open.retain(|part| !self.is_made(*demand, part, &own));
            open.retain(|part| !self.is_made(*demand, part, &self.candidates));
            if !open.is_empty() {
                self.explain(*demand, &own, open, gaps);
            }
        }
    }

    fn of_policy(&self, key: (&str, Option<&'static str>)) -> Vec<Stated<'s, 'b, R>> {
        let found = self.by_policy.get(&key).into_iter().flatten();
        found.filter_map(|index| self.candidates.get(*index)).copied().collect()
    }

    /// Whether the candidates make the demand, of these containers.
    fn is_made(
        &self,
        demand: Stated<'s, 'a, R>,
        part: &Scope,
        candidates: &[Stated<'s, 'b, R>],
    ) -> bool {
        let rule = &demand.1.rule;
        let certain = candidates.iter().filter(|(_, clause)| !clause.best_effort).copied();
        if self.met(demand, part, certain).is_within(rule) {
            return true;
        }
        // What a node leaves of several rules under bestEffort may be less than what it leaves of their
        // meet (Landlock refuses moves between directories in every layer that has file rights), so that
        // one of them must be enough by itself.
        candidates.iter().filter(|(_, clause)| clause.best_effort).any(|candidate| {
            candidate.1.rule.is_within(rule) && self.hindrances(demand, part, *candidate).is_empty()
        })
    }

    /// What the candidates demand together wherever the demand counts.
    fn met(
        &self,
        demand: Stated<'s, 'a, R>,
        part: &Scope,
        candidates: impl Iterator<Item = Stated<'s, 'b, R>>,
    ) -> R {
        candidates
            .filter(|candidate| self.hindrances(demand, part, *candidate).is_empty())
            .fold(R::top(), |met, (_, clause)| met.meet(&clause.rule))
    }

    /// What keeps a clause from counting wherever the demand does, for these containers.
    fn hindrances(
        &self,
        (policy, demand): Stated<'s, 'a, R>,
        part: &Scope,
        (other, candidate): Stated<'s, 'b, R>,
    ) -> Vec<Cause> {
        let mut found = Vec::new();
        // A built-in floor may not be the one that is in force.
        let in_force = other.built_in.is_none() || other.built_in == policy.built_in;
        if !in_force || !other.scope.includes(part) {
            found.push(Cause::Match);
        }
        if !other.reaches_as_far_as(policy) {
            found.push(Cause::Enforcement);
        }
        if other.audits(&candidate.source.field) {
            found.push(Cause::Audit);
        }
        if demand.action == Action::Refuse && candidate.action != Action::Refuse {
            found.push(Cause::Action);
        }
        if !demand.best_effort && candidate.best_effort {
            found.push(Cause::BestEffort);
        }
        let waivable = |policy: &'s Policy<'_>, clause: &'s Clause<R>| Waivable {
            policy: policy.name,
            built_in: policy.built_in.is_some(),
            field: &clause.source.field,
        };
        let (demand, candidate) = (waivable(policy, demand), waivable(other, candidate));
        let waiver = beyond(&self.old.waivers, demand, &self.new.waivers, candidate, part);
        found.extend(waiver.map(Cause::Waiver));
        found
    }

    /// Adds a gap for each cause.
    fn explain(
        &self,
        demand: Stated<'s, 'a, R>,
        own: &[Stated<'s, 'b, R>],
        open: Vec<Scope>,
        gaps: &mut Vec<Gap<'a>>,
    ) {
        let (policy, clause) = demand;
        let successors: Vec<Stated<'s, 'b, R>> = own
            .iter()
            .filter(|(_, other)| other.source.field == clause.source.field)
            .copied()
            .collect();
        let mut causes: Vec<(Cause, Vec<Scope>)> = Vec::new();
        let mut add =
            |cause: Cause, part: &Scope| match causes.iter_mut().find(|(c, _)| *c == cause) {
                Some((_, parts)) => parts.push(part.clone()),
                None => causes.push((cause, vec![part.clone()])),
            };
        let rule = successors.iter().fold(R::top(), |met, (_, other)| met.meet(&other.rule));
        let mut successor = successors.first().copied();
        for part in &open {
            // A policy may state a control more than once, for different containers.
            let nearest = successors
                .iter()
                .map(|other| (*other, self.hindrances(demand, part, *other)))
                .min_by_key(|(_, hindrances)| hindrances.len());
            let Some((nearest, hindrances)) = nearest else {
                let known = self.new.policies.iter().any(|other| other.key() == policy.key());
                add(if known { Cause::NoControl } else { Cause::NoPolicy }, part);
                continue;
            };
            successor = Some(nearest);
            hindrances.iter().for_each(|cause| add(*cause, part));
            // The successor counts and was not enough, or would not be if it counted.
            if hindrances.is_empty() || !rule.is_within(&clause.rule) {
                add(Cause::Rule, part);
            }
        }
        for (cause, parts) in causes {
            let remaining = parts.first().map_or_else(R::top, |part| {
                self.met(demand, part, self.candidates.iter().copied())
            });
            let (before, after) = self.in_words(demand, successor, (&rule, &remaining), cause);
            let change = (cause == Cause::Rule).then(|| match self.backwards {
                false => words::change(&clause.rule, &rule),
                true => words::change(&rule, &clause.rule),
            });
            let together =
                "is stated in parts under bestEffort, of which a node may leave out some";
            let change = change.map(|change| match change.is_empty() {
                true => together.to_owned(),
                false => change,
            });
            let place =
                |policy: &Policy<'_>, line: u64| Place { file: policy.file.to_owned(), line };
            let of_policy = matches!(cause, Cause::Match | Cause::Enforcement);
            let line = |policy: &Policy<'_>, clause: &Clause<R>| {
                if of_policy { policy.line } else { clause.source.line }
            };
            let except = successor.map(|(other, _)| &other.scope).filter(|scope| {
                cause == Cause::Match && !parts.iter().all(|part| scope.is_apart_from(part))
            });
            gaps.push(Gap {
                except: except.cloned(),
                policy: policy.name,
                control: R::CONTROL,
                field: clause.source.field.clone(),
                cause,
                change,
                before,
                after,
                parts,
                old: place(policy, line(policy, clause)),
                new: match cause {
                    Cause::NoPolicy | Cause::NoControl => {
                        let other = self.new.policies.iter().find(|o| o.key() == policy.key());
                        other.map(|other| place(other, other.line))
                    }
                    _ => successor.map(|(other, clause)| place(other, line(other, clause))),
                },
            });
        }
    }

    /// What one set says and what the other does.
    fn in_words(
        &self,
        (policy, clause): Stated<'s, 'a, R>,
        successor: Option<Stated<'s, 'b, R>>,
        (rule, remaining): (&R, &R),
        cause: Cause,
    ) -> (String, String) {
        let said = words::rule(&clause.rule);
        let Some((other, candidate)) = successor else {
            return match *remaining == R::top() {
                true => (said, "nothing is demanded".to_owned()),
                false => (said, format!("other policies demand: {}", words::rule(remaining))),
            };
        };
        match cause {
            Cause::NoPolicy | Cause::NoControl | Cause::Rule => (said, words::rule(rule)),
            Cause::Match => (policy.scope.in_words(), other.scope.in_words()),
            Cause::Enforcement => (policy.enforcement(), other.enforcement()),
            Cause::Audit => ("enforced".to_owned(), "audited".to_owned()),
            Cause::Action => {
                let word = |action: Action| match action {
                    Action::Refuse => "refuse".to_owned(),
                    Action::Tighten => "tighten".to_owned(),
                };
                (word(clause.action), word(candidate.action))
            }
            Cause::BestEffort => ("not under bestEffort".to_owned(), "under bestEffort".to_owned()),
            Cause::Waiver(index) => {
                let waiver = self.new.waivers.get(index).map(|waiver| waiver.in_words());
                ("not waived".to_owned(), waiver.unwrap_or_default())
            }
        }
    }
}

fn stated<'s, 'a, R: Order>(
    set: &'s Set<'a>,
    bound: fn(&Floor) -> &Bound<R>,
) -> impl Iterator<Item = Stated<'s, 'a, R>> {
    set.policies
        .iter()
        .flat_map(move |policy| bound(&policy.floor).clauses().iter().map(move |c| (policy, c)))
}
