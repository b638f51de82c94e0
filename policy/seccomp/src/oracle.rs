//! Random profiles, held against an evaluator that knows nothing of patterns, tables or libseccomp.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::compile::{assemble, check};
use super::profile::{Condition, Profile, Rule, Test};
use super::{
    Action, Arch, Function, Program, Reading, SeccompData, SeccompError, compile,
    compile_as_written, syscalls,
};

/// Constants on which operators, truncation and signedness go wrong.
const CONSTANTS: &[u64] = &[
    0,
    1,
    2,
    8,
    0x10,
    38,
    40,
    0x7e02_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0010,
    0x1_0000_0026,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];
pub(super) const NAMES: &[&str] =
    &["socket", "clone", "ioctl", "personality", "shmat", "read", "openat2"];

fn constant() -> impl Strategy<Value = u64> {
    prop_oneof![8 => proptest::sample::select(CONSTANTS), 1 => any::<u64>()]
}

fn argument() -> impl Strategy<Value = u64> {
    (constant(), 0..6_u8, 0..64_u32).prop_map(|(value, how, bit)| match how {
        0 => value.wrapping_add(1),
        1 => value.wrapping_sub(1),
        2 => value ^ 1 << bit,
        3 => value & 0xffff_ffff | 1 << 32,
        _ => value,
    })
}

fn action() -> impl Strategy<Value = Action> {
    proptest::sample::select(vec![
        Action::KillProcess,
        Action::KillThread,
        Action::Trap,
        Action::Errno(1),
        Action::Errno(13),
        Action::Errno(38),
        Action::Trace(1),
        Action::Log,
        Action::Allow,
        Action::Allow,
    ])
}

fn condition() -> impl Strategy<Value = Condition> {
    (0..2_usize, 0..20, constant(), constant()).prop_map(|(index, kind, v, mask)| Condition {
        index,
        test: match kind {
            0 => Test::Ne(v),
            1 => Test::Lt(v),
            2 => Test::Le(v),
            3 => Test::Ge(v),
            4 => Test::Gt(v),
            5..12 => Test::MaskedEq { mask, value: v & mask },
            _ => Test::Eq(v),
        },
    })
}

pub(super) fn rule() -> impl Strategy<Value = Rule> {
    let names = proptest::sample::subsequence(NAMES, 1..=2);
    (names, action(), proptest::collection::vec(condition(), 0..=2)).prop_map(
        |(names, action, conditions)| Rule {
            names: names.into_iter().map(str::to_owned).collect(),
            action,
            conditions,
        },
    )
}

pub(super) fn profile(arches: &'static [Arch]) -> impl Strategy<Value = Profile> {
    let arches = proptest::sample::subsequence(arches, 0..=arches.len());
    (action(), arches, proptest::collection::vec(rule(), 0..=3)).prop_map(
        |(default, arches, rules)| Profile {
            default,
            architectures: arches.into_iter().collect(),
            flags: None,
            listener: None,
            rules,
        },
    )
}

pub(super) fn points() -> impl Strategy<Value = Vec<[u64; 6]>> {
    proptest::collection::vec(
        (argument(), argument()).prop_map(|(a, b)| [a, b, 7, 0, 0, u64::MAX]),
        24,
    )
}

/// The rules as they stand: the strictest that applies, or the default.
pub(super) fn evaluate(profile: &Profile, name: &str, args: [u64; 6]) -> Action {
    let holds = |c: &Condition| {
        let x = args[c.index];
        match c.test {
            Test::Ne(v) => x != v,
            Test::Lt(v) => x < v,
            Test::Le(v) => x <= v,
            Test::Eq(v) => x == v,
            Test::Ge(v) => x >= v,
            Test::Gt(v) => x > v,
            Test::MaskedEq { mask, value } => x & mask == value,
        }
    };
    let applies = |rule: &&Rule| {
        let indices: BTreeSet<usize> = rule.conditions.iter().map(|c| c.index).collect();
        let repeated = indices.len() < rule.conditions.len();
        rule.names.iter().any(|n| n == name)
            && if repeated {
                rule.conditions.iter().any(holds)
            } else {
                rule.conditions.iter().all(holds)
            }
    };
    profile.rules.iter().filter(applies).map(|r| r.action).min().unwrap_or(profile.default)
}

