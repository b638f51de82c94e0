//! The ways in which merging profiles has gone wrong elsewhere, one test each.

use serde_json::{Value, json};

use super::compile::assemble;
use super::{
    Action, Arch, Function, Profile, Program, Reading, SeccompData, SeccompError, compile,
    compile_as_written, deny_profile, syscalls,
};

fn profile(default: &str, rules: Value) -> Profile {
    Profile::from_oci(&json!({"defaultAction": default, "syscalls": rules})).unwrap()
}

fn rule(name: &str, action: &str, args: Value) -> Value {
    json!({"names": [name], "action": action, "args": args})
}

fn arg(index: u32, op: &str, value: u64) -> Value {
    json!({"index": index, "value": value, "op": op})
}

fn runtime(profile: &Profile) -> Function {
    Function::of(profile, Reading::Runtime).unwrap()
}

fn first(a: u64) -> [u64; 6] {
    [a, 0, 0, 0, 0, 0]
}

fn run(program: &Program, arch: Arch, name: &str, args: [u64; 6]) -> Action {
    let nr = syscalls::number(name, arch).unwrap();
    let data = SeccompData { nr, arch: arch.token(), instruction_pointer: 0, args };
    Action::from_return(program.eval(&data)).unwrap()
}

const ALLOW: &str = "SCMP_ACT_ALLOW";
const ERRNO: &str = "SCMP_ACT_ERRNO";
const KILL: &str = "SCMP_ACT_KILL_PROCESS";

#[test]
fn an_unconditional_rule_does_not_swallow_a_refusal() {
    // libseccomp lets the unconditional ALLOW win over the refusal, in either order.
    for rules in [
        json!([
            rule("socket", ALLOW, json!([])),
            rule("socket", KILL, json!([arg(0, "SCMP_CMP_EQ", 38)]))
        ]),
        json!([
            rule("socket", KILL, json!([arg(0, "SCMP_CMP_EQ", 38)])),
            rule("socket", ALLOW, json!([]))
        ]),
    ] {
        let profile = profile(ERRNO, rules);
        let program = compile(&profile).unwrap();
        assert_eq!(run(&program, Arch::native(), "socket", first(38)), Action::KillProcess);
        assert_eq!(run(&program, Arch::native(), "socket", first(2)), Action::Allow);
        let error = Function::of(&profile, Reading::Policy).unwrap_err().to_string();
        assert!(error.contains("socket") && error.contains("rules 0 and 1"), "{error}");
    }
}

#[test]
fn the_first_of_two_contrary_rules_does_not_win() {
    for (one, two) in [(ALLOW, KILL), (KILL, ALLOW)] {
        // Without conditions libseccomp keeps the first in silence; with the same condition it fails with EEXIST.
        for args in [json!([]), json!([arg(0, "SCMP_CMP_EQ", 38)])] {
            let rules = json!([rule("socket", one, args.clone()), rule("socket", two, args)]);
            let program = compile(&profile(ERRNO, rules)).unwrap();
            assert_eq!(run(&program, Arch::native(), "socket", first(38)), Action::KillProcess);
        }
    }
}

