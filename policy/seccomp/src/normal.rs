//! The normal form: of two functions that answer alike everywhere it is the same, however they were written.
//!
//! Each architecture by itself: its default, the boundary above which the runtime says ENOSYS, and each syscall that
//! differs from these. An answer that depends on arguments is a reduced ordered decision diagram on their bits (argument 0
//! first, highest bit first, no test whose outcome does not matter, equal parts shared), numbered from the root. Such a
//! diagram is unique for its function, so that equality of functions is equality of normal forms.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use super::action::ENOSYS;
use super::cube::Cube;
use super::function::too_complex;
use super::profile::Flag;
use super::syscalls::{self, SPAN};
use super::table::{Table, TooMany};
use super::{Action, Arch, Function, SeccompError};

/// The most tests of a syscall's diagram, and of the diagrams on the way to it.
const NODES: usize = 1 << 16;
/// Bits of the six arguments.
const BITS: u32 = 6 * 64;

/// A function in normal form. Equal exactly when the functions are: same architectures, same answers (errnos included, and
/// the runtime's ENOSYS above the highest named syscall), same effective flags.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Normal {
    flags: BTreeSet<Flag>,
    arches: BTreeMap<Arch, Answers>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Answers {
    default: Action,
    /// From this number on the runtime's ENOSYS stands in the default's place.
    enosys_from: Option<u32>,
    calls: BTreeMap<String, Diagram>,
}

/// A decision diagram; the last test is the root. None at all: the answer is the same for all arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Diagram {
    tests: Vec<Test>,
    root: Next,
}

/// A bit of the arguments and where to go on either outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Test {
    /// Argument times 64, plus the bit counted from the highest.
    variable: u32,
    zero: Next,
    one: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Next {
    Test(usize),
    Answer(Action),
}

impl Function {
    /// The normal form.
    ///
    /// # Errors
    /// [`SeccompError::TooComplex`] where a syscall's diagram has more than 65536 tests.
    pub fn normal(&self) -> Result<Normal, SeccompError> {
        let arches = self.arches.iter().map(|arch| Ok((*arch, self.normal_on(*arch)?)));
        Ok(Normal { flags: self.flags(), arches: arches.collect::<Result<_, SeccompError>>()? })
    }

    /// Whether the two answer alike everywhere: see [`Normal`].
    ///
    /// # Errors
    /// Those of [`Function::normal`].
    pub fn equals(&self, other: &Self) -> Result<bool, SeccompError> {
        Ok(self.normal()? == other.normal()?)
    }

    fn normal_on(&self, arch: Arch) -> Result<Answers, SeccompError> {
        let numbers = arch.base()..arch.base() + SPAN;
        let (enosys, default) = (Action::Errno(ENOSYS), self.default);
        // Numbers above all that are known tell whether there is a boundary. Where it is, is told by the highest number
        // that gets the default, and not by what a profile happened to name; without such a number there is no default.
        let from = self.is_beyond_number(arch, arch.base() + SPAN).then(|| {
            let defaulted = |nr: &u32| self.answers(arch, *nr).uniform() == Some(default);
            numbers.clone().rev().find(defaulted).map_or(arch.base(), |nr| nr + 1)
        });
        let (default, from) = match from {
            Some(from) if from == arch.base() => (enosys, None),
            from => (default, from),
        };
        let mut calls = BTreeMap::new();
        for nr in numbers {
            let usual = if from.is_some_and(|from| nr >= from) { enosys } else { default };
            let Some(name) = syscalls::name(nr, arch) else { continue };
            let table = self.answers(arch, nr);
            let diagram =
                Diagram::of(&table, arch.is_narrow()).map_err(|TooMany| too_complex(name))?;
            if diagram.root != Next::Answer(usual) {
                calls.insert(name.to_owned(), diagram);
            }
        }
        Ok(Answers { default, enosys_from: from, calls })
    }
}

impl Diagram {
    fn of(table: &Table<Action>, narrow: bool) -> Result<Self, TooMany> {
        let mut builder = Builder::default();
        let mut root = Next::Answer(table.rest);
        for (cube, action) in &table.pieces {
            // 32-bit arguments have no upper halves.
            let cube = if narrow { cube.narrow() } else { Some(*cube) };
            if let Some(cube) = cube {
                root = builder.overlay(&cube, *action, 0, root, &mut HashMap::new())?;
            }
        }
        Ok(builder.extract(root))
    }
}

