//! A profile as a mathematical function: (architecture, syscall, arguments) to action, and the meet of two.

use std::collections::{BTreeMap, BTreeSet};

use super::action::ENOSYS;
use super::profile::{Condition, Flag, Rule, Test};
use super::syscalls::{self, MULTIPLEXERS, Multiplexer};
use super::table::{self, Table, TooMany, combine};
use super::{Action, Arch, Profile, SeccompError};

/// How a profile is read where its text leaves a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// As runc and crun would load it. Two conditions on one argument are two rules (either suffices), unknown names
    /// are dropped; where rules with different actions overlap, and libseccomp's answer depends on order, the
    /// strictest answer counts.
    Runtime,
    /// As a policy: what a runtime would drop in silence or read differently from its author is an error.
    Policy,
}

/// A profile as a function, in a normal form on which meet and comparison are exact.
#[derive(Debug, Clone)]
pub struct Function {
    pub(super) default: Action,
    pub(super) arches: BTreeSet<Arch>,
    pub(super) flags: Option<BTreeSet<Flag>>,
    /// Only syscalls that differ from the default somewhere.
    pub(super) calls: BTreeMap<String, Call>,
    /// Per architecture the highest number that the profile names: runc (1.0 and later,
    /// libcontainer/seccomp/patchbpf) answers ENOSYS above it when the default is a refusal.
    pub(super) last: BTreeMap<Arch, u32>,
}

/// One syscall's function, on 64-bit architectures and on 32-bit ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) wide: Table<Action>,
    pub(super) narrow: Table<Action>,
}

impl Function {
    /// Reads a profile.
    ///
    /// # Errors
    /// [`SeccompError::TooComplex`]; under [`Reading::Policy`] also [`SeccompError::UnknownSyscall`] and
    /// [`SeccompError::Ambiguous`].
    pub fn of(profile: &Profile, reading: Reading) -> Result<Self, SeccompError> {
        let mut by_name: BTreeMap<&str, Vec<(usize, &Rule)>> = BTreeMap::new();
        for (at, rule) in profile.rules.iter().enumerate() {
            for name in &rule.names {
                if syscalls::is_known(name) {
                    by_name.entry(name).or_default().push((at, rule));
                } else if reading == Reading::Policy
                    && rule.action.strength() < profile.default.strength()
                {
                    let hint = syscalls::hint(name);
                    return Err(SeccompError::UnknownSyscall {
                        rule: at,
                        name: name.clone(),
                        hint,
                    });
                }
            }
        }
        let mut calls = BTreeMap::new();
        for (name, rules) in &by_name {
            let call = Call::of(name, rules, profile.default, reading)?;
            calls.insert((*name).to_owned(), call);
        }
        for multiplexer in &MULTIPLEXERS {
            let call = multiplexed(multiplexer, &calls, profile.default)
                .map_err(|TooMany| too_complex(multiplexer.name))?;
            calls.insert(multiplexer.name.to_owned(), call);
        }
        calls.retain(|_, call| !call.is(profile.default));
        let arches = profile.covered();
        let last = if has_stub(profile.default) {
            last_named(by_name.keys().copied(), &arches)
        } else {
            BTreeMap::new()
        };
        Ok(Self { default: profile.default, flags: profile.flags.clone(), arches, calls, last })
    }

    /// The function that is the stricter of the two everywhere. Commutative, associative, idempotent.
    ///
    /// # Errors
    /// [`SeccompError::TooComplex`] when it needs more patterns than allowed.
    pub fn meet(&self, other: &Self) -> Result<Self, SeccompError> {
        let default = self.default.min(other.default);
        let mut calls = BTreeMap::new();
        let names: BTreeSet<&String> = self.calls.keys().chain(other.calls.keys()).collect();
        for name in names {
            let call =
                self.call(name).meet(&other.call(name)).map_err(|TooMany| too_complex(name))?;
            if !call.is(default) {
                calls.insert(name.clone(), call);
            }
        }
        let arches: BTreeSet<Arch> = self.arches.intersection(&other.arches).copied().collect();
        let mut last: BTreeMap<Arch, u32> = BTreeMap::new();
        for (arch, nr) in
            self.last.iter().chain(&other.last).filter(|(arch, _)| arches.contains(arch))
        {
            last.entry(*arch).and_modify(|old| *old = (*old).min(*nr)).or_insert(*nr);
        }
        let flags = match (&self.flags, &other.flags) {
            (None, None) => None,
            (a, b) => Some(meet_flags(a.as_ref(), b.as_ref())),
        };
        Ok(Self { default, arches, flags, calls, last })
    }

