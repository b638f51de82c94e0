//! Calls that the kernel is to log: those that one profile allows and another, which is tried out, would not.
//!
//! `SCMP_ACT_LOG` takes the place of `SCMP_ACT_ALLOW` there, and nothing else changes: the kernel prefers LOG to ALLOW
//! alone (seccomp(2), "return value"), and makes the call as for ALLOW. What is written down is read back and held against
//! both profiles for every number of every architecture; where it would deny more, or leave out what is to be logged, it is
//! not made. Where one list of rules for all architectures cannot tell apart what would be denied and what would not, a
//! call is logged for more arguments, and that is told.
//!
//! Four places have less to say. Numbers that have no name are not logged. Of `socketcall` and `ipc` it is only sure that
//! they are answered as before, logged or not: what stands behind their pointers libseccomp logs as a whole. And where
//! the profile that is tried out does not cover an architecture it would kill every call there, which no rule by name
//! says: such calls may or may not be logged. And a call behind a multiplexer of which some is denied and some would be
//! (sockets of one family and of another) is not logged, where the machine also runs the 32-bit calls: that is told.

use std::collections::{BTreeMap, BTreeSet};

use super::cube::Cube;
use super::function::{Call, Function, too_complex};
use super::order::place;
use super::syscalls::{self, MULTIPLEXERS, Multiplexer, SPAN};
use super::table::{Table, TooMany, combine};
use super::{Action, Arch, Profile, Reading, SeccompError};

/// A profile that logs.
#[derive(Debug, Clone, PartialEq)]
pub struct Logging {
    /// The profile, to be loaded in place of the one that it was made of.
    pub profile: Profile,
    /// The system calls that are logged, for all arguments or for some.
    pub syscalls: BTreeSet<String>,
    /// Those of them that are logged for arguments too for which they would be allowed.
    pub beyond: BTreeSet<String>,
    /// System calls of which some would be denied and are not logged.
    pub left_out: BTreeSet<String>,
    /// Architectures whose calls would all be killed, and are not all logged.
    pub not_covered: BTreeSet<Arch>,
}

impl Function {
    /// What allows everything, on every architecture whose calls this machine's kernel takes.
    pub fn everything() -> Self {
        let arches = match Arch::native() {
            native @ Arch::X86_64 => [native, Arch::X86, Arch::X32].into(),
            native @ Arch::Aarch64 => [native, Arch::Arm].into(),
            native @ Arch::S390X => [native, Arch::S390].into(),
            native => [native].into(),
        };
        let (calls, last) = (BTreeMap::new(), BTreeMap::new());
        Self { default: Action::Allow, arches, flags: None, calls, last }
    }

    /// The function with `SCMP_ACT_LOG` in place of `SCMP_ACT_ALLOW` wherever `tried` does not allow. `None` where that
    /// is nowhere.
    ///
    /// # Errors
    /// [`SeccompError::TooComplex`]; [`SeccompError::Unsupported`] where no profile says exactly that, naming the first
    /// place.
    pub fn logging(&self, tried: &Self) -> Result<Option<Logging>, SeccompError> {
        let mut names: BTreeSet<&str> =
            self.calls.keys().chain(tried.calls.keys()).map(String::as_str).collect();
        if logged(self.default, tried.default) == Action::Log {
            // Each by its name, since a default that logs would have what is allowed behind a multiplexer allowed by
            // a rule of its own, and that beside conditions on the calls behind it costs x32.
            names.extend(self.arches.iter().flat_map(|arch| {
                let numbers = arch.base()..arch.base() + SPAN;
                numbers.filter_map(|nr| syscalls::name(nr, *arch))
            }));
        }
        let (mut calls, mut left_out) = (BTreeMap::new(), BTreeSet::new());
        for name in names {
            let call = if is_multiplexer(name) {
                self.call(name)
            } else {
                let half = |narrow| {
                    self.half_logged(tried, name, narrow).map_err(|TooMany| too_complex(name))
                };
                let call = Call { wide: half(false)?, narrow: half(true)? };
                match self.rules(&call) {
                    Ok(_) if call == self.call(name) => call,
                    Ok(rules) if self.keeps_multiplexer(name, &rules) => call,
                    Ok(_) => {
                        left_out.insert(name.to_owned());
                        self.call(name)
                    }
                    Err(TooMany) => self.wholly_logged(name),
                }
            };
            if !call.is(self.default) {
                calls.insert(name.to_owned(), call);
            }
        }
        let marked = Self { calls, ..self.clone() };
        let profile = marked.to_profile()?;
        let written = Self::of(&profile, Reading::Runtime)?;
        let (syscalls, beyond) = self.checked(tried, &written, &left_out)?;
        if syscalls.is_empty() && left_out.is_empty() {
            return Ok(None);
        }
        let not_covered = &self.arches - &tried.arches;
        Ok(Some(Logging { profile, syscalls, beyond, left_out, not_covered }))
    }

