//! What two functions answer differently, for people to read.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::arguments::in_words;
use super::cube::Cube;
use super::order::place;
use super::profile::Flag;
use super::table::{Table, combine};
use super::{Action, Arch, Function, syscalls};

/// The most different pairs of answers told apart for one syscall.
const PAIRS: usize = 16;

/// Where and how two functions differ. Empty: they answer alike, but for the choice of errno where the runtime's ENOSYS
/// stands for a refusal by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// Architectures of the one that the other kills.
    pub only_ours: BTreeSet<Arch>,
    /// Architectures that the one kills and the other has.
    pub only_theirs: BTreeSet<Arch>,
    /// What system calls get for which neither has a rule, where that differs.
    pub default: Option<(Action, Action)>,
    /// Effective flags of the one alone.
    pub flags_ours: BTreeSet<Flag>,
    /// Effective flags of the other alone.
    pub flags_theirs: BTreeSet<Flag>,
    /// Per architecture that both cover: the highest number below the runtime's ENOSYS, where it differs; `None` for no
    /// such boundary.
    pub boundaries: Vec<(Arch, Option<u32>, Option<u32>)>,
    /// System calls for which either has a rule and that are answered differently for some arguments.
    pub calls: Vec<CallDiff>,
}

/// Different answers to one or more system calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallDiff {
    /// The system calls, in the order of their names.
    pub syscalls: Vec<String>,
    /// The architectures, of those that both cover.
    pub architectures: Vec<Arch>,
    /// Where.
    pub when: When,
    /// The one's answer.
    pub ours: Action,
    /// The other's answer.
    pub theirs: Action,
}

/// For which arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct When {
    /// In words, each an alternative; none: for all arguments.
    pub conditions: Vec<String>,
    /// There are arguments that the conditions leave out.
    pub more: bool,
}

impl Function {
    /// Where the answers of `self` and `other` differ. The result is bounded: conditions that would be too many are cut, and
    /// said to be.
    pub fn diff(&self, other: &Self) -> Diff {
        let minus = |a: &BTreeSet<Flag>, b: &BTreeSet<Flag>| a - b;
        let boundary = |f: &Self, arch: Arch| {
            f.last.get(&arch).copied().filter(|last| f.is_beyond_number(arch, last + 1))
        };
        let common: Vec<Arch> = self.arches.intersection(&other.arches).copied().collect();
        let boundaries =
            common.iter().map(|arch| (*arch, boundary(self, *arch), boundary(other, *arch)));
        Diff {
            only_ours: &self.arches - &other.arches,
            only_theirs: &other.arches - &self.arches,
            default: (self.default != other.default).then_some((self.default, other.default)),
            flags_ours: minus(&self.flags(), &other.flags()),
            flags_theirs: minus(&other.flags(), &self.flags()),
            boundaries: boundaries.filter(|(_, ours, theirs)| ours != theirs).collect(),
            calls: self.differing_calls(other, &common),
        }
    }

    fn differing_calls(&self, other: &Self, common: &[Arch]) -> Vec<CallDiff> {
        let names: BTreeSet<&String> = self.calls.keys().chain(other.calls.keys()).collect();
        let mut calls: Vec<CallDiff> = Vec::new();
        for name in names {
            for arch in common.iter().copied() {
                let Some(nr) = syscalls::number(name, arch) else { continue };
                let (ours, theirs) = (self.answers(arch, nr), other.answers(arch, nr));
                for (when, ours, theirs) in differences(&ours, &theirs, name, arch) {
                    add(
                        &mut calls,
                        CallDiff {
                            syscalls: vec![name.clone()],
                            architectures: vec![arch],
                            when,
                            ours,
                            theirs,
                        },
                    );
                }
            }
        }
        merge(calls)
    }
}

/// The same difference of one syscall on a further architecture.
fn add(calls: &mut Vec<CallDiff>, new: CallDiff) {
    let same = |old: &&mut CallDiff| {
        old.syscalls == new.syscalls
            && old.when == new.when
            && old.ours == new.ours
            && old.theirs == new.theirs
    };
    match calls.iter_mut().find(same) {
        Some(old) => old.architectures.extend(new.architectures),
        None => calls.push(new),
    }
}

/// Calls that differ alike, together. Conditions name arguments, so they are alike only without any.
fn merge(calls: Vec<CallDiff>) -> Vec<CallDiff> {
    let mut merged: Vec<CallDiff> = Vec::new();
    for call in calls {
        let alike = |old: &&mut CallDiff| {
            old.when == call.when
                && call.when.conditions.is_empty()
                && !call.when.more
                && (&old.architectures, old.ours, old.theirs)
                    == (&call.architectures, call.ours, call.theirs)
        };
        match merged.iter_mut().find(alike) {
            Some(old) => old.syscalls.extend(call.syscalls),
            None => merged.push(call),
        }
    }
    merged
}

