//! Random profiles, held against the laws of a lattice, and the answers of a join against those of both sides.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::oracle::{MIXED, NAMES, NATIVE, built, cases, evaluate, points, profile};
use super::order::place;
use super::profile::{Condition, Profile, Rule, Test};
use super::table::Table;
use super::{
    Action, Arch, CallDiff, Diff, Excess, Function, Reading, SeccompError, When, syscalls,
};

fn function(profile: &Profile) -> Result<Function, TestCaseError> {
    built(Function::of(profile, Reading::Runtime))
        .ok_or_else(|| TestCaseError::reject("too complex"))
}

/// `None` where the join is refused, which must have a reason that its profiles bear out.
fn join(a: &Function, b: &Function) -> Result<Option<Function>, TestCaseError> {
    match a.join(b) {
        Ok(joined) => Ok(Some(joined)),
        Err(SeccompError::TooComplex { .. }) => Err(TestCaseError::reject("too complex")),
        Err(SeccompError::Unsupported { why, .. }) => {
            let names = |word: &str| why.contains(word);
            prop_assert!(
                names("same architectures") && a.arches != b.arches
                    || names("same highest syscall") && a.last != b.last,
                "{} {:?} {:?}",
                why,
                a,
                b
            );
            Ok(None)
        }
        Err(other) => Err(TestCaseError::fail(other.to_string())),
    }
}

fn meet(a: &Function, b: &Function) -> Result<Function, TestCaseError> {
    built(a.meet(b)).ok_or_else(|| TestCaseError::reject("too complex"))
}

const ARCHES: [Arch; 4] = [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64];
const OTHERS: [&str; 4] = ["socketcall", "ipc", "fchmodat2", "no such call"];

/// Names that can be called on an architecture, and one that nobody knows.
fn named(arch: Arch) -> impl Iterator<Item = &'static &'static str> {
    let there =
        move |name: &&&str| syscalls::number(name, arch).is_some() || **name == "no such call";
    NAMES.iter().chain(&OTHERS).filter(there)
}