/// Tests by number, each there once.
#[derive(Default)]
struct Builder {
    tests: Vec<Test>,
    known: HashMap<Test, usize>,
}

impl Builder {
    /// `below` with `action` wherever the cube's bits from `variable` on match.
    fn overlay(
        &mut self,
        cube: &Cube,
        action: Action,
        variable: u32,
        below: Next,
        done: &mut HashMap<(u32, Next), Next>,
    ) -> Result<Next, TooMany> {
        let fixed = next_fixed(cube, variable);
        let tested = match below {
            Next::Test(at) => self.tests.get(at).copied(),
            Next::Answer(_) => None,
        };
        // The first bit that anyone asks about.
        let Some(first) =
            fixed.map(|(bit, _)| bit).into_iter().chain(tested.map(|t| t.variable)).min()
        else {
            return Ok(Next::Answer(action));
        };
        if let Some(known) = done.get(&(first, below)) {
            return Ok(*known);
        }
        let (zero, one) = match tested.filter(|test| test.variable == first) {
            Some(test) => (test.zero, test.one),
            None => (below, below),
        };
        let side = fixed.filter(|(bit, _)| *bit == first).map(|(_, one)| one);
        let zero = if side == Some(true) {
            zero
        } else {
            self.overlay(cube, action, first + 1, zero, done)?
        };
        let one = if side == Some(false) {
            one
        } else {
            self.overlay(cube, action, first + 1, one, done)?
        };
        let made = self.test(Test { variable: first, zero, one })?;
        done.insert((first, below), made);
        Ok(made)
    }

    fn test(&mut self, test: Test) -> Result<Next, TooMany> {
        if test.zero == test.one {
            return Ok(test.zero);
        }
        if let Some(at) = self.known.get(&test) {
            return Ok(Next::Test(*at));
        }
        if self.tests.len() >= NODES {
            return Err(TooMany);
        }
        self.known.insert(test, self.tests.len());
        self.tests.push(test);
        Ok(Next::Test(self.tests.len() - 1))
    }

    /// What hangs together with the root, numbered anew in the order in which a walk by `zero` before `one` leaves it.
    fn extract(&self, root: Next) -> Diagram {
        let mut numbers: HashMap<usize, usize> = HashMap::new();
        let mut tests = Vec::new();
        let mut open = vec![(root, false)];
        let renumbered = |numbers: &HashMap<usize, usize>, next: Next| match next {
            Next::Test(at) => Next::Test(numbers.get(&at).copied().unwrap_or(at)),
            answer @ Next::Answer(_) => answer,
        };
        while let Some((next, children_done)) = open.pop() {
            let Next::Test(at) = next else { continue };
            let Some(test) = self.tests.get(at).filter(|_| !numbers.contains_key(&at)) else {
                continue;
            };
            if children_done {
                numbers.insert(at, tests.len());
                let (zero, one) = (renumbered(&numbers, test.zero), renumbered(&numbers, test.one));
                tests.push(Test { variable: test.variable, zero, one });
            } else {
                open.extend([(next, true), (test.one, false), (test.zero, false)]);
            }
        }
        Diagram { root: renumbered(&numbers, root), tests }
    }
}

/// The first bit from `variable` on that the cube fixes, and to what.
fn next_fixed(cube: &Cube, variable: u32) -> Option<(u32, bool)> {
    if variable >= BITS {
        return None;
    }
    let start = variable / 64;
    (start..6).zip(cube.0.iter().skip(start as usize)).find_map(|(argument, pattern)| {
        let skipped = if argument == start { variable % 64 } else { 0 };
        let bit = (pattern.mask & (u64::MAX >> skipped)).leading_zeros();
        let one = pattern.value & (1_u64 << 63).checked_shr(bit)? != 0;
        Some((argument * 64 + bit, one))
    })
}

