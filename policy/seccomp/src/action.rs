//! What a filter answers, in the order in which the kernel prefers answers.

use std::cmp::Ordering;
use std::fmt;

use super::SeccompError;

/// EPERM: the errno of `SCMP_ACT_ERRNO` and the message of `SCMP_ACT_TRACE` when none is given (runc 1.1, crun 1.8).
pub(super) const EPERM: u16 = 1;
/// ENOSYS: what a kernel without the syscall says; C libraries fall back on it, and not on EPERM.
pub(super) const ENOSYS: u16 = 38;
/// The kernel's MAX_ERRNO (include/linux/err.h): larger values are cut down to it by seccomp(2).
const MAX_ERRNO: u32 = 4095;

/// The answer of a filter. Ordered by the kernel's precedence, strictest first (seccomp(2), "return value").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// `SCMP_ACT_KILL_PROCESS`
    KillProcess,
    /// `SCMP_ACT_KILL_THREAD`, `SCMP_ACT_KILL`
    KillThread,
    /// `SCMP_ACT_TRAP`
    Trap,
    /// `SCMP_ACT_ERRNO` with its errno.
    Errno(u16),
    /// `SCMP_ACT_NOTIFY`
    Notify,
    /// `SCMP_ACT_TRACE` with its message.
    Trace(u16),
    /// `SCMP_ACT_LOG`
    Log,
    /// `SCMP_ACT_ALLOW`
    Allow,
}

impl Action {
    /// Precedence alone: two errnos are equally strict.
    pub fn strength(self) -> u8 {
        match self {
            Self::KillProcess => 0,
            Self::KillThread => 1,
            Self::Trap => 2,
            Self::Errno(_) => 3,
            Self::Notify => 4,
            Self::Trace(_) => 5,
            Self::Log => 6,
            Self::Allow => 7,
        }
    }

    /// True when the syscall is not made, whatever a tracer or listener may say.
    pub fn is_refusal(self) -> bool {
        self.strength() <= Self::Errno(0).strength()
    }

    /// The value that a filter returns to the kernel (linux/seccomp.h).
    pub fn to_return(self) -> u32 {
        match self {
            Self::KillProcess => 0x8000_0000,
            Self::KillThread => 0,
            Self::Trap => 0x0003_0000,
            Self::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Self::Notify => 0x7fc0_0000,
            Self::Trace(message) => 0x7ff0_0000 | u32::from(message),
            Self::Log => 0x7ffc_0000,
            Self::Allow => 0x7fff_0000,
        }
    }

    /// The inverse of [`Action::to_return`]; `None` for a value that no action has (the kernel kills on it).
    pub fn from_return(value: u32) -> Option<Self> {
        let data = (value & 0xffff) as u16;
        Some(match value & 0xffff_0000 {
            0x8000_0000 => Self::KillProcess,
            0 => Self::KillThread,
            0x0003_0000 => Self::Trap,
            0x0005_0000 => Self::Errno(data),
            0x7fc0_0000 => Self::Notify,
            0x7ff0_0000 => Self::Trace(data),
            0x7ffc_0000 => Self::Log,
            0x7fff_0000 => Self::Allow,
            _ => return None,
        })
    }

    /// Reads the pair that OCI profiles use: a name and, for ERRNO and TRACE only, a number.
    pub(super) fn parse(place: &str, name: &str, errno: Option<u32>) -> Result<Self, SeccompError> {
        if let Some(errno) = errno {
            if errno > MAX_ERRNO {
                return Err(SeccompError::value(
                    place,
                    format!("errno {errno} is above {MAX_ERRNO}, the kernel's largest"),
                ));
            }
            if !matches!(name, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE") {
                // runtime-spec config-linux.md, errnoRet: the runtime must generate an error.
                return Err(SeccompError::value(
                    place,
                    format!("{name} returns no errno; remove the errno or use SCMP_ACT_ERRNO"),
                ));
            }
        }
        let data = errno.and_then(|e| u16::try_from(e).ok()).unwrap_or(EPERM);
        Ok(match name {
            "SCMP_ACT_KILL_PROCESS" => Self::KillProcess,
            "SCMP_ACT_KILL_THREAD" | "SCMP_ACT_KILL" => Self::KillThread,
            "SCMP_ACT_TRAP" => Self::Trap,
            "SCMP_ACT_ERRNO" => Self::Errno(data),
            "SCMP_ACT_NOTIFY" => Self::Notify,
            "SCMP_ACT_TRACE" => Self::Trace(data),
            "SCMP_ACT_LOG" => Self::Log,
            "SCMP_ACT_ALLOW" => Self::Allow,
            other => {
                return Err(SeccompError::value(
                    place,
                    format!(
                        "unknown action {other:?}; one of SCMP_ACT_ALLOW, SCMP_ACT_LOG, SCMP_ACT_TRACE, SCMP_ACT_NOTIFY, \
                         SCMP_ACT_ERRNO, SCMP_ACT_TRAP, SCMP_ACT_KILL_THREAD, SCMP_ACT_KILL_PROCESS"
                    ),
                ));
            }
        })
    }