/// The two give the same answers; where a boundary of ENOSYS is near, both refuse.
fn same(a: &Function, b: &Function, points: &[[u64; 6]]) -> Result<(), TestCaseError> {
    prop_assert!(a.le(b) && b.le(a), "{:?} {:?}", a, b);
    prop_assert_eq!(a.flags(), b.flags());
    for arch in ARCHES {
        for name in named(arch) {
            let stub = a.is_beyond(arch, name) || b.is_beyond(arch, name);
            for args in points {
                let (x, y) = (a.eval(arch, name, *args), b.eval(arch, name, *args));
                let near = stub && x.is_refusal() && y.is_refusal();
                prop_assert!(x == y || near, "{} {:x?} on {:?}: {} {}", name, args, arch, x, y);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(256))]

    /// One architecture, by the rules as they stand: what either allows, and the less strict of two refusals.
    #[test]
    fn a_join_is_the_more_permissive_of_both_profiles(a in profile(NATIVE), b in profile(NATIVE), points in points()) {
        let Some(joined) = join(&function(&a)?, &function(&b)?)? else {
            return Err(TestCaseError::reject("refused"));
        };
        let (fa, fb) = (function(&a)?, function(&b)?);
        for name in NAMES {
            let beyond = |f: &Function| f.is_beyond(Arch::native(), name);
            for args in &points {
                let of = |f: &Function, p: &Profile| {
                    if beyond(f) { Action::Errno(38) } else { evaluate(p, name, *args) }
                };
                let want = of(&fa, &a).max(of(&fb, &b));
                let got = joined.eval(Arch::native(), name, *args);
                let near = beyond(&fa) || beyond(&fb);
                prop_assert!(got == want || near && matches!((got, want), (Action::Errno(_), Action::Errno(_))),
                    "{} {:x?}: {}, not {}", name, args, got, want);
            }
        }
    }

    /// Several architectures: the pointwise maximum on each, or refused.
    #[test]
    fn a_join_is_the_maximum_on_every_architecture(a in profile(MIXED), b in profile(MIXED), points in points()) {
        let (a, b) = (function(&a)?, function(&b)?);
        let Some(joined) = join(&a, &b)? else { return Ok(()) };
        for arch in ARCHES {
            // A name that nobody knows says what the default is, and a join's may be one that no number of an
            // architecture reaches: all that are left are above the boundary of ENOSYS.
            for name in named(arch).filter(|name| syscalls::number(name, arch).is_some()) {
                let near = a.is_beyond(arch, name) || b.is_beyond(arch, name);
                for args in &points {
                    // Of an architecture that is not covered, the kill counts as the strictest answer.
                    let of = |f: &Function| {
                        let covered = f.architectures().contains(&arch);
                        if covered { f.eval(arch, name, *args) } else { Action::KillProcess }
                    };
                    let want = of(&a).max(of(&b));
                    if !joined.architectures().contains(&arch) {
                        continue;
                    }
                    let got = joined.eval(arch, name, *args);
                    prop_assert!(got == want || near && matches!((got, want), (Action::Errno(_), Action::Errno(_))),
                        "{} {:x?} on {:?}: {}, not {}", name, args, arch, got, want);
                }
            }
        }
    }

    #[test]
    fn join_and_meet_are_a_lattice(a in profile(MIXED), b in profile(MIXED), c in profile(MIXED), points in points()) {
        let (a, b, c) = (&function(&a)?, &function(&b)?, &function(&c)?);
        same(&join(a, a)?.unwrap(), a, &points)?;
        // Meets are always there, joins where no law needs one that is refused.
        let low = meet(a, b)?;
        if let Some(absorbed) = join(a, &low)? {
            same(&absorbed, a, &points)?;
        }
        let Some(ab) = join(a, b)? else { return Ok(()) };
        prop_assert!(a.le(&ab) && b.le(&ab));
        same(&ab, &join(b, a)?.unwrap(), &points)?;
        same(&meet(a, &ab)?, a, &points)?;
        // The order is that of the join, and the join is the least above both.
        prop_assert_eq!(a.le(b), ab.le(b));
        if a.le(c) && b.le(c) {
            prop_assert!(ab.le(c));
        }
        let bc = join(b, c)?;
        let (left, right) = (join(&ab, c)?, bc.map(|bc| join(a, &bc)).transpose()?.flatten());
        if let (Some(left), Some(right)) = (left, right) {
            same(&left, &right, &points)?;
        }
    }

    /// What is written of a join is read back as no more than it, and compiled it does what it says.
    #[test]
    fn a_join_is_written_down_no_wider(a in profile(MIXED), b in profile(MIXED)) {
        let Some(joined) = join(&function(&a)?, &function(&b)?)? else { return Ok(()) };
        let Some(written) = built(joined.to_profile()) else { return Err(TestCaseError::reject("too complex")) };
        prop_assert!(function(&written)?.le(&joined));
        built(super::compile(&written));
    }

    /// What is said to be a counterexample is one, and whoever has none is below at every point.
    #[test]
    fn a_counterexample_holds(a in profile(MIXED), b in profile(MIXED), points in points()) {
        let (a, b) = (function(&a)?, function(&b)?);
        prop_assert_eq!(a.le(&b), a.exceeds(&b).is_none());
        match a.exceeds(&b) {
            Some(Excess::Call(at)) => {
                prop_assert!(at.ours.strength() > at.theirs.strength(), "{}", at);
                for (f, said) in [(&a, at.ours), (&b, at.theirs)] {
                    let seen = f.eval(at.arch, &at.syscall, at.args);
                    let stub = f.is_beyond(at.arch, &at.syscall) && said == f.default_action();
                    prop_assert!(seen == said || stub && seen == Action::Errno(38), "{} {}", at, seen);
                }
                prop_assert!(!at.syscall.starts_with("number") || syscalls::number(&at.syscall, at.arch).is_none());
            }
            Some(other) => prop_assert!(false, "{}", other),
            None => {
                // Where only the other has an architecture, this one kills: nothing is stricter.
                for arch in a.architectures().iter().copied() {
                    for name in named(arch) {
                        for args in &points {
                            let (x, y) = (a.eval(arch, name, *args), b.eval(arch, name, *args));
                            let stub = x == Action::Errno(38) && a.is_beyond(arch, name) && y.is_refusal();
                            prop_assert!(x.strength() <= y.strength() || stub,
                                "{} {:x?} on {:?}: {} above {}", name, args, arch, x, y);
                        }
                    }
                }
            }
        }
    }
}

/// The same profile in other words: rules in another order, names apart, conditions in other operators, ranges split,
/// rules that say nothing new.
fn reworded(profile: &Profile, order: u64, how: u64) -> Profile {
    let mut rules: Vec<Rule> = Vec::new();
    for (at, rule) in profile.rules.iter().enumerate() {
        let indices: BTreeSet<usize> = rule.conditions.iter().map(|c| c.index).collect();
        for name in &rule.names {
            let one =
                |conditions| Rule { names: vec![name.clone()], action: rule.action, conditions };
            match rule.conditions.as_slice() {
                [first, rest @ ..] if indices.len() == rule.conditions.len() => {
                    let split = match (first.test, how >> at & 1) {
                        (Test::Eq(value), _) => vec![Test::MaskedEq { mask: u64::MAX, value }],
                        (Test::Lt(v), 1) if v > 1 => vec![Test::Eq(0), Test::Lt(1), Test::Lt(v)],
                        (Test::Gt(v), 1) if v < u64::MAX - 1 => {
                            vec![Test::Gt(v + 1), Test::Eq(v + 1)]
                        }
                        (Test::Ne(v), 1) if v > 0 && v < u64::MAX => {
                            vec![Test::Gt(v), Test::Le(v - 1)]
                        }
                        (Test::MaskedEq { mask, value }, 1) if mask & 1 == 0 => [0, 1]
                            .map(|bit| Test::MaskedEq { mask: mask | 1, value: value | bit })
                            .to_vec(),
                        (same, _) => vec![same],
                    };
                    rules.extend(split.into_iter().map(|test| {
                        let own = Condition { index: first.index, test };
                        one([vec![own], rest.to_vec()].concat())
                    }));
                }
                // On one argument twice: alternatives, that is, rules.
                several if !several.is_empty() => {
                    rules.extend(several.iter().map(|c| one(vec![*c])))
                }
                _ => rules.push(one(Vec::new())),
            }
        }
    }
    // Rules are read as a set; a rule that is there already says nothing.
    rules.extend(rules.first().cloned());
    let length = rules.len().max(1) as u64;
    for at in 0..rules.len() {
        rules.swap(at, (order.wrapping_mul(at as u64 + 1) % length) as usize);
    }
    Profile { rules, ..profile.clone() }
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn what_means_the_same_has_one_normal_form(profile in profile(MIXED), order: u64, how: u64) {
        // Constants with an upper half are read in two ways on 32-bit architectures, and splitting changes which.
        let plain = |t: &Test| match *t {
            Test::Ne(v) | Test::Lt(v) | Test::Le(v) | Test::Eq(v) | Test::Ge(v) | Test::Gt(v) => v < u64::from(u32::MAX),
            Test::MaskedEq { mask, value } => (mask | value) <= u64::from(u32::MAX),
        };
        let mut profile = profile;
        if !profile.rules.iter().flat_map(|r| &r.conditions).all(|c| plain(&c.test)) {
            profile.architectures.retain(|arch| !arch.is_narrow());
        }
        let (one, other) = (function(&profile)?, function(&reworded(&profile, order, how))?);
        let (Some(one), Some(other)) = (built(one.normal()), built(other.normal())) else {
            return Err(TestCaseError::reject("too complex"));
        };
        prop_assert_eq!(one.to_string(), other.to_string());
        prop_assert_eq!(one, other);
    }

    /// Equal forms, equal answers at every point; different forms, a place where they differ.
    #[test]
    fn the_normal_form_tells_functions_apart(a in profile(MIXED), b in profile(MIXED), near: bool, points in points()) {
        // Two random profiles are rarely alike: half of the pairs are a profile and its meet with another.
        let a = function(&a)?;
        let b = if near { meet(&a, &function(&b)?)? } else { function(&b)? };
        let (Some(na), Some(nb)) = (built(a.normal()), built(b.normal())) else {
            return Err(TestCaseError::reject("too complex"));
        };
        let mut differ = a.architectures() != b.architectures() || a.flags() != b.flags();
        for arch in a.architectures() & b.architectures() {
            for nr in arch.base()..=arch.base() + syscalls::SPAN {
                let narrow = |table: &Table<Action>| if arch.is_narrow() { table.narrow() } else { Ok(table.clone()) };
                let (x, y) = (narrow(&a.answers(arch, nr)).unwrap(), narrow(&b.answers(arch, nr)).unwrap());
                differ |= place(&x, &y, |x, y| x != y) != Ok(None);
            }
        }
        prop_assert_eq!(na != nb, differ);
        prop_assert_eq!(na.to_string() != nb.to_string(), differ);
        prop_assert_eq!(built(a.equals(&b)), Some(!differ));
        if !differ {
            same(&a, &b, &points)?;
        }
    }
}

/// Reads what [`super::diff`] says of arguments: alternatives of ands of alternatives of tests.
fn holds(words: &str, syscall: &str, args: &[u64; 6]) -> bool {
    let words = words.trim();
    if let Some(inner) = words.strip_prefix("not (").and_then(|rest| rest.strip_suffix(')')) {
        return !holds(inner, syscall, args);
    }
    if let Some(inner) = words.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        return holds(inner, syscall, args);
    }
    // What stands in parentheses is last.
    let (front, last) = words.split_once('(').map_or((words, None), |(front, _)| {
        let front = front.strip_suffix("not ").unwrap_or(front);
        (front.strip_suffix(" and ").unwrap(), Some(&words[front.len()..]))
    });
    if let Some(last) = last {
        return holds(front, syscall, args)
            && holds(last.trim_start_matches(" and "), syscall, args);
    }
    if words.contains(" or ") {
        return words.split(" or ").any(|part| holds(part, syscall, args));
    }
    if words.contains(" and ") {
        return words.split(" and ").all(|part| holds(part, syscall, args));
    }
    let value = |word: &str| -> u64 {
        let names = [
            ("domain", 0),
            ("type", 1),
            ("flags", 0),
            ("fd", 0),
            ("op", 1),
            ("persona", 0),
            ("shmid", 0),
            ("shmaddr", 1),
            ("call", 0),
        ];
        if let Some((_, index)) = names.iter().find(|(name, _)| *name == word) {
            return args[*index];
        }
        if let Some(index) = word.strip_prefix("arg") {
            return args[index.parse::<usize>().unwrap()];
        }
        match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
            None => word.parse().unwrap(),
        }
    };
    let parts: Vec<&str> = words.split(' ').collect();
    match parts.as_slice() {
        [a, "&", mask, "=", b] => value(a) & value(mask) == value(b),
        [a, "&", mask, "!=", b] => value(a) & value(mask) != value(b),
        [a, "&", mask, ">=", b] => value(a) & value(mask) >= value(b),
        [a, "&", mask, "<=", b] => value(a) & value(mask) <= value(b),
        [a, "<=", b, "&", mask, "<=", c] => {
            (value(a)..=value(c)).contains(&(value(b) & value(mask)))
        }
        [a, "=", b] => value(a) == value(b),
        [a, "!=", b] => value(a) != value(b),
        [a, ">=", b] => value(a) >= value(b),
        [a, "<=", b] => value(a) <= value(b),
        [a, "<=", b, "<=", c] => value(a) <= value(b) && value(b) <= value(c),
        other => panic!("{syscall}: {other:?}"),
    }
}

