//! One call of the runtime, from its spawn to its end.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;
use thiserror::Error;

use super::caller::Caller;
use super::log::{cut, last_error};
use crate::reaper::{Exit, Reaper};
use crate::stdio::RuntimeEnds;

/// More is not read of what a call prints: `ps` of tens of thousands of processes.
const LONGEST_OUTPUT: u64 = 1024 * 1024;

/// Why a call of the runtime came to nothing.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    /// It could not be started.
    #[error("cannot run {}: {error}", program.display())]
    Spawn { program: PathBuf, error: io::Error },
    /// It could not be waited for.
    #[error("cannot wait for {}: {error}", program.display())]
    Wait { program: PathBuf, error: io::Error },
    /// It failed and wrote why.
    #[error("{logged}")]
    Logged { logged: String, printed: String },
    /// It failed and wrote nothing into its log.
    #[error("{} did not terminate successfully: exit status {status}: {printed}", program.display())]
    Failed { program: PathBuf, status: u32, printed: String },
    /// It was ended: the client had stopped waiting.
    #[error("{} was ended, as the client no longer waits", program.display())]
    Abandoned { program: PathBuf },
    /// What it printed cannot be read.
    #[error("{} printed what is no answer: {problem}", program.display())]
    Output { program: PathBuf, problem: String },
}

impl CallError {
    /// Whether the runtime said one of these, in its log or on its output; in lower case.
    pub(crate) fn says(&self, texts: &[&str]) -> bool {
        let said = match self {
            Self::Logged { logged, printed } => format!("{logged}\n{printed}"),
            Self::Failed { printed, .. } => printed.clone(),
            _ => return false,
        };
        let said = said.to_lowercase();
        texts.iter().any(|text| said.contains(text))
    }
}

/// What a call reads and where its output goes.
pub(super) enum Streams {
    /// Its output is kept; it reads this, or nothing.
    Kept { input: Option<Vec<u8>> },
    /// It hands them to the process that it starts.
    Passed(RuntimeEnds),
}

/// Runs a command that writes its log to `log`, which is removed afterwards. Returns what it printed, if that is kept.
pub(super) async fn call(
    reaper: &Reaper,
    mut command: Command,
    log: PathBuf,
    streams: Streams,
    caller: &mut Caller,
) -> Result<Vec<u8>, CallError> {
    let program = PathBuf::from(command.get_program());
    let failed = |error| CallError::Spawn { program: program.clone(), error };
    let output = connect(&mut command, streams).map_err(failed)?;
    let log = Log(log);
    let mut child = reaper.spawn(command).map_err(failed)?;
    let waited = |error| CallError::Wait { program: program.clone(), error };
    let exit: Exit = tokio::select! {
        exit = child.wait() => exit.map_err(waited)?,
        () = caller.gone() => {
            // A failure means that it ended by itself just now.
            let _ = child.signal(Signal::SIGKILL);
            child.wait().await.map_err(waited)?;
            return Err(CallError::Abandoned { program });
        }
    };
    let printed = match output {
        Some(output) => read_back(output).map_err(waited)?,
        None => Vec::new(),
    };
    if exit.status == 0 {
        return Ok(printed);
    }
    let printed = cut(String::from_utf8_lossy(&printed).trim()).to_owned();
    Err(match last_error(&log.0) {
        Ok(Some(logged)) => CallError::Logged { logged, printed },
        Ok(None) => CallError::Failed { program, status: exit.status, printed },
        Err(error) => CallError::Failed {
            program,
            status: exit.status,
            printed: format!("{printed} (its log cannot be read: {error})"),
        },
    })
}

/// A log that goes when its call is over: each call has its own, so that no call is blamed for another's error, and
/// none grows for as long as the container lives.
struct Log(PathBuf);

impl Drop for Log {
    fn drop(&mut self) {
        // Most calls write none.
        let _ = fs::remove_file(&self.0);
    }
}

/// Output is kept in memory, not in a pipe: nothing has to read it while the runtime runs, and a process that it
/// leaves behind cannot hold up its end.
fn connect(command: &mut Command, streams: Streams) -> io::Result<Option<File>> {
    let (input, output) = match streams {
        Streams::Passed(RuntimeEnds { stdin, stdout, stderr, console_socket: None }) => {
            command.stdin(end(stdin)).stdout(end(stdout)).stderr(end(stderr));
            return Ok(None);
        }
        // The process has its terminal: these are the runtime's own.
        Streams::Passed(_) => (None, memory(c"coaming-output")?),
        Streams::Kept { input } => (input, memory(c"coaming-output")?),
    };
    command.stdin(match input {
        None => Stdio::null(),
        Some(bytes) => {
            let mut file = memory(c"coaming-input")?;
            file.write_all(&bytes)?;
            file.rewind()?;
            Stdio::from(file)
        }
    });
    command.stdout(output.try_clone()?).stderr(output.try_clone()?);
    Ok(Some(output))
}

fn end(end: Option<OwnedFd>) -> Stdio {
    end.map_or_else(Stdio::null, Stdio::from)
}

fn memory(name: &std::ffi::CStr) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?))
}

fn read_back(mut output: File) -> io::Result<Vec<u8>> {
    // The offset is shared with the child's copies, and is where it stopped.
    output.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    output.take(LONGEST_OUTPUT).read_to_end(&mut bytes)?;
    Ok(bytes)
}
