//! The other doors into the kernel: x32, i386, segments, personalities.

use super::{Attempt, number, plain, with};
use crate::errno::Errno;
use crate::sys::abi::{I386_GETPID, I386_SOCKET, I386_SOCKETCALL, i386, low_words};
use crate::sys::child::{self, Exit};
use crate::sys::pack::Pack;
use crate::sys::{Arg, call};
use crate::verdict::{Judged, Outcome, Reading, Stop, Verdict};

pub(super) const ATTEMPTS: &[Attempt] = &[
    plain("x32", "getpid by the x32 number; ENOSYS also where the kernel has no x32", x32),
    plain("i386", "getpid by int 0x80", i386_getpid),
    with(
        "i386-socketcall",
        "[family]",
        (0, 1),
        "socket by the i386 socketcall, family by number (38, AF_ALG)",
        i386_socketcall,
    ),
    with(
        "i386-socket",
        "[family]",
        (0, 1),
        "socket by the i386 call of its own, family by number (38, AF_ALG)",
        i386_socket,
    ),
    plain("modify-ldt", "write a segment into the local descriptor table", modify_ldt),
    plain("personality-exec", "personality READ_IMPLIES_EXEC", |_| personality(0x0040_0000)),
    plain("personality-aslr", "personality ADDR_NO_RANDOMIZE", |_| personality(0x0004_0000)),
];

const AF_ALG: u32 = 38;

fn x32(_: &[String]) -> Judged {
    const X32_BIT: i64 = 0x4000_0000;
    let result = call(X32_BIT | libc::SYS_getpid, []);
    Ok(match result {
        Ok(pid) if pid == i64::from(child::own_pid()) => Verdict::allowed("x32 getpid"),
        Ok(other) => Verdict::denied(None, format!("x32 getpid gave {other}")),
        Err(errno) => Reading::OPTIONAL.judge_errno("x32 getpid", errno),
    })
}

fn i386_getpid(_: &[String]) -> Judged {
    in_i386("i386 getpid", Reading::OPTIONAL, || i386(I386_GETPID, [0; 3]))
}

fn i386_socketcall(args: &[String]) -> Judged {
    const SOCKET: u32 = 1;
    let family = number(args, 0, AF_ALG)?;
    in_i386(&format!("i386 socketcall, family {family}"), SOCKETS, || {
        let words = low_words([family, kind(family), 0])?;
        i386(I386_SOCKETCALL, [SOCKET, words, 0])
    })
}

fn i386_socket(args: &[String]) -> Judged {
    let family = number(args, 0, AF_ALG)?;
    in_i386(&format!("i386 socket, family {family}"), SOCKETS, || {
        i386(I386_SOCKET, [family, kind(family), 0])
    })
}

const SOCKETS: Reading = Reading {
    absent: &[libc::EAFNOSUPPORT, libc::ESOCKTNOSUPPORT, libc::EPROTONOSUPPORT],
    ..Reading::OPTIONAL
};

/// AF_ALG has sequenced packets only (crypto/af_alg.c); the others all have a stream.
fn kind(family: u32) -> u32 {
    if family == AF_ALG { libc::SOCK_SEQPACKET as u32 } else { libc::SOCK_STREAM as u32 }
}

/// Runs `attempt` one child further down: a kernel without IA32 emulation answers `int 0x80` with SIGSEGV.
pub(super) fn in_i386(
    what: &str,
    reading: Reading,
    attempt: impl FnOnce() -> Result<i32, Errno>,
) -> Judged {
    let (answer, exit) = child::run(
        || {
            let number = match attempt() {
                Ok(_) => 0,
                Err(Errno(number)) => number,
            };
            number.to_ne_bytes().to_vec()
        },
        10,
    )
    .map_err(|errno| Stop::Unclear(format!("no child to try in: {errno}")))?;
    Ok(match (<[u8; 4]>::try_from(answer).map(i32::from_ne_bytes), exit) {
        (Ok(0), _) => Verdict::allowed(what),
        (Ok(number), _) => reading.judge_errno(what, Errno(number)),
        (Err(_), Exit::Signal(libc::SIGSEGV)) => {
            Verdict::unsupported(None, format!("{what}: SIGSEGV, the kernel has no IA32 emulation"))
        }
        (Err(_), Exit::Signal(signal)) => Verdict {
            outcome: Outcome::Killed,
            errno: None,
            signal: Some(signal),
            detail: format!("{what}: the attempting process was killed"),
        },
        (Err(_), Exit::Code(code)) => {
            Verdict::inconclusive(None, format!("{what}: no answer, code {code}"))
        }
    })
}

/// A read-only data segment that is marked absent, in a process that ends at once; then the table is read back.
fn modify_ldt(_: &[String]) -> Judged {
    const WRITE: i64 = 1;
    const READ: i64 = 0;
    // struct user_desc: entry, base, limit, flags (seg_32bit, read_exec_only, seg_not_present).
    let entry = Pack::new().u32(0).u32(0).u32(0).u32(1 | 1 << 3 | 1 << 5 | 1 << 6).done();
    let result = call(
        libc::SYS_modify_ldt,
        [Arg::Int(WRITE), Arg::In(&entry), Arg::Int(entry.len() as i64)],
    );
    // The call returns an int in a 64-bit register: before 4.15 an error came back as a large positive number.
    let result = result.and_then(|value| match value as i32 {
        error if error < 0 => Err(Errno(-error)),
        _ => Ok(()),
    });
    if let Err(errno) = result {
        return Ok(Reading::OPTIONAL.judge_errno("modify_ldt write", errno));
    }
    let mut table = [0u8; 64];
    let read = call(libc::SYS_modify_ldt, [Arg::Int(READ), Arg::Out(&mut table), Arg::Int(64)]);
    match read {
        Ok(bytes) if bytes > 0 => Ok(Verdict::allowed("modify_ldt write; the table holds it")),
        _ => Err(Stop::Unclear("modify_ldt write: success, but the table is empty".to_owned())),
    }
}

fn personality(flag: i64) -> Judged {
    const QUERY: i64 = 0xffff_ffff;
    let what = format!("personality {flag:#x}");
    if let Err(errno) = call(libc::SYS_personality, [Arg::Int(flag)]) {
        return Ok(Reading::ALWAYS.judge_errno(&what, errno));
    }
    match call(libc::SYS_personality, [Arg::Int(QUERY)]) {
        Ok(now) if now & flag == 0 => {
            Ok(Verdict::denied(None, format!("{what}: success, but the flag is not set")))
        }
        _ => Ok(Verdict::allowed(what)),
    }
}