fn differences(
    ours: &Table<Action>,
    theirs: &Table<Action>,
    name: &str,
    arch: Arch,
) -> Vec<(When, Action, Action)> {
    if ours == theirs {
        return Vec::new();
    }
    let pair = |a, b| (a != b).then_some((a, b));
    let Ok(table) = combine(ours, theirs, pair) else {
        return one_place(ours, theirs);
    };
    let mut pairs: Vec<(Action, Action)> = Vec::new();
    for pair in table.labels().flatten() {
        if !pairs.contains(&pair) && pairs.len() < PAIRS {
            pairs.push(pair);
        }
    }
    let mut found = Vec::new();
    for (a, b) in pairs {
        let cubes: Result<Vec<Cube>, _> = if table.rest == Some((a, b)) {
            table.complement().map(|outside| {
                let own = table.pieces.iter().filter(|(_, label)| *label == Some((a, b)));
                outside.into_iter().chain(own.map(|(cube, _)| *cube)).collect()
            })
        } else {
            let own = table.pieces.iter().filter(|(_, label)| *label == Some((a, b)));
            Ok(own.map(|(cube, _)| *cube).collect())
        };
        let Ok(cubes) = cubes else { return one_place(ours, theirs) };
        let reachable = !arch.is_narrow() || cubes.iter().any(|cube| cube.narrow().is_some());
        if reachable {
            let (conditions, more) = in_words(&cubes, name, arch);
            found.push((When { conditions, more }, a, b));
        }
    }
    found.sort_by_key(|(_, a, b)| (*a, *b));
    found
}

/// Where the whole difference is too much to write down: one place of it.
fn one_place(ours: &Table<Action>, theirs: &Table<Action>) -> Vec<(When, Action, Action)> {
    let differ = |a: Action, b: Action| a != b;
    let Ok(found) = place(ours, theirs, differ) else {
        return Vec::new();
    };
    let told = |args: [u64; 6]| {
        let words: Vec<String> = args.iter().map(|arg| format!("{arg:#x}")).collect();
        let when =
            When { conditions: vec![format!("for example {}", words.join(", "))], more: true };
        (when, ours.at(&args), theirs.at(&args))
    };
    found.map(told).into_iter().collect()
}

impl Diff {
    /// True when nothing differs.
    pub fn is_empty(&self) -> bool {
        self.only_ours.is_empty()
            && self.only_theirs.is_empty()
            && self.default.is_none()
            && self.flags_ours.is_empty()
            && self.flags_theirs.is_empty()
            && self.boundaries.is_empty()
            && self.calls.is_empty()
    }
}

impl fmt::Display for CallDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.syscalls.join(", ");
        let When { conditions, more } = &self.when;
        let more = if *more { "; and more" } else { "" };
        match conditions.as_slice() {
            [] => f.write_str(&names)?,
            conditions => write!(f, "{names}({}{more})", conditions.join("; "))?,
        }
        let arches: Vec<&str> = self.architectures.iter().map(|arch| arch.oci()).collect();
        write!(f, " on {}: {} | {}", arches.join(", "), self.ours, self.theirs)
    }
}

/// A line for each difference: the one's answer left of the bar, the other's right of it.
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for arch in &self.only_ours {
            writeln!(f, "{}: covered | killed", arch.oci())?;
        }
        for arch in &self.only_theirs {
            writeln!(f, "{}: killed | covered", arch.oci())?;
        }
        if let Some((ours, theirs)) = self.default {
            writeln!(f, "every system call without a rule in either: {ours} | {theirs}")?;
        }
        for flag in &self.flags_ours {
            writeln!(f, "{}: set | not set", flag.name())?;
        }
        for flag in &self.flags_theirs {
            writeln!(f, "{}: not set | set", flag.name())?;
        }
        for (arch, ours, theirs) in &self.boundaries {
            let above = |nr: &Option<u32>| match nr {
                None => "no number".to_owned(),
                Some(nr) => match syscalls::name(*nr, *arch) {
                    Some(name) => format!("above {nr} ({name})"),
                    None => format!("above {nr}"),
                },
            };
            writeln!(
                f,
                "ENOSYS by the runtime on {}: {} | {}",
                arch.oci(),
                above(ours),
                above(theirs)
            )?;
        }
        self.calls.iter().try_for_each(|call| writeln!(f, "{call}"))
    }
}
