//! What /proc tells of a process: when it began, and its cgroups.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use nix::time::{ClockId, clock_gettime};

/// The largest file of /proc that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;
/// A start time is told in hundredths of a second (`USER_HZ`, on every architecture that Linux has today).
const MILLIS_PER_TICK: u64 = 10;
/// The number of the node's own pid namespace (linux/proc_ns.h, `PROC_PID_INIT_INO`).
const OWN_NAMESPACE: &str = "pid:[4026531836]";

/// A mounted /proc.
#[derive(Debug)]
pub(super) struct Processes {
    folder: PathBuf,
    /// Whether its pids are those of the kernel's records.
    pub(super) is_the_nodes: bool,
    /// When the node started, in milliseconds since 1970, by its clock of today.
    boot: u64,
}

/// A process that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Running {
    /// Field 22 of its `stat`, which tells it from a later process of the same pid.
    pub(super) start: u64,
}

impl Processes {
    pub(super) fn at(folder: &Path) -> Processes {
        let millis = |clock| {
            let time = clock_gettime(clock)
                .map_or(0, |time| time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000);
            u64::try_from(time).unwrap_or(0)
        };
        let boot = millis(ClockId::CLOCK_REALTIME).saturating_sub(millis(ClockId::CLOCK_BOOTTIME));
        // Process 1 may be one that not even root may look at; we are in this /proc only where it is of our namespace
        // or one above.
        let is_the_nodes = ["1", "self"].iter().any(|process| {
            fs::read_link(folder.join(process).join("ns/pid"))
                .is_ok_and(|namespace| namespace.as_os_str() == OWN_NAMESPACE)
        });
        Processes { folder: folder.to_owned(), is_the_nodes, boot }
    }

    /// The process of this pid; `None` where it has ended, or is ending.
    pub(super) fn running(&self, pid: u32) -> Option<Running> {
        let stat = self.read(pid, "stat")?;
        // The second field is a name in parentheses, which may hold anything; the third is the state.
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        if matches!(fields.next(), Some("Z" | "X")) {
            return None;
        }
        Some(Running { start: fields.nth(18)?.parse().ok()? })
    }

    /// When a start time was, in milliseconds since 1970.
    pub(super) fn began(&self, start: u64) -> u64 {
        self.boot.saturating_add(start.saturating_mul(MILLIS_PER_TICK))
    }

    /// Its cgroups: hierarchy and path, as we see them.
    pub(super) fn cgroups(&self, pid: u32) -> Option<Vec<(String, String)>> {
        let text = self.read(pid, "cgroup")?;
        let mut cgroups = Vec::new();
        for line in text.lines() {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            cgroups.push((controllers.to_owned(), path.to_owned()));
        }
        Some(cgroups)
    }

    fn read(&self, pid: u32, name: &str) -> Option<String> {
        let mut bytes = Vec::new();
        let file = File::open(self.folder.join(pid.to_string()).join(name)).ok()?;
        file.take(MAX_FILE).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_process_began_before_now_and_after_the_node() {
        let processes = Processes::at(Path::new("/proc"));
        let own = processes.running(std::process::id()).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let began = processes.began(own.start);
        assert!(began > processes.boot && u128::from(began) <= now.as_millis());
        assert!(now.as_millis() - u128::from(began) < 3_600_000, "an hour ago?");
        assert!(!processes.cgroups(std::process::id()).unwrap().is_empty());
        assert_eq!(processes.running(u32::MAX), None);
    }
}
