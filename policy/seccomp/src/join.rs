//! The least permissive function that allows whatever either of two allows; for putting recordings together.
//!
//! The default, the answers and the flags are easy: the more permissive of both. Two things are not, because one function
//! has one default and one table a syscall for all its architectures, and one boundary above which the runtime says ENOSYS:
//!
//! - **Architectures.** The join covers those of both. On one that only one side covers, the other kills, which counts as
//!   the strictest answer there is (as in [`Function::le`]): the join says there what the one side says. With equal defaults that can be written down; a join of
//!   "allow" on x86_64 with "refuse, on x86_64 and i386 too" cannot, and is refused.
//! - **The runtime's ENOSYS** above the highest named syscall. The join's boundary is the higher of both, so that what
//!   either allows stays reachable. Between the two boundaries one side says ENOSYS and the other its default. Where the
//!   join's default is SCMP_ACT_ERRNO, both are refusals of equal strength, and the join gives its default's errno.
//!   Where the default is stricter, ENOSYS is the more permissive answer, and no single boundary gives it: refused.
//!
//! - Both together: a call that one side lets through on i386, and that lies above the other's boundary on x32, would be
//!   named by whoever writes the join down, and so be let through on x32 too: refused.
//!
//! So the result is built first and then held against both functions, for every number of every architecture; where it
//! is not the pointwise maximum, the join is refused, with the place and what to do.
//!
//! Of two errnos (and of two messages of SCMP_ACT_TRACE) the join takes the greater in the order of [`Action`], as the meet
//! takes the lesser: ENOSYS is the least, the others go by number. So each absorbs the other.

use std::collections::{BTreeMap, BTreeSet};

use super::function::{Call, Function, has_stub, spec_allow, too_complex};
use super::order::place;
use super::profile::Flag;
use super::syscalls::{self, MULTIPLEXERS, SPAN};
use super::table::{Table, TooMany, combine};
use super::{Action, Arch, SeccompError};

/// The boundary of a function that has none: no number is above it.
const UNBOUNDED: u32 = u32::MAX;

impl Function {
    /// The function that is the more permissive of the two everywhere. Commutative, associative, idempotent; it and
    /// [`Function::meet`] absorb each other.
    ///
    /// What [`Function::to_profile`] writes of a join may be narrower than the join, never wider: on architectures with
    /// `socketcall` a conditional rule on `socket` costs `socketcall`, as in every profile that is written.
    ///
    /// # Errors
    /// [`SeccompError::TooComplex`] when it needs more patterns than allowed; [`SeccompError::Unsupported`] when no single
    /// function is the more permissive of the two on every architecture, naming the first place.
    pub fn join(&self, other: &Self) -> Result<Self, SeccompError> {
        let default = self.default.max(other.default);
        let arches = &self.arches | &other.arches;
        let names: BTreeSet<&String> = self.calls.keys().chain(other.calls.keys()).collect();
        let mut calls = BTreeMap::new();
        for name in names {
            let half = |narrow| self.half(other, name, &arches, narrow, default);
            let fail = |TooMany| too_complex(name);
            let call = Call { wide: half(false).map_err(fail)?, narrow: half(true).map_err(fail)? };
            if !call.is(default) {
                calls.insert(name.clone(), call);
            }
        }
        let last = if has_stub(default) {
            let boundary = |arch: &Arch| self.boundary(*arch).max(other.boundary(*arch));
            let bounded = arches.iter().filter_map(|arch| Some((*arch, boundary(arch)?)));
            bounded.filter(|(_, nr)| *nr != UNBOUNDED).collect()
        } else {
            BTreeMap::new()
        };
        let flags = match (&self.flags, &other.flags) {
            (None, None) => None,
            (a, b) => Some(join_flags(a.as_ref(), b.as_ref())),
        };
        let joined = Self { default, arches, flags, calls, last };
        joined.is_maximum_of(self, other)?;
        Ok(joined)
    }

