//! `create` and `run`: the verbs that turn a bundle into a container.

use std::ffi::OsString;
use std::path::PathBuf;

use super::flag::{Emit, Flag, Given, Kind, Of};
use super::{ArgvError, ContainerId, only_id};

/// More descriptors than any caller passes, and few enough to stay clear of ours.
pub(super) const MAX_PRESERVED: u32 = 1 << 16;

pub(super) const CREATE: &[Flag] = &[
    Flag::new("bundle", &['b'], Kind::Value, Of::Both),
    Flag::new("config", &['f'], Kind::Value, Of::Crun),
    Flag::new("console-socket", &[], Kind::Value, Of::Both),
    Flag::new("pidfd-socket", &[], Kind::Value, Of::Runc),
    Flag::new("pid-file", &[], Kind::Value, Of::Both),
    Flag::new("no-pivot", &[], Kind::Bool, Of::Both),
    Flag::new("no-new-keyring", &[], Kind::Bool, Of::Both),
    Flag::new("no-subreaper", &[], Kind::Bool, Of::Crun),
    Flag::new("preserve-fds", &[], Kind::Value, Of::Both),
];

pub(super) const RUN: &[Flag] = &[
    Flag::new("bundle", &['b'], Kind::Value, Of::Both),
    Flag::new("config", &['f'], Kind::Value, Of::Crun),
    Flag::new("console-socket", &[], Kind::Value, Of::Both),
    Flag::new("pidfd-socket", &[], Kind::Value, Of::Runc),
    Flag::new("pid-file", &[], Kind::Value, Of::Both),
    Flag::new("no-pivot", &[], Kind::Bool, Of::Both),
    Flag::new("no-new-keyring", &[], Kind::Bool, Of::Both),
    Flag::new("no-subreaper", &[], Kind::Bool, Of::Both),
    Flag::new("preserve-fds", &[], Kind::Value, Of::Both),
    Flag::new("detach", &['d'], Kind::Bool, Of::Both),
    // crun from 1.15.
    Flag::new("keep", &[], Kind::Bool, Of::Both),
];

/// `create`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// The container.
    pub id: ContainerId,
    /// The bundle directory; the working directory when not given.
    pub bundle: Option<PathBuf>,
    /// AF_UNIX socket that gets the terminal's descriptor.
    pub console_socket: Option<PathBuf>,
    /// runc 1.2 on: AF_UNIX socket that gets a pidfd.
    pub pidfd_socket: Option<PathBuf>,
    /// Where the runtime writes the pid.
    pub pid_file: Option<PathBuf>,
    /// No pivot_root: the container can reach the host's root through `..` tricks.
    pub no_pivot: bool,
    /// The container keeps the caller's session keyring.
    pub no_new_keyring: bool,
    /// Orphans go to the host's init.
    pub no_subreaper: bool,
    /// Descriptors passed on, beyond stdio and `$LISTEN_FDS`.
    pub preserve_fds: u32,
}

/// `run`: create and start, and delete when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What `create` would be told.
    pub create: Create,
    /// Return when the process has started.
    pub detach: bool,
    /// Do not delete when it ends.
    pub keep: bool,
}

impl Create {
    pub(super) fn from_given(given: &Given) -> Result<Self, ArgvError> {
        // crun reads another file than config.json, from anywhere. What is judged must be what is
        // run.
        if given.value("config").is_some_and(|name| name != "config.json") {
            return Err(ArgvError::RefusedFlag {
                verb: given.verb(),
                flag: "config",
                why: "coaming judges the bundle's config.json; rename the file to that",
            });
        }
        Ok(Self {
            id: only_id(given)?,
            bundle: given.owned("bundle"),
            console_socket: given.owned("console-socket"),
            pidfd_socket: given.owned("pidfd-socket"),
            pid_file: given.owned("pid-file"),
            no_pivot: given.bool("no-pivot")?,
            no_new_keyring: given.bool("no-new-keyring")?,
            no_subreaper: given.bool("no-subreaper")?,
            preserve_fds: given.number("preserve-fds", MAX_PRESERVED)?.unwrap_or(0),
        })
    }

    pub(super) fn emit(&self, out: &mut Emit) {
        self.emit_flags(out);
        out.word(self.id.as_str());
    }

    fn emit_flags(&self, out: &mut Emit) {
        out.value("bundle", self.bundle.as_ref());
        out.value("console-socket", self.console_socket.as_ref());
        out.value("pidfd-socket", self.pidfd_socket.as_ref());
        out.value("pid-file", self.pid_file.as_ref());
        out.bool("no-pivot", self.no_pivot);
        out.bool("no-new-keyring", self.no_new_keyring);
        out.bool("no-subreaper", self.no_subreaper);
        emit_preserved(self.preserve_fds, out);
    }
}

impl Run {
    pub(super) fn from_given(given: &Given) -> Result<Self, ArgvError> {
        Ok(Self {
            create: Create::from_given(given)?,
            detach: given.bool("detach")?,
            keep: given.bool("keep")?,
        })
    }

    pub(super) fn emit(&self, out: &mut Emit) {
        self.create.emit_flags(out);
        out.bool("detach", self.detach);
        out.bool("keep", self.keep);
        out.word(self.create.id.as_str());
    }
}

pub(super) fn emit_preserved(count: u32, out: &mut Emit) {
    out.value("preserve-fds", (count > 0).then(|| OsString::from(count.to_string())));
}
