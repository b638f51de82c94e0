//! Asking another program: one command, bounded in time and output, with nothing of ours in its hands.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::ECHILD;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::sys;

/// The most that is read of an answer, in bytes; runc 1.3's `features` has 12 KiB.
const MOST: u64 = 256 * 1024;
/// How often it is looked whether it has ended.
const TICK: Duration = Duration::from_millis(2);

/// Whom to ask.
pub(crate) struct Ask<'a> {
    /// As configured: argv\[0\], by which crun chooses a handler.
    pub(crate) name: &'a Path,
    /// The file that is executed.
    pub(crate) program: &'a Path,
    /// How long it may take.
    pub(crate) patience: Duration,
}

impl Ask<'_> {
    /// What it writes to standard output. It is run with an empty environment, in `/`, in a process group of its
    /// own that is killed when it has ended or its time has, and dies with us.
    ///
    /// # Errors
    /// In words: it cannot be run, takes too long, says too much, or fails.
    pub(crate) fn answer(&self, arguments: &[&OsStr]) -> Result<String, String> {
        let until = Instant::now() + self.patience;
        let mut command = Command::new(self.program);
        command
            .arg0(self.name)
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0);
        sys::die_with_us(&mut command);
        let mut child = command.spawn().map_err(|error| format!("it cannot be run: {error}"))?;
        let read = Self::read(&mut child, until);
        let ended = read.is_ok() && has_ended(&child, until);
        // Its pid, dead or alive, is its group's until it is waited for.
        let group = i32::try_from(child.id()).map(Pid::from_raw);
        if let Ok(group) = group {
            let _ = killpg(group, Signal::SIGKILL);
        }
        let status = match child.wait() {
            Ok(status) => Some(status),
            // Our caller has SIGCHLD ignored, so that the kernel keeps no status for us (wait(2)).
            Err(error) if error.raw_os_error() == Some(ECHILD) => None,
            Err(error) => return Err(format!("it cannot be waited for: {error}")),
        };
        let bytes = read?;
        if !ended {
            return Err(self.too_slow());
        }
        if let Some(status) = status.filter(|status| !status.success()) {
            return Err(format!("it ended with {status}"));
        }
        String::from_utf8(bytes).map_err(|_| "its answer is not UTF-8".to_owned())
    }

    fn read(child: &mut Child, until: Instant) -> Result<Vec<u8>, String> {
        let Some(output) = child.stdout.take() else {
            return Err("its output cannot be read".to_owned());
        };
        let (sender, receiver) = mpsc::channel();
        // What holds the other end of the pipe for ever holds this thread, and nothing that matters.
        let reader = std::thread::Builder::new().spawn(move || {
            let mut bytes = Vec::new();
            let read = output.take(MOST + 1).read_to_end(&mut bytes);
            let _ = sender.send(read.map(|_| bytes));
        });
        reader.map_err(|error| format!("its output cannot be read: {error}"))?;
        match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Ok(bytes)) if bytes.len() as u64 > MOST => {
                Err(format!("it says more than {MOST} bytes"))
            }
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(format!("its output cannot be read: {error}")),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err("it gives no answer in time".to_owned())
            }
        }
    }

    fn too_slow(&self) -> String {
        format!("it does not end within {} seconds", self.patience.as_secs_f32())
    }
}

/// Whether it ends before the time is up. It is left to be waited for.
fn has_ended(child: &Child, until: Instant) -> bool {
    let Ok(pid) = i32::try_from(child.id()) else { return false };
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    loop {
        match waitid(Id::Pid(Pid::from_raw(pid)), flags) {
            Ok(WaitStatus::StillAlive) if Instant::now() < until => std::thread::sleep(TICK),
            Err(Errno::ECHILD) => return true,
            Ok(WaitStatus::StillAlive) | Err(_) => return false,
            Ok(_) => return true,
        }
    }
}