#[test]
fn overlapping_masks_do_not_depend_on_order() {
    let low = |action| {
        rule(
            "ioctl",
            action,
            json!([{"index": 1, "value": 0xf, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]),
        )
    };
    let high = |action| {
        rule(
            "ioctl",
            action,
            json!([{"index": 1, "value": 0xf0, "valueTwo": 0x10, "op": "SCMP_CMP_MASKED_EQ"}]),
        )
    };
    for rules in [json!([low(ALLOW), high(KILL)]), json!([high(KILL), low(ALLOW)])] {
        let program = compile(&profile(ERRNO, rules)).unwrap();
        let at = |value| run(&program, Arch::native(), "ioctl", [0, value, 0, 0, 0, 0]);
        assert_eq!(
            [at(0x11), at(0x01), at(0x10), at(0x22)],
            [Action::KillProcess, Action::Allow, Action::KillProcess, Action::Errno(1)]
        );
    }
}

#[test]
fn two_conditions_on_one_argument_are_alternatives_to_runtimes_and_an_error_in_policy() {
    let split = profile(
        ERRNO,
        json!([rule(
            "socket",
            ALLOW,
            json!([arg(0, "SCMP_CMP_NE", 38), arg(0, "SCMP_CMP_NE", 40)])
        )]),
    );
    assert_eq!(runtime(&split).always("socket"), Some(Action::Allow));
    let error = Function::of(&split, Reading::Policy).unwrap_err().to_string();
    assert!(error.contains("rule 0") && error.contains("OR"), "{error}");
}

#[test]
fn a_masked_condition_has_its_mask_first() {
    let masked = |value: u64, two: u64| {
        profile(
            ALLOW,
            json!([rule(
                "clone",
                ERRNO,
                json!([{"index": 0, "value": value, "valueTwo": two, "op": "SCMP_CMP_MASKED_EQ"}])
            )]),
        )
    };
    let function = runtime(&masked(0x1000_0000, 0x1000_0000));
    assert_eq!(function.eval(Arch::native(), "clone", first(0x1000_0011)), Action::Errno(1));
    assert_eq!(function.eval(Arch::native(), "clone", first(0x11)), Action::Allow);
    let error = Function::of(&masked(0x10, 0x30), Reading::Policy).unwrap_err().to_string();
    assert!(
        error.contains("clone") && error.contains("argument 0") && error.contains("0x30"),
        "{error}"
    );
}

#[test]
fn an_unknown_name_in_a_refusal_is_an_error_in_policy() {
    let typo = profile(ALLOW, json!([rule("unshar", ERRNO, json!([]))]));
    let error = Function::of(&typo, Reading::Policy).unwrap_err().to_string();
    assert!(error.contains("rule 0") && error.contains("\"unshare\""), "{error}");
    assert!(Function::of(&typo, Reading::Runtime).is_ok());
    let future = profile(ERRNO, json!([rule("not_yet_invented", ALLOW, json!([]))]));
    assert!(
        Function::of(&future, Reading::Policy).is_ok(),
        "what is not known is not granted either"
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_refused_family_refuses_socketcall_on_i386() {
    let profile = deny_profile(&["bpf"], &[38]).unwrap();
    let function = Function::of(&profile, Reading::Policy).unwrap();
    let program = compile(&profile).unwrap();
    let at = |arch, name: &str, args| {
        let answer = run(&program, arch, name, args);
        assert_eq!(answer, function.eval(arch, name, args));
        answer
    };
    let eperm = Action::Errno(1);
    assert_eq!(at(Arch::X86_64, "socket", first(38)), eperm);
    assert_eq!(
        at(Arch::X86_64, "socket", first(1 << 32 | 38)),
        eperm,
        "the kernel looks at the lower half"
    );
    assert_eq!(at(Arch::X86_64, "socket", first(2)), Action::Allow);
    assert_eq!(at(Arch::X86, "socket", first(38)), eperm);
    assert_eq!(at(Arch::X86, "socket", first(2)), Action::Allow);
    assert_eq!(at(Arch::X86, "socketcall", first(1)), eperm, "SYS_SOCKET, whatever the family");
    assert_eq!(at(Arch::X86, "socketcall", first(3)), Action::Allow, "SYS_CONNECT");
    assert_eq!(at(Arch::X86_64, "bpf", first(0)), eperm);
    assert_eq!(function.always("bpf"), Some(eperm));
    assert_eq!(function.always("socket"), None);
    let error = deny_profile(&["keyctll"], &[]).unwrap_err().to_string();
    assert!(error.contains("\"keyctl\""), "{error}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_refused_family_meets_containerds_default_on_all_its_architectures() {
    let socket = |value: u64, op: &str| {
        json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW",
        "args": [{"index": 0, "value": value, "op": op}]})
    };
    let refused = Function::of(&deny_profile(&[], &[38]).unwrap(), Reading::Policy).unwrap();
    for rules in [
        // containerd 1.7 to 2.1, and what came after.
        vec![socket(40, "SCMP_CMP_NE")],
        vec![socket(38, "SCMP_CMP_LT"), socket(39, "SCMP_CMP_EQ"), socket(40, "SCMP_CMP_GT")],
    ] {
        let asked = Profile::from_oci(&json!({"defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": rules}))
        .unwrap();
        let met = Function::of(&asked, Reading::Runtime).unwrap().meet(&refused).unwrap();
        let program = compile_as_written(&met.to_profile().unwrap()).unwrap();
        for arch in [Arch::X86_64, Arch::X86] {
            for (family, answer) in [
                (2, Action::Allow),
                (37, Action::Allow),
                (38, Action::Errno(1)),
                (39, Action::Allow),
                (40, Action::Errno(1)),
                (41, Action::Allow),
            ] {
                assert_eq!(
                    run(&program, arch, "socket", first(family)),
                    answer,
                    "{arch:?} {family}"
                );
            }
        }
    }
}

/// A block of instructions that two calls share looks at whichever argument was loaded last (gen_bpf.c, 2.5.4 to 2.6.1).
#[cfg(target_arch = "x86_64")]
#[test]
fn a_grant_by_the_wrong_argument_is_noticed() {
    let on = |index: u32, mask: u64, value: u64| json!({"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"});
    let mut rules = vec![
        rule("keyctl", "SCMP_ACT_LOG", json!([on(0, !1, 2), on(1, u64::MAX, 1 << 63)])),
        rule("keyctl", "SCMP_ACT_ALLOW", json!([on(0, !1, 0)])),
        rule("ptrace", "SCMP_ACT_ALLOW", json!([on(0, !1, 0)])),
    ];
    for (mask, value) in [(!15, 16), (!7, 8), (!3, 4), (!1, 2)] {
        rules.push(rule("ptrace", "SCMP_ACT_LOG", json!([on(0, mask, value)])));
    }
    let profile = profile("SCMP_ACT_ERRNO", Value::Array(rules));
    let function = Function::of(&profile, Reading::Runtime).unwrap();
    // keyctl(2, 0) has no rule.
    assert_eq!(function.eval(Arch::X86_64, "keyctl", first(2)), Action::Errno(1));
    let (unchecked, _, _) = assemble(&profile).unwrap();
    assert_eq!(run(&unchecked, Arch::X86_64, "keyctl", first(2)), Action::Allow, "mended?");
    let written = function.to_profile().unwrap();
    for error in [compile(&profile), compile_as_written(&written)].map(Result::unwrap_err) {
        assert!(
            matches!(&error, SeccompError::Mismatch { syscall, .. } if syscall == "keyctl"),
            "{error}"
        );
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_conditional_grant_of_socket_does_not_open_socketcall() {
    let arches = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
    let grant = Profile::from_oci(&json!({"defaultAction": ERRNO, "architectures": arches, "syscalls": [
        rule("socket", ALLOW, json!([arg(0, "SCMP_CMP_NE", 40)])), rule("connect", ALLOW, json!([]))]})).unwrap();
    let program = compile(&grant).unwrap();
    assert_eq!(run(&program, Arch::X86, "socketcall", first(1)), Action::Errno(38));
    assert_eq!(run(&program, Arch::X86, "socket", first(40)), Action::Errno(1));
    assert_eq!(run(&program, Arch::X86, "socket", first(2)), Action::Allow);
    assert_eq!(run(&program, Arch::X86_64, "socket", first(40)), Action::Errno(1));
    assert_eq!(run(&program, Arch::X86_64, "socket", first(2)), Action::Allow);
}

#[test]
fn architectures_meet_as_sets_and_none_means_native() {
    let on = |names: Value| {
        runtime(
            &Profile::from_oci(&json!({"defaultAction": ALLOW, "architectures": names})).unwrap(),
        )
    };
    let all = on(json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]));
    let meet = all.meet(&on(json!([]))).unwrap();
    assert_eq!(meet.architectures().iter().copied().collect::<Vec<_>>(), [Arch::native()]);
    assert_eq!(meet.eval(Arch::Mips, "read", [0; 6]), Action::KillThread);
    assert!(meet.le(&all) && !all.le(&meet));
}

#[test]
fn the_boundary_of_enosys_stays_where_the_older_profile_has_it() {
    // openat2 is 437 everywhere, fchmodat2 452.
    let old = runtime(&profile(
        ERRNO,
        json!([rule("read", ALLOW, json!([])), rule("openat2", ALLOW, json!([]))]),
    ));
    let new = runtime(&profile(
        ERRNO,
        json!([rule("read", ALLOW, json!([])), rule("fchmodat2", ALLOW, json!([]))]),
    ));
    let merged = old.meet(&new).unwrap().to_profile().unwrap();
    let program = compile(&merged).unwrap();
    assert_eq!(run(&program, Arch::native(), "fchmodat2", [0; 6]), Action::Errno(38));
    assert_eq!(run(&program, Arch::native(), "openat2", [0; 6]), Action::Errno(1));
    assert_eq!(run(&program, Arch::native(), "read", [0; 6]), Action::Allow);
    let named = merged.to_oci().to_string();
    assert!(named.contains("openat2") && !named.contains("fchmodat2"), "{named}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_call_that_loses_all_its_rules_keeps_the_boundary_of_enosys() {
    // In 32 bits nothing of the grant of keyctl (250) is left, and it is written for all architectures alike.
    let grant = |default: &str, value: u64| {
        let grant = rule("keyctl", ALLOW, json!([arg(0, "SCMP_CMP_EQ", value)]));
        let rules = json!([rule("read", "SCMP_ACT_LOG", json!([])), grant]);
        let arches = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
        runtime(
            &Profile::from_oci(
                &json!({"defaultAction": default, "architectures": arches, "syscalls": rules}),
            )
            .unwrap(),
        )
    };
    let met = grant(KILL, 1 << 32 | 5).meet(&grant(KILL, 1 << 32 | 5)).unwrap();
    let program = compile_as_written(&met.to_profile().unwrap()).unwrap();
    assert_eq!(run(&program, Arch::X86_64, "ptrace", [0; 6]), Action::KillProcess, "101");
    assert_eq!(run(&program, Arch::X86_64, "read", [0; 6]), Action::Log);
}

#[test]
fn flags_meet_log_or_spec_allow_and() {
    let with = |flags: Value| {
        let value = json!({"defaultAction": ALLOW, "flags": flags});
        runtime(&Profile::from_oci(&value).unwrap())
    };
    let log = "SECCOMP_FILTER_FLAG_LOG";
    let spec = "SECCOMP_FILTER_FLAG_SPEC_ALLOW";
    let bits = |a: &Function, b: &Function| a.meet(b).unwrap().to_profile().unwrap().kernel_flags();
    assert_eq!(bits(&with(json!([log, spec])), &with(json!([spec]))), 2 | 4);
    assert_eq!(bits(&with(json!([log])), &with(json!([spec]))), 2);
    assert_eq!(bits(&with(json!(null)), &with(json!([]))), 0);
    assert_eq!(bits(&with(json!(null)), &with(json!(null))), 4);
}

#[test]
fn what_is_too_complex_is_refused_by_name() {
    let rules: Vec<Value> = (0..6)
        .map(|index| {
            rule(
                "ioctl",
                ALLOW,
                json!([
                    arg(index, "SCMP_CMP_LT", 0x5555_5555_5555_5555),
                    arg((index + 1) % 6, "SCMP_CMP_GT", 0x5555)
                ]),
            )
        })
        .collect();
    let error = Function::of(&profile(ERRNO, json!(rules)), Reading::Runtime).unwrap_err();
    assert!(
        matches!(&error, SeccompError::TooComplex { syscall, .. } if syscall == "ioctl"),
        "{error}"
    );
}
