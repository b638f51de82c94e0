//! The library's side: the program `coaming-hook-test` is started, told what to do, and listened to.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Report, Request, sys};

/// Why nothing can be said of a hook.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HarnessError {
    /// The program cannot be run.
    #[error("cannot run {}: {source}; it comes with coaming, and must not lie on a noexec mount", .path.display())]
    Program {
        /// The program.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// It says why the test cannot be made.
    #[error("the hook cannot be tested: {0}")]
    Impossible(String),
    /// It says something that is no report.
    #[error("{} does not answer with a report: {source}; are both of one version?", .path.display())]
    Answer {
        /// The program.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Tests a hook by `program`, the path of `coaming-hook-test`. Takes about a second for each runtime and phase, and
/// some more for the hook's time limit.
///
/// # Errors
/// [`HarnessError`]: also where the caller is not root.
pub fn test(program: &Path, request: &Request) -> Result<Report, HarnessError> {
    let failed = |source| HarnessError::Program { path: program.to_owned(), source };
    let answer = |source| HarnessError::Answer { path: program.to_owned(), source };
    let mut command = Command::new(program);
    command.arg("drive").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = sys::dies_with_us(&mut command).spawn().map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        let text = serde_json::to_vec(request).map_err(answer)?;
        // One that ends at once says why on stderr.
        let _ = stdin.write_all(&text);
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(HarnessError::Impossible(match said.trim() {
            "" => format!("coaming-hook-test ended with {}", output.status),
            said => said.to_owned(),
        }));
    }
    serde_json::from_slice(&output.stdout).map_err(answer)
}
