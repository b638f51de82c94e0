//! `exec`: another process in a container that is there already.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::create::{MAX_PRESERVED, emit_preserved};
use super::flag::{Emit, Flag, Given, Kind, Of, decimal};
use super::{ArgvError, ContainerId};

pub(super) const FLAGS: &[Flag] = &[
    Flag::new("console-socket", &[], Kind::Value, Of::Both),
    Flag::new("pidfd-socket", &[], Kind::Value, Of::Runc),
    Flag::new("cwd", &[], Kind::Value, Of::Both),
    Flag::new("env", &['e'], Kind::Many, Of::Both),
    Flag::new("tty", &['t'], Kind::Bool, Of::Both),
    Flag::new("user", &['u'], Kind::Value, Of::Both),
    Flag::new("additional-gids", &['g'], Kind::Many, Of::Runc),
    Flag::new("process", &['p'], Kind::Value, Of::Both),
    Flag::new("detach", &['d'], Kind::Bool, Of::Both),
    Flag::new("pid-file", &[], Kind::Value, Of::Both),
    Flag::new("process-label", &[], Kind::Value, Of::Both),
    Flag::new("apparmor", &[], Kind::Value, Of::Both),
    Flag::new("no-new-privs", &[], Kind::Bool, Of::Both),
    Flag::new("cap", &['c'], Kind::Many, Of::Both),
    Flag::new("preserve-fds", &[], Kind::Value, Of::Both),
    Flag::new("cgroup", &[], Kind::Many, Of::Both),
    Flag::new("ignore-paused", &[], Kind::Bool, Of::Runc),
];

/// `exec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// The container.
    pub id: ContainerId,
    /// What to run.
    pub process: ProcessSource,
    /// AF_UNIX socket that gets the terminal's descriptor.
    pub console_socket: Option<PathBuf>,
    /// runc 1.2 on: AF_UNIX socket that gets a pidfd.
    pub pidfd_socket: Option<PathBuf>,
    /// Return when the process has started.
    pub detach: bool,
    /// Where the runtime writes the pid.
    pub pid_file: Option<PathBuf>,
    /// Descriptors passed on, beyond stdio (for crun also `$LISTEN_FDS`).
    pub preserve_fds: u32,
    /// Sub-cgroups to run in, `[controller:]path`; crun takes one path and the last one counts.
    pub cgroup: Vec<OsString>,
    /// runc: exec into a paused container.
    pub ignore_paused: bool,
}

/// Where an exec's process comes from. The two are exclusive: with `--process`, both runtimes
/// ignore every flag that describes a process, and the words after the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessSource {
    /// `--process FILE`: an OCI `process` object.
    File(PathBuf),
    /// The command and its flags, over the container's own process.
    Inline(Inline),
}

/// A process described by flags. Empty lists and `None` mean: as the container has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inline {
    /// The command, never empty.
    pub args: Vec<OsString>,
    /// `--cwd`.
    pub cwd: Option<OsString>,
    /// `--env`, in order.
    pub env: Vec<OsString>,
    /// `--tty`.
    pub tty: bool,
    /// `--user`.
    pub user: Option<User>,
    /// `--additional-gids`, runc.
    pub additional_gids: Vec<u32>,
    /// `--process-label`.
    pub process_label: Option<OsString>,
    /// `--apparmor`.
    pub apparmor: Option<OsString>,
    /// `--no-new-privs`; runc tells false from not given.
    pub no_new_privs: Option<bool>,
    /// `--cap`, in order.
    pub caps: Vec<OsString>,
}

/// `--user UID[:GID]`.
///
/// runc casts what strconv.Atoi read to 32 bits, so that 4294967296 is root: refused here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// The user id.
    pub uid: u32,
    /// The group id. Not given, it is the container's for runc, and 0 for crun.
    pub gid: Option<u32>,
}