    /// The OCI name.
    pub fn name(self) -> &'static str {
        match self {
            Self::KillProcess => "SCMP_ACT_KILL_PROCESS",
            Self::KillThread => "SCMP_ACT_KILL_THREAD",
            Self::Trap => "SCMP_ACT_TRAP",
            Self::Errno(_) => "SCMP_ACT_ERRNO",
            Self::Notify => "SCMP_ACT_NOTIFY",
            Self::Trace(_) => "SCMP_ACT_TRACE",
            Self::Log => "SCMP_ACT_LOG",
            Self::Allow => "SCMP_ACT_ALLOW",
        }
    }

    /// The number that goes with the name, for the two actions that have one.
    pub(super) fn errno(self) -> Option<u32> {
        match self {
            Self::Errno(data) | Self::Trace(data) => Some(u32::from(data)),
            _ => None,
        }
    }

    /// Total order: precedence, and among equals a fixed choice, so that `min` never depends on who is asked first.
    /// ENOSYS comes first among errnos: libraries fall back on it where EPERM would be an error.
    fn key(self) -> (u8, bool, u16) {
        match self {
            Self::Errno(data) => (self.strength(), data != ENOSYS, data),
            Self::Trace(data) => (self.strength(), false, data),
            _ => (self.strength(), false, 0),
        }
    }
}

impl Ord for Action {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Action {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The OCI name, and the number where there is one: `SCMP_ACT_ERRNO(38)`.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errno() {
            Some(number) => write!(f, "{}({number})", self.name()),
            None => f.write_str(self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_the_kernels() {
        use Action::*;
        let order =
            [KillProcess, KillThread, Trap, Errno(38), Errno(1), Notify, Trace(1), Log, Allow];
        assert!(order.windows(2).all(|w| w[0] < w[1]));
        // The kernel compares return values as signed 32-bit numbers without the data part.
        assert!(order.windows(2).all(|w| {
            (w[0].to_return() & 0xffff_0000) as i32 <= (w[1].to_return() & 0xffff_0000) as i32
        }));
        for action in order {
            assert_eq!(Action::from_return(action.to_return()), Some(action));
        }
        assert_eq!(Action::from_return(0x1234_0000), None);
    }

    #[test]
    fn every_name_of_the_specification_is_known() {
        // runtime-spec, config-linux.md, "Seccomp": the names, strictest first; the last of each is ours.
        let order = [
            &["SCMP_ACT_KILL_PROCESS"][..],
            &["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"],
            &["SCMP_ACT_TRAP"],
            &["SCMP_ACT_ERRNO"],
            &["SCMP_ACT_NOTIFY"],
            &["SCMP_ACT_TRACE"],
            &["SCMP_ACT_LOG"],
            &["SCMP_ACT_ALLOW"],
        ];
        for (strength, names) in order.into_iter().enumerate() {
            for name in names {
                let action = Action::parse("x", name, None).unwrap();
                assert_eq!(usize::from(action.strength()), strength, "{name}");
                assert_eq!(Some(&action.name()), names.last());
            }
        }
    }

    #[test]
    fn between_errnos_the_choice_is_fixed_whoever_is_asked() {
        use Action::Errno;
        for (one, other) in [(Errno(38), Errno(1)), (Errno(38), Errno(4095)), (Errno(1), Errno(13))]
        {
            assert_eq!((one.min(other), other.min(one)), (one, one));
            assert_eq!((one.max(other), other.max(one)), (other, other));
            assert_eq!(one.strength(), other.strength());
        }
        assert_eq!(Action::Trace(7).min(Action::Trace(2)), Action::Trace(2));
        assert_eq!(Errno(38).to_string(), "SCMP_ACT_ERRNO(38)");
        assert_eq!(Action::Allow.to_string(), "SCMP_ACT_ALLOW");
    }

    #[test]
    fn an_errno_belongs_to_errno_and_trace_only() {
        assert_eq!(Action::parse("x", "SCMP_ACT_ERRNO", None), Ok(Action::Errno(1)));
        assert_eq!(Action::parse("x", "SCMP_ACT_TRACE", Some(7)), Ok(Action::Trace(7)));
        assert!(Action::parse("x", "SCMP_ACT_ALLOW", Some(1)).is_err());
        assert!(Action::parse("x", "SCMP_ACT_ERRNO", Some(4096)).is_err());
        let error = Action::parse("rule 3 (socket)", "SCMP_ACT_NO", None).unwrap_err().to_string();
        assert!(error.contains("rule 3 (socket)") && error.contains("SCMP_ACT_NO"), "{error}");
    }
}
