//! A BPF interpreter of its own: what the kernel would answer (kernel/bpf/core.c, the classic part that libseccomp uses).

use coaming_seccomp::Instruction;

/// The program's return value; none for what libseccomp is not known to write, and for a way out of the program.
pub(crate) fn run(program: &[Instruction], token: u32, nr: u32, args: &[u64; 6]) -> Option<u32> {
    let mut a = 0_u32;
    let mut at = 0_usize;
    loop {
        let instruction = program.get(at)?;
        at += 1;
        let k = instruction.k;
        let mut jump =
            |holds: bool| at += usize::from(if holds { instruction.jt } else { instruction.jf });
        match instruction.code {
            // ld [k], ja, ret #k, and #k
            0x20 => a = load(k, token, nr, args)?,
            0x05 => at += usize::try_from(k).ok()?,
            0x06 => return Some(k),
            0x54 => a &= k,
            // jeq, jgt, jge, jset
            0x15 => jump(a == k),
            0x25 => jump(a > k),
            0x35 => jump(a >= k),
            0x45 => jump(a & k != 0),
            _ => return None,
        }
    }
}

/// A word of `struct seccomp_data` (linux/seccomp.h), little-endian.
fn load(offset: u32, token: u32, nr: u32, args: &[u64; 6]) -> Option<u32> {
    match offset {
        0 => Some(nr),
        4 => Some(token),
        16.. if offset.is_multiple_of(4) => {
            let argument = args.get(usize::try_from((offset - 16) / 8).ok()?)?;
            let half = if offset.is_multiple_of(8) { *argument } else { argument >> 32 };
            u32::try_from(half & 0xffff_ffff).ok()
        }
        _ => None,
    }
}
