//! Which levels pods have, and a level for one that has none.
//!
//! What a container has stands in its own state, so that it is free again when that goes: by the poststop
//! hook, by `delete`, or by the sweep before the next create. A new pair is none that another container of
//! coaming's has, and none that a process of the machine has now. What another runtime has set aside for a
//! pod of which nothing runs yet cannot be known: containerd and CRI-O keep that in their memory
//! (go-selinux, `label.ReserveLabel`). Bounds (`level`) keep the two apart.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coaming_policy::controls::se_linux::context::Context;
use coaming_policy::controls::se_linux::level::{Pairs, Range};
use coaming_policy::facts::Facts;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::lock;
use crate::state::{self, State, StateError};

/// In a container's private state.
const FILE: &str = "level.json";
const LOCK: &str = "levels.lock";
/// How long another create may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The annotations by which containerd and CRI-O name a container's sandbox, a sandbox's own among them.
const SANDBOXES: [&str; 2] = ["io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID"];

/// The level of one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Held {
    /// Its pod.
    pub pod: String,
    /// Its level.
    pub level: Range,
    /// Whether coaming chose it.
    pub allocated: bool,
}

impl Held {
    pub(super) fn write(&self, state: &State) -> Result<(), StateError> {
        state.write_document(FILE, self)
    }
}

/// What names a container's pod: its sandbox, or else the container itself. Where two sandboxes are named, one
/// is what a pod's author has written, who may be after the files of another pod.
pub(super) fn pod(facts: &Facts) -> String {
    let annotations = facts.annotations.iter().flatten();
    let named: BTreeSet<&String> = annotations
        .filter(|(key, value)| SANDBOXES.contains(&key.as_str()) && !value.is_empty())
        .map(|(_, value)| value)
        .collect();
    match Vec::from_iter(named).as_slice() {
        [sandbox] => format!("sandbox {sandbox}"),
        _ => format!("container {}", facts.id),
    }
}

/// All levels that are held, while nobody else takes one.
#[derive(Debug)]
pub struct Levels {
    held: Vec<Held>,
    base: PathBuf,
    /// The kernel frees it when its holder ends.
    _lock: File,
}

impl Levels {
    /// Waits for whoever takes a level at this moment.
    ///
    /// # Errors
    /// [`StateError::Io`]: the lock cannot be had, or what a container holds cannot be read.
    pub fn lock(base: &Path) -> Result<Levels, StateError> {
        let path = base.join(LOCK);
        let failed = |error| StateError::Io { operation: "lock", path: path.clone(), error };
        let file = lock::exclusive(&path, PATIENCE).map_err(failed)?;
        state::sweep(base);
        Ok(Levels { held: held(base)?, base: base.to_owned(), _lock: file })
    }

    /// The level of a pod: what a container of it has already, or a pair that nobody has.
    ///
    /// # Errors
    /// [`StateError::Io`] where every pair is taken.
    pub fn of_pod(&self, pod: &str, pairs: &Pairs) -> Result<Range, StateError> {
        let mut own = self.held.iter().filter(|held| held.pod == pod);
        if let Some(held) = own.next() {
            return Ok(held.level);
        }
        self.free(pod, pairs, &of_processes(Path::new("/proc")))
    }

    pub(super) fn free(
        &self,
        pod: &str,
        pairs: &Pairs,
        elsewhere: &BTreeSet<Range>,
    ) -> Result<Range, StateError> {
        let taken: BTreeSet<&Range> =
            self.held.iter().map(|held| &held.level).chain(elsewhere).collect();
        // From where the pod's name says, so that a pair is seldom the next pod's after its first has
        // gone: files that it left behind have that level still.
        let first =
            Sha256::digest(pod).iter().take(7).fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let count = pairs.count();
        (0..count)
            .filter_map(|step| pairs.get((first % count + step) % count).map(Range::from))
            .find(|pair| !taken.contains(pair))
            .ok_or_else(|| StateError::Io {
                operation: "allocate an SELinux level (seLinux.podLevel) in",
                path: self.base.clone(),
                error: io::Error::other(format!(
                    "all {count} pairs of categories within spec.seLinux.level are taken; widen it, or stop pods"
                )),
            })
    }

    /// The other pod to which a level was allocated.
    pub fn allocated_to_another(&self, pod: &str, level: &Range) -> Option<&str> {
        let other = |held: &&Held| held.allocated && held.pod != pod && held.level == *level;
        self.held.iter().find(other).map(|held| held.pod.as_str())
    }
}

fn held(base: &Path) -> Result<Vec<Held>, StateError> {
    let folder = base.join("containers");
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => {
            entries.map_err(|error| StateError::Io { operation: "read", path: folder, error })?
        }
    };
    let mut all = Vec::new();
    for entry in entries.flatten() {
        // One that has no level, or goes at this moment, holds none.
        match state::read_document::<Held>(&entry.path().join(FILE)) {
            Err(StateError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
            read => all.push(read?),
        }
    }
    Ok(all)
}

/// The levels that the machine's processes have, ours and those of other runtimes' containers.
pub(super) fn of_processes(proc: &Path) -> BTreeSet<Range> {
    let Ok(entries) = fs::read_dir(proc) else { return BTreeSet::new() };
    let numbered = entries
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit));
    numbered
        .filter_map(|entry| {
            let label = fs::read_to_string(entry.path().join("attr/current")).ok()?;
            Context::of_attribute(&label)?.range()
        })
        .collect()
}
