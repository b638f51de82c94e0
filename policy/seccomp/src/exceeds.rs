//! Does one function stay within another? The answer is a place where it does not, which can be tried out.

use std::collections::BTreeSet;
use std::fmt;

use super::cube::Cube;
use super::function::{Function, spec_allow};
use super::order::{member, weaker_at};
use super::syscalls::{self, SPAN};
use super::table::Table;
use super::{Action, Arch};

/// How far a pattern is searched for an argument that the others leave open.
const STEPS: usize = 1 << 16;

/// A system call that one function answers more permissively than another. The answers are what [`Function::eval`] gives,
/// but for the runtime's ENOSYS above the highest named syscall: in its place stands the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counterexample {
    /// The architecture by whose numbers the call is made.
    pub arch: Arch,
    /// The syscall's name, or `number N` for one that has none.
    pub syscall: String,
    /// Arguments.
    pub args: [u64; 6],
    /// The answer of the function that exceeds.
    pub ours: Action,
    /// The answer of the function that is exceeded.
    pub theirs: Action,
}

/// In what one function exceeds another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Excess {
    /// It lets a call pass that the other stops, or stops it less strictly.
    Call(Counterexample),
    /// It leaves speculative store bypass on (`SECCOMP_FILTER_FLAG_SPEC_ALLOW`), which the other switches off.
    Speculation,
    /// Whether it does could not be decided within the limits: the patterns of this syscall are too many. Counts as yes.
    Undecided {
        /// The syscall.
        syscall: String,
    },
}

impl Function {
    /// True when `self` is nowhere more permissive than `other`: by precedence, so that errnos are equal among
    /// themselves; fewer architectures are stricter, and so is the absence of SPEC_ALLOW. ENOSYS above the highest
    /// named syscall counts as the default it stands for: both refuse.
    pub fn le(&self, other: &Self) -> bool {
        self.exceeds(other).is_none()
    }

    /// A place where `self` is more permissive than `other`; `None` when it nowhere is. The order is that of
    /// [`Function::le`]. Deterministic: architectures first, then defaults, then syscalls by name, then flags.
    pub fn exceeds(&self, other: &Self) -> Option<Excess> {
        if let Some(found) = self.arches.difference(&other.arches).find_map(|a| self.lives_on(*a)) {
            return Some(Excess::Call(found));
        }
        if self.default.strength() > other.default.strength() {
            return Some(Excess::Call(self.default_exceeds(other)));
        }
        let names: BTreeSet<&String> = self.calls.keys().chain(other.calls.keys()).collect();
        let excess = names.into_iter().find_map(|name| self.call_exceeds(other, name));
        let speculation = spec_allow(self.flags.as_ref()) && !spec_allow(other.flags.as_ref());
        excess.or(speculation.then_some(Excess::Speculation))
    }

    fn call_exceeds(&self, other: &Self, name: &str) -> Option<Excess> {
        for arch in self.arches.intersection(&other.arches).copied() {
            if syscalls::number(name, arch).is_none() {
                continue;
            }
            let (ours, theirs) = (self.bounds(arch, name), other.bounds(arch, name));
            match weaker_at(&ours, &theirs) {
                Ok(None) => {}
                Ok(Some(args)) => {
                    return Some(Excess::Call(Counterexample {
                        arch,
                        syscall: name.to_owned(),
                        args,
                        ours: ours.at(&args),
                        theirs: theirs.at(&args),
                    }));
                }
                Err(_) => return Some(Excess::Undecided { syscall: name.to_owned() }),
            }
        }
        None
    }

    /// A call on an architecture that is not simply killed, the most permissive that there is.
    fn lives_on(&self, arch: Arch) -> Option<Counterexample> {
        let mut best: Option<Counterexample> = None;
        for nr in arch.base()..=arch.base() + SPAN {
            let Some((args, ours)) = most_permissive(&self.answers(arch, nr)) else { continue };
            let theirs = Action::KillThread;
            let floor = best.as_ref().map_or(theirs.strength(), |best| best.ours.strength());
            if ours.strength() > floor {
                best =
                    Some(Counterexample { arch, syscall: call_name(nr, arch), args, ours, theirs });
            }
        }
        best
    }

    /// A call that has no rule in either, best one that has a name.
    fn default_exceeds(&self, other: &Self) -> Counterexample {
        let (args, ours, theirs) = ([0; 6], self.default, other.default);
        let common = || self.arches.intersection(&other.arches).copied();
        let unlisted = |arch: Arch, nr: u32| {
            let name = syscalls::name(nr, arch);
            let listed = |f: &Self| name.is_some_and(|name| f.calls.contains_key(name));
            let plain = |f: &Self| !listed(f) && !f.is_beyond_number(arch, nr);
            (plain(self) && plain(other)).then_some(name)
        };
        let mut unnamed = None;
        for arch in common() {
            for nr in arch.base()..=arch.base() + SPAN {
                match unlisted(arch, nr) {
                    Some(Some(name)) => {
                        return Counterexample {
                            arch,
                            syscall: name.to_owned(),
                            args,
                            ours,
                            theirs,
                        };
                    }
                    Some(None) => unnamed = unnamed.or(Some((arch, nr))),
                    None => {}
                }
            }
        }
        // Without any number left the defaults are still compared: a newer libseccomp may name more.
        let (arch, nr) = unnamed.unwrap_or((Arch::native(), Arch::native().base() + SPAN));
        Counterexample { arch, syscall: call_name(nr, arch), args, ours, theirs }
    }
}

/// The most permissive answer of a table, and arguments that get it.
fn most_permissive(table: &Table<Action>) -> Option<([u64; 6], Action)> {
    let best = table.labels().max_by_key(|action| action.strength())?;
    if let Some((cube, _)) = table.pieces.iter().find(|(_, action)| *action == best) {
        return Some((cube.first(), best));
    }
    let mut steps = STEPS;
    Some((member(Cube::ANY, &table.cubes(), &mut steps).ok()??, best))
}

pub(super) fn call_name(nr: u32, arch: Arch) -> String {
    syscalls::name(nr, arch).map_or_else(|| format!("number {nr}"), str::to_owned)
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let args: Vec<String> = self.args.iter().map(|arg| format!("{arg:#x}")).collect();
        let Self { arch, syscall, ours, theirs, .. } = self;
        write!(f, "{syscall}({}) on {}: {ours}, not {theirs}", args.join(", "), arch.oci())
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(call) => call.fmt(f),
            Self::Speculation => f.write_str(
                "it sets SECCOMP_FILTER_FLAG_SPEC_ALLOW (runtimes do, where a profile has no flags), the other does not",
            ),
            Self::Undecided { syscall } => write!(
                f,
                "the rules for {syscall} have too many argument patterns to compare; simplify them"
            ),
        }
    }
}
