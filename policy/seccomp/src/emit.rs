//! Writing a function down as rules that every runtime reads the same way: disjoint patterns, one `SCMP_CMP_MASKED_EQ` an
//! argument, nothing that depends on order. What is written is never weaker than the function.
//!
//! It equals the function, with two exceptions that one list of rules for all architectures forces:
//! - Rules that look at the upper half of an argument, when a 32-bit architecture is covered too: libseccomp drops
//!   the upper halves there, so that "allow unless 40" in 64 bits would become "allow". The rules are then tightened until
//!   their truncation is right as well ("allow unless the lower half is 40", which is also what the kernel looks at).
//! - Multiplexers (`socketcall`, `ipc`): libseccomp adds a rule for `socketcall(SYS_SOCKET)` for each one on `socket`,
//!   without the conditions on the first argument. Where that would be weaker than the function, the multiplexer is
//!   refused as a whole; current C libraries use the direct syscalls on i386 too.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{ENOSYS, EPERM};
use super::cube::{Cube, Pattern};
use super::function::{Call, Function, has_stub, last_named};
use super::order::le;
use super::profile::{Condition, Flag, Profile, Rule, Test};
use super::syscalls::{self, MULTIPLEXERS, Multiplexer};
use super::table::{self, Table, TooMany, combine};
use super::{Action, Arch, SeccompError};

/// The rules, and what they mean to libseccomp.
#[derive(Debug, Clone)]
pub(super) struct Emission {
    pub(super) default: Action,
    pub(super) arches: BTreeSet<Arch>,
    flags: Option<BTreeSet<Flag>>,
    /// Disjoint patterns with actions other than the default.
    pub(super) calls: BTreeMap<String, Vec<(Cube, Action)>>,
    /// Named with the default action, so that the highest named number, above which runc answers ENOSYS, stays.
    anchors: BTreeSet<String>,
    /// As runc will find it in the profile written here.
    pub(super) last: BTreeMap<Arch, u32>,
}

impl Function {
    /// The function as an OCI profile that stands for it in every runtime.
    ///
    /// # Errors
    /// [`SeccompError::TooComplex`] when writing it out takes too many rules.
    pub fn to_profile(&self) -> Result<Profile, SeccompError> {
        Ok(self.emit()?.profile())
    }

    pub(super) fn emit(&self) -> Result<Emission, SeccompError> {
        let mut emission = Emission {
            default: self.default,
            arches: self.arches.clone(),
            flags: self.flags.clone(),
            calls: BTreeMap::new(),
            anchors: BTreeSet::new(),
            last: BTreeMap::new(),
        };
        for (name, call) in &self.calls {
            if MULTIPLEXERS.iter().any(|m| m.name == name) || self.is_left_to_stub(name, call) {
                continue;
            }
            let rules = self.rules(call).map_err(|TooMany| SeccompError::TooComplex {
                syscall: name.clone(),
                limit: table::LIMIT,
            })?;
            // Without rules it is not named, unless as an anchor.
            if !rules.is_empty() {
                emission.calls.insert(name.clone(), rules);
            }
        }
        for multiplexer in &MULTIPLEXERS {
            self.emit_multiplexer(multiplexer, &mut emission)?;
        }
        emission.drop_confused_x32();
        if has_stub(self.default) {
            for arch in &self.arches {
                // Where the function knows of no boundary, none may come about by what happens to be named.
                let highest = || syscalls::highest(*arch);
                let anchor = self.last.get(arch).copied().or_else(highest);
                emission
                    .anchors
                    .extend(anchor.and_then(|nr| syscalls::name(nr, *arch)).map(str::to_owned));
            }
            let names = emission.calls.keys().chain(&emission.anchors).map(String::as_str);
            emission.last = last_named(names, &emission.arches);
        }
        Ok(emission)
    }

