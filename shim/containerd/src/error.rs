//! Errors, and what the client is told.
//!
//! The codes are those that containerd's own shim gives (containerd `cmd/containerd-shim-runc-v2`, errdefs
//! `pkg/errgrpc`): its errors of no known kind travel as UNKNOWN, and so do ours of the same cause. Clients decide by
//! the code, people by the text.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use ttrpc::Code;

use crate::mounts::MountError;
use crate::options::OptionsError;
use crate::runtime::{BinaryNameError, CallError};
use crate::stdio::StdioError;

/// Why a request was not carried out.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// No such container in this shim.
    #[error("container {id} is not created in this shim")]
    NoContainer { id: String },
    /// No such process in the container.
    #[error("process {exec} does not exist in container {container}")]
    NoProcess { container: String, exec: String },
    /// The process has ended.
    #[error("cannot signal {id}: process already finished")]
    Finished { id: String },
    /// The runtime knows no such container.
    #[error("cannot signal {id}: no such container in the runtime")]
    NoRuntimeContainer { id: String },
    /// The container's cgroup was not there when it was created.
    #[error("cannot measure container {id}: cgroup does not exist")]
    NoCgroup { id: String },

    /// The id is taken.
    #[error("{what} id {id} is in use")]
    InUse { what: &'static str, id: String },

    /// Something in the request makes no sense.
    #[error("{what}: {problem}")]
    Invalid { what: &'static str, problem: String },
    /// The handler's options make no sense.
    #[error("the options of this task: {0}")]
    Options(#[from] OptionsError),
    /// The runtime that the client names is none of the node's.
    #[error(transparent)]
    BinaryName(#[from] BinaryNameError),

    /// Deletion of what still runs.
    #[error("cannot delete {id}: it must be stopped, and is {state}")]
    NotStopped { id: String, state: &'static str },
    /// A signal for a process that was not started.
    #[error("cannot signal {id}: process not created")]
    NotStarted { id: String },
    /// A new process in a container whose init has gone.
    #[error("container {id} init process is not running")]
    InitGone { id: String },
    /// A container from a checkpoint.
    #[error(
        "container {id} was to be created from a checkpoint, which coaming does not restore: seccomp filters and \
         Landlock domains do not come back with it; create the container anew"
    )]
    Checkpoint { id: String },

    /// A wish that the process's state does not allow.
    #[error("cannot {action} a {state} {what}")]
    State { action: &'static str, state: &'static str, what: &'static str },
    /// The runtime failed.
    #[error("{doing}: {error}")]
    Runtime { doing: &'static str, error: CallError },
    /// A file of the bundle.
    #[error("cannot {doing} {}: {error}", path.display())]
    File { doing: &'static str, path: PathBuf, error: io::Error },
    /// A system call about a process.
    #[error("cannot {doing} {id}: {error}")]
    Process { doing: &'static str, id: String, error: io::Error },
    /// The root file system.
    #[error("failed to mount rootfs component: {0}")]
    Mount(MountError),
    /// The root file system, on the way out.
    #[error("failed rootfs umount: {0}")]
    Unmount(MountError),
    /// The standard streams.
    #[error("cannot {doing} the streams of {id}: {error}")]
    Stdio { doing: &'static str, id: String, error: StdioError },
    /// The shim is ending.
    #[error("the shim is shutting down")]
    Ending,
}

impl Error {
    /// The code of gRPC.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::NoContainer { .. }
            | Self::NoProcess { .. }
            | Self::Finished { .. }
            | Self::NoRuntimeContainer { .. }
            | Self::NoCgroup { .. } => Code::NOT_FOUND,
            Self::InUse { .. } => Code::ALREADY_EXISTS,
            Self::Invalid { .. } | Self::Options(_) | Self::BinaryName(_) => Code::INVALID_ARGUMENT,
            Self::NotStopped { .. }
            | Self::NotStarted { .. }
            | Self::InitGone { .. }
            | Self::Checkpoint { .. } => Code::FAILED_PRECONDITION,
            Self::State { .. }
            | Self::Runtime { .. }
            | Self::File { .. }
            | Self::Process { .. }
            | Self::Mount(_)
            | Self::Unmount(_)
            | Self::Stdio { .. } => Code::UNKNOWN,
            Self::Ending => Code::UNAVAILABLE,
        }
    }
}

impl From<Error> for ttrpc::Error {
    fn from(error: Error) -> Self {
        ttrpc::Error::RpcStatus(ttrpc::get_status(error.code(), error))
    }
}
