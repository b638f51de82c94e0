//! What a runtime makes of an OCI section, rule by rule, with libseccomp and nothing else (runc, libcontainer/seccomp,
//! `InitSeccomp` and `matchCall`; crun, src/libcrun/seccomp.c). runc's ENOSYS above the highest named number is not in it.

use std::collections::BTreeSet;
use std::io::Read;

use coaming_seccomp::Instruction;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use serde_json::Value;

use crate::Error;
use crate::answer;
use crate::rules::{Operator, Test};

/// # Errors
/// libseccomp's: for a container this is a start that fails.
pub(crate) fn compile(section: &Value) -> Result<Vec<Instruction>, Error> {
    let failed = |e: libseccomp::error::SeccompError| Error::Library(e.to_string());
    let default = action(section.get("defaultAction"), section.get("defaultErrnoRet"))?;
    let mut filter = ScmpFilterContext::new(scmp(default)?).map_err(failed)?;
    for name in section.get("architectures").and_then(Value::as_array).into_iter().flatten() {
        let machine = name.as_str().and_then(crate::machine::Machine::named);
        let machine =
            machine.ok_or_else(|| Error::Section { what: format!("architecture {name}") })?;
        if machine.scmp != ScmpArch::native() {
            filter.add_arch(machine.scmp).map_err(failed)?;
        }
    }
    filter.set_ctl_nnp(false).map_err(failed)?;
    let mut rules: Vec<(ScmpAction, ScmpSyscall, Vec<ScmpArgCompare>)> = Vec::new();
    for entry in section.get("syscalls").and_then(Value::as_array).into_iter().flatten() {
        let action = action(entry.get("action"), entry.get("errnoRet"))?;
        if action == default {
            continue;
        }
        let tests: Vec<Test> = match entry.get("args") {
            Some(args) => serde::Deserialize::deserialize(args)
                .map_err(|e: serde_json::Error| Error::Section { what: e.to_string() })?,
            None => Vec::new(),
        };
        for name in entry.get("names").and_then(Value::as_array).into_iter().flatten() {
            let call = name.as_str().and_then(|name| ScmpSyscall::from_name(name).ok());
            let Some(call) = call.filter(|call| !call.is_error()) else { continue };
            let indices: BTreeSet<usize> = tests.iter().map(|test| test.index).collect();
            if indices.len() < tests.len() {
                for test in &tests {
                    rules.push((scmp(action)?, call, vec![comparator(test)]));
                }
            } else {
                rules.push((scmp(action)?, call, tests.iter().map(comparator).collect()));
            }
        }
    }
    if rules.len() > 32 {
        filter.set_ctl_optimize(2).map_err(failed)?;
    }
    for (action, call, comparators) in &rules {
        filter.add_rule_conditional(*action, *call, comparators).map_err(failed)?;
    }
    export(&filter)
}

fn action(name: Option<&Value>, data: Option<&Value>) -> Result<u32, Error> {
    let data = data.and_then(Value::as_u64).and_then(|data| u32::try_from(data).ok());
    name.and_then(Value::as_str)
        .and_then(|name| answer::parse(name, data))
        .ok_or_else(|| Error::Section { what: format!("action {name:?}") })
}

fn scmp(action: u32) -> Result<ScmpAction, Error> {
    let data = u16::try_from(action & 0xffff).unwrap_or_default();
    Ok(match action & 0xffff_0000 {
        answer::KILL_PROCESS => ScmpAction::KillProcess,
        answer::KILL_THREAD => ScmpAction::KillThread,
        answer::TRAP => ScmpAction::Trap,
        answer::ERRNO => ScmpAction::Errno(data.into()),
        answer::TRACE => ScmpAction::Trace(data),
        answer::LOG => ScmpAction::Log,
        answer::ALLOW => ScmpAction::Allow,
        other => return Err(Error::Section { what: format!("action {other:#x}") }),
    })
}

fn comparator(test: &Test) -> ScmpArgCompare {
    let index = u32::try_from(test.index).unwrap_or(u32::MAX);
    let (op, value) = match test.op {
        Operator::Ne => (ScmpCompareOp::NotEqual, test.value),
        Operator::Lt => (ScmpCompareOp::Less, test.value),
        Operator::Le => (ScmpCompareOp::LessOrEqual, test.value),
        Operator::Eq => (ScmpCompareOp::Equal, test.value),
        Operator::Ge => (ScmpCompareOp::GreaterEqual, test.value),
        Operator::Gt => (ScmpCompareOp::Greater, test.value),
        Operator::MaskedEq => (ScmpCompareOp::MaskedEqual(test.value), test.value_two),
    };
    ScmpArgCompare::new(index, op, value)
}

/// The compiled program.
pub(crate) fn export(filter: &ScmpFilterContext) -> Result<Vec<Instruction>, Error> {
    let (mut reader, writer) = std::io::pipe().map_err(|e| Error::Library(e.to_string()))?;
    let bytes = std::thread::scope(|scope| {
        // A program may be larger than a pipe holds.
        let reading = scope.spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map(|_| bytes)
        });
        let written = filter.export_bpf(&writer).map_err(|e| Error::Library(e.to_string()));
        drop(writer);
        let bytes = reading.join().ok().and_then(Result::ok);
        written.and(bytes.ok_or_else(|| Error::Library("the program cannot be read".to_owned())))
    })?;
    let (chunks, _) = bytes.as_chunks::<8>();
    Ok(chunks
        .iter()
        .map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| Instruction {
            code: u16::from_ne_bytes([c0, c1]),
            jt,
            jf,
            k: u32::from_ne_bytes([k0, k1, k2, k3]),
        })
        .collect())
}