    /// The runtime's own ENOSYS for syscalls above the highest named one says it already; naming the call would move that.
    fn is_left_to_stub(&self, name: &str, call: &Call) -> bool {
        let enosys = Some(Action::Errno(ENOSYS));
        call.wide.uniform() == enosys
            && call.narrow.uniform() == enosys
            && self
                .arches
                .iter()
                .all(|arch| syscalls::number(name, *arch).is_none() || self.is_beyond(*arch, name))
    }

    /// The patterns of one syscall that are right in 64 bits and, truncated, in 32.
    pub(super) fn rules(&self, call: &Call) -> Result<Vec<(Cube, Action)>, TooMany> {
        let narrow = self.arches.iter().any(|arch| arch.is_narrow());
        let wide = self.arches.iter().any(|arch| !arch.is_narrow());
        if !narrow {
            return limited(call.wide.without_label(self.default)?);
        }
        if !wide {
            return limited(call.narrow.without_label(self.default)?);
        }
        if let Ok(plain) = call.wide.without_label(self.default)
            && self.survives_truncation(&plain, &call.narrow)?
        {
            return limited(plain);
        }
        // What 32 bits have to say, whatever the upper half: what the kernel looks at in most calls, and short.
        if le(&call.narrow, &call.wide) {
            return limited(call.narrow.without_label(self.default)?);
        }
        let lowered = combine(&call.wide, &call.narrow, Action::min)?;
        let rules = lowered.without_label(self.default)?;
        if self.survives_truncation(&rules, &call.narrow)? {
            return limited(rules);
        }
        limited(project(&lowered)?.without_label(self.default)?)
    }

    /// Truncated, the patterns are still disjoint, and none is weaker than `narrow`. Disjoint although overlap with one
    /// action would do in theory: libseccomp 2.5.4 then answers wrong on the 64-bit architecture beside.
    fn survives_truncation(
        &self,
        rules: &[(Cube, Action)],
        narrow: &Table<Action>,
    ) -> Result<bool, TooMany> {
        let pieces: Vec<(Cube, Action)> =
            rules.iter().map(|(cube, action)| (cube.truncate(), *action)).collect();
        let overlap = |(i, (cube, _)): (usize, &(Cube, Action))| {
            pieces.iter().skip(i + 1).any(|(other, _)| cube.intersect(other).is_some())
        };
        if rules.iter().any(|(cube, _)| cube.is_wide()) && pieces.iter().enumerate().any(overlap) {
            return Ok(false);
        }
        Ok(le(&Table { pieces, rest: self.default }, narrow))
    }

    fn emit_multiplexer(
        &self,
        mux: &Multiplexer,
        emission: &mut Emission,
    ) -> Result<(), SeccompError> {
        let muxed: Vec<Arch> =
            self.arches.iter().copied().filter(|a| a.has_multiplexer()).collect();
        if muxed.is_empty() {
            return Ok(());
        }
        let too_complex = |TooMany| SeccompError::TooComplex {
            syscall: mux.name.to_owned(),
            limit: table::LIMIT,
        };
        let call = self.call(mux.name);
        let wanted =
            match (muxed.iter().any(|a| a.is_narrow()), muxed.iter().any(|a| !a.is_narrow())) {
                (true, true) => {
                    combine(&call.wide, &call.narrow, Action::min).map_err(too_complex)?
                }
                (true, false) => call.narrow,
                _ => call.wide,
            };
        if let Some(action) = wanted.uniform()
            && action != self.default
        {
            emission.calls.insert(mux.name.to_owned(), vec![(Cube::ANY, action)]);
            return Ok(());
        }
        if emission.induced(mux).is_some_and(|induced| le(&induced, &wanted)) {
            return Ok(());
        }
        let strictest = wanted.labels().min().unwrap_or(self.default);
        match refusal_unlike(strictest, self.default) {
            Some(action) => {
                emission.calls.insert(mux.name.to_owned(), vec![(Cube::ANY, action)]);
            }
            // Nothing is stricter than the default, and a rule equal to it would be dropped: give up the architecture.
            None if muxed.contains(&Arch::native()) => {
                return Err(SeccompError::Unsupported {
                    what: format!(
                        "a condition on a call behind {} with default {}",
                        mux.name,
                        self.default.name()
                    ),
                    why: "use SCMP_ACT_ERRNO as the default action, or drop the condition"
                        .to_owned(),
                });
            }
            None => emission.arches.retain(|arch| !arch.has_multiplexer()),
        }
        Ok(())
    }
}

