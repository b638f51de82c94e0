//! Two ranges on one argument whose ends differ in their upper halves: what libseccomp makes of the rules as they stand,
//! and of the same function as coaming writes it.
//!
//! libseccomp puts the tests of both halves into one tree and merges what looks the same in it (src/db.c,
//! `_db_tree_add`), so that of `a < 0x10` and `a < 0x1_0000_0010` neither holds at `a = 0x10`.

use coaming_seccomp::{Profile, compile};
use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use serde_json::{Value, json};

use crate::answer::{ALLOW, ERRNO};
use crate::machine::Machine;
use crate::{Error, bpf, runtime};

/// Points looked at, and at how many of them each program is wrong.
pub(crate) fn count() -> Result<Value, Error> {
    let machine = Machine::native().ok_or_else(|| Error::Library("no such machine".to_owned()))?;
    let nr = machine.number("ioctl").ok_or_else(|| Error::Library("no ioctl".to_owned()))?;
    let (mut points, mut library, mut let_through, mut coaming) = (0_u64, 0_u64, 0_u64, 0_u64);
    for (op, name, holds) in OPERATORS {
        for (one, other) in ENDS {
            let raw = as_it_stands([one, other], op)?;
            let rule = |end: u64| {
                json!({"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                "args": [{"index": 1, "value": end, "op": name}]})
            };
            let section =
                json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule(one), rule(other)]});
            let ours = compile(&Profile::from_oci(&section)?)?;
            for value in probes(&[one, other]) {
                let want = if holds(value, one) || holds(value, other) { ERRNO | 1 } else { ALLOW };
                let answer =
                    |program| bpf::run(program, machine.token, nr, &[0, value, 0, 0, 0, 0]);
                points += 1;
                if answer(&raw) != Some(want) {
                    library += 1;
                    let_through += u64::from(want != ALLOW);
                }
                coaming += u64::from(answer(ours.instructions()) != Some(want));
            }
        }
    }
    Ok(json!({
        "points": points,
        "libraryWrong": library,
        "libraryLetThrough": let_through,
        "coamingWrong": coaming,
    }))
}

type Holds = fn(u64, u64) -> bool;
const OPERATORS: [(ScmpCompareOp, &str, Holds); 4] = [
    (ScmpCompareOp::Less, "SCMP_CMP_LT", |a, b| a < b),
    (ScmpCompareOp::LessOrEqual, "SCMP_CMP_LE", |a, b| a <= b),
    (ScmpCompareOp::Greater, "SCMP_CMP_GT", |a, b| a > b),
    (ScmpCompareOp::GreaterEqual, "SCMP_CMP_GE", |a, b| a >= b),
];
const ENDS: [(u64, u64); 4] = [
    (0x10, 0x1_0000_0010),
    (0x1_0000_0010, 0x10),
    (0x2_0000_0000, 0x1_0000_0040),
    (0xffff_ffff, 0x7fff_ffff_0000_0000),
];

fn as_it_stands(
    ends: [u64; 2],
    op: ScmpCompareOp,
) -> Result<Vec<coaming_seccomp::Instruction>, Error> {
    let failed = |e: libseccomp::error::SeccompError| Error::Library(e.to_string());
    let mut filter = ScmpFilterContext::new(ScmpAction::Allow).map_err(failed)?;
    let ioctl = ScmpSyscall::from_name("ioctl").map_err(failed)?;
    for end in ends {
        let comparator = ScmpArgCompare::new(1, op, end);
        filter.add_rule_conditional(ScmpAction::Errno(1), ioctl, &[comparator]).map_err(failed)?;
    }
    runtime::export(&filter)
}

/// Each lower half that matters under each upper half that does.
fn probes(ends: &[u64]) -> Vec<u64> {
    let near = |of: fn(u64) -> u64| {
        let mut values: Vec<u64> = ends
            .iter()
            .flat_map(|end| [of(*end), of(*end).wrapping_sub(1), of(*end).wrapping_add(1)])
            .chain([0, 0x20, 0x8000_0000, 0xffff_ffff])
            .map(|value| value & 0xffff_ffff)
            .collect();
        values.sort_unstable();
        values.dedup();
        values
    };
    let (upper, lower) = (near(|end| end >> 32), near(|end| end & 0xffff_ffff));
    upper.iter().flat_map(|u| lower.iter().map(move |l| u << 32 | l)).collect()
}
