//! Why the agent cannot do what it was asked.

use std::io;
use std::path::{Path, PathBuf};

use coaming_policy::document::DocumentError;

/// What keeps the agent from its work. What is wrong with objects is no error of the agent's: see [`crate::set::Fault`].
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The file system said no.
    #[error("cannot {operation} {}: {error}", .path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// Something stands where the agent's files belong, and is not its own.
    #[error("{} is there and was not written by the agent: {problem}", .path.display())]
    Foreign {
        /// What stands there.
        path: PathBuf,
        /// How that was told, and what to do.
        problem: &'static str,
    },
    /// The node's configuration cannot be read.
    #[error("cannot read the node's configuration: {0}")]
    Configuration(DocumentError),
    /// There is no way to the API server.
    #[error(
        "cannot make a client of the API server: {0}; the agent runs in a pod, with its service account"
    )]
    Client(String),
    /// The API server did not take what the agent wrote.
    #[error("cannot write {what} to the API server: {why}")]
    Write {
        /// The object.
        what: String,
        /// The answer.
        why: String,
    },
    /// The command line does not say what is needed.
    #[error("{0}")]
    Usage(String),
}

impl AgentError {
    pub(crate) fn io(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AgentError {
        let path = path.to_owned();
        move |error| AgentError::Io { operation, path, error }
    }
}
