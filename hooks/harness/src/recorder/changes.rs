//! What a hook changes: looked at before it and after it, and compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Order;
use crate::{Changed, Changes, Phase};

/// The most things of one kind that are looked at.
const MOST: usize = 20_000;
/// The limits of a cgroup, in either version; the rest counts what happens.
const LIMITS: [&str; 18] = [
    "cpu.max",
    "cpu.weight",
    "cpu.shares",
    "cpu.cfs_quota_us",
    "cpu.cfs_period_us",
    "cpuset.cpus",
    "cpuset.mems",
    "memory.max",
    "memory.high",
    "memory.min",
    "memory.swap.max",
    "memory.limit_in_bytes",
    "pids.max",
    "io.max",
    "devices.list",
    "blkio.weight",
    "hugetlb.2MB.max",
    "misc.max",
];

/// Everything of interest, by kind.
pub(super) type Look = BTreeMap<&'static str, BTreeSet<String>>;

/// Where to look.
pub(super) struct Places {
    /// The process whose view of the file systems counts: the container's first, or the hook itself.
    process: String,
    /// The container's /dev, in the hook's view.
    devices: PathBuf,
    upper: PathBuf,
    /// Whether the numbers in a state are those of this /proc.
    sees_container: bool,
}

impl Places {
    pub(super) fn of(order: &Order, state: &[u8]) -> Places {
        let pid = serde_json::from_slice::<Value>(state)
            .ok()
            .and_then(|state| state.get("pid").and_then(Value::as_u64))
            .filter(|pid| *pid > 0 && !order.phase.is_in_container());
        let upper = order.upper.clone();
        let Some(pid) = pid else {
            let devices = match order.phase {
                Phase::StartContainer => PathBuf::from("/dev"),
                _ => order.rootfs.join("dev"),
            };
            return Places { process: "self".to_owned(), devices, upper, sees_container: false };
        };
        // Before pivot_root the container's process still has the host's root.
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        let inner = root.join(order.rootfs.strip_prefix("/").unwrap_or(&order.rootfs)).join("dev");
        let devices = if inner.is_dir() { inner } else { root.join("dev") };
        Places { process: pid.to_string(), devices, upper, sees_container: true }
    }

    pub(super) fn look(&self) -> Look {
        let mut look = Look::new();
        look.insert("mount", mounts(&self.process));
        if self.sees_container {
            // In the runtime's own namespaces, too.
            let own = mounts("self").into_iter().map(|mount| format!("{mount} (on the host)"));
            look.entry("mount").or_default().extend(own);
            look.insert("interface", interfaces(&self.process));
            look.insert("cgroup", limits(&self.process));
        }
        look.insert("device", devices(&self.devices));
        look.insert("file", files(&self.upper));
        look
    }
}

pub(super) fn between(before: &Look, after: &Look) -> Changes {
    let nothing = BTreeSet::new();
    let mut changes = Changes::new();
    for (kind, now) in after {
        let then = before.get(kind).unwrap_or(&nothing);
        let one = |how: &str, what: &String| Changed { how: how.to_owned(), what: what.clone() };
        let added = now.difference(then).map(|what| one("added", what));
        let removed = then.difference(now).map(|what| one("removed", what));
        let all: Vec<Changed> = removed.chain(added).collect();
        if !all.is_empty() {
            changes.insert((*kind).to_owned(), all);
        }
    }
    changes
}

/// Mounts, as `TYPE SOURCE at PLACE OPTIONS` (proc_pid_mountinfo(5)).
fn mounts(process: &str) -> BTreeSet<String> {
    let table = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default();
    table
        .lines()
        .take(MOST)
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(3);
            let (root, place, options) = (left.next()?, left.next()?, left.next()?);
            let mut right = right.split(' ');
            let (kind, source) = (right.next()?, right.next()?);
            Some(format!("{kind} {source}:{root} at {place} {options}"))
        })
        .collect()
}

fn devices(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    entries
        .flatten()
        .take(MOST)
        .filter_map(|entry| {
            let meta = fs::symlink_metadata(entry.path()).ok()?;
            let kind = meta.file_type();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            (kind.is_block_device() || kind.is_char_device())
                .then(|| format!("{name} {:o} {:#x}", meta.mode(), meta.rdev()))
        })
        .collect()
}

/// What is in the layer that takes the changes of the root file system: by path, size and time of change.
fn files(upper: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![upper.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            if found.len() >= MOST {
                return found;
            }
            let path = entry.path();
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            if meta.is_dir() {
                folders.push(path.clone());
            }
            let inside = path.strip_prefix(upper).unwrap_or(&path).display().to_string();
            // A folder's times change with each entry, which is there itself.
            let detail = match meta.is_dir() {
                true => format!("{:o}", meta.mode()),
                false => {
                    let (seconds, nanos) = (meta.mtime(), meta.mtime_nsec());
                    format!("{:o} {} bytes, {seconds}.{nanos}", meta.mode(), meta.size())
                }
            };
            found.insert(format!("/{inside} {detail}"));
        }
    }
    found
}

fn interfaces(process: &str) -> BTreeSet<String> {
    let table = fs::read_to_string(format!("/proc/{process}/net/dev")).unwrap_or_default();
    table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

/// The limits of a process's cgroups (cgroups(7)).
fn limits(process: &str) -> BTreeSet<String> {
    let memberships = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
    let mut found = BTreeSet::new();
    for line in memberships.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let group = group.trim_start_matches('/');
        let folder = Path::new("/sys/fs/cgroup").join(controllers.trim_start_matches("name="));
        for name in LIMITS {
            if let Ok(value) = fs::read_to_string(folder.join(group).join(name)) {
                found.insert(format!("{name} {}", value.trim().replace('\n', ", ")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_gone_or_otherwise_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("kept"), "1").unwrap();
        fs::write(folder.path().join("gone"), "1").unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        let look = || Look::from([("file", files(folder.path()))]);
        let before = look();
        assert_eq!(between(&before, &look()), Changes::new());
        fs::remove_file(folder.path().join("gone")).unwrap();
        fs::write(folder.path().join("kept"), "12").unwrap();
        fs::write(folder.path().join("etc/new"), "").unwrap();
        let changes = between(&before, &look());
        let named: Vec<String> = changes["file"]
            .iter()
            .map(|change| format!("{} {}", change.how, change.what.split(' ').next().unwrap()))
            .collect();
        assert_eq!(named, ["removed /gone", "removed /kept", "added /etc/new", "added /kept"]);
    }

    #[test]
    fn this_machine_has_mounts_and_devices() {
        assert!(mounts("self").iter().any(|mount| mount.contains(" at / ")));
        assert!(devices(Path::new("/dev")).iter().any(|device| device.starts_with("null ")));
        assert!(interfaces("self").contains("lo"));
    }
}