pub(super) fn run(program: &Program, arch: Arch, nr: u32, args: [u64; 6]) -> Action {
    let args = if arch == Arch::X86 { args.map(|a| a & 0xffff_ffff) } else { args };
    let data = SeccompData { nr, arch: arch.token(), instruction_pointer: 0, args };
    Action::from_return(program.eval(&data)).unwrap()
}

/// `None` for profiles that are refused as too complex, or for lack of a stricter action; there must not be many.
pub(super) fn built<T>(result: Result<T, SeccompError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(
            SeccompError::TooComplex { .. }
            | SeccompError::TooLong { .. }
            | SeccompError::Unsupported { .. }
            // libseccomp gets some rules on several arguments wrong; the check says so, and nothing is loaded.
            | SeccompError::Mismatch { .. },
        ) => None,
        Err(other) => panic!("{other}"),
    }
}

pub(super) fn cases(cases: u32) -> ProptestConfig {
    // No files of failures: a failing case is printed whole, and PROPTEST_RNG_SEED runs it again. Of the cases, most must
    // be real ones.
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_global_rejects: cases / 2,
        ..ProptestConfig::default()
    }
}

pub(super) const NATIVE: &[Arch] = &[];
pub(super) const MIXED: &[Arch] = &[Arch::X86_64, Arch::X86, Arch::X32];