    /// The answer at one point. `syscall` may be any name; one that is not known gets the default.
    pub fn eval(&self, arch: Arch, syscall: &str, mut args: [u64; 6]) -> Action {
        if !self.arches.contains(&arch) {
            // libseccomp's action for other architectures (SCMP_FLTATR_ACT_BADARCH), which runtimes leave as it is.
            return Action::KillThread;
        }
        let listed = self.calls.get(syscall).map(|call| {
            if arch.is_narrow() {
                args = args.map(|a| a & 0xffff_ffff);
                call.narrow.at(&args)
            } else {
                call.wide.at(&args)
            }
        });
        if self.is_beyond(arch, syscall) {
            return listed.unwrap_or(Action::Errno(ENOSYS)).min(Action::Errno(ENOSYS));
        }
        listed.unwrap_or(self.default)
    }

    /// The action of a syscall when it depends neither on arguments nor on the architecture.
    pub fn always(&self, syscall: &str) -> Option<Action> {
        let call = self.call(syscall);
        let here: Vec<Arch> = self
            .arches
            .iter()
            .copied()
            .filter(|a| syscalls::number(syscall, *a).is_some())
            .collect();
        let mut answers = here.iter().map(|arch| {
            let table = if arch.is_narrow() { &call.narrow } else { &call.wide };
            table.uniform().map(|_| self.eval(*arch, syscall, [0; 6]))
        });
        match answers.next() {
            None => Some(self.default),
            Some(first) => answers.all(|answer| answer == first).then_some(first).flatten(),
        }
    }

    /// What a syscall without a rule gets.
    pub fn default_action(&self) -> Action {
        self.default
    }

    /// The architectures covered, the native one included.
    pub fn architectures(&self) -> &BTreeSet<Arch> {
        &self.arches
    }

    /// The flags of seccomp(2) as they count: absent ones are SPEC_ALLOW, TSYNC changes nothing.
    pub fn flags(&self) -> BTreeSet<Flag> {
        let mut flags = self.flags.clone().unwrap_or_else(|| BTreeSet::from([Flag::SpecAllow]));
        flags.remove(&Flag::Tsync);
        flags
    }

    /// The syscalls whose answer differs from the default for some arguments.
    pub fn syscalls(&self) -> impl Iterator<Item = &str> {
        self.calls.keys().map(String::as_str)
    }

    /// The same function on fewer architectures. The native one stays: every runtime adds it.
    #[must_use]
    pub fn restrict_to(mut self, arches: &BTreeSet<Arch>) -> Self {
        self.arches.retain(|arch| *arch == Arch::native() || arches.contains(arch));
        let Self { arches, last, .. } = &mut self;
        last.retain(|arch, _| arches.contains(arch));
        self
    }

    pub(super) fn call(&self, name: &str) -> Call {
        self.calls.get(name).cloned().unwrap_or_else(|| Call::constant(self.default))
    }

    /// The number lies above what the profile knows, so that the runtime answers ENOSYS.
    pub(super) fn is_beyond(&self, arch: Arch, syscall: &str) -> bool {
        syscalls::number(syscall, arch).is_some_and(|nr| self.is_beyond_number(arch, nr))
    }

    pub(super) fn is_beyond_number(&self, arch: Arch, nr: u32) -> bool {
        has_stub(self.default) && self.last.get(&arch).is_some_and(|last| nr > *last)
    }
}

impl Call {
    pub(super) fn constant(action: Action) -> Self {
        Self { wide: Table::constant(action), narrow: Table::constant(action) }
    }

    pub(super) fn is(&self, action: Action) -> bool {
        self.wide.uniform() == Some(action) && self.narrow.uniform() == Some(action)
    }