    /// One syscall's table for the architectures of one width. They may want different ones, where only one side covers
    /// some: the first speaks for all, and [`Self::is_maximum_of`] asks the others.
    fn half(
        &self,
        other: &Self,
        name: &str,
        arches: &BTreeSet<Arch>,
        narrow: bool,
        default: Action,
    ) -> Result<Table<Action>, TooMany> {
        let mut of_width = arches.iter().filter(|arch| arch.is_narrow() == narrow).copied();
        let has_it = |arch: &Arch| syscalls::number(name, *arch).is_some();
        match of_width.clone().find(has_it).or_else(|| of_width.next()) {
            Some(arch) => combine(&self.says(arch, name), &other.says(arch, name), Action::max),
            None => Ok(Table::constant(default)),
        }
    }

    /// The highest number to which the function has more to say than the runtime's ENOSYS. A default of ENOSYS has no
    /// boundary, and needs none above the highest call that it lets through.
    fn boundary(&self, arch: Arch) -> Option<u32> {
        if !self.arches.contains(&arch) {
            return None;
        }
        if has_stub(self.default) {
            return Some(self.last.get(&arch).copied().unwrap_or(UNBOUNDED));
        }
        let lets_through = |call: &Call| {
            let table = if arch.is_narrow() { &call.narrow } else { &call.wide };
            table.labels().any(|action| !action.is_refusal())
        };
        let open = self.calls.iter().filter(|(_, call)| lets_through(call));
        open.filter_map(|(name, _)| syscalls::number(name, arch)).max()
    }

    fn is_maximum_of(&self, a: &Self, b: &Self) -> Result<(), SeccompError> {
        for arch in self.arches.iter().copied() {
            if let Some(nr) = self.let_through_beyond(arch) {
                return Err(refused(a, b, arch, nr));
            }
            // One number above all that are known stands for those that are yet to come.
            for nr in arch.base()..=arch.base() + SPAN {
                let name = || syscalls::name(nr, arch).unwrap_or_default().to_owned();
                let (ours, theirs) =
                    (a.answers_if_covered(arch, nr), b.answers_if_covered(arch, nr));
                let want =
                    combine(&ours, &theirs, Action::max).map_err(|_| too_complex(&name()))?;
                let stub = a.is_beyond_number(arch, nr) || b.is_beyond_number(arch, nr);
                let differs = |want: Action, got: Action| {
                    want != got && !(stub && is_errno(want) && is_errno(got))
                };
                if place(&want, &self.answers(arch, nr), differs) != Ok(None) {
                    return Err(refused(a, b, arch, nr));
                }
            }
        }
        Ok(())
    }
}

impl Function {
    /// A call that is let through on another architecture and lies above this one's boundary. Written down it would be
    /// named, and so be below the boundary here too.
    fn let_through_beyond(&self, arch: Arch) -> Option<u32> {
        self.calls.iter().find_map(|(name, call)| {
            let nr = syscalls::number(name, arch).filter(|nr| self.is_beyond_number(arch, *nr))?;
            let table = if arch.is_narrow() { &call.narrow } else { &call.wide };
            // A multiplexer's own rules are not written down, unless it was named.
            let derived = table.uniform().is_none() && MULTIPLEXERS.iter().any(|m| m.name == name);
            let open = !derived && table.labels().any(|action| !action.is_refusal());
            open.then_some(nr)
        })
    }
}

fn is_errno(action: Action) -> bool {
    matches!(action, Action::Errno(_))
}

fn refused(a: &Function, b: &Function, arch: Arch, nr: u32) -> SeccompError {
    let call = match syscalls::name(nr, arch) {
        Some(name) => name.to_owned(),
        None => format!("number {nr}"),
    };
    let why = if a.arches.contains(&arch)
        && b.arches.contains(&arch)
        && a.is_beyond_number(arch, nr) != b.is_beyond_number(arch, nr)
    {
        format!(
            "on {} the runtime answers ENOSYS to {call} in one profile, which names no syscall of so high a number, and \
             the other profile is stricter: name the same highest syscall in both, with the default action where it \
             is not to be allowed",
            arch.oci()
        )
    } else {
        format!(
            "only one of them covers some architectures, and no single default and rule for {call} gives on each of them \
             what that one allows ({} is the first); give both profiles the same architectures",
            arch.oci()
        )
    };
    SeccompError::Unsupported { what: "the join of these two profiles".to_owned(), why }
}

