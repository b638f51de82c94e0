//! Does a program answer what a table says, for all arguments? Decided, not sampled: the program is followed along every
//! path with the arguments open, and each path's arguments are held against the table.
//!
//! libseccomp (2.5.4 to 2.6.1) needs this: a block of instructions that is reached from two places can rely on an
//! accumulator that only one of them has loaded (gen_bpf.c, `_gen_bpf_build_bpf` looks at the first jump only), so that
//! disjoint rules with conditions on several arguments can compile wrong at a handful of points.

use super::Action;
use super::cube::Cube;
use super::order::{TooLong, member};
use super::program::{JUMP, JUMP_EQUAL, JUMP_SET, LOAD, OFFSET_ARCH, OFFSET_NR, Program, RETURN};
use super::table::Table;

/// `BPF_ALU | BPF_AND | BPF_K`
const AND: u16 = 0x54;
/// `BPF_RET | BPF_A` is not among what libseccomp writes, nor are registers and scratch memory.
const ARGUMENTS: u32 = 16;
/// Instructions followed and patterns split for one syscall, at most.
const STEPS: usize = 1 << 20;

/// What a program does otherwise than its table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    /// At these arguments the table has `want`.
    At { args: [u64; 6], want: Action, got: Option<Action> },
    /// An instruction that libseccomp is not known to write.
    Unreadable { at: usize },
    /// More paths than are followed.
    TooLong,
}

/// The arguments that reach a point of the program: those of one pattern that no other pattern holds.
#[derive(Clone)]
struct Reached {
    inside: Cube,
    outside: Vec<Cube>,
}

/// What the accumulator holds.
#[derive(Clone, Copy)]
enum Accumulator {
    Known(u32),
    /// Half of an argument, masked.
    Half {
        argument: usize,
        upper: bool,
        mask: u32,
    },
}

/// Follows the program for one syscall of one architecture.
///
/// # Errors
/// The first difference found.
pub(super) fn follow(
    program: &Program,
    (arch, nr): (u32, u32),
    narrow: bool,
    table: &Table<Action>,
) -> Result<(), Difference> {
    let mut steps = STEPS;
    // 32-bit arguments come zero-extended.
    let all = if narrow { Cube::narrow_arguments() } else { Cube::ANY };
    let start = Reached { inside: all, outside: Vec::new() };
    let mut open = vec![(0_usize, Accumulator::Known(0), start)];
    while let Some((mut at, mut accumulator, mut reached)) = open.pop() {
        loop {
            steps = steps.checked_sub(1).ok_or(Difference::TooLong)?;
            let unreadable = Difference::Unreadable { at };
            let Some(i) = program.instructions().get(at) else {
                return Err(unreadable);
            };
            at += 1;
            match i.code {
                LOAD => accumulator = load(i.k, arch, nr).ok_or(unreadable)?,
                AND => accumulator = accumulator.and(i.k),
                JUMP => at += i.k as usize,
                RETURN => {
                    agrees(Action::from_return(i.k), &reached, table, &mut steps)?;
                    break;
                }
                JUMP_EQUAL | JUMP_SET => {
                    let (yes, no) = (at + usize::from(i.jt), at + usize::from(i.jf));
                    match accumulator.test(i.code, i.k) {
                        Test::Always(holds) => at = if holds { yes } else { no },
                        Test::Within(cube, holds) => {
                            let (inner, outer) = if holds { (yes, no) } else { (no, yes) };
                            if let Some(inside) = reached.inside.intersect(&cube) {
                                if inside == reached.inside {
                                    at = inner;
                                    continue;
                                }
                                let within = Reached { inside, outside: reached.outside.clone() };
                                open.push((inner, accumulator, within));
                                reached.outside.push(cube);
                            }
                            at = outer;
                        }
                    }
                }
                // The search for a number: greater, greater or equal.
                0x25 | 0x35 => {
                    let Accumulator::Known(a) = accumulator else {
                        return Err(unreadable);
                    };
                    let holds = if i.code == 0x25 { a > i.k } else { a >= i.k };
                    at += usize::from(if holds { i.jt } else { i.jf });
                }
                _ => return Err(unreadable),
            }
        }
    }
    Ok(())
}

enum Test {
    Always(bool),
    /// It has this outcome for the arguments of the pattern, and the other one for the rest.
    Within(Cube, bool),
}

impl From<TooLong> for Difference {
    fn from(TooLong: TooLong) -> Self {
        Difference::TooLong
    }
}

impl Accumulator {
    fn and(self, k: u32) -> Self {
        match self {
            Accumulator::Known(value) => Accumulator::Known(value & k),
            Accumulator::Half { argument, upper, mask } => {
                Accumulator::Half { argument, upper, mask: mask & k }
            }
        }
    }

