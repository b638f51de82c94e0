//! The kernel's own view of a container's first process, held against the floor.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use coaming_policy::controls::{Mismatch, Node, Rule, Support};
use coaming_policy::floor::{Bound, Visitor};
use coaming_policy::proc::Seen;
use coaming_shim::host;
use coaming_shim::record::Record;
use serde::Serialize;
use serde_json::Value;

/// Controls of which the kernel tells nothing through a process's files.
const NOT_TOLD: [&str; 11] = [
    "exec",
    "refuse",
    "mounts",
    "devices",
    "sysctls",
    "rootfsPropagation",
    "hooks",
    "annotations",
    "resources",
    "fields",
    "landlock",
];

/// Namespaces: their OCI names and those in `/proc/<pid>/ns`.
const NAMESPACES: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("user", "user"),
    ("cgroup", "cgroup"),
    ("mount", "mnt"),
    ("time", "time"),
];

/// What the kernel says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub(crate) enum KernelView {
    /// The process runs.
    Running { pid: u32, controls: Vec<Held> },
    /// The process is the runtime's own still, and not yet confined.
    Created { pid: u32 },
    /// No process runs, or none that can be looked at.
    Unknown { why: String },
}

/// One control, held against the process.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Held {
    pub(crate) control: &'static str,
    pub(crate) outcome: Outcome,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) mismatches: Vec<Mismatch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Outcome {
    /// Nothing that the kernel tells is wider than the rule.
    Held,
    /// Something is.
    Mismatch,
    /// The kernel tells nothing of it.
    NotTold,
}

impl KernelView {
    pub(crate) fn of(record: &Record) -> KernelView {
        let folder = Path::new(&record.runtime_root).join(&record.id);
        let Some(init) = Init::read(&folder) else {
            return KernelView::Unknown {
                why: format!("the runtime has no state of it in {}", folder.display()),
            };
        };
        let pid = init.pid;
        if !init.runs() {
            return KernelView::Unknown { why: format!("its first process, {pid}, has ended") };
        }
        // runc and crun: the FIFO is there until `start` opens it.
        if folder.join("exec.fifo").exists() {
            return KernelView::Created { pid };
        }
        let seen = match see(pid) {
            Ok(seen) => seen,
            Err(error) => {
                return KernelView::Unknown { why: format!("/proc/{pid} cannot be read: {error}") };
            }
        };
        let mut verify =
            Verify { seen: &seen, node: &host::examine(&Value::Null), controls: Vec::new() };
        record.floor.visit(&mut verify);
        let controls = verify.controls;
        // Another process may have been given the pid while it was looked at.
        if !init.runs() {
            return KernelView::Unknown { why: format!("its first process, {pid}, has ended") };
        }
        KernelView::Running { pid, controls }
    }

    pub(crate) fn is_wider(&self) -> bool {
        match self {
            KernelView::Running { controls, .. } => {
                controls.iter().any(|control| control.outcome == Outcome::Mismatch)
            }
            KernelView::Created { .. } | KernelView::Unknown { .. } => false,
        }
    }
}

/// A container's first process, as its runtime's state names it.
struct Init {
    pid: u32,
    /// Field 22 of its `stat`, which tells it from a later process of the same pid.
    start: Option<u64>,
}

impl Init {
    /// runc's `state.json` (libcontainer/container_linux.go, BaseState) or crun's `status`
    /// (src/libcrun/status.c).
    fn read(folder: &Path) -> Option<Init> {
        let json = |name: &str| -> Option<Value> {
            serde_json::from_slice(&fs::read(folder.join(name)).ok()?).ok()
        };
        let (state, pid, start) = match json("state.json") {
            Some(state) => (state, "init_process_pid", "init_process_start"),
            None => (json("status")?, "pid", "process-start-time"),
        };
        let pid = u32::try_from(state.get(pid)?.as_u64()?).ok().filter(|pid| *pid > 0)?;
        Some(Init { pid, start: state.get(start).and_then(Value::as_u64) })
    }

    fn runs(&self) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else {
            return false;
        };
        // The second field is a name in parentheses, which may hold anything; the third is the state.
        let Some((_, rest)) = stat.rsplit_once(") ") else {
            return false;
        };
        let mut fields = rest.split(' ');
        let zombie = matches!(fields.next(), Some("Z" | "X"));
        let start = fields.nth(18).and_then(|start| start.parse().ok());
        !zombie && (self.start.is_none() || self.start == start)
    }
}

fn see(pid: u32) -> std::io::Result<Seen> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
    let mut seen = Seen::default();
    seen.read_status(&read("status")?);
    seen.read_limits(&read("limits")?);
    seen.read_mountinfo(&read("mountinfo")?);
    // Absent, or EINVAL, where no security module has labels (proc_pid_attr(5)).
    seen.label = read("attr/apparmor/current").or_else(|_| read("attr/current")).ok();
    for (name, file) in NAMESPACES {
        let identity = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/{file}"));
        let theirs = match identity(&pid.to_string()) {
            Ok(theirs) => theirs,
            // A kernel without this type has one for all.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let host = identity("1").or_else(|_| identity("self"))?;
        if (theirs.dev(), theirs.ino()) == (host.dev(), host.ino()) {
            seen.host_namespaces.push(name.to_owned());
        }
    }
    Ok(seen)
}

/// Holds every control against the process.
struct Verify<'a> {
    seen: &'a Seen,
    node: &'a Node,
    controls: Vec<Held>,
}

impl Visitor for Verify<'_> {
    fn control<R: Rule>(&mut self, bound: &Bound<R>) {
        if bound.is_empty() {
            return;
        }
        // What this node cannot enforce was left out by leave of the policy, and is in the record.
        let met = bound.clauses().iter().fold(R::top(), |met, clause| {
            match clause.rule.support(self.node) {
                Support::Partial { rule, .. } if clause.best_effort => met.meet(&rule),
                _ => met.meet(&clause.rule),
            }
        });
        let mismatches = met.verify(self.seen);
        let outcome = match mismatches.is_empty() {
            false => Outcome::Mismatch,
            true if NOT_TOLD.contains(&R::CONTROL) => Outcome::NotTold,
            true => Outcome::Held,
        };
        self.controls.push(Held { control: R::CONTROL, outcome, mismatches });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let folder = tempfile::tempdir().unwrap();
        let pid = std::process::id();
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let start: u64 =
            stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().parse().unwrap();
        let status = |start: u64| format!(r#"{{"pid": {pid}, "process-start-time": {start}}}"#);
        fs::write(folder.path().join("status"), status(start)).unwrap();
        assert!(Init::read(folder.path()).unwrap().runs());
        fs::write(folder.path().join("status"), status(start + 1)).unwrap();
        assert!(!Init::read(folder.path()).unwrap().runs());
        fs::write(folder.path().join("status"), r#"{"pid": 0}"#).unwrap();
        assert!(Init::read(folder.path()).is_none());
    }

    #[test]
    fn our_own_namespaces_are_seen() {
        let seen = see(std::process::id()).unwrap();
        assert!(seen.mount_at("/").is_some() && !seen.rlimits.is_empty());
        assert_eq!(seen.uids.len(), 4);
    }
}
