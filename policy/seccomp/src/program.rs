//! A filter program (classic BPF as seccomp(2) takes it), checked and interpreted.

use super::SeccompError;

/// BPF_MAXINSNS (linux/bpf_common.h).
pub(super) const LIMIT: usize = 4096;
/// Where `seccomp_data` has its fields (linux/seccomp.h).
pub(super) const OFFSET_NR: u32 = 0;
pub(super) const OFFSET_ARCH: u32 = 4;
const DATA_SIZE: u32 = 64;

pub(super) const LOAD: u16 = 0x20;
pub(super) const JUMP: u16 = 0x05;
pub(super) const JUMP_EQUAL: u16 = 0x15;
pub(super) const JUMP_GREATER: u16 = 0x25;
pub(super) const JUMP_SET: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;

/// One instruction, `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when a test holds.
    pub jt: u8,
    /// Instructions to skip when it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// What a filter sees of a syscall, `struct seccomp_data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeccompData {
    /// Syscall number; x32 calls have bit 30 set.
    pub nr: u32,
    /// `AUDIT_ARCH_*`, see [`super::Arch::token`].
    pub arch: u32,
    /// Address of the call.
    pub instruction_pointer: u64,
    /// Arguments; 32-bit ones come zero-extended.
    pub args: [u64; 6],
}

/// A valid program: every jump lands inside, every path ends in a return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program(Vec<Instruction>);

impl Program {
    /// Checks what the kernel would check (kernel/seccomp.c, `seccomp_check_filter`; net/core/filter.c).
    ///
    /// # Errors
    /// [`SeccompError::TooLong`], [`SeccompError::Program`] naming the instruction.
    pub fn new(instructions: Vec<Instruction>) -> Result<Self, SeccompError> {
        let count = instructions.len();
        if count > LIMIT {
            return Err(SeccompError::TooLong { count, limit: LIMIT });
        }
        let fail =
            |at: usize, problem: &str| SeccompError::Program { at, problem: problem.to_owned() };
        for (at, instruction) in instructions.iter().enumerate() {
            let inside = |skip: u32| (skip as usize) < count - at - 1;
            match instruction.code {
                LOAD if instruction.k % 4 != 0 || instruction.k >= DATA_SIZE => {
                    return Err(fail(at, "load outside seccomp_data"));
                }
                JUMP if !inside(instruction.k) => return Err(fail(at, "jump outside the program")),
                0x15 | 0x1d | 0x25 | 0x2d | 0x35 | 0x3d | 0x45 | 0x4d
                    if !inside(instruction.jt.into()) || !inside(instruction.jf.into()) =>
                {
                    return Err(fail(at, "jump outside the program"));
                }
                0x02 | 0x03 | 0x60 | 0x61 if instruction.k >= 16 => {
                    return Err(fail(at, "scratch memory has 16 cells"));
                }
                0x34 if instruction.k == 0 => return Err(fail(at, "division by zero")),
                0x64 | 0x74 if instruction.k >= 32 => {
                    return Err(fail(at, "shift by 32 bits or more"));
                }
                code if !KNOWN.contains(&code) => return Err(fail(at, "unknown operation")),
                _ => {}
            }
        }
        match instructions.last().map(|i| i.code) {
            Some(RETURN | 0x16) => Ok(Self(instructions)),
            _ => Err(fail(count.saturating_sub(1), "the last instruction is not a return")),
        }
    }

    /// The instructions, for the loader.
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }

    /// What the program returns for one syscall, the value that the kernel acts on.
    pub fn eval(&self, data: &SeccompData) -> u32 {
        let (mut a, mut x, mut at) = (0_u32, 0_u32, 0_usize);
        let mut memory = [0_u32; 16];
        while let Some(i) = self.0.get(at) {
            at += 1;
            let jump = |condition: bool| usize::from(if condition { i.jt } else { i.jf });
            let operand = if i.code & 0x08 == 0 { i.k } else { x };
            match i.code {
                LOAD => a = data.word(i.k),
                0x80 => a = DATA_SIZE,
                0x81 => x = DATA_SIZE,
                0x00 => a = i.k,
                0x01 => x = i.k,
                0x60 => a = memory.get(i.k as usize).copied().unwrap_or(0),
                0x61 => x = memory.get(i.k as usize).copied().unwrap_or(0),
                0x02 | 0x03 => {
                    if let Some(cell) = memory.get_mut(i.k as usize) {
                        *cell = if i.code == 0x02 { a } else { x };
                    }
                }
                0x04 | 0x0c => a = a.wrapping_add(operand),
                0x14 | 0x1c => a = a.wrapping_sub(operand),
                0x24 | 0x2c => a = a.wrapping_mul(operand),
                // Division by a zero register ends the program with 0 (kernel/bpf/core.c).
                0x34 | 0x3c => match a.checked_div(operand) {
                    Some(quotient) => a = quotient,
                    None => return 0,
                },
                0x44 | 0x4c => a |= operand,
                0x54 | 0x5c => a &= operand,
                0x64 | 0x6c => a = a.wrapping_shl(operand),
                0x74 | 0x7c => a = a.wrapping_shr(operand),
                0x84 => a = a.wrapping_neg(),
                0xa4 | 0xac => a ^= operand,
                0x07 => x = a,
                0x87 => a = x,
                JUMP => at += i.k as usize,
                0x15 | 0x1d => at += jump(a == operand),
                0x25 | 0x2d => at += jump(a > operand),
                0x35 | 0x3d => at += jump(a >= operand),
                0x45 | 0x4d => at += jump(a & operand != 0),
                RETURN => return i.k,
                0x16 => return a,
                _ => break,
            }
        }
        // Not reached: `new` has checked that every path returns. Kill, if it ever is.
        super::Action::KillProcess.to_return()
    }
}