    fn meet(&self, other: &Self) -> Result<Self, TooMany> {
        Ok(Self {
            wide: combine(&self.wide, &other.wide, Action::min)?,
            narrow: combine(&self.narrow, &other.narrow, Action::min)?,
        })
    }

    fn of(
        name: &str,
        rules: &[(usize, &Rule)],
        default: Action,
        reading: Reading,
    ) -> Result<Self, SeccompError> {
        if let [(_, rule)] = rules
            && rule.conditions.is_empty()
        {
            return Ok(Self::constant(rule.action));
        }
        if reading == Reading::Policy {
            refuse_odd_conditions(name, rules)?;
        }
        let wide = read(rules, default, 64, reading, name);
        let wide = wide?;
        let mut narrow = wide.narrow().map_err(|TooMany| too_complex(name))?;
        let upper = rules.iter().flat_map(|(_, rule)| &rule.conditions).any(has_upper_half);
        if upper {
            // Read literally such a constant is out of reach for 32-bit arguments; libseccomp cuts it in half and
            // compares. The stricter of the two counts.
            let cut = read(rules, default, 32, reading, name)?;
            narrow = combine(&narrow, &cut, Action::min).map_err(|TooMany| too_complex(name))?;
        }
        Ok(Self { wide, narrow })
    }
}

/// The tables of one syscall's rules: the strictest of the rules that apply, or the default.
fn read(
    rules: &[(usize, &Rule)],
    default: Action,
    bits: u32,
    reading: Reading,
    name: &str,
) -> Result<Table<Action>, SeccompError> {
    let fail = |TooMany| too_complex(name);
    let mut regions: Vec<(usize, Action, Table<bool>)> = Vec::with_capacity(rules.len());
    for (at, rule) in rules {
        regions.push((*at, rule.action, region(&rule.conditions, bits).map_err(fail)?));
    }
    if reading == Reading::Policy {
        for (i, (at, action, region)) in regions.iter().enumerate() {
            for (other_at, other_action, other) in regions.iter().skip(i + 1) {
                let both = combine(region, other, |a, b| a && b).map_err(fail)?;
                if action != other_action && both.uniform() != Some(false) {
                    return Err(SeccompError::Ambiguous {
                        syscall: name.to_owned(),
                        problem: format!(
                            "rules {at} and {other_at} have different actions and apply to the same arguments; runtimes \
                             take one or the other by order and kind. Make their conditions exclude each other"
                        ),
                    });
                }
            }
        }
    }
    let mut acc: Table<Option<Action>> = Table::constant(None);
    for (_, action, region) in &regions {
        acc = combine(&acc, region, |old, applies| match (old, applies) {
            (old, false) => old,
            (None, true) => Some(*action),
            (Some(old), true) => Some(old.min(*action)),
        })
        .map_err(fail)?;
    }
    combine(&acc, &Table::constant(()), |action, ()| action.unwrap_or(default)).map_err(fail)
}

/// The arguments to which a rule applies.
fn region(conditions: &[Condition], bits: u32) -> Result<Table<bool>, TooMany> {
    let either = has_repeated_index(conditions);
    let mut acc = Table::constant(!either || conditions.is_empty());
    for condition in conditions {
        let one = Table::condition(condition, bits);
        acc = combine(&acc, &one, |a, b| if either { a || b } else { a && b })?;
    }
    Ok(acc)
}

fn has_repeated_index(conditions: &[Condition]) -> bool {
    conditions
        .iter()
        .enumerate()
        .any(|(i, c)| conditions.iter().skip(i + 1).any(|d| d.index == c.index))
}

fn refuse_odd_conditions(name: &str, rules: &[(usize, &Rule)]) -> Result<(), SeccompError> {
    for (at, rule) in rules {
        if has_repeated_index(&rule.conditions) {
            return Err(SeccompError::Ambiguous {
                syscall: name.to_owned(),
                problem: format!(
                    "rule {at} has two conditions on one argument; runc and crun take them as alternatives (OR). Write \
                     one condition per argument, or separate rules whose conditions exclude each other"
                ),
            });
        }
        for condition in &rule.conditions {
            if let Test::MaskedEq { mask, value } = condition.test
                && value & !mask != 0
            {
                return Err(SeccompError::Ambiguous {
                    syscall: name.to_owned(),
                    problem: format!(
                        "rule {at}, argument {}: SCMP_CMP_MASKED_EQ with mask {mask:#x} can never give {value:#x}; \
                         value is the mask and valueTwo what the masked argument must be",
                        condition.index
                    ),
                });
            }
        }
    }
    Ok(())
}