/// The dual of the meet's flags: what is logged by both, what either may do.
fn join_flags(a: Option<&BTreeSet<Flag>>, b: Option<&BTreeSet<Flag>>) -> BTreeSet<Flag> {
    let has = |set: Option<&BTreeSet<Flag>>, flag| set.is_some_and(|set| set.contains(&flag));
    let mut flags = BTreeSet::new();
    if has(a, Flag::Log) && has(b, Flag::Log) {
        flags.insert(Flag::Log);
    }
    if spec_allow(a) || spec_allow(b) {
        flags.insert(Flag::SpecAllow);
    }
    if has(a, Flag::WaitKillableRecv) || has(b, Flag::WaitKillableRecv) {
        flags.insert(Flag::WaitKillableRecv);
    }
    flags
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Profile, Reading, compile};

    fn function(value: &Value) -> Function {
        Function::of(&Profile::from_oci(value).unwrap(), Reading::Policy).unwrap()
    }

    fn allowing(default: &str, names: &[&str], arches: &[&str]) -> Function {
        function(&json!({"defaultAction": default, "architectures": arches,
            "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}]}))
    }

    #[test]
    fn two_recordings_make_one_that_lets_both_run() {
        let a = allowing("SCMP_ACT_ERRNO", &["read", "openat2"], &[]);
        let b = allowing("SCMP_ACT_ERRNO", &["write", "fchmodat2"], &[]);
        let joined = a.join(&b).unwrap();
        let program = compile(&joined.to_profile().unwrap()).unwrap();
        for (name, want) in [
            ("read", Action::Allow),
            ("write", Action::Allow),
            ("openat2", Action::Allow),
            ("fchmodat2", Action::Allow),
            ("mount", Action::Errno(1)),
            // Between the two boundaries: the errno of the default.
            ("faccessat2", Action::Errno(1)),
        ] {
            assert_eq!(joined.eval(Arch::native(), name, [0; 6]), want, "{name}");
            let Some(nr) = syscalls::number(name, Arch::native()) else { continue };
            let data = crate::SeccompData {
                nr,
                arch: Arch::native().token(),
                instruction_pointer: 0,
                args: [0; 6],
            };
            assert_eq!(program.eval(&data), want.to_return(), "{name}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn an_architecture_of_one_side_keeps_what_that_side_says() {
        let plain = allowing("SCMP_ACT_ERRNO", &["read", "write"], &[]);
        let wide = allowing(
            "SCMP_ACT_ERRNO",
            &["read", "fork", "openat2"],
            &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        );
        let joined = plain.join(&wide).unwrap();
        let at = |arch, name| joined.eval(arch, name, [0; 6]);
        assert_eq!(at(Arch::X86_64, "write"), Action::Allow);
        assert_eq!(at(Arch::X86, "fork"), Action::Allow);
        // i386 is the second profile's alone, and that one refuses it.
        assert_eq!(at(Arch::X86, "write"), Action::Errno(1));
        assert_eq!(at(Arch::X32, "read"), Action::KillThread);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn what_no_single_function_says_is_refused_with_a_remedy() {
        let open = function(&json!({"defaultAction": "SCMP_ACT_ALLOW"}));
        let wide = allowing("SCMP_ACT_ERRNO", &["read"], &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
        // Two architectures of one width, of which one side has one.
        let x32 = allowing("SCMP_ACT_ERRNO", &["openat2"], &["SCMP_ARCH_X32", "SCMP_ARCH_X86"]);
        let x86 = allowing("SCMP_ACT_ERRNO", &["write", "openat2"], &["SCMP_ARCH_X86"]);
        for (a, b) in [(&open, &wide), (&x32, &x86)] {
            for error in [a.join(b), b.join(a)].map(|joined| joined.unwrap_err().to_string()) {
                assert!(
                    error.contains("SCMP_ARCH_X") && error.contains("same architectures"),
                    "{error}"
                );
            }
        }
        // Named for i386, personality would no longer be above the boundary of x32.
        let named = allowing("SCMP_ACT_ERRNO", &["personality"], &["SCMP_ARCH_X86"]);
        let bounded = allowing("SCMP_ACT_ERRNO", &["shmat"], &["SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
        let error = named.join(&bounded).unwrap_err().to_string();
        assert!(error.contains("personality") && error.contains("SCMP_ARCH_X32"), "{error}");
        let low = allowing("SCMP_ACT_KILL_PROCESS", &["openat2"], &[]);
        let high = allowing("SCMP_ACT_KILL_PROCESS", &["fchmodat2"], &[]);
        let error = low.join(&high).unwrap_err().to_string();
        assert!(
            error.contains("ENOSYS to pidfd_getfd") && error.contains("highest syscall"),
            "{error}"
        );
        // The remedy is one.
        let mended = function(&json!({"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": [
            {"names": ["openat2"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["fchmodat2"], "action": "SCMP_ACT_KILL_PROCESS"}]}));
        let joined = mended.join(&high).unwrap();
        assert_eq!(joined.eval(Arch::native(), "pidfd_getfd", [0; 6]), Action::KillProcess);
        assert_eq!(joined.eval(Arch::native(), "openat2", [0; 6]), Action::Allow);
    }

    #[test]
    fn a_default_of_enosys_bounds_nothing_and_is_joined() {
        let none = function(
            &json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [
            {"names": ["fchmodat2"], "action": "SCMP_ACT_ALLOW"}]}),
        );
        let low = allowing("SCMP_ACT_ERRNO", &["openat2"], &[]);
        let joined = none.join(&low).unwrap();
        for (name, want) in
            [("fchmodat2", Action::Allow), ("openat2", Action::Allow), ("mount", Action::Errno(1))]
        {
            assert_eq!(joined.eval(Arch::native(), name, [0; 6]), want, "{name}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_kill_on_an_architecture_of_one_side_stays_what_it_is() {
        let rules = |arches: &[&str]| {
            function(
                &json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": arches, "syscalls": [
                {"names": ["fork", "openat2"], "action": "SCMP_ACT_KILL_PROCESS"}]}),
            )
        };
        let joined = rules(&[]).join(&rules(&["SCMP_ARCH_X86"])).unwrap();
        assert_eq!(joined.eval(Arch::X86, "fork", [0; 6]), Action::KillProcess);
    }

    /// On i386 `send` is socketcall(9) alone, whose number is above that of `read`: the runtime says ENOSYS.
    #[cfg(target_arch = "x86_64")]
    #[test]
    fn what_is_let_through_above_the_boundary_is_not_let_through() {
        let low = allowing("SCMP_ACT_ERRNO", &["read", "send"], &["SCMP_ARCH_X86"]);
        let high = allowing("SCMP_ACT_ERRNO", &["read", "openat2"], &["SCMP_ARCH_X86"]);
        let send = [9, 0, 0, 0, 0, 0];
        assert_eq!(low.eval(Arch::X86, "socketcall", send), Action::Errno(38));
        let nr = syscalls::number("socketcall", Arch::X86).unwrap();
        assert_eq!(low.answers(Arch::X86, nr).at(&send), Action::Errno(38));
        // Reached by whoever names a higher number, it is more than the other gives.
        let reached = allowing("SCMP_ACT_ERRNO", &["read", "send", "openat2"], &["SCMP_ARCH_X86"]);
        assert_eq!(reached.eval(Arch::X86, "socketcall", send), Action::Allow);
        let Some(crate::Excess::Call(call)) =
            reached.bounded_to("socketcall").exceeds(&low.bounded_to("socketcall"))
        else {
            panic!("not noticed");
        };
        assert_eq!((call.syscall.as_str(), call.ours), ("socketcall", Action::Allow));
        assert!(low.join(&high).is_err());
    }

    impl Function {
        /// With the rules of one call alone, and the boundaries as they are.
        fn bounded_to(&self, name: &str) -> Self {
            let mut one = self.clone();
            one.calls.retain(|known, _| known == name);
            one
        }
    }

    #[test]
    fn flags_join_as_the_dual_of_their_meet() {
        let log = "SECCOMP_FILTER_FLAG_LOG";
        let spec = "SECCOMP_FILTER_FLAG_SPEC_ALLOW";
        let with =
            |flags: Value| function(&json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags}));
        let bits =
            |a: &Function, b: &Function| a.join(b).unwrap().to_profile().unwrap().kernel_flags();
        assert_eq!(bits(&with(json!([log, spec])), &with(json!([spec]))), 4);
        assert_eq!(bits(&with(json!([log])), &with(json!([log]))), 2);
        assert_eq!(bits(&with(json!(null)), &with(json!([]))), 4);
        assert_eq!(bits(&with(json!([])), &with(json!([]))), 0);
    }
}