/// An action as strict as `wanted` that differs from the default: a rule equal to the default is dropped by runtimes, and
/// then the rules that libseccomp adds by itself would stand.
fn refusal_unlike(wanted: Action, default: Action) -> Option<Action> {
    if wanted != default {
        return Some(wanted);
    }
    match default {
        Action::KillProcess => None,
        Action::KillThread => Some(Action::KillProcess),
        Action::Trap => Some(Action::KillThread),
        Action::Errno(ENOSYS) => Some(Action::Errno(EPERM)),
        _ => Some(Action::Errno(ENOSYS)),
    }
}

/// The strictest answer for each lower half, whatever the upper one.
fn project(table: &Table<Action>) -> Result<Table<Action>, TooMany> {
    let mut lowest: Table<Action> = Table::constant(Action::Allow);
    for (cube, action) in table.partition()? {
        let one = Table { pieces: vec![(cube.truncate(), Some(action))], rest: None };
        lowest = combine(&lowest, &one, |a, b| b.map_or(a, |b| a.min(b)))?;
    }
    Ok(lowest)
}

fn limited(rules: Vec<(Cube, Action)>) -> Result<Vec<(Cube, Action)>, TooMany> {
    if rules.len() > table::LIMIT { Err(TooMany) } else { Ok(rules) }
}

impl Emission {
    /// What these rules answer once libseccomp has compiled them and runc has added its ENOSYS stub.
    pub(super) fn table(&self, arch: Arch, name: &str) -> Table<Action> {
        if let (Some(last), Some(nr)) = (self.last.get(&arch), syscalls::number(name, arch))
            && nr > *last
        {
            return Table::constant(Action::Errno(ENOSYS));
        }
        if arch.has_multiplexer()
            && !self.calls.contains_key(name)
            && let Some(mux) = MULTIPLEXERS.iter().find(|m| m.name == name)
        {
            return self.induced(mux).unwrap_or_else(|| Table::constant(self.default));
        }
        let rules = self.calls.get(name).map(Vec::as_slice).unwrap_or_default();
        let cut = |cube: &Cube| if arch.is_narrow() { cube.truncate() } else { *cube };
        Table {
            pieces: rules.iter().map(|(cube, action)| (cut(cube), *action)).collect(),
            rest: self.default,
        }
    }

    /// What libseccomp makes of a multiplexer, named or not; `None` where that cannot be told.
    pub(super) fn says_of(&self, arch: Arch, mux: &Multiplexer) -> Option<Table<Action>> {
        if self.calls.contains_key(mux.name) {
            return Some(self.table(arch, mux.name));
        }
        self.induced(mux)
    }

    /// What libseccomp makes of a multiplexer by itself: one rule for each rule on a sub-call, the first argument
    /// replaced by the selector (2.5.4, arch.c and arch-x86.c, `abi_rule_add`). `None` when those would differ from each
    /// other, or look at pointers.
    fn induced(&self, mux: &Multiplexer) -> Option<Table<Action>> {
        let mut table = Table::constant(self.default);
        for (nr, name) in mux.calls {
            let rules = self.calls.get(*name).map(Vec::as_slice).unwrap_or_default();
            let Some((_, action)) = rules.first() else {
                continue;
            };
            let plain = |cube: &Cube| cube.0.iter().skip(1).all(|p| p.mask == 0);
            if !rules.iter().all(|(cube, a)| a == action && plain(cube)) {
                return None;
            }
            table.pieces.push((Cube::on(0, u64::MAX, *nr), *action));
        }
        // The narrow form is the same: the selectors fit.
        if self.arches.iter().filter(|a| a.has_multiplexer()).all(|a| a.is_narrow()) {
            table.narrow().ok()
        } else {
            Some(table)
        }
    }