#[cfg(target_arch = "x86_64")]
proptest! {
    #![proptest_config(cases(512))]

    /// One architecture: exact, down to the errno.
    #[test]
    fn the_compiled_meet_is_the_stricter_of_both_profiles(a in profile(NATIVE), b in profile(NATIVE), points in points()) {
        let (Some(fa), Some(fb)) = (built(Function::of(&a, Reading::Runtime)), built(Function::of(&b, Reading::Runtime))) else {
            return Err(TestCaseError::reject("too complex"));
        };
        let Some(merged) = built(fa.meet(&fb)).and_then(|f| built(f.to_profile())) else {
            return Err(TestCaseError::reject("too complex"));
        };
        let Some(program) = built(compile_as_written(&merged)) else {
            return Err(TestCaseError::reject("too long, or libseccomp is wrong"));
        };
        for name in NAMES {
            let nr = syscalls::number(name, Arch::X86_64).unwrap();
            for args in &points {
                let want = evaluate(&a, name, *args).min(evaluate(&b, name, *args));
                let got = run(&program, Arch::X86_64, nr, *args);
                // runc's ENOSYS above the highest named syscall may stand for any refusal.
                let beyond = fa.is_beyond(Arch::X86_64, name) || fb.is_beyond(Arch::X86_64, name);
                prop_assert!(got == want || beyond && got.is_refusal() && want.is_refusal(),
                    "{} {:x?}: {:?}, not {:?}", name, args, got, want);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
proptest! {
    #![proptest_config(cases(256))]

    /// What libseccomp made, right or wrong: the check finds each difference that can be met, and invents none.
    #[test]
    fn the_check_is_right_about_every_program(profile in profile(NATIVE), points in points()) {
        let Some((program, emission, function)) = built(assemble(&profile)) else {
            return Err(TestCaseError::reject("too complex"));
        };
        let wants = |name: &str, args: [u64; 6]| {
            if function.is_beyond(Arch::X86_64, name) { Action::Errno(38) } else { evaluate(&profile, name, args) }
        };
        match check(&program, &emission, &function) {
            Ok(()) => {
                for name in NAMES {
                    let nr = syscalls::number(name, Arch::X86_64).unwrap();
                    for args in &points {
                        prop_assert_eq!(run(&program, Arch::X86_64, nr, *args), wants(name, *args), "{} {:x?}", name, args);
                    }
                }
            }
            Err(SeccompError::Mismatch { syscall, args, got, .. }) => {
                let nr = syscalls::number(&syscall, Arch::X86_64).unwrap();
                prop_assert_eq!(Some(run(&program, Arch::X86_64, nr, args)), got);
                prop_assert_ne!(got, Some(wants(&syscall, args)));
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

#[cfg(target_arch = "x86_64")]
proptest! {
    #![proptest_config(cases(128))]

    /// 32-bit architectures beside: never weaker than either function, on any of them.
    #[test]
    fn the_compiled_meet_is_never_weaker_on_any_architecture(a in profile(MIXED), b in profile(MIXED), points in points()) {
        let (Some(fa), Some(fb)) = (built(Function::of(&a, Reading::Runtime)), built(Function::of(&b, Reading::Runtime))) else {
            return Err(TestCaseError::reject("too complex"));
        };
        let Some(meet) = built(fa.meet(&fb)) else { return Err(TestCaseError::reject("too complex")) };
        let Some(merged) = built(meet.to_profile()) else { return Err(TestCaseError::reject("too complex")) };
        let Some(program) = built(compile(&merged)) else { return Err(TestCaseError::reject("too long")) };
        prop_assert!(merged.is_read_alike().unwrap(), "{:?}", merged);
        let again = built(Function::of(&merged, Reading::Runtime)).unwrap();
        prop_assert!(again.le(&meet) && meet.le(&fa) && meet.le(&fb));
        for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
            for name in NAMES.iter().chain(&["socketcall", "ipc"]) {
                let Some(nr) = syscalls::number(name, arch) else { continue };
                for args in &points {
                    let got = run(&program, arch, nr, *args);
                    if !merged.covered().contains(&arch) {
                        prop_assert_eq!(got, Action::KillThread);
                        continue;
                    }
                    for f in [&fa, &fb] {
                        let bound = f.eval(arch, name, *args);
                        let stub = got == Action::Errno(38) && bound.is_refusal();
                        prop_assert!(got.strength() <= bound.strength() || stub,
                            "{} {:x?} on {:?}: {:?} above {:?}", name, args, arch, got, bound);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(64))]

    /// The normal form says what the rules say.
    #[test]
    fn a_function_is_its_rules(profile in profile(NATIVE), points in points()) {
        let Some(function) = built(Function::of(&profile, Reading::Runtime)) else {
            return Err(TestCaseError::reject("too complex"));
        };
        for name in NAMES {
            for args in points.iter().filter(|_| !function.is_beyond(Arch::native(), name)) {
                prop_assert_eq!(function.eval(Arch::native(), name, *args), evaluate(&profile, name, *args));
            }
        }
    }

    /// Meet: commutative, associative, idempotent, below both; equality as functions, by value at points and by `le`.
    #[test]
    fn meet_is_a_meet(a in profile(MIXED), b in profile(MIXED), c in profile(MIXED), points in points()) {
        let functions: Option<Vec<Function>> =
            [&a, &b, &c].iter().map(|p| built(Function::of(p, Reading::Runtime))).collect();
        let Some(functions) = functions else { return Err(TestCaseError::reject("too complex")) };
        let [a, b, c] = [&functions[0], &functions[1], &functions[2]];
        let meet = |x: &Function, y: &Function| built(x.meet(y)).ok_or_else(|| TestCaseError::reject("too complex"));
        let (ab, ba, bc, aa) = (meet(a, b)?, meet(b, a)?, meet(b, c)?, meet(a, a)?);
        let (left, right) = (meet(&ab, c)?, meet(a, &bc)?);
        prop_assert!(ab.le(a) && ab.le(b) && left.le(c));
        for (x, y) in [(&ab, &ba), (&left, &right), (&aa, a)] {
            prop_assert!(x.le(y) && y.le(x));
            prop_assert_eq!(&x.arches, &y.arches);
            prop_assert_eq!(&x.flags, &y.flags);
            for arch in &x.arches {
                for name in NAMES.iter().chain(&["socketcall", "ipc", "fchmodat2"]) {
                    for args in &points {
                        prop_assert_eq!(x.eval(*arch, name, *args), y.eval(*arch, name, *args));
                    }
                }
            }
        }
        // `le` is the order of the meet.
        prop_assert_eq!(a.le(b), meet(a, b)?.le(a) && a.le(&ab));
    }
}
