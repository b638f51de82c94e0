//! The profiles that are compiled in: reviewed data in `builtin/seccomp/`.

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::{SeccompError, Source};

/// What containerd's and Docker's default profiles allow, less io_uring, x32 and the socket families AF_ALG and AF_VSOCK.
const RUNTIME_DEFAULT: &str = include_str!("runtime-default.json");

/// A profile that is compiled in. Where a rule is written down (a snapshot, a container's record) it stands by its name:
/// starts read that often, and its text they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BuiltIn {
    /// `runtime-default`.
    #[serde(rename = "runtime-default")]
    RuntimeDefault,
}

impl BuiltIn {
    /// The profile, read when it is first asked for.
    ///
    /// # Errors
    /// None that a build which passed its tests can meet: those of [`Source::parse`].
    pub(crate) fn profile(self) -> Result<&'static Source, SeccompError> {
        static PROFILE: OnceLock<Result<Source, SeccompError>> = OnceLock::new();
        let Self::RuntimeDefault = self;
        PROFILE
            .get_or_init(|| Source::parse(RUNTIME_DEFAULT.as_bytes()))
            .as_ref()
            .map_err(Clone::clone)
    }
}

/// A built-in profile by name; the only one is `runtime-default`.
pub fn builtin(name: &str) -> Option<&'static Source> {
    static RUNTIME_DEFAULT: Source = Source::BuiltIn(BuiltIn::RuntimeDefault);
    (name == "runtime-default").then_some(&RUNTIME_DEFAULT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Action, Arch, Function, Reading, Target, compile};

    fn function(caps: &[&str]) -> Function {
        let caps: BTreeSet<String> = caps.iter().map(|&cap| cap.to_owned()).collect();
        let profile = builtin("runtime-default")
            .unwrap()
            .resolve(&Target { caps: &caps, kernel: (6, 1) })
            .unwrap();
        compile(&profile).unwrap();
        Function::of(&profile, Reading::Policy).unwrap()
    }

    #[test]
    fn the_default_gives_what_programs_need_and_no_more() {
        let plain = function(&[]);
        for name in [
            "read",
            "execve",
            "futex",
            "openat",
            "connect",
            "mmap",
            "statx",
            "landlock_restrict_self",
            "ptrace",
        ] {
            assert_eq!(plain.always(name), Some(Action::Allow), "{name}");
        }
        for name in [
            "mount",
            "umount2",
            "unshare",
            "setns",
            "bpf",
            "perf_event_open",
            "init_module",
            "kexec_load",
            "keyctl",
            "add_key",
            "reboot",
            "swapon",
            "userfaultfd",
            "open_by_handle_at",
            "process_vm_readv",
            "io_uring_setup",
            "io_uring_enter",
            "io_uring_register",
            "chroot",
            "acct",
            "iopl",
            "settimeofday",
            "move_mount",
            "fsopen",
        ] {
            assert_eq!(plain.always(name), Some(Action::Errno(1)), "{name}");
        }
        assert_eq!(plain.always("clone3"), Some(Action::Errno(38)));
        assert!(builtin("no-such-profile").is_none());
    }

    #[test]
    fn arguments_are_limited() {
        let plain = function(&[]);
        let at = |name: &str, value| plain.eval(Arch::native(), name, [value, 0, 0, 0, 0, 0]);
        for family in [1, 2, 10, 16, 17, 37, 39, 41, 44, 45] {
            assert_eq!(at("socket", family), Action::Allow, "{family}");
        }
        for family in [38, 40, 1 << 32 | 38, 1 << 32 | 40, 64, u64::MAX] {
            assert_eq!(at("socket", family), Action::Errno(1), "{family}");
        }
        for persona in [0, 8, 0x20000, 0x20008, 0xffff_ffff] {
            assert_eq!(at("personality", persona), Action::Allow);
        }
        assert_eq!(at("personality", 0x0040_0000), Action::Errno(1), "ADDR_NO_RANDOMIZE");
        #[cfg(not(target_arch = "s390x"))]
        for flag in [
            0x0002_0000,
            0x0200_0000,
            0x0400_0000,
            0x0800_0000,
            0x1000_0000,
            0x2000_0000,
            0x4000_0000,
        ] {
            assert_eq!(at("clone", flag | 17), Action::Errno(1), "{flag:#x}");
            assert_eq!(at("clone", 17), Action::Allow);
        }
    }

    #[test]
    fn capabilities_open_their_calls_and_never_io_uring() {
        for (cap, name) in [
            ("CAP_SYS_ADMIN", "mount"),
            ("CAP_SYS_ADMIN", "clone3"),
            ("CAP_SYS_ADMIN", "perf_event_open"),
            ("CAP_BPF", "bpf"),
            ("CAP_PERFMON", "perf_event_open"),
            ("CAP_SYS_MODULE", "init_module"),
            ("CAP_SYS_CHROOT", "chroot"),
            ("CAP_SYS_PTRACE", "process_vm_readv"),
        ] {
            let function = function(&[cap]);
            assert_eq!(function.always(name), Some(Action::Allow), "{cap} {name}");
            assert_eq!(function.always("io_uring_setup"), Some(Action::Errno(1)));
            assert_eq!(function.always("kexec_load"), Some(Action::Errno(1)));
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn i386_has_no_socketcall_and_x32_nothing() {
        let plain = function(&[]);
        assert_eq!(plain.eval(Arch::X86, "socketcall", [1, 0, 0, 0, 0, 0]), Action::Errno(38));
        assert_eq!(plain.eval(Arch::X86, "socket", [2, 0, 0, 0, 0, 0]), Action::Allow);
        assert_eq!(plain.eval(Arch::X32, "read", [0; 6]), Action::KillThread);
    }
}
