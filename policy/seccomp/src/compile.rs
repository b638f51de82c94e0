//! From profile to program, with libseccomp, and the proof that the program does what the profile says.
//!
//! libseccomp alone cannot be trusted with a profile as written: range operators on constants that differ in their upper
//! halves compile wrong (2.5.4, 2.6.1), overlapping rules depend on order, and disjoint ones on several arguments can go
//! wrong too. It is given disjoint patterns only, and its program is followed along every path before it is returned.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext};

use super::action::ENOSYS;
use super::cube::Cube;
use super::emit::Emission;
use super::exact::{self, Difference};
use super::function::Call;
use super::order;
use super::program::{
    self, Instruction, JUMP, JUMP_EQUAL, JUMP_GREATER, JUMP_SET, LOAD, OFFSET_ARCH, OFFSET_NR,
    RETURN,
};
use super::syscalls::{self, SPAN};
use super::table::{self, Table};
use super::{Action, Arch, Function, Profile, Program, Reading, SeccompError};

/// Above this many rules libseccomp builds a binary tree; the number is runc's (libcontainer/seccomp).
const TREE_ABOVE: usize = 32;
/// `__X32_SYSCALL_BIT`
const X32_BIT: u32 = 0x4000_0000;

/// Compiles a profile into the program that is loaded in place of the one a runtime would make of it, runc's ENOSYS for
/// syscalls above the highest named one included.
///
/// # Errors
/// Those of [`Function::of`]; [`SeccompError::Unsupported`] for NOTIFY; [`SeccompError::Library`];
/// [`SeccompError::TooLong`]; [`SeccompError::Mismatch`] when the program is wrong.
pub fn compile(profile: &Profile) -> Result<Program, SeccompError> {
    if profile.notifies() {
        return Err(SeccompError::Unsupported {
            what: "SCMP_ACT_NOTIFY in a precompiled filter".to_owned(),
            why: "nobody would listen; let the runtime load the profile, or use SCMP_ACT_ERRNO"
                .to_owned(),
        });
    }
    let (program, emission, function) = assemble(profile)?;
    check(&program, &emission, &function)?;
    Ok(program)
}

/// The program that a runtime makes of a profile from [`Function::to_profile`], rule by rule.
///
/// A runtime has a libseccomp of its own; what this one gets wrong, that one does not get right.
///
/// # Errors
/// Those of [`compile`], and [`SeccompError::Unsupported`] for a profile that was written otherwise.
pub fn compile_as_written(profile: &Profile) -> Result<Program, SeccompError> {
    let function = Function::of(profile, Reading::Runtime)?;
    let emission = Emission::as_written(profile)?;
    let mut instructions = stub(&emission.last);
    instructions.extend(library(&emission)?);
    let program = Program::new(instructions)?;
    check(&program, &emission, &function)?;
    Ok(program)
}

/// The program before it is checked, and what it is checked against.
pub(super) fn assemble(profile: &Profile) -> Result<(Program, Emission, Function), SeccompError> {
    let function = Function::of(profile, Reading::Runtime)?;
    let emission = function.emit()?;
    let mut instructions = stub(&emission.last);
    instructions.extend(library(&emission)?);
    Ok((Program::new(instructions)?, emission, function))
}