/// The operations that seccomp(2) accepts.
const KNOWN: &[u16] = &[
    0x20, 0x80, 0x81, 0x00, 0x01, 0x60, 0x61, 0x02, 0x03, 0x04, 0x0c, 0x14, 0x1c, 0x24, 0x2c, 0x34,
    0x3c, 0x44, 0x4c, 0x54, 0x5c, 0x64, 0x6c, 0x74, 0x7c, 0x84, 0xa4, 0xac, 0x07, 0x87, 0x05, 0x15,
    0x1d, 0x25, 0x2d, 0x35, 0x3d, 0x45, 0x4d, 0x06, 0x16,
];

impl SeccompData {
    fn word(&self, offset: u32) -> u32 {
        let halves = |value: u64, second: bool| {
            let upper = second == cfg!(target_endian = "little");
            (if upper { value >> 32 } else { value }) as u32
        };
        match offset {
            OFFSET_NR => self.nr,
            OFFSET_ARCH => self.arch,
            8 | 12 => halves(self.instruction_pointer, offset == 12),
            _ => {
                let arg =
                    self.args.get((offset as usize).wrapping_sub(16) / 8).copied().unwrap_or(0);
                halves(arg, offset % 8 == 4)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(code: u16, k: u32) -> Instruction {
        Instruction { code, jt: 0, jf: 0, k }
    }

    #[test]
    fn arguments_are_read_in_halves() {
        let data = SeccompData {
            nr: 1,
            arch: 2,
            instruction_pointer: 3,
            args: [0x1111_2222_3333_4444, 0, 0, 0, 0, 0x5555_6666_7777_8888],
        };
        let read = |k| Program::new(vec![op(LOAD, k), op(0x16, 0)]).unwrap().eval(&data);
        let words = [0, 4, 8, 16, 20, 56, 60].map(read);
        if cfg!(target_endian = "little") {
            assert_eq!(words, [1, 2, 3, 0x3333_4444, 0x1111_2222, 0x7777_8888, 0x5555_6666]);
        }
    }

    #[test]
    fn programs_that_the_kernel_refuses_are_refused() {
        let jump = |jt, jf| Instruction { code: JUMP_EQUAL, jt, jf, k: 0 };
        let refused: Vec<Vec<Instruction>> = vec![
            vec![],
            vec![op(LOAD, 0)],
            vec![op(LOAD, 2), op(RETURN, 0)],
            vec![op(LOAD, 64), op(RETURN, 0)],
            vec![jump(1, 0), op(RETURN, 0)],
            vec![op(JUMP, u32::MAX), op(RETURN, 0)],
            vec![op(0x28, 0), op(RETURN, 0)],
            vec![op(0x60, 16), op(RETURN, 0)],
            vec![op(0x34, 0), op(RETURN, 0)],
            vec![op(RETURN, 0); LIMIT + 1],
        ];
        for program in refused {
            let shown = format!("{:?}", program.first());
            assert!(Program::new(program).is_err(), "{shown}");
        }
        assert!(Program::new(vec![jump(0, 0), op(RETURN, 0)]).is_ok());
    }

    #[test]
    fn arithmetic_and_jumps() {
        let data = SeccompData { nr: 6, arch: 0, instruction_pointer: 0, args: [0; 6] };
        let program = Program::new(vec![
            op(LOAD, 0),
            op(0x54, 3),
            op(0x07, 0),
            op(0x0c, 0),
            Instruction { code: JUMP_GREATER, jt: 0, jf: 1, k: 3 },
            op(RETURN, 7),
            op(RETURN, 8),
        ])
        .unwrap();
        assert_eq!(program.eval(&data), 7);
    }
}
