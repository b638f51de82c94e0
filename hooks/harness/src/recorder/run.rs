//! The hook itself: run as the runtime would have run it, and watched.

use std::io::{PipeReader, Read, Write, pipe};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Did, sys};

/// How much of what a hook writes is kept, in bytes.
const MOST: usize = 16 << 10;
/// What a hook that cannot be executed counts as, as with a shell.
const NOT_EXECUTED: u8 = 127;

/// Runs the hook with `state` on its standard input. With it comes the exit code to pass on.
pub(super) fn run(hook: &[String], state: Vec<u8>) -> (Did, u8) {
    sys::adopt_orphans();
    let started = Instant::now();
    match spawn(hook, state) {
        Ok(running) => running.watch(started),
        Err(error) => {
            let program = hook.first().cloned().unwrap_or_default();
            let why = format!("{program}: {error}");
            let _ = writeln!(std::io::stderr(), "{why}");
            (Did { not_executed: Some(why), ..Did::default() }, NOT_EXECUTED)
        }
    }
}

struct Running {
    child: std::process::Child,
    /// A second reading end, by which it is seen what the hook left unread.
    stdin: PipeReader,
    stdout: Reading,
    stderr: Reading,
}

fn spawn(hook: &[String], state: Vec<u8>) -> std::io::Result<Running> {
    let (program, arguments) =
        hook.split_first().ok_or_else(|| std::io::Error::other("no hook is named"))?;
    let (stdin, mut to_hook) = pipe()?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::from(stdin.try_clone()?))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = sys::dies_with_us(&mut command).spawn()?;
    // A state that does not fit into the pipe is written as the hook reads it, or never.
    thread::spawn(move || to_hook.write_all(&state));
    let stdout = Reading::of(child.stdout.take());
    let stderr = Reading::of(child.stderr.take());
    Ok(Running { child, stdin, stdout, stderr })
}

impl Running {
    fn watch(mut self, started: Instant) -> (Did, u8) {
        let ended = self.child.wait();
        let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (exit, signal) = match ended {
            Ok(status) => (status.code(), status.signal()),
            Err(_) => (None, None),
        };
        // What it wrote is there by now; only others can still write.
        let holds_output = ![&self.stdout, &self.stderr].iter().all(|reading| reading.has_ended());
        let left_behind = take_left_behind();
        let stdout = self.stdout.text();
        let stderr = self.stderr.text();
        let _ = std::io::stdout().write_all(stdout.as_bytes());
        let _ = std::io::stderr().write_all(stderr.as_bytes());
        let did = Did {
            exit,
            signal,
            milliseconds,
            stdout,
            stderr,
            read_state: sys::unread(&self.stdin) == 0,
            left_behind,
            holds_output,
            ..Did::default()
        };
        let code = exit.or(signal.map(|signal| 128 + signal)).unwrap_or(1);
        (did, u8::try_from(code).unwrap_or(1))
    }
}

/// A pipe that is read on the side; a hook's child may keep it open for ever.
struct Reading {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Reading {
    fn of(pipe: Option<impl Read + Send + 'static>) -> Reading {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let reader = pipe.map(|mut pipe| {
            thread::spawn(move || {
                let mut part = [0; 4096];
                while let Ok(read @ 1..) = pipe.read(&mut part) {
                    let mut bytes = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = MOST.saturating_sub(bytes.len()).min(read);
                    bytes.extend(part.iter().take(room));
                }
            })
        });
        Reading { bytes, reader }
    }

    /// Whether the writing end is closed.
    fn has_ended(&self) -> bool {
        let until = Instant::now() + Duration::from_millis(300);
        loop {
            if self.reader.as_ref().is_none_or(JoinHandle::is_finished) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn text(&self) -> String {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The hook's descendants that are still there, by name. They are ended: the container is a throw-away one,
/// and what serves it has nothing left to do.
fn take_left_behind() -> Vec<String> {
    // A createContainer hook sees the /proc of another PID namespace: names are right there, numbers are
    // not, and the driver ends what is left.
    let own = std::fs::read_link("/proc/self").ok().and_then(|pid| pid.to_str()?.parse().ok());
    let Some(own) = own else { return Vec::new() };
    let can_end = own == std::process::id();
    let mut names = Vec::new();
    // Those that their own parent leaves when it is killed come to us in turn.
    for _ in 0..100 {
        if !sys::reap() {
            break;
        }
        for (pid, name) in children(own) {
            if can_end {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if !can_end {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    names
}

/// The processes whose parent is `parent`, by pid, with their names.
fn children(parent: u32) -> Vec<(i32, String)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let (before, after) = stat.rsplit_once(") ")?;
            let name = before.split_once('(')?.1.to_owned();
            let of: u32 = after.split(' ').nth(1)?.parse().ok()?;
            (of == parent && !after.starts_with('Z')).then_some((pid, name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (Did, u8) {
        run(&["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()], b"{\"id\":1}".to_vec())
    }

    // One test: orphans are adopted by the whole process, and its threads would take each other's.
    #[test]
    fn what_a_hook_does_is_seen() {
        let (did, code) = shell("cat; echo e >&2; exit 3");
        assert_eq!((did.exit, code, did.read_state), (Some(3), 3, true));
        assert_eq!((did.stdout.as_str(), did.stderr.as_str()), ("{\"id\":1}", "e\n"));
        assert!(did.left_behind.is_empty() && !did.holds_output);

        let (did, _) = shell("exit 0");
        assert!(!did.read_state);

        let (did, code) = shell("kill -9 $$");
        assert_eq!((did.signal, code), (Some(9), 137));

        let (did, _) = shell("cat >/dev/null; sleep 1000 & exit 0");
        assert!(did.holds_output && did.left_behind == ["sleep"], "{did:?}");
        let (did, _) = shell("sleep 1000 </dev/null >/dev/null 2>&1 & exit 0");
        assert!(!did.holds_output && did.left_behind == ["sleep"], "{did:?}");

        let (did, code) = run(&["/nonexistent".to_owned()], Vec::new());
        assert!(did.not_executed.unwrap().contains("/nonexistent"));
        assert_eq!(code, NOT_EXECUTED);
    }
}
