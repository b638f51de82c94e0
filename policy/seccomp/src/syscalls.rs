//! Names and numbers of syscalls, as the linked libseccomp knows them.

use std::collections::HashMap;
use std::sync::OnceLock;

use libseccomp::ScmpSyscall;

use super::Arch;

/// The version of the linked libseccomp (`2.5.4`): which names are known depends on it.
pub fn library_version() -> String {
    libseccomp::ScmpVersion::current()
        .map_or_else(|_| "unknown".to_owned(), |v| format!("{}.{}.{}", v.major, v.minor, v.micro))
}

/// How far above its base an architecture's numbers are looked at. The kernel is at 470 (Linux 6.17).
pub(super) const SPAN: u32 = 640;

/// Sub-calls of the multiplexer `socketcall` (linux/net.h).
pub(super) const SOCKETCALL: &[(u64, &str)] = &[
    (1, "socket"),
    (2, "bind"),
    (3, "connect"),
    (4, "listen"),
    (5, "accept"),
    (6, "getsockname"),
    (7, "getpeername"),
    (8, "socketpair"),
    (9, "send"),
    (10, "recv"),
    (11, "sendto"),
    (12, "recvfrom"),
    (13, "shutdown"),
    (14, "setsockopt"),
    (15, "getsockopt"),
    (16, "sendmsg"),
    (17, "recvmsg"),
    (18, "accept4"),
    (19, "recvmmsg"),
    (20, "sendmmsg"),
];

/// Sub-calls of the multiplexer `ipc` (linux/ipc.h).
pub(super) const IPC: &[(u64, &str)] = &[
    (1, "semop"),
    (2, "semget"),
    (3, "semctl"),
    (4, "semtimedop"),
    (11, "msgsnd"),
    (12, "msgrcv"),
    (13, "msgget"),
    (14, "msgctl"),
    (21, "shmat"),
    (22, "shmdt"),
    (23, "shmget"),
    (24, "shmctl"),
];

/// A multiplexing syscall: its name, the bits of its first argument that select, and its sub-calls.
pub(super) struct Multiplexer {
    pub(super) name: &'static str,
    /// `ipc` carries a version in the upper bits (ipc/syscall.c), `socketcall` takes an int (net/socket.c).
    pub(super) selector: u64,
    pub(super) calls: &'static [(u64, &'static str)],
}

pub(super) const MULTIPLEXERS: [Multiplexer; 2] = [
    Multiplexer { name: "socketcall", selector: 0xffff_ffff, calls: SOCKETCALL },
    Multiplexer { name: "ipc", selector: 0xffff, calls: IPC },
];

/// The number of `name` on `arch`; `None` when the architecture lacks it or libseccomp does not know it.
pub(super) fn number(name: &str, arch: Arch) -> Option<u32> {
    table(arch).numbers.get(name).copied()
}

/// The architecture and name of a call, from what the kernel says of it: `AUDIT_ARCH_*` and the number. `None` where
/// libseccomp does not know them.
pub fn called(token: u32, number: u32) -> Option<(Arch, &'static str)> {
    // x32 has the token of x86_64, and its own bit in the number.
    let arches = Arch::ALL.iter().copied().filter(|arch| arch.token() == token);
    let arch = arches.filter(|arch| number >= arch.base()).max_by_key(|arch| arch.base())?;
    Some((arch, name(number, arch)?))
}

/// The name of number `nr` on `arch`.
pub(super) fn name(nr: u32, arch: Arch) -> Option<&'static str> {
    let place = usize::try_from(nr.checked_sub(arch.base())?).ok()?;
    table(arch).names.get(place)?.as_deref()
}

/// The highest number known on `arch`.
pub(super) fn highest(arch: Arch) -> Option<u32> {
    table(arch).numbers.values().max().copied()
}

/// One architecture's table. libseccomp searches its own from end to end for every question.
struct Calls {
    /// From the architecture's base on.
    names: Vec<Option<String>>,
    numbers: HashMap<String, u32>,
}

fn table(arch: Arch) -> &'static Calls {
    static TABLES: [OnceLock<Calls>; Arch::ALL.len()] =
        [const { OnceLock::new() }; Arch::ALL.len()];
    static EMPTY: OnceLock<Calls> = OnceLock::new();
    let cell = Arch::ALL.iter().position(|a| *a == arch).and_then(|place| TABLES.get(place));
    cell.unwrap_or(&EMPTY).get_or_init(|| {
        let look_up = |nr| {
            let call = ScmpSyscall::from_raw_syscall(i32::try_from(nr).ok()?);
            call.get_name_by_arch(arch.scmp()).ok()
        };
        let names: Vec<Option<String>> = (arch.base()..arch.base() + SPAN).map(look_up).collect();
        let numbers = (arch.base()..)
            .zip(&names)
            .filter_map(|(nr, name)| Some((name.clone()?, nr)))
            .collect();
        Calls { names, numbers }
    })
}

/// The call as libseccomp rules want it: a native number, or a pseudo number for calls of other architectures.
pub(super) fn rule_number(name: &str) -> Option<ScmpSyscall> {
    ScmpSyscall::from_name(name).ok().filter(|call| !call.is_error())
}

/// True when the linked libseccomp knows the name, on this or another architecture.
pub fn is_known(name: &str) -> bool {
    number(name, Arch::native()).is_some() || rule_number(name).is_some()
}

/// The known name nearest to `unknown`, if one is near.
pub fn suggest(unknown: &str) -> Option<String> {
    let arches = [Arch::native(), Arch::X86, Arch::Arm];
    let known = arches.into_iter().flat_map(|arch| table(arch).names.iter().flatten());
    coaming_config::suggest::nearest(unknown, known.map(String::as_str)).map(str::to_owned)
}

/// `; did you mean "x"?`, or nothing.
pub(super) fn hint(unknown: &str) -> String {
    match suggest(unknown) {
        Some(name) => format!("; did you mean {name:?}?"),
        None => "; remove it, or update libseccomp if the kernel really has it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_by_architecture() {
        assert_eq!(number("read", Arch::X86_64), Some(0));
        assert_eq!(number("socketcall", Arch::X86), Some(102));
        assert_eq!(number("socketcall", Arch::X86_64), None);
        assert!(is_known("socketcall") && !is_known("socketcal"));
        assert_eq!(name(0x4000_0000, Arch::X32), Some("read"));
    }

    #[test]
    fn a_near_miss_gets_a_suggestion() {
        assert_eq!(suggest("unshar").as_deref(), Some("unshare"));
        assert_eq!(suggest("io_uring_setpu").as_deref(), Some("io_uring_setup"));
        assert_eq!(suggest("frobnicate_everything"), None);
    }

    #[test]
    fn every_subcall_is_a_known_name() {
        for multiplexer in &MULTIPLEXERS {
            assert!(number(multiplexer.name, Arch::X86).is_some());
            assert!(multiplexer.calls.iter().all(|(_, name)| is_known(name)));
        }
    }
}
