//! Policies under which, together, no container starts.

use coaming_policy::controls::Rule;
use coaming_policy::controls::landlock::{Landlock, Layer};
use coaming_policy::controls::no_new_privileges::NoNewPrivileges;
use coaming_policy::controls::seccomp::Seccomp;
use coaming_policy::floor::{Bound, Clause, Floor, Source, Visitor};

use super::set::{Found, fewest, fields};
use super::{seccomp, start};

pub(super) fn lint(floor: &Floor, lints: &mut Found) {
    floor.visit(&mut Contradictions(lints));
    lint_execute(&floor.landlock, lints);
    lint_filter(floor, lints);
}

/// What a control itself knows to be unsatisfiable.
struct Contradictions<'a>(&'a mut Found);

impl Visitor for Contradictions<'_> {
    fn control<R: Rule>(&mut self, bound: &Bound<R>) {
        // Without a control that may be missing a container may start, on a node that has not got it.
        let firm: Vec<&Clause<R>> =
            bound.clauses().iter().filter(|clause| !clause.best_effort).collect();
        let why = |clauses: &[&Clause<R>]| met(clauses).contradiction();
        let blamed = fewest(&firm, |clauses| why(clauses).is_some());
        if let (Some(at), Some(why)) = (blamed.last().map(|clause| &clause.source), why(&blamed)) {
            self.0.fail(at, format!("{}: {why}; {}", together(&sources(&blamed)), NO_START));
        }
    }
}

const NO_START: &str = "no container that this applies to can start";

/// The kernel executes a program only where every layer lets it.
fn lint_execute(bound: &Bound<Landlock>, lints: &mut Found) {
    const EXECUTE: u64 = 1;
    let executable = |layer: &Layer| -> Option<Vec<String>> {
        (layer.handled_fs & EXECUTE != 0).then(|| {
            let paths = layer.paths.iter().filter(|(_, rights)| **rights & EXECUTE != 0);
            paths.map(|(path, _)| path.clone()).collect()
        })
    };
    let lists = |clauses: &[&Clause<Landlock>]| -> Vec<Vec<String>> {
        met(clauses).layers().iter().filter_map(executable).collect()
    };
    let firm: Vec<&Clause<Landlock>> =
        bound.clauses().iter().filter(|clause| !clause.best_effort).collect();
    let none = fewest(&firm, |clauses| lists(clauses).iter().any(Vec::is_empty));
    if let Some(at) = none.last() {
        let message =
            format!("spec.landlock.execute is empty: nothing can be executed, so {NO_START}");
        return lints.fail(&at.source, message);
    }
    let apart = fewest(&firm, |clauses| nothing_in_common(&lists(clauses)));
    if let Some(at) = apart.last() {
        lints.warn(
            &at.source,
            format!(
                "{}: the lists under execute have nothing in common as they are spelled; unless a path of \
                 one is a link to below another's, {NO_START}",
                together(&sources(&apart)),
            ),
        );
    }
}

/// Whether, as the paths are spelled, there is no place that every list allows.
fn nothing_in_common(lists: &[Vec<String>]) -> bool {
    let mut lists = lists.iter().cloned();
    let Some(first) = lists.next() else { return false };
    let common = lists.fold(first, |common, list| {
        let pairs = common.iter().flat_map(|one| list.iter().map(move |other| (one, other)));
        pairs
            .filter_map(|(one, other)| match (is_below(one, other), is_below(other, one)) {
                (true, _) => Some(one.clone()),
                (_, true) => Some(other.clone()),
                _ => None,
            })
            .collect()
    });
    common.is_empty()
}

fn is_below(path: &str, folder: &str) -> bool {
    super::landlock::is_below(path, &[folder])
}

fn lint_filter(floor: &Floor, lints: &mut Found) {
    let clauses: Vec<&Clause<Seccomp>> = floor.seccomp.clauses().iter().collect();
    let filter = |clauses: &[&Clause<Seccomp>]| seccomp::filter(floor, &met(clauses));
    let whole = match filter(&clauses) {
        Ok(Some(function)) => function,
        Ok(None) => return,
        Err(problem) => {
            let blamed = fewest(&clauses, |clauses| filter(clauses).is_err());
            if let Some(at) = blamed.last() {
                let together = together(&sources(&blamed));
                lints.warn(&at.source, format!("{together} cannot be met: {problem}"));
            }
            return;
        }
    };
    let denied_by = |call: &str| {
        let denies = |clauses: &[&Clause<Seccomp>]| match filter(clauses) {
            Ok(Some(function)) => seccomp::is_refused(&function, call),
            _ => false,
        };
        if seccomp::is_refused(&whole, call) { fewest(&clauses, denies) } else { Vec::new() }
    };
    // The filter is loaded before the workload's execve, by the runtime and by the launcher alike.
    let blamed = denied_by("execve");
    if let Some(at) = blamed.last() {
        let together = together(&sources(&blamed));
        return lints.fail(&at.source, format!("{together} denies execve: {NO_START}"));
    }
    if !floor.landlock.met().layers().is_empty() {
        // Then the launcher loads the filter, and calls nothing but execve after it.
        return;
    }
    let no_new_privileges = floor.no_new_privileges.met() == NoNewPrivileges(true);
    for need in start::needs(no_new_privileges) {
        let denied: Vec<&str> =
            need.calls.iter().copied().filter(|call| seccomp::is_refused(&whole, call)).collect();
        let Some(blamed) = denied.first().map(|call| denied_by(call)) else { continue };
        if let Some(at) = blamed.last() {
            let together = together(&sources(&blamed));
            lints.warn(
                &at.source,
                format!("{together} denies {}: {}", denied.join(", "), need.because),
            );
        }
    }
}

fn met<R: Rule>(clauses: &[&Clause<R>]) -> R {
    clauses.iter().fold(R::top(), |met, clause| met.meet(&clause.rule))
}

fn sources<R>(clauses: &[&Clause<R>]) -> Vec<Source> {
    clauses.iter().map(|clause| clause.source.clone()).collect()
}

/// The rules in words; the message stands at the last of them.
fn together(sources: &[Source]) -> String {
    match sources.last() {
        Some(at) => fields(sources, at),
        None => String::new(),
    }
}