proptest! {
    #![proptest_config(cases(256))]

    /// Wherever answers differ, the difference is told, with both answers, and nowhere else.
    #[test]
    fn a_diff_tells_every_difference_and_no_other(a in profile(MIXED), b in profile(MIXED), points in points()) {
        let (a, b) = (function(&a)?, function(&b)?);
        let diff = a.diff(&b);
        let equal = built(a.equals(&b)).ok_or_else(|| TestCaseError::reject("too complex"))?;
        if diff.is_empty() {
            prop_assert!(equal);
        }
        if equal {
            // A boundary alone may differ in name: by numbers that are all listed.
            prop_assert!(Diff { boundaries: Vec::new(), ..diff.clone() }.is_empty(), "{}", diff);
        }
        for arch in a.architectures() & b.architectures() {
            for name in NAMES {
                if syscalls::number(name, arch).is_none() || !(a.calls.contains_key(*name) || b.calls.contains_key(*name)) {
                    continue;
                }
                let told: Vec<&CallDiff> = diff.calls.iter()
                    .filter(|call| call.syscalls.iter().any(|n| n == name) && call.architectures.contains(&arch)).collect();
                for args in &points {
                    let args = if arch.is_narrow() { args.map(|arg| arg & 0xffff_ffff) } else { *args };
                    let (x, y) = (a.eval(arch, name, args), b.eval(arch, name, args));
                    let here = |call: &&&CallDiff| {
                        let When { conditions, .. } = &call.when;
                        conditions.is_empty() || conditions.iter().any(|words| !words.starts_with("for example") && holds(words, name, &args))
                    };
                    let found: Vec<_> = told.iter().filter(here).map(|call| (call.ours, call.theirs)).collect();
                    if x != y {
                        let cut = told.iter().any(|call| call.when.more);
                        prop_assert!(found == [(x, y)] || cut && found.is_empty(), "{} {:x?} {:?} {}", name, args, found, diff);
                    } else {
                        prop_assert!(found.is_empty(), "{} {:x?} {:?} {}", name, args, found, diff);
                    }
                }
            }
        }
    }
}
