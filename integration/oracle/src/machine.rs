//! Architectures, and their syscalls as the linked libseccomp knows them.

use std::collections::HashMap;
use std::sync::OnceLock;

use libseccomp::{ScmpArch, ScmpSyscall};

/// How far above an architecture's base numbers are looked at: above the last of the kernel (Linux 6.17: 470) and of x32 (547).
pub(crate) const SPAN: u32 = 640;

/// An architecture that a filter on a little-endian machine may cover.
#[derive(Debug)]
pub(crate) struct Machine {
    /// The OCI name.
    pub(crate) oci: &'static str,
    pub(crate) scmp: ScmpArch,
    /// `AUDIT_ARCH_*` (linux/audit.h).
    pub(crate) token: u32,
    /// Where its syscall numbers start.
    pub(crate) base: u32,
    /// How far above that they may go: x86_64 and x32 share a token and differ in bit 30.
    pub(crate) limit: u32,
    /// libseccomp compares 32 bits of each argument.
    pub(crate) narrow: bool,
    /// It has `socketcall` and `ipc`.
    pub(crate) multiplexes: bool,
}

macro_rules! machines {
    ($($oci:literal $scmp:ident $token:literal $base:literal $narrow:literal $multiplexes:literal)*) => {
        pub(crate) static ALL: &[Machine] = &[$(Machine {
            oci: $oci, scmp: ScmpArch::$scmp, token: $token, base: $base, limit: if $base == 0 { 0x3fff_ffff } else { 0x0fff_ffff }, narrow: $narrow, multiplexes: $multiplexes,
        }),*];
    };
}

machines! {
    "SCMP_ARCH_X86_64"   X8664    0xc000_003e 0           false false
    "SCMP_ARCH_X86"      X86      0x4000_0003 0           true  true
    "SCMP_ARCH_X32"      X32      0xc000_003e 0x4000_0000 true  false
    "SCMP_ARCH_AARCH64"  Aarch64  0xc000_00b7 0           false false
    "SCMP_ARCH_ARM"      Arm      0x4000_0028 0           true  false
    "SCMP_ARCH_PPC64LE"  Ppc64Le  0xc000_0015 0           false true
    "SCMP_ARCH_RISCV64"  Riscv64  0xc000_00f3 0           false false
    "SCMP_ARCH_MIPSEL64" Mipsel64 0xc000_0008 5000        false false
}

/// A multiplexing syscall, the bits of its first argument that select, and the syscalls selected.
type Multiplexer = (&'static str, u64, &'static [(u64, &'static str)]);

/// linux/net.h and linux/ipc.h.
pub(crate) const MULTIPLEXERS: [Multiplexer; 2] = [
    (
        "socketcall",
        0xffff_ffff,
        &[
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
        ],
    ),
    (
        "ipc",
        0xffff,
        &[
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
        ],
    ),
];

impl PartialEq for Machine {
    fn eq(&self, other: &Machine) -> bool {
        self.oci == other.oci
    }
}

impl Machine {
    /// The one that this program was built for.
    pub(crate) fn native() -> Option<&'static Machine> {
        let native = ScmpArch::native();
        ALL.iter().find(|machine| machine.scmp == native)
    }

    pub(crate) fn named(oci: &str) -> Option<&'static Machine> {
        ALL.iter().find(|machine| machine.oci == oci)
    }

    /// The name of a syscall number.
    pub(crate) fn name(&self, nr: u32) -> Option<&'static str> {
        let place = usize::try_from(nr.checked_sub(self.base)?).ok()?;
        self.calls()?.0.get(place)?.as_deref()
    }

    /// The number of a syscall.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.calls()?.1.get(name).copied()
    }

    /// The highest number that has a name.
    pub(crate) fn highest(&self) -> u32 {
        self.calls().and_then(|(_, numbers)| numbers.values().max().copied()).unwrap_or_default()
    }

    /// coaming may give it up, so that its calls are killed, where libseccomp could not be told what to do with a
    /// multiplexer.
    pub(crate) fn may_be_given_up(&self) -> bool {
        self.multiplexes || self.scmp == ScmpArch::X32
    }

    fn calls(&self) -> Option<&'static Calls> {
        static CALLS: OnceLock<Vec<Calls>> = OnceLock::new();
        let calls = CALLS.get_or_init(|| ALL.iter().map(Machine::read_calls).collect());
        calls.get(ALL.iter().position(|machine| machine == self)?)
    }

    /// libseccomp looks through its whole table for each answer.
    fn read_calls(&self) -> Calls {
        let name = |nr: u32| {
            let call = ScmpSyscall::from_raw_syscall(nr.cast_signed());
            call.get_name_by_arch(self.scmp).ok()
        };
        let names: Vec<Option<String>> = (self.base..self.base + SPAN).map(name).collect();
        let numbers =
            (self.base..).zip(&names).filter_map(|(nr, name)| Some((name.clone()?, nr))).collect();
        (names, numbers)
    }
}

type Calls = (Vec<Option<String>>, HashMap<String, u32>);