impl Normal {
    /// As JSON, members in a fixed order: the same text for equal functions, to be compared or digested.
    ///
    /// A test of a bit is `[argument, bit, if zero, if one]`, the bit counted from the lowest; where to go on is an answer
    /// or the index of a test. The last test is the first to be made.
    pub fn to_json(&self) -> Value {
        let arches: BTreeMap<&str, Value> =
            self.arches.iter().map(|(arch, a)| (arch.oci(), a.to_json())).collect();
        let flags: Vec<&str> = self.flags.iter().map(|flag| flag.name()).collect();
        json!({"flags": flags, "architectures": arches})
    }
}

impl Answers {
    fn to_json(&self) -> Value {
        let calls: BTreeMap<&String, Value> =
            self.calls.iter().map(|(name, d)| (name, d.to_json())).collect();
        json!({"default": self.default.to_string(), "enosysFrom": self.enosys_from, "syscalls": calls})
    }
}

impl Diagram {
    fn to_json(&self) -> Value {
        let next = |next: Next| match next {
            Next::Test(at) => json!(at),
            Next::Answer(action) => json!(action.to_string()),
        };
        let test = |test: &Test| {
            json!([test.variable / 64, 63 - test.variable % 64, next(test.zero), next(test.one)])
        };
        match self.root {
            Next::Answer(action) => json!(action.to_string()),
            Next::Test(_) => Value::Array(self.tests.iter().map(test).collect()),
        }
    }
}

impl Serialize for Normal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

/// The JSON of [`Normal::to_json`] in one line.
impl fmt::Display for Normal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_json().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Excess, Profile, Reading};

    fn function(value: &Value) -> Function {
        Function::of(&Profile::from_oci(value).unwrap(), Reading::Policy).unwrap()
    }

    #[test]
    fn a_boundary_is_where_answers_change_and_not_where_names_end() {
        // openat2 is 437, pidfd_getfd 438: ENOSYS by rule is ENOSYS by the runtime.
        let allow = json!({"names": ["openat2"], "action": "SCMP_ACT_ALLOW"});
        let enosys = json!({"names": ["pidfd_getfd"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38});
        let with =
            |rules: Value| function(&json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
        let (one, other) = (with(json!([allow])), with(json!([allow, enosys])));
        assert_eq!(one.equals(&other), Ok(true));
        // Named with the default action it is another function: EPERM, where programs fall back on ENOSYS.
        let eperm = json!({"names": ["pidfd_getfd"], "action": "SCMP_ACT_ERRNO"});
        assert_eq!(one.equals(&with(json!([allow, eperm]))), Ok(false));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_boundary_is_told_by_the_first_number_beyond_it() {
        // openat2 is 437; below it, 436 gets the default.
        let one = function(&json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["openat2"], "action": "SCMP_ACT_ALLOW"}]}));
        let told = one.normal().unwrap().to_json();
        let native = told.pointer("/architectures/SCMP_ARCH_X86_64").unwrap();
        assert_eq!(native.pointer("/enosysFrom"), Some(&json!(437)));
        assert_eq!(native.pointer("/syscalls"), Some(&json!({"openat2": "SCMP_ACT_ALLOW"})));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_boundary_above_which_all_is_leaves_no_default() {
        // read is 0: whatever the default is, every other number gets the runtime's ENOSYS.
        let read = |default: Value| {
            let mut profile = default;
            profile["syscalls"] = json!([{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]);
            function(&profile)
        };
        let bounded = read(json!({"defaultAction": "SCMP_ACT_ERRNO"}));
        let plain = read(json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38}));
        assert_eq!(bounded.equals(&plain), Ok(true));
        assert_eq!(bounded.equals(&read(json!({"defaultAction": "SCMP_ACT_ALLOW"}))), Ok(false));
    }

    #[test]
    fn flags_count_as_they_work() {
        let with =
            |flags: Value| function(&json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": flags}));
        let (none, empty) = (with(json!(null)), with(json!([])));
        let spec = with(json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"]));
        assert_eq!(none.equals(&spec), Ok(true));
        assert_eq!(none.equals(&empty), Ok(false));
        assert_eq!(none.exceeds(&empty), Some(Excess::Speculation));
        assert!(empty.le(&none) && !none.le(&empty));
    }
}