    fn test(self, code: u16, k: u32) -> Test {
        let (argument, upper, mask) = match self {
            Accumulator::Known(a) if code == JUMP_EQUAL => return Test::Always(a == k),
            Accumulator::Known(a) => return Test::Always(a & k != 0),
            Accumulator::Half { argument, upper, mask } => (argument, upper, mask),
        };
        // "Some bit is set" holds where "all of them are clear" does not.
        let (mask, value, holds) =
            if code == JUMP_EQUAL { (mask, k, true) } else { (mask & k, 0, false) };
        if value & !mask != 0 {
            return Test::Always(!holds);
        }
        if mask == 0 {
            return Test::Always(holds);
        }
        let half = |bits: u32| if upper { u64::from(bits) << 32 } else { u64::from(bits) };
        Test::Within(Cube::on(argument, half(mask), half(value)), holds)
    }
}

fn load(offset: u32, arch: u32, nr: u32) -> Option<Accumulator> {
    match offset {
        OFFSET_NR => Some(Accumulator::Known(nr)),
        OFFSET_ARCH => Some(Accumulator::Known(arch)),
        ARGUMENTS.. => {
            let second = offset % 8 == 4;
            Some(Accumulator::Half {
                argument: ((offset - ARGUMENTS) / 8) as usize,
                upper: second == cfg!(target_endian = "little"),
                mask: u32::MAX,
            })
        }
        _ => None,
    }
}

/// No argument that reaches this answer has another one in the table.
fn agrees(
    got: Option<Action>,
    reached: &Reached,
    table: &Table<Action>,
    steps: &mut usize,
) -> Result<(), Difference> {
    for (cube, want) in table.pieces.iter().filter(|(_, want)| got != Some(*want)) {
        if let Some(inside) = reached.inside.intersect(cube)
            && let Some(args) = member(inside, &reached.outside, steps)?
        {
            return Err(Difference::At { args, want: *want, got });
        }
    }
    if got != Some(table.rest) {
        let mut outside = reached.outside.clone();
        outside.extend(table.pieces.iter().map(|(cube, _)| *cube));
        if let Some(args) = member(reached.inside, &outside, steps)? {
            return Err(Difference::At { args, want: table.rest, got });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::program::Instruction;
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const REFUSE: u32 = 0x0005_0001;

    fn op(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
        Instruction { code, jt, jf, k }
    }

    fn table(pieces: Vec<(Cube, Action)>) -> Table<Action> {
        Table { pieces, rest: Action::Allow }
    }

    /// Refuses when the lower half of the first argument is 5, or only when the upper half is 0 too.
    fn program(upper: bool) -> Program {
        let mut code = vec![op(LOAD, 0, 0, ARGUMENTS), op(JUMP_EQUAL, 0, 3, 5)];
        if !upper {
            code = vec![op(LOAD, 0, 0, ARGUMENTS), op(JUMP_EQUAL, 0, 1, 5)];
        } else {
            code.extend([op(LOAD, 0, 0, ARGUMENTS + 4), op(JUMP_EQUAL, 0, 1, 0)]);
        }
        code.extend([op(RETURN, 0, 0, REFUSE), op(RETURN, 0, 0, ALLOW)]);
        Program::new(code).unwrap()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn one_argument_of_many_is_found() {
        let exact = table(vec![(Cube::on(0, u64::MAX, 5), Action::Errno(1))]);
        let lower = table(vec![(Cube::on(0, 0xffff_ffff, 5), Action::Errno(1))]);
        assert_eq!(follow(&program(true), (0, 0), false, &exact), Ok(()));
        assert_eq!(follow(&program(false), (0, 0), false, &lower), Ok(()));
        let Err(Difference::At { args, want, got }) =
            follow(&program(false), (0, 0), false, &exact)
        else {
            panic!("the upper half is not looked at, and nobody notices");
        };
        assert_eq!((args[0] & 0xffff_ffff, want, got), (5, Action::Allow, Some(Action::Errno(1))));
        assert_ne!(args[0] >> 32, 0);
        // Of 32-bit arguments there is no upper half to overlook.
        assert_eq!(follow(&program(false), (0, 0), true, &exact), Ok(()));
    }

    #[test]
    fn bit_tests_and_masks_are_followed() {
        let code = vec![
            op(LOAD, 0, 0, ARGUMENTS),
            op(AND, 0, 0, 0xf0),
            op(JUMP_SET, 0, 1, 0x31),
            op(RETURN, 0, 0, REFUSE),
            op(RETURN, 0, 0, ALLOW),
        ];
        let program = Program::new(code).unwrap();
        let low = cfg!(target_endian = "little");
        let place = |bits: u64| if low { bits } else { bits << 32 };
        let set = table(vec![
            (Cube::on(0, place(0x10), place(0x10)), Action::Errno(1)),
            (Cube::on(0, place(0x30), place(0x20)), Action::Errno(1)),
        ]);
        assert_eq!(follow(&program, (0, 0), false, &set), Ok(()));
        let missing = table(set.pieces.get(..1).unwrap().to_vec());
        assert!(matches!(
            follow(&program, (0, 0), false, &missing),
            Err(Difference::At { want: Action::Allow, .. })
        ));
    }

    #[test]
    fn what_cannot_be_followed_is_not_called_right() {
        let unreadable = Program::new(vec![op(0x04, 0, 0, 1), op(RETURN, 0, 0, ALLOW)]).unwrap();
        assert_eq!(
            follow(&unreadable, (0, 0), false, &table(Vec::new())),
            Err(Difference::Unreadable { at: 0 })
        );
    }
}
