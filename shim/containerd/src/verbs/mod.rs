//! What containerd asks this program to do: one module for each verb.
//!
//! containerd takes all that `start` prints, on either stream, for the answer; so nothing is printed but the answer, and
//! on failure one line on standard error.

pub(crate) mod delete;
mod info;
pub(crate) mod start;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use coaming_config::DocumentError;

use crate::bootstrap::BootstrapError;
use crate::flags::{FlagError, Flags, Verb};
use crate::options::OptionsError;
use crate::runtime::BinaryNameError;
use crate::server::{self, ServeError};

/// The name of this runtime, as containerd knows runtimes.
const RUNTIME: &str = "io.containerd.coaming.v1";
const PROGRAM: &str = "containerd-shim-coaming-v1";

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
enum VerbError {
    #[error(transparent)]
    Flags(#[from] FlagError),
    #[error(transparent)]
    Configuration(#[from] DocumentError),
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error(transparent)]
    Runtime(#[from] BinaryNameError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// An operation on a file or process failed.
    #[error("{what} {path}: {error}", path = path.display())]
    Io { what: &'static str, path: PathBuf, error: io::Error },
    #[error("{path} is no OCI configuration: {error}", path = path.display())]
    NotASpec { path: PathBuf, error: serde_json::Error },
    #[error("{0}")]
    Other(String),
}

/// Runs the verb of the command line. What fails is said in one line on standard error.
pub fn run() -> ExitCode {
    match dispatch() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{PROGRAM}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch() -> Result<(), VerbError> {
    let arguments = std::env::args_os().skip(1).map(|argument| {
        // What is not UTF-8 is no flag, verb or identifier of containerd's, and is refused as such.
        argument.into_string().unwrap_or_else(|raw| raw.to_string_lossy().into_owned())
    });
    let flags = Flags::parse(arguments)?;
    match flags.verb {
        Verb::Version => print(version().as_bytes()),
        Verb::Info => print(&info::info(io::stdin().lock())?),
        Verb::Start => print(&start::start(&flags)?),
        Verb::Delete => print(&delete::delete(&flags)?),
        Verb::Serve => Ok(server::serve(&flags)?),
    }
}

fn print(answer: &[u8]) -> Result<(), VerbError> {
    let mut output = io::stdout().lock();
    output
        .write_all(answer)
        .and_then(|()| output.flush())
        .map_err(|error| VerbError::io("writing the answer to", "standard output", error))
}

/// In the form of the Go shim's.
fn version() -> String {
    format!("{PROGRAM}:\n  Version:  {}\n\n", env!("CARGO_PKG_VERSION"))
}

impl VerbError {
    fn io(what: &'static str, path: impl Into<PathBuf>, error: io::Error) -> Self {
        VerbError::Io { what, path: path.into(), error }
    }
}
