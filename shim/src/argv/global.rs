//! The options before the verb, and the split between them and the verb.

use std::ffi::OsString;
use std::path::PathBuf;

use super::ArgvError;
use super::flag::{Emit, Flag, Given, HELP, Kind, Of, Stop, USAGE};

const NAME: &str = "global options";

/// runc 1.1 to 1.5 and crun 1.8 to 1.29 (`main.go`, `crun.c`).
pub(super) const FLAGS: &[Flag] = &[
    Flag::new("debug", &[], Kind::Bool, Of::Both),
    Flag::new("log", &[], Kind::Value, Of::Both),
    Flag::new("log-format", &[], Kind::Value, Of::Both),
    Flag::new("log-level", &[], Kind::Value, Of::Crun),
    Flag::new("rootless", &[], Kind::Value, Of::Both),
    Flag::new("root", &[], Kind::Value, Of::Both),
    Flag::new("criu", &[], Kind::Value, Of::Runc),
    Flag::new("systemd-cgroup", &[], Kind::Bool, Of::Both),
    Flag::new("cgroup-manager", &[], Kind::Value, Of::Crun),
    Flag::new("version", &['v', 'V'], Kind::Bool, Of::Both),
];

/// How the runtime was asked to write its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// logrus' key=value lines.
    #[default]
    Text,
    /// One JSON object a line, which containerd and Podman read back.
    Json,
}

/// The options that stand before the verb.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Global {
    /// More log output.
    pub debug: bool,
    /// Where the runtime logs: a path; for crun also `file:`, `journald:` and `syslog:`.
    pub log: Option<OsString>,
    /// The log's format; text when not given.
    pub log_format: Option<LogFormat>,
    /// crun: `error`, `warning` or `debug`.
    pub log_level: Option<OsString>,
    /// Whether cgroup errors are ignored: `true`, `false` or `auto`.
    ///
    /// crun up to 1.21 has a slip here and takes the value for `--root`. It is emitted before
    /// `--root`, so that a given root counts whatever the version.
    pub rootless: Option<OsString>,
    /// The runtime's state directory.
    pub root: Option<PathBuf>,
    /// runc up to 1.4: the criu binary.
    pub criu: Option<PathBuf>,
    /// The cgroup is made by systemd.
    pub systemd_cgroup: bool,
    /// crun: `systemd`, `cgroupfs` or `disabled`.
    pub cgroup_manager: Option<OsString>,
}

/// What the options before the verb ask by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instead {
    Version,
    Help,
}

impl Global {
    /// Reads the options before the verb alone: where to log a refusal is known
    /// even when the rest of the line is not understood.
    pub fn parse(argv: &[OsString]) -> Result<Self, ArgvError> {
        Ok(Self::split(argv)?.0)
    }

    /// The options, what they ask in place of a verb, and the verb with all that follows.
    pub(super) fn split(
        argv: &[OsString],
    ) -> Result<(Self, Option<Instead>, Vec<OsString>), ArgvError> {
        let given = Given::parse(NAME, FLAGS, Stop::AtFirstWord, argv)?;
        let log_format = match given.value("log-format") {
            None => None,
            Some(text) if text == "text" => Some(LogFormat::Text),
            Some(text) if text == "json" => Some(LogFormat::Json),
            Some(other) => return Err(given.bad("log-format", other, "text or json")),
        };
        let global = Self {
            debug: given.bool("debug")?,
            log: given.owned("log"),
            log_format,
            log_level: given.owned("log-level"),
            rootless: given.owned("rootless"),
            root: given.owned("root"),
            criu: given.owned("criu"),
            systemd_cgroup: given.bool("systemd-cgroup")?,
            cgroup_manager: given.owned("cgroup-manager"),
        };
        global.check()?;
        let instead = if given.bool(HELP.long)? || given.bool(USAGE.long)? {
            Some(Instead::Help)
        } else if given.bool("version")? {
            Some(Instead::Version)
        } else {
            None
        };
        Ok((global, instead, given.words))
    }

    pub(super) fn emit(&self, out: &mut Emit) {
        out.bool("debug", self.debug);
        out.value("log", self.log.as_ref());
        let format = self.log_format.map(|format| match format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        });
        out.value("log-format", format);
        out.value("log-level", self.log_level.as_ref());
        out.value("rootless", self.rootless.as_ref());
        out.value("root", self.root.as_ref());
        out.value("criu", self.criu.as_ref());
        out.bool("systemd-cgroup", self.systemd_cgroup);
        out.value("cgroup-manager", self.cgroup_manager.as_ref());
    }

    /// In crun the later of the two wins; a canonical line has no "later".
    fn check(&self) -> Result<(), ArgvError> {
        match &self.cgroup_manager {
            Some(manager) if self.systemd_cgroup && manager != "systemd" => {
                Err(ArgvError::Conflict {
                    verb: NAME,
                    first: "systemd-cgroup",
                    second: "cgroup-manager",
                })
            }
            _ => Ok(()),
        }
    }
}
