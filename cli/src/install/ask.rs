//! Programs that are asked what they make of their configuration.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::tree::Tree;

/// Each answers within a second, on a machine that does little else.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most that is read of each of its outputs, in bytes.
const MOST: u64 = 8 * 1024 * 1024;
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a program said.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) success: bool,
    pub(super) out: String,
    pub(super) err: String,
}

/// Runs a program of the tree, within it.
///
/// # Errors
/// That it cannot be run, or does not end, in words.
pub(super) fn ask(tree: &Tree, program: &str, arguments: &[&str]) -> Result<Said, String> {
    let mut command = match tree.is_machine() {
        true => Command::new(program),
        false => {
            let mut command = Command::new("chroot");
            command.arg(tree.path()).arg(program);
            command
        }
    };
    command.args(arguments).env_clear().env("PATH", PATH);
    run(command)
        .map_err(|problem| format!("cannot run {program} {}: {problem}", arguments.join(" ")))
}

fn run(mut command: Command) -> Result<Said, String> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // So that what it starts ends with it.
        .process_group(0)
        .spawn()
        .map_err(|error| error.to_string())?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let readers = [thread::spawn(|| text(out)), thread::spawn(|| text(err))];
    let pid = Pid::from_raw(i32::try_from(child.id()).map_err(|error| error.to_string())?);
    let ended = wait(pid);
    // Its pid, dead or alive, is its group's until it is waited for.
    let _ = killpg(pid, Signal::SIGKILL);
    let status = child.wait().map_err(|error| format!("it cannot be waited for: {error}"));
    ended?;
    let success = status?.success();
    let [out, err] = readers.map(|reader| reader.join().unwrap_or_default());
    Ok(Said { success, out, err })
}

/// Waits until it has ended, and leaves it to be waited for.
fn wait(pid: Pid) -> Result<(), String> {
    let begun = Instant::now();
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    loop {
        match waitid(Id::Pid(pid), flags) {
            Ok(WaitStatus::StillAlive) if begun.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(5));
            }
            Ok(WaitStatus::StillAlive) => {
                return Err(format!("it does not end within {} s", PATIENCE.as_secs()));
            }
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn text(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let _ = pipe.by_ref().take(MOST).read_to_end(&mut bytes);
        // What is beyond is taken all the same, or the program would wait for us.
        let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Said {
    /// The end of what it complained of, on one line.
    pub(super) fn complaint(&self) -> String {
        const MOST: usize = 600;
        let text = if self.err.trim().is_empty() { &self.out } else { &self.err };
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let last = lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join("; ");
        last.chars().take(MOST).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_says_and_how_it_ends_is_told() {
        let tree = Tree::open(std::path::Path::new("/")).unwrap();
        let said = ask(&tree, "/bin/sh", &["-c", "echo yes; echo no >&2; exit 3"]).unwrap();
        assert_eq!((said.success, said.out.as_str()), (false, "yes\n"));
        assert_eq!(said.complaint(), "no");
        let problem = ask(&tree, "/nonexistent", &["x"]).unwrap_err();
        assert!(problem.contains("cannot run /nonexistent x"), "{problem}");
    }

    #[test]
    fn what_it_leaves_behind_does_not_hold_us_up() {
        let tree = Tree::open(std::path::Path::new("/")).unwrap();
        let begun = Instant::now();
        assert!(ask(&tree, "/bin/sh", &["-c", "sleep 50 & exit 0"]).unwrap().success);
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}