    /// Whether libseccomp makes of these rules what it should for the multiplexer before the call, if there is one:
    /// rules of one action that look at the first argument alone. Others would cost the multiplexer as a whole.
    fn keeps_multiplexer(&self, name: &str, rules: &[(Cube, Action)]) -> bool {
        let left_to_libseccomp = |multiplexer: &Multiplexer| {
            let own = self.call(multiplexer.name);
            let ruled = own.wide.uniform().is_some_and(|all| all != self.default && own.is(all));
            !ruled && multiplexer.calls.iter().any(|(_, call)| *call == name)
        };
        if !MULTIPLEXERS.iter().any(left_to_libseccomp)
            || !self.arches.iter().any(|arch| arch.has_multiplexer())
        {
            return true;
        }
        let first = rules.first().map(|(_, action)| *action);
        let plain = |cube: &Cube| cube.0.iter().skip(1).all(|pattern| pattern.mask == 0);
        rules.iter().all(|(cube, action)| Some(*action) == first && plain(cube))
    }

    /// For conditions that take too many rules to write down.
    fn wholly_logged(&self, name: &str) -> Call {
        let Call { wide, narrow } = self.call(name);
        let log = |action| logged(action, Action::Log);
        Call { wide: wide.map(log), narrow: narrow.map(log) }
    }

    fn half_logged(
        &self,
        tried: &Self,
        name: &str,
        narrow: bool,
    ) -> Result<Table<Action>, TooMany> {
        let call = self.call(name);
        let own = if narrow { call.narrow } else { call.wide };
        let covered = || {
            let of_width = self.arches.intersection(&tried.arches);
            of_width.copied().filter(|arch| arch.is_narrow() == narrow)
        };
        let there = covered().find_map(|arch| Some((arch, syscalls::number(name, arch)?)));
        let theirs = match (there, covered().next()) {
            (Some((arch, nr)), _) => tried.answers(arch, nr).into_owned(),
            (None, Some(arch)) => tried.says(arch, name).into_owned(),
            (None, None) => Table::constant(Action::KillProcess),
        };
        combine(&own, &theirs, logged)
    }

    /// The names of what `written` logs and `self` did not, and of what it logs of what `tried` allows; refuses where it
    /// answers otherwise than it should.
    fn checked(
        &self,
        tried: &Self,
        written: &Self,
        left_out: &BTreeSet<String>,
    ) -> Result<(BTreeSet<String>, BTreeSet<String>), SeccompError> {
        if let Some(arch) = self.arches.symmetric_difference(&written.arches).next() {
            return Err(inexact(&format!("the calls of {}", arch.oci())));
        }
        let (mut found, mut beyond) = (BTreeSet::new(), BTreeSet::new());
        for arch in self.arches.iter().copied() {
            let covered = tried.arches.contains(&arch);
            // One number above all that are known stands for those that are yet to come.
            for nr in arch.base()..=arch.base() + SPAN {
                let name = syscalls::name(nr, arch);
                let free = !covered
                    || name.is_none_or(|name| is_multiplexer(name) || left_out.contains(name));
                let (was, is) = (self.answers(arch, nr), written.answers(arch, nr));
                let call = || name.map_or_else(|| format!("number {nr}"), str::to_owned);
                let want = combine(&was, &tried.answers_if_covered(arch, nr), |was, tried| {
                    (was, logged(was, tried))
                })
                .map_err(|TooMany| too_complex(&call()))?;
                let wrong = |(was, want): (Action, Action), is: Action| {
                    is != want && is != logged(was, Action::Log) && !(free && is == was)
                };
                if place(&want, &is, wrong) != Ok(None) {
                    return Err(inexact(&format!("{} on {}", call(), arch.oci())));
                }
                let new = |was: Action, is: Action| is == Action::Log && was != Action::Log;
                if let Some(name) = name
                    && place(&was, &is, new) != Ok(None)
                {
                    found.insert(name.to_owned());
                }
                let more = |(_, want), is| want == Action::Allow && is == Action::Log;
                if let Some(name) = name
                    && !free
                    && place(&want, &is, more) != Ok(None)
                {
                    beyond.insert(name.to_owned());
                }
            }
        }
        Ok((found, beyond))
    }
}

