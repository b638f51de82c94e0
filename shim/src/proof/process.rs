//! A process that stays the same one while it is looked at, and can be killed as that one.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::sys;

/// `PF_FORKNOEXEC` of the flags in `stat`: forked, and nothing executed since (include/linux/sched.h).
const FORKED_NOT_EXECUTED: u64 = 0x40;
/// `PF_EXITING`: on its way out, with parts of it gone already.
const EXITING: u64 = 0x4;

/// A process, by number and start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Field 22 of its `stat`, in clock ticks since boot: tells it from a later process of the number.
    pub start: u64,
}

/// A file of the machine, whatever it is called where it is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProgramFile {
    device: u64,
    inode: u64,
}

impl ProgramFile {
    /// The file at a path, through links; none where there is none.
    pub fn of(path: &Path) -> Option<ProgramFile> {
        let meta = fs::metadata(path).ok()?;
        Some(ProgramFile { device: meta.dev(), inode: meta.ino() })
    }
}

/// What `stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// A zombie, dead, or about to be.
    pub ended: bool,
    /// Forked from the runtime, which it still is.
    pub not_executed: bool,
    /// Its start, in clock ticks since boot.
    pub start: u64,
}

impl Stat {
    /// Reads a process's.
    ///
    /// # Errors
    /// The process is gone.
    pub fn of(pid: u32) -> io::Result<Stat> {
        Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
            .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat is not understood")))
    }

    /// Understands the text of `stat`.
    pub fn parse(text: &str) -> Option<Stat> {
        // The second field is a name in parentheses, which may hold anything; the third is the state.
        let mut fields = text.rsplit_once(") ")?.1.split(' ');
        let dead = matches!(fields.next()?, "Z" | "X" | "x");
        let flags: u64 = fields.nth(5)?.parse().ok()?;
        let ended = dead || flags & EXITING != 0;
        let start = fields.nth(12)?.trim().parse().ok()?;
        Some(Stat { ended, not_executed: flags & FORKED_NOT_EXECUTED != 0, start })
    }
}

impl Process {
    /// The process of a number, as it is now; none where there is none.
    pub fn of(pid: u32) -> Option<Process> {
        let stat = Stat::of(pid).ok().filter(|stat| !stat.ended)?;
        Some(Process { pid, start: stat.start })
    }

    /// A container's first process, by its runtime's state: runc's `state.json`
    /// (libcontainer/container_linux.go, `BaseState`) or crun's `status` (src/libcrun/status.c). Where
    /// the state has no start, the process of that number now.
    pub fn of_container(folder: &Path) -> Option<Process> {
        let json = |name: &str| -> Option<Value> {
            serde_json::from_slice(&fs::read(folder.join(name)).ok()?).ok()
        };
        let (state, pid, start) = match json("state.json") {
            Some(state) => (state, "init_process_pid", "init_process_start"),
            None => (json("status")?, "pid", "process-start-time"),
        };
        let pid = u32::try_from(state.get(pid)?.as_u64()?).ok().filter(|pid| *pid > 0)?;
        match state.get(start).and_then(Value::as_u64) {
            Some(start) => Some(Process { pid, start }),
            None => Process::of(pid),
        }
    }

    /// What `stat` says of it; none where it has ended.
    pub fn stat(&self) -> Option<Stat> {
        Stat::of(self.pid).ok().filter(|stat| stat.start == self.start && !stat.ended)
    }

    /// Whether it still runs.
    pub fn runs(&self) -> bool {
        self.stat().is_some()
    }

    /// Whether its program is one of these files, whatever their names.
    pub fn executes(&self, files: &[ProgramFile]) -> bool {
        let own = ProgramFile::of(Path::new(&format!("/proc/{}/exe", self.pid)));
        own.is_some_and(|own| files.contains(&own))
    }

    /// Waits for an execve that is under way: the flag of [`Stat`] is cleared before the new credentials
    /// are in force, and a file that takes the same lock is read only after them (fs/exec.c,
    /// `begin_new_exec` and `setup_new_exec`, hold `exec_update_lock`; kernel/fork.c, `mm_access`).
    pub fn settle(&self) {
        let _ = fs::read(format!("/proc/{}/auxv", self.pid));
    }

    /// Takes hold of it, so that what is killed is never another.
    ///
    /// # Errors
    /// It has ended.
    pub fn hold(&self) -> io::Result<Handle> {
        let handle = Handle { fd: sys::pidfd_open(self.pid)?, process: *self };
        // The number may have been given to another before the descriptor was opened.
        match self.runs() {
            true => Ok(handle),
            false => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }
}

/// A hold of a process.
#[derive(Debug)]
pub struct Handle {
    fd: OwnedFd,
    /// Which.
    pub process: Process,
}

impl Handle {
    /// Kills it.
    ///
    /// # Errors
    /// It has ended.
    pub fn kill(&self) -> io::Result<()> {
        Ok(sys::pidfd_kill(&self.fd)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_name_is() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194624 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0\n";
        let stat = Stat::parse(text).unwrap();
        assert_eq!(stat, Stat { ended: false, not_executed: true, start: 12345 });
        assert!(
            Stat::parse("7 (a) Z 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 1 0").unwrap().ended
        );
        assert!(
            Stat::parse("7 (a) R 1 7 7 0 -1 4194564 1 0 0 0 0 0 0 0 20 0 1 0 1 0").unwrap().ended
        );
        for text in ["", "7 (a", "7 (a) S", "7 (a) S 1 2 3 4 5 x 1 2 3 4 5 6 7 8 9 10 11 12 13"] {
            assert_eq!(Stat::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let folder = tempfile::tempdir().unwrap();
        let own = Process::of(std::process::id()).unwrap();
        let status =
            |start: u64| format!(r#"{{"pid": {}, "process-start-time": {start}}}"#, own.pid);
        let read = || Process::of_container(folder.path());
        fs::write(folder.path().join("status"), status(own.start)).unwrap();
        assert_eq!(read(), Some(own));
        assert!(own.runs() && !own.stat().unwrap().not_executed);
        let file = |path: &str| ProgramFile::of(Path::new(path)).unwrap();
        assert!(own.executes(&[file("/bin/sh"), file("/proc/self/exe")]));
        assert!(!own.executes(&[file("/bin/sh")]) && !own.executes(&[]));
        fs::write(folder.path().join("status"), status(own.start + 1)).unwrap();
        let other = read().unwrap();
        assert!(!other.runs() && other.hold().is_err());
        fs::write(folder.path().join("status"), r#"{"pid": 0}"#).unwrap();
        assert_eq!(read(), None);
    }

    #[test]
    fn what_is_held_is_killed_and_nothing_else() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let handle = Process::of(child.id()).unwrap().hold().unwrap();
        handle.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(handle.kill().is_err() && !handle.process.runs());
    }
}