/// ENOSYS above the highest named syscall of each architecture. Falls through into the filter proper.
fn stub(last: &BTreeMap<Arch, u32>) -> Vec<Instruction> {
    let op = |code, k| Instruction { code, jt: 0, jf: 0, k };
    let enosys = op(RETURN, Action::Errno(ENOSYS).to_return());
    let above = |nr| [Instruction { code: JUMP_GREATER, jt: 0, jf: 1, k: nr }, enosys];
    let tokens: BTreeSet<u32> = last.keys().map(|arch| arch.token()).collect();
    let mut tail: Vec<Instruction> = Vec::new();
    for token in tokens {
        let mut group = vec![op(LOAD, OFFSET_NR)];
        for (arch, nr) in last.iter().filter(|(arch, _)| arch.token() == token) {
            // x86_64 and x32 share a token and differ in bit 30 of the number.
            match arch {
                Arch::X86_64 => {
                    group.push(Instruction { code: JUMP_SET, jt: 2, jf: 0, k: X32_BIT })
                }
                Arch::X32 => group.push(Instruction { code: JUMP_SET, jt: 0, jf: 2, k: X32_BIT }),
                _ => {}
            }
            group.extend(above(*nr));
        }
        // At most 15 architectures of 8 instructions: every distance fits.
        group.push(op(JUMP, u32::try_from(tail.len()).unwrap_or(u32::MAX)));
        let skip = u8::try_from(group.len()).unwrap_or(u8::MAX);
        let mut next = vec![Instruction { code: JUMP_EQUAL, jt: 0, jf: skip, k: token }];
        next.append(&mut group);
        next.append(&mut tail);
        tail = next;
    }
    if !tail.is_empty() {
        tail.insert(0, op(LOAD, OFFSET_ARCH));
    }
    tail
}

/// libseccomp's program for the rules.
fn library(emission: &Emission) -> Result<Vec<Instruction>, SeccompError> {
    let failed = |operation: String| {
        move |e: libseccomp::error::SeccompError| SeccompError::Library {
            operation,
            reason: e.to_string(),
        }
    };
    let mut filter = ScmpFilterContext::new(scmp(emission.default))
        .map_err(failed(format!("default action {}", emission.default.name())))?;
    for arch in &emission.arches {
        filter.add_arch(arch.scmp()).map_err(failed(format!("architecture {}", arch.oci())))?;
    }
    // Whether no_new_privs is set is the loader's business.
    filter.set_ctl_nnp(false).map_err(failed("ctl_nnp off".to_owned()))?;
    if emission.calls.values().map(Vec::len).sum::<usize>() > TREE_ABOVE {
        filter.set_ctl_optimize(2).map_err(failed("optimize 2".to_owned()))?;
    }
    // In the order of the written profile, which is the one a runtime would use: unconditional rules first.
    let rules = |conditional: bool| {
        let all = emission
            .calls
            .iter()
            .flat_map(|(name, rules)| rules.iter().map(move |rule| (name, rule)));
        all.filter(move |(_, (cube, _))| (*cube != Cube::ANY) == conditional)
    };
    for (name, (cube, action)) in rules(false).chain(rules(true)) {
        let Some(call) = syscalls::rule_number(name) else {
            continue;
        };
        filter
            .add_rule_conditional(scmp(*action), call, &comparators(cube))
            .map_err(failed(format!("a rule {} for {name}", action.name())))?;
    }
    export(&filter)
}

fn comparators(cube: &Cube) -> Vec<ScmpArgCompare> {
    let patterns = (0_u32..).zip(cube.0).filter(|(_, p)| p.mask != 0);
    patterns
        .map(|(index, p)| ScmpArgCompare::new(index, ScmpCompareOp::MaskedEqual(p.mask), p.value))
        .collect()
}

fn export(filter: &ScmpFilterContext) -> Result<Vec<Instruction>, SeccompError> {
    let failed = |reason: String| SeccompError::Library {
        operation: "exporting the program".to_owned(),
        reason,
    };
    let (mut reader, writer) = std::io::pipe().map_err(|e| failed(e.to_string()))?;
    let mut bytes = Vec::new();
    // A program may be larger than a pipe holds, so it is read while it is written.
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let limit = (program::LIMIT as u64 + 1) * 8;
            reader.by_ref().take(limit).read_to_end(&mut bytes)?;
            std::io::copy(&mut reader, &mut std::io::sink())
        });
        let written = filter.export_bpf(&writer).map_err(|e| failed(e.to_string()));
        drop(writer);
        match reading.join() {
            Ok(Ok(_)) => written,
            Ok(Err(e)) => Err(failed(e.to_string())),
            Err(_) => Err(failed("the reader stopped".to_owned())),
        }
    })?;
    let decode = |chunk: &[u8]| match *chunk {
        [c0, c1, jt, jf, k0, k1, k2, k3] => Ok(Instruction {
            code: u16::from_ne_bytes([c0, c1]),
            jt,
            jf,
            k: u32::from_ne_bytes([k0, k1, k2, k3]),
        }),
        _ => Err(failed("a cut instruction".to_owned())),
    };
    bytes.chunks(8).map(decode).collect()
}