fn logged(given: Action, tried: Action) -> Action {
    if given == Action::Allow && tried < Action::Allow { Action::Log } else { given }
}

fn is_multiplexer(name: &str) -> bool {
    MULTIPLEXERS.iter().any(|multiplexer| multiplexer.name == name)
}

fn inexact(what: &str) -> SeccompError {
    SeccompError::Unsupported {
        what: format!("logging {what}"),
        why: "no profile logs exactly what would be denied and answers all else as before; nothing is logged"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::oracle::{MIXED, NAMES, NATIVE, built, cases, points, profile, run};
    use crate::{Target, builtin, compile, compile_as_written, deny_profile};

    fn function(value: &Value) -> Function {
        Function::of(&Profile::from_oci(value).unwrap(), Reading::Policy).unwrap()
    }

    fn denying(names: &[&str], families: &[u64]) -> Function {
        Function::of(&deny_profile(names, families).unwrap(), Reading::Policy).unwrap()
    }

    fn runtime_default() -> Function {
        let target = Target { caps: &BTreeSet::new(), kernel: (6, 1) };
        let profile = builtin("runtime-default").unwrap().resolve(&target).unwrap();
        Function::of(&profile, Reading::Policy).unwrap()
    }

    /// The profile as either loader compiles it, and what it answers natively.
    fn answers(logging: &Logging) -> impl Fn(&str, [u64; 6]) -> Action {
        compile(&logging.profile).unwrap();
        let program = compile_as_written(&logging.profile).unwrap();
        move |name, args| {
            run(&program, Arch::native(), syscalls::number(name, Arch::native()).unwrap(), args)
        }
    }

    #[test]
    fn a_container_without_a_filter_gets_one_that_denies_nothing() {
        let logging = Function::everything().logging(&denying(&["mount"], &[])).unwrap().unwrap();
        assert_eq!(logging.syscalls, ["mount".to_owned()].into());
        let at = answers(&logging);
        assert_eq!((at("mount", [0; 6]), at("read", [0; 6])), (Action::Log, Action::Allow));
        if Arch::native() == Arch::X86_64 {
            assert_eq!(logging.not_covered, [Arch::X32].into());
            assert!(logging.profile.covered().contains(&Arch::X32), "x32 would be killed");
        }
        let logging = Function::everything().logging(&runtime_default()).unwrap().unwrap();
        let at = answers(&logging);
        for name in ["mount", "keyctl", "io_uring_setup", "clone3"] {
            assert_eq!(at(name, [0; 6]), Action::Log, "{name}");
            assert!(logging.syscalls.contains(name));
        }
        assert_eq!(at("read", [0; 6]), Action::Allow);
        // Conditions that take too many rules are left out, and that is told.
        assert_eq!(at("personality", [0x1234, 0, 0, 0, 0, 0]), Action::Log);
        assert!(
            logging.beyond.iter().all(|name| ["clone", "personality"].contains(&name.as_str()))
        );
    }

    #[test]
    fn what_was_denied_stays_so_and_is_not_logged() {
        let given = function(&json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["read", "write", "keyctl", "openat2"], "action": "SCMP_ACT_ALLOW"}]}));
        let logging = given.logging(&denying(&["keyctl", "mount"], &[])).unwrap().unwrap();
        assert_eq!(logging.syscalls, ["keyctl".to_owned()].into());
        let at = answers(&logging);
        assert_eq!(at("keyctl", [0; 6]), Action::Log);
        assert_eq!(at("mount", [0; 6]), Action::Errno(1));
        assert_eq!(at("read", [0; 6]), Action::Allow);
        assert_eq!(at("fchmodat2", [0; 6]), Action::Errno(38), "the runtime's ENOSYS");
        assert_eq!(given.logging(&denying(&["mount"], &[])), Ok(None));
    }

    #[test]
    fn families_are_logged_by_their_argument() {
        for given in [Function::everything(), denying(&["mount"], &[]), runtime_default()] {
            let logging = given.logging(&denying(&[], &[16])).unwrap().unwrap();
            assert_eq!(logging.beyond, BTreeSet::new());
            let at = answers(&logging);
            assert_eq!(at("socket", [16, 0, 0, 0, 0, 0]), Action::Log);
            assert_eq!(at("socket", [2, 0, 0, 0, 0, 0]), Action::Allow);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_family_beside_one_that_is_denied_is_left_out_and_all_else_is_logged() {
        let given = denying(&["mount"], &[38]);
        let sockets: BTreeSet<String> = ["socket", "socketpair"].map(str::to_owned).into();
        let logging = given.logging(&denying(&["keyctl"], &[16])).unwrap().unwrap();
        assert_eq!(
            (&logging.left_out, &logging.syscalls),
            (&sockets, &["keyctl".to_owned()].into())
        );
        let at = answers(&logging);
        let socket = |family| at("socket", [family, 0, 0, 0, 0, 0]);
        assert_eq!((socket(38), socket(16)), (Action::Errno(1), Action::Allow));
        assert_eq!(at("keyctl", [0; 6]), Action::Log);
        let logging = given.logging(&runtime_default()).unwrap().unwrap();
        assert!(logging.syscalls.contains("keyctl") && logging.left_out.is_subset(&sockets));
        assert_eq!(answers(&logging)("mount", [0; 6]), Action::Errno(1));
    }

    #[test]
    fn what_would_answer_otherwise_is_not_made() {
        let given = Function::everything();
        let tried = denying(&["mount"], &[]);
        let marked = given.logging(&tried).unwrap().unwrap();
        let written = Function::of(&marked.profile, Reading::Runtime).unwrap();
        assert!(given.checked(&tried, &written, &BTreeSet::new()).is_ok());
        for other in
            [denying(&["mount"], &[]), given.clone(), given.clone().restrict_to(&BTreeSet::new())]
        {
            let error = given.checked(&tried, &other, &BTreeSet::new()).unwrap_err().to_string();
            assert!(error.contains("nothing is logged"), "{error}");
        }
        // More than would be denied is logged where it must be, and told.
        let more = given.logging(&denying(&["mount", "read"], &[])).unwrap().unwrap();
        let written = Function::of(&more.profile, Reading::Runtime).unwrap();
        let (_, beyond) = given.checked(&tried, &written, &BTreeSet::new()).unwrap();
        assert_eq!(beyond, ["read".to_owned()].into());
    }

    /// Whether anything is logged, and all is answered as it should be.
    fn holds(given: &Profile, tried: &Profile, points: &[[u64; 6]]) -> Result<bool, TestCaseError> {
        let of = |profile| {
            built(Function::of(profile, Reading::Runtime))
                .ok_or_else(|| TestCaseError::reject("too complex"))
        };
        // As a floor leaves it: what a container asks may be such that no runtime reads it alike.
        let Some(given) = built(of(given)?.to_profile()) else { return Ok(false) };
        let (given, tried) = (of(&given)?, of(tried)?);
        let Some(logging) = built(given.logging(&tried)) else { return Ok(false) };
        let (program, covered) = match &logging {
            None => (None, given.arches.clone()),
            Some(logging) => {
                let Some(program) = built(compile(&logging.profile)) else { return Ok(false) };
                (Some(program), logging.profile.covered())
            }
        };
        prop_assert_eq!(&covered, &given.arches);
        for arch in covered {
            for name in NAMES.iter().chain(&["socketcall", "ipc", "fchmodat2"]) {
                let Some(nr) = syscalls::number(name, arch) else { continue };
                for args in points {
                    let (was, would) =
                        (given.eval(arch, name, *args), tried.eval(arch, name, *args));
                    let is = program.as_ref().map_or(was, |program| run(program, arch, nr, *args));
                    let told = |names: fn(&Logging) -> &BTreeSet<String>| {
                        logging.as_ref().is_some_and(|logging| names(logging).contains(*name))
                    };
                    let free = is_multiplexer(name)
                        || !tried.arches.contains(&arch)
                        || told(|logging| &logging.left_out);
                    let beyond = told(|logging| &logging.beyond);
                    let allowed = is == logged(was, would)
                        || is == logged(was, Action::Log) && (free || beyond)
                        || is == was && free;
                    prop_assert!(
                        allowed,
                        "{name} {args:x?} on {arch:?}: {was}, tried {would}, is {is}"
                    );
                }
            }
        }
        Ok(logging.is_some())
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn only_what_would_be_denied_is_logged_on_any_architecture() {
        const CASES: u32 = 128;
        for arches in [NATIVE, MIXED] {
            let logged = std::cell::Cell::new(0);
            proptest!(cases(CASES), |(a in profile(arches), b in profile(arches), points in points())| {
                logged.set(logged.get() + u32::from(holds(&a, &b, &points)?));
            });
            eprintln!("of {CASES} pairs on {arches:?}, {} log", logged.get());
            assert!(logged.get() >= CASES / 8, "hardly anything is logged");
        }
    }
}
