use std::io;

/// What went wrong while preparing or driving a world. What a container's process said is no error: see [`crate::Output`].
#[derive(thiserror::Error)]
pub enum Error {
    /// A file, process or socket operation of the harness failed.
    #[error("{operation} {object}: {source}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To what.
        object: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A command that had to succeed did not.
    #[error("`{command}` ended with {code}\n--- stdout\n{stdout}--- stderr\n{stderr}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit code; 128 + N for signal N.
        code: i32,
        /// What it wrote to standard output.
        stdout: String,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// The machine lacks something that the tests need.
    #[error("cannot run here: {0}")]
    Unavailable(String),
    /// Something did not come up in time.
    #[error("{what} did not come up within {seconds} s; the end of its log:\n{log}")]
    NotReady {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// The end of the log that says why.
        log: String,
    },
    /// A CRI call was answered with an error: the text that the kubelet would show.
    #[error("{method}: {message} (gRPC code {code})")]
    Cri {
        /// The CRI method.
        method: &'static str,
        /// The gRPC status code.
        code: i32,
        /// The message exactly as the server sent it.
        message: String,
    },
    /// A call of containerd's own API was answered with an error.
    #[error("{method}: {message} (gRPC code {code})")]
    Containerd {
        /// The method.
        method: &'static str,
        /// The gRPC status code's name, such as `NotFound`.
        code: String,
        /// The message exactly as the server sent it.
        message: String,
    },
    /// An answer could not be understood.
    #[error("{what}: {detail}")]
    Malformed {
        /// What was being read.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl Error {
    pub(crate) fn io(
        operation: &'static str,
        object: impl ToString,
    ) -> impl FnOnce(io::Error) -> Error {
        let object = object.to_string();
        move |source| Error::Io { operation, object, source }
    }

    pub(crate) fn malformed(what: impl ToString) -> impl FnOnce(String) -> Error {
        let what = what.to_string();
        move |detail| Error::Malformed { what, detail }
    }
}

/// A test that returns an error shows its Debug form; logs in it stay readable only as they are.
impl std::fmt::Debug for Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{self}")
    }
}