fn scmp(action: Action) -> ScmpAction {
    match action {
        Action::KillProcess => ScmpAction::KillProcess,
        Action::KillThread => ScmpAction::KillThread,
        Action::Trap => ScmpAction::Trap,
        Action::Errno(errno) => ScmpAction::Errno(errno.into()),
        Action::Notify => ScmpAction::Notify,
        Action::Trace(message) => ScmpAction::Trace(message),
        Action::Log => ScmpAction::Log,
        Action::Allow => ScmpAction::Allow,
    }
}

/// Follows the program for every syscall number of every architecture: for all arguments it must answer what the rules
/// say, and the rules must nowhere be weaker than the function.
pub(super) fn check(
    program: &Program,
    emission: &Emission,
    function: &Function,
) -> Result<(), SeccompError> {
    for arch in Arch::ALL.iter().copied() {
        let covered = emission.arches.contains(&arch);
        let numbers = if covered { SPAN } else { 4 };
        for nr in arch.base()..arch.base() + numbers {
            let name = syscalls::name(nr, arch);
            let above = emission.last.get(&arch).is_some_and(|last| nr > *last);
            let table = match name {
                _ if !covered => Table::constant(Action::KillThread),
                Some(name) => emission.table(arch, name),
                None if above => Table::constant(Action::Errno(ENOSYS)),
                None => Table::constant(emission.default),
            };
            let wrong = |args, want, got| {
                let syscall = name.map_or_else(|| format!("number {nr}"), str::to_owned);
                SeccompError::Mismatch { syscall, arch: arch.oci(), args, want, got }
            };
            let too_long = || SeccompError::TooComplex {
                syscall: name.unwrap_or_default().to_owned(),
                limit: table::LIMIT,
            };
            exact::follow(program, (arch.token(), nr), arch.is_narrow(), &table).map_err(
                |difference| match difference {
                    Difference::At { args, want, got } => wrong(args, want, got),
                    Difference::Unreadable { at } => SeccompError::Program {
                        at,
                        problem: "an instruction that libseccomp is not known to write".to_owned(),
                    },
                    Difference::TooLong => too_long(),
                },
            )?;
            // Above the highest named number the answer is runc's ENOSYS, which stands in for any refusal.
            if !covered || above {
                continue;
            }
            let default = function.default_action();
            let call = name.map_or_else(|| Call::constant(default), |name| function.call(name));
            let bound = if arch.is_narrow() { &call.narrow } else { &call.wide };
            if let Some(args) = order::weaker_at(&table, bound).map_err(|_| too_long())? {
                return Err(wrong(args, bound.at(&args), Some(table.at(&args))));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::SeccompData;
    use super::*;
    use serde_json::{Value, json};

    fn profile(value: Value) -> Profile {
        Profile::from_oci(&value).unwrap()
    }

    fn answer(program: &Program, arch: Arch, nr: u32, args: [u64; 6]) -> Action {
        let data = SeccompData { nr, arch: arch.token(), instruction_pointer: 0, args };
        Action::from_return(program.eval(&data)).unwrap()
    }

    fn call(program: &Program, arch: Arch, name: &str, args: [u64; 6]) -> Action {
        answer(program, arch, syscalls::number(name, arch).unwrap(), args)
    }

    #[test]
    fn above_the_highest_named_syscall_the_answer_is_enosys() {
        let program = compile(&profile(json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "syscalls": [
                {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["openat2"], "action": "SCMP_ACT_ERRNO"}
            ]
        })))
        .unwrap();
        for arch in [Arch::X86_64, Arch::X86] {
            assert_eq!(call(&program, arch, "read", [0; 6]), Action::Allow);
            assert_eq!(call(&program, arch, "openat2", [0; 6]), Action::Errno(1));
            assert_eq!(answer(&program, arch, 438, [0; 6]), Action::Errno(38), "pidfd_getfd");
            assert_eq!(answer(&program, arch, 9999, [0; 6]), Action::Errno(38));
        }
        assert_eq!(answer(&program, Arch::X32, 0x4000_0000, [0; 6]), Action::KillThread);
    }

    #[test]
    fn a_wrong_program_is_caught() {
        let allow_all = |rules: Value| {
            let function = Function::of(
                &profile(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})),
                Reading::Runtime,
            )
            .unwrap();
            let emission = function.emit().unwrap();
            let program = Program::new(library(&emission).unwrap()).unwrap();
            (program, emission, function)
        };
        let (loose, loose_rules, _) = allow_all(json!([]));
        let (_, rules, function) =
            allow_all(json!([{"names": ["socket"], "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": 38, "op": "SCMP_CMP_EQ"}]}]));
        let error = check(&loose, &rules, &function).unwrap_err();
        assert!(
            matches!(&error, SeccompError::Mismatch { syscall, .. } if syscall == "socket"),
            "{error}"
        );
        // Rules and program that agree with each other are still held against the function.
        let error = check(&loose, &loose_rules, &function).unwrap_err();
        assert!(
            matches!(&error, SeccompError::Mismatch { syscall, .. } if syscall == "socket"),
            "{error}"
        );
    }

    #[test]
    fn ranges_across_the_upper_half_are_right() {
        // As two range rules libseccomp lets 0x10 and 0x20 through.
        let program = compile(&profile(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO",
             "args": [{"index": 1, "value": 0x10, "op": "SCMP_CMP_LT"}]},
            {"names": ["ioctl"], "action": "SCMP_ACT_ERRNO",
             "args": [{"index": 1, "value": 0x1_0000_0010_u64, "op": "SCMP_CMP_LT"}]}
        ]})))
        .unwrap();
        for (value, want) in [
            (0xf, Action::Errno(1)),
            (0x10, Action::Errno(1)),
            (0x20, Action::Errno(1)),
            (0x1_0000_000f, Action::Errno(1)),
            (0x1_0000_0010, Action::Allow),
            (u64::MAX, Action::Allow),
        ] {
            assert_eq!(
                call(&program, Arch::native(), "ioctl", [0, value, 0, 0, 0, 0]),
                want,
                "{value:#x}"
            );
        }
    }

    #[test]
    fn notify_is_for_the_runtime() {
        let notify = profile(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/s",
            "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]}));
        assert!(notify.notifies() && notify.listener().is_some());
        assert!(matches!(compile(&notify), Err(SeccompError::Unsupported { .. })));
    }

    #[test]
    fn a_program_over_the_kernels_limit_is_refused() {
        // Different constants, so that libseccomp shares nothing between the syscalls.
        let rules: Vec<Value> = (1..40_u64)
            .filter_map(|nr| Some((nr, syscalls::name(u32::try_from(nr).ok()?, Arch::native())?)))
            .map(|(nr, name)| {
                let value = nr * 0x5555_5555_5555;
                json!({"names": [name], "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 1, "value": value, "op": "SCMP_CMP_NE"}]})
            })
            .collect();
        let error =
            compile(&profile(json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules})))
                .unwrap_err();
        assert!(matches!(error, SeccompError::TooLong { .. }), "{error}");
    }
}