impl Exec {
    pub(super) fn from_given(given: &Given) -> Result<Self, ArgvError> {
        let Some((id, args)) = given.words.split_first() else {
            return Err(arguments(given, 0));
        };
        let process = match given.value("process") {
            // crun reads standard input for "-", runc a file of that name.
            Some(path) if path == "-" => {
                return Err(given.bad("process", path, "the path of a file"));
            }
            Some(path) => ProcessSource::File(path.into()),
            None if args.is_empty() => return Err(arguments(given, 1)),
            None => ProcessSource::Inline(Inline::from_given(given, args)?),
        };
        Ok(Self {
            id: ContainerId::parse(given.verb(), id)?,
            process,
            console_socket: given.owned("console-socket"),
            pidfd_socket: given.owned("pidfd-socket"),
            detach: given.bool("detach")?,
            pid_file: given.owned("pid-file"),
            preserve_fds: given.number("preserve-fds", MAX_PRESERVED)?.unwrap_or(0),
            cgroup: given.many("cgroup"),
            ignore_paused: given.bool("ignore-paused")?,
        })
    }

    /// The same exec, running what `file` describes.
    #[must_use]
    pub fn with_process_file(self, file: PathBuf) -> Self {
        Self { process: ProcessSource::File(file), ..self }
    }

    pub(super) fn emit(&self, out: &mut Emit) {
        out.value("console-socket", self.console_socket.as_ref());
        out.value("pidfd-socket", self.pidfd_socket.as_ref());
        out.bool("detach", self.detach);
        out.value("pid-file", self.pid_file.as_ref());
        emit_preserved(self.preserve_fds, out);
        out.many("cgroup", &self.cgroup);
        out.bool("ignore-paused", self.ignore_paused);
        match &self.process {
            ProcessSource::File(path) => {
                out.value("process", Some(path));
                out.word(self.id.as_str());
            }
            ProcessSource::Inline(inline) => {
                inline.emit(out);
                out.word(self.id.as_str());
                out.words(&inline.args);
            }
        }
    }
}

impl Inline {
    fn from_given(given: &Given, args: &[OsString]) -> Result<Self, ArgvError> {
        let gid = |value: &OsString| given.as_number("additional-gids", value, u32::MAX);
        Ok(Self {
            args: args.to_vec(),
            cwd: given.owned("cwd"),
            env: given.many("env"),
            tty: given.bool("tty")?,
            user: given.value("user").map(|user| User::parse(given, user)).transpose()?,
            additional_gids: given
                .many("additional-gids")
                .iter()
                .map(gid)
                .collect::<Result<_, _>>()?,
            process_label: given.owned("process-label"),
            apparmor: given.owned("apparmor"),
            no_new_privs: given.maybe_bool("no-new-privs")?,
            caps: given.many("cap"),
        })
    }

    fn emit(&self, out: &mut Emit) {
        out.value("cwd", self.cwd.as_ref());
        out.many("env", &self.env);
        out.bool("tty", self.tty);
        out.value("user", self.user.map(|user| user.to_string()));
        for gid in &self.additional_gids {
            out.value("additional-gids", Some(gid.to_string()));
        }
        out.value("process-label", self.process_label.as_ref());
        out.value("apparmor", self.apparmor.as_ref());
        match self.no_new_privs {
            None => {}
            Some(true) => out.bool("no-new-privs", true),
            Some(false) => out.value("no-new-privs", Some("false")),
        }
        out.many("cap", &self.caps);
    }
}

impl User {
    fn parse(given: &Given, value: &OsStr) -> Result<Self, ArgvError> {
        let parsed = value.to_str().and_then(|text| match text.split_once(':') {
            None => Some(Self { uid: decimal(text)?, gid: None }),
            Some((uid, gid)) => Some(Self { uid: decimal(uid)?, gid: Some(decimal(gid)?) }),
        });
        parsed.ok_or_else(|| given.bad("user", value, "UID or UID:GID, decimal, 32 bits each"))
    }
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.gid {
            None => write!(f, "{}", self.uid),
            Some(gid) => write!(f, "{}:{gid}", self.uid),
        }
    }
}

fn arguments(given: &Given, got: usize) -> ArgvError {
    ArgvError::Arguments {
        verb: given.verb(),
        expected: "a container id and a command (or --process FILE and a container id)",
        got,
    }
}
