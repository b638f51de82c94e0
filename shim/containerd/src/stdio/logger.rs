//! Loggers: programs that are given a container's output (`binary://`, `binary-v2://`).
//!
//! A logger finds stdout on descriptor 3, stderr on 4, and says on 5 that it is ready: by closing it, or, as
//! `binary-v2`, by writing a byte. Its environment is the names of the container and of the namespace. Its output
//! ends when the container's processes have let go of it; a logger that then does not end by itself is told to.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio as CommandStdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::timeout;

use super::uri::LoggerCommand;
use super::{StdioError, pipes};
use crate::reaper::{Child, Reaper};
use crate::{log, sys};

/// What containerd's own shim gives a logger between SIGTERM and SIGKILL.
const AFTER_TERM: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 12 });

/// A logger that has not said that it is ready by then is taken for broken. (containerd's own shim waits for ever:
/// cmd/containerd-shim-runc-v2/process/io.go, `NewBinaryIO`.)
pub(super) const READY: Duration = Duration::from_secs(60);

/// How long a logger may take to write out what it has been given before SIGTERM tells it to.
const AFTER_END: Duration = Duration::from_secs(2);

/// A running logger. Dropped, it is killed.
pub(super) struct Logger {
    /// `None` once its exit has been seen.
    child: Option<Child>,
}

/// The names that a logger is told.
pub(super) struct Names<'a> {
    pub(super) namespace: &'a str,
    /// The container's, or the exec's for an exec, as containerd's own shim has it.
    pub(super) id: &'a str,
}

impl Logger {
    /// Starts a logger that reads from these, and waits until it is ready, for `limit` at most ([`READY`]).
    pub(super) async fn start(
        wanted: &LoggerCommand,
        names: Names<'_>,
        [stdout, stderr]: [OwnedFd; 2],
        limit: Duration,
        reaper: &Reaper,
    ) -> Result<Self, StdioError> {
        let failed = |source| StdioError::Logger { program: wanted.program.clone(), source };
        let (ready, says_ready) = pipes::between_children("a logger's readiness")?;
        let mut command = Command::new(&wanted.program);
        command
            .args(&wanted.arguments)
            .env_clear()
            .env("CONTAINER_ID", names.id)
            .env("CONTAINER_NAMESPACE", names.namespace)
            .stdin(CommandStdio::null())
            .stdout(CommandStdio::null())
            .stderr(CommandStdio::null());
        let places =
            sys::pass_from_three(&mut command, vec![stdout, stderr, says_ready]).map_err(failed)?;
        let child = reaper.spawn(command).map_err(failed)?;
        // The logger has its copies now, and these would keep its input from ending.
        drop(places);
        let mut logger = Logger { child: Some(child) };
        match timeout(limit, wait_until_ready(ready, wanted.must_say_ready)).await {
            Ok(Ok(true)) => Ok(logger),
            Ok(Ok(false)) => {
                logger.kill().await;
                Err(StdioError::LoggerNotReady {
                    program: wanted.program.clone(),
                    reason: "it ended or closed descriptor 5 without a byte".to_owned(),
                })
            }
            Ok(Err(error)) => {
                logger.kill().await;
                Err(failed(error))
            }
            Err(_elapsed) => {
                logger.kill().await;
                Err(StdioError::LoggerNotReady {
                    program: wanted.program.clone(),
                    reason: format!(
                        "it neither wrote to descriptor 5 nor closed it within {limit:?}"
                    ),
                })
            }
        }
    }

    /// Waits until the logger has ended because its input has, but not for long: not every logger ends by itself.
    pub(super) async fn finish(&mut self, limit: Duration) {
        self.ended_within(limit.min(AFTER_END)).await;
    }

    /// Ends the logger: SIGTERM, 12 seconds, SIGKILL.
    pub(super) async fn stop(mut self) {
        let Some(child) = &self.child else { return };
        if let Err(error) = child.signal(Signal::SIGTERM) {
            log::debug!("a logger could not be told to end: {error}");
        }
        if !self.ended_within(AFTER_TERM).await {
            log::warn!("a logger did not end within 12 s of SIGTERM and is killed");
            self.kill().await;
        }
    }

    async fn ended_within(&mut self, limit: Duration) -> bool {
        let Some(child) = &mut self.child else { return true };
        let ended = timeout(limit, child.wait()).await.is_ok();
        if ended {
            self.child = None;
        }
        ended
    }

    async fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if child.signal(Signal::SIGKILL).is_ok() {
            let _ = child.wait().await;
        }
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            let _ = child.signal(Signal::SIGKILL);
        }
    }
}

/// Whether the logger is ready, once it has written a byte or closed the pipe.
async fn wait_until_ready(pipe: OwnedFd, must_say_ready: bool) -> io::Result<bool> {
    let pipe = pipes::readable(pipe)?;
    loop {
        let mut byte = [0_u8; 1];
        let mut guard = pipe.readable().await?;
        match guard.try_io(|pipe| pipe.get_ref().read(&mut byte)) {
            Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(count) => return Ok(count? > 0 || !must_say_ready),
            Err(_would_block) => {}
        }
    }
}
