use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::Error;

/// What a command or a container's process said and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The exit code; 128 + N when signal N ended it; 124 when the harness gave up waiting.
    pub code: i32,
    /// Standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Standard error; bytes that are not UTF-8 are replaced.
    pub stderr: String,
}

impl Output {
    /// Whether it ended with 0.
    pub fn success(&self) -> bool {
        self.code == 0
    }

    /// Both outputs, for looking for a message wherever it went.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// # Errors
    /// [`Error::Command`] when it did not end with 0.
    pub fn ok(self, command: &str) -> Result<Output, Error> {
        if self.success() {
            return Ok(self);
        }
        let Output { code, stdout, stderr } = self;
        Err(Error::Command { command: command.to_owned(), code, stdout, stderr })
    }
}

/// Runs a command to its end with `stdin` as all of its input.
pub(crate) fn run(command: &mut Command, stdin: &[u8]) -> Result<Output, Error> {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(if stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::io("run", &shown))?;
    let pipe = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // Written beside the reading: neither pipe may fill up while the other waits. A child that does not read all
        // of its input is not at fault.
        scope.spawn(move || pipe.map(|mut pipe| pipe.write_all(stdin)));
        child.wait_with_output()
    })
    .map_err(Error::io("wait for", &shown))?;
    Ok(Output {
        code: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