    /// With x86_64, x86 and x32 covered, a rule on `socketcall` makes libseccomp (2.5.4) lose conditional rules on
    /// `socket` for x86_64, in any order. x32 is given up then: its calls are killed.
    fn drop_confused_x32(&mut self) {
        let conditional = |name: &str| {
            self.calls
                .get(name)
                .is_some_and(|rules| rules.iter().any(|(cube, _)| *cube != Cube::ANY))
        };
        let confused = MULTIPLEXERS.iter().any(|mux| {
            self.calls.contains_key(mux.name) && mux.calls.iter().any(|(_, name)| conditional(name))
        });
        if confused && self.arches.iter().any(|arch| arch.has_multiplexer()) {
            self.arches.remove(&Arch::X32);
        }
    }

    /// The rules of a profile that [`Self::profile`] wrote, as they stand in it.
    pub(super) fn as_written(profile: &Profile) -> Result<Self, SeccompError> {
        let mut emission = Self {
            default: profile.default,
            arches: profile.covered(),
            flags: profile.flags.clone(),
            calls: BTreeMap::new(),
            anchors: BTreeSet::new(),
            last: BTreeMap::new(),
        };
        for (at, rule) in profile.rules.iter().enumerate() {
            let cube = masks(&rule.conditions).ok_or_else(|| SeccompError::Unsupported {
                what: format!("rule {at} in a profile as it is written for runtimes"),
                why: "each condition there is one SCMP_CMP_MASKED_EQ on an argument of its own"
                    .to_owned(),
            })?;
            for name in rule.names.iter().filter(|name| syscalls::is_known(name)) {
                if rule.action == profile.default {
                    emission.anchors.insert(name.clone());
                } else {
                    emission.calls.entry(name.clone()).or_default().push((cube, rule.action));
                }
            }
        }
        if has_stub(profile.default) {
            let names = emission.calls.keys().chain(&emission.anchors).map(String::as_str);
            emission.last = last_named(names, &emission.arches);
        }
        Ok(emission)
    }

    /// Rules in the order: unconditional ones by action, then conditional ones by syscall.
    pub(super) fn profile(&self) -> Profile {
        let mut plain: BTreeMap<Action, Vec<String>> = BTreeMap::new();
        let mut rules = Vec::new();
        for (name, patterns) in &self.calls {
            for (cube, action) in patterns {
                if *cube == Cube::ANY {
                    plain.entry(*action).or_default().push(name.clone());
                } else {
                    let conditions = conditions(cube);
                    rules.push(Rule { names: vec![name.clone()], action: *action, conditions });
                }
            }
        }
        for name in self.anchors.iter().filter(|name| !self.calls.contains_key(*name)) {
            plain.entry(self.default).or_default().push(name.clone());
        }
        let unconditional =
            plain.into_iter().map(|(action, names)| Rule { names, action, conditions: Vec::new() });
        Profile {
            default: self.default,
            architectures: self.arches.clone(),
            flags: self.flags.clone(),
            listener: None,
            rules: unconditional.chain(rules).collect(),
        }
    }
}

/// The pattern of conditions as [`conditions`] writes them.
fn masks(conditions: &[Condition]) -> Option<Cube> {
    let mut cube = Cube::ANY;
    for condition in conditions {
        let Test::MaskedEq { mask, value } = condition.test else { return None };
        let pattern = cube.0.get_mut(condition.index).filter(|pattern| pattern.mask == 0)?;
        *pattern = Pattern { mask, value: value & mask };
    }
    Some(cube)
}

fn conditions(cube: &Cube) -> Vec<Condition> {
    cube.0
        .iter()
        .enumerate()
        .filter(|(_, p)| p.mask != 0)
        .map(|(index, p)| Condition {
            index,
            test: Test::MaskedEq { mask: p.mask, value: p.value },
        })
        .collect()
}