fn has_upper_half(condition: &Condition) -> bool {
    match condition.test {
        Test::Ne(v) | Test::Lt(v) | Test::Le(v) | Test::Eq(v) | Test::Ge(v) | Test::Gt(v) => {
            v >> 32 != 0
        }
        Test::MaskedEq { mask, value } => (mask | value) >> 32 != 0,
    }
}

/// What reaches the kernel through a multiplexer. A rule of its own without conditions wins over everything that
/// libseccomp adds for its sub-calls. Otherwise a sub-call is as strict as the strictest answer of the call it stands
/// for, because the arguments behind the pointer cannot be read: a conditional refusal of `socket` refuses
/// `socketcall(SYS_SOCKET)` altogether.
fn multiplexed(
    multiplexer: &Multiplexer,
    calls: &BTreeMap<String, Call>,
    default: Action,
) -> Result<Call, TooMany> {
    let own = calls.get(multiplexer.name);
    if let Some(call) = own
        && let Some(action) = call.wide.uniform()
        && action != default
    {
        return Ok(call.clone());
    }
    let strictest = |table: &Table<Action>| table.labels().min().unwrap_or(default);
    let mut wide = Table::constant(default);
    let mut narrow = wide.clone();
    for (nr, name) in multiplexer.calls {
        if let Some(call) = calls.get(*name) {
            for (table, action, all) in [
                (&mut wide, strictest(&call.wide), u64::MAX),
                (&mut narrow, strictest(&call.narrow), 0xffff_ffff),
            ] {
                // libseccomp compares the whole argument, the kernel looks at the selecting bits alone.
                let mask = if action < default { multiplexer.selector } else { all };
                table.pieces.push((super::cube::Cube::on(0, mask, *nr), action));
                table.pieces.retain(|(_, action)| *action != default);
            }
        }
    }
    let derived = Call { wide, narrow };
    own.map_or(Ok(derived.clone()), |own| own.meet(&derived))
}

/// runc adds its ENOSYS stub unless the default lets syscalls through or is ENOSYS already
/// (libcontainer/seccomp/patchbpf, `generatePatch`).
pub(super) fn has_stub(default: Action) -> bool {
    !matches!(default, Action::Allow | Action::Log | Action::Trace(_) | Action::Errno(ENOSYS))
}

/// The highest number named, per architecture.
pub(super) fn last_named<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    arches: &BTreeSet<Arch>,
) -> BTreeMap<Arch, u32> {
    arches
        .iter()
        .filter_map(|arch| {
            Some((*arch, names.clone().filter_map(|n| syscalls::number(n, *arch)).max()?))
        })
        .collect()
}

/// `None` is what runtimes make of it: SPEC_ALLOW.
pub(super) fn spec_allow(flags: Option<&BTreeSet<Flag>>) -> bool {
    flags.is_none_or(|flags| flags.contains(&Flag::SpecAllow))
}

fn meet_flags(a: Option<&BTreeSet<Flag>>, b: Option<&BTreeSet<Flag>>) -> BTreeSet<Flag> {
    let has = |set: Option<&BTreeSet<Flag>>, flag| set.is_some_and(|set| set.contains(&flag));
    let mut flags = BTreeSet::new();
    if has(a, Flag::Log) || has(b, Flag::Log) {
        flags.insert(Flag::Log);
    }
    if spec_allow(a) && spec_allow(b) {
        flags.insert(Flag::SpecAllow);
    }
    if has(a, Flag::WaitKillableRecv) && has(b, Flag::WaitKillableRecv) {
        flags.insert(Flag::WaitKillableRecv);
    }
    flags
}

pub(super) fn too_complex(name: &str) -> SeccompError {
    SeccompError::TooComplex { syscall: name.to_owned(), limit: table::LIMIT }
}
