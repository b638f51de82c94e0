//! The attacks: what each does for real, and how its outcome is read.

use coaming_integration::Error;
use serde_json::Value;

/// Something that a container must not be able to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attack {
    /// What it is, in words.
    pub(crate) what: &'static str,
    /// Which control stops it.
    pub(crate) control: &'static str,
    /// What the container's shell runs; the last line of its output is the probe's.
    pub(crate) command: &'static str,
    /// The Landlock ABI without which nothing stops it.
    landlock: u32,
}

/// Where the node itself listens.
pub(crate) const NODE_PORT: &str = "2379";

/// The first five that this kernel can stop are shown: those at the end stand in on kernels with an older Landlock.
const ATTACKS: [Attack; 7] = [
    Attack {
        what: "mount a file system",
        control: "capabilities",
        command: "probe mount",
        landlock: 0,
    },
    Attack {
        what: "rewrite the node's core_pattern",
        control: "read-only paths",
        command: "probe proc-sys kernel/core_pattern",
        landlock: 0,
    },
    Attack { what: "set up io_uring", control: "seccomp", command: "probe io-uring", landlock: 0 },
    Attack {
        what: "run a program dropped into /tmp",
        control: "Landlock",
        command: "cp /bin/probe /tmp/dropped && probe exec /tmp/dropped list",
        landlock: 1,
    },
    Attack {
        what: "connect to port 2379 of the node",
        control: "Landlock",
        command: "probe connect 10.88.0.1 2379",
        landlock: 4,
    },
    Attack {
        what: "become root of a new user namespace",
        control: "seccomp",
        command: "probe unshare-user",
        landlock: 0,
    },
    Attack {
        what: "listen to every packet",
        control: "capabilities",
        command: "probe af-packet",
        landlock: 0,
    },
];

/// The five attacks for a kernel with this Landlock ABI.
pub(crate) fn five(landlock: u32) -> Vec<Attack> {
    ATTACKS.into_iter().filter(|attack| attack.landlock <= landlock).take(5).collect()
}

/// What became of one attack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The effect happened.
    Works,
    /// The kernel refused it, or ended the process; how.
    Fails(String),
    /// Neither is certain.
    Unclear(String),
}

impl Outcome {
    /// Reads the probe's line.
    pub(crate) fn read(line: &str) -> Result<Outcome, Error> {
        let malformed = || Error::Malformed {
            what: "the probe's answer".to_owned(),
            detail: format!("{line:?}"),
        };
        let report: Value = serde_json::from_str(line).map_err(|_| malformed())?;
        let text = |key| report.get(key).and_then(Value::as_str);
        Ok(match text("outcome").ok_or_else(malformed)? {
            "allowed" => Outcome::Works,
            "denied" => Outcome::Fails(text("errno").unwrap_or("no effect").to_owned()),
            "killed" => Outcome::Fails(text("signal").unwrap_or("killed").to_owned()),
            _ => Outcome::Unclear(text("detail").unwrap_or(line).to_owned()),
        })
    }

    pub(crate) fn cell(&self) -> String {
        match self {
            Outcome::Works => "works".to_owned(),
            Outcome::Fails(how) => format!("fails: {how}"),
            Outcome::Unclear(_) => "unclear".to_owned(),
        }
    }

    pub(crate) fn fails(&self) -> bool {
        matches!(self, Outcome::Fails(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_has_five_attacks_and_only_those_that_it_can_stop() {
        for landlock in 0..8 {
            let five = five(landlock);
            assert_eq!(five.len(), 5);
            assert!(five.iter().all(|attack| attack.landlock <= landlock));
        }
    }

    #[test]
    fn only_what_the_probe_calls_denied_or_killed_fails() -> Result<(), Error> {
        assert_eq!(Outcome::read(r#"{"outcome":"allowed"}"#)?, Outcome::Works);
        assert!(Outcome::read(r#"{"outcome":"denied","errno":"EPERM"}"#)?.fails());
        assert!(Outcome::read(r#"{"outcome":"killed","signal":"SIGSYS"}"#)?.fails());
        assert!(!Outcome::read(r#"{"outcome":"inconclusive"}"#)?.fails());
        assert!(!Outcome::read(r#"{"outcome":"unsupported"}"#)?.fails());
        assert!(Outcome::read("sh: probe: not found").is_err());
        Ok(())
    }
}
