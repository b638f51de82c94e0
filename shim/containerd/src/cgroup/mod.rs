//! Control groups of containers: what they use, and when their memory runs out.

mod files;
mod oom;
pub(crate) mod remove;
mod v1;
mod v2;

use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use protobuf::Message;
use protobuf::well_known_types::any::Any;

pub(crate) use oom::OomWatch;
pub(crate) use remove::remove;

/// Where cgroup v2 is mounted, or the folder of the mounts of v1.
const ROOT: &str = "/sys/fs/cgroup";

/// A container's place in the hierarchy, or the hierarchies.
#[derive(Debug, Clone)]
pub(crate) enum Cgroup {
    V1(v1::Group),
    V2(v2::Group),
}

impl Cgroup {
    /// That of a process. One that has ended has left its cgroup, and is not found.
    pub(crate) fn of_process(pid: i32) -> io::Result<Cgroup> {
        let said = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let group = if Cgroup::is_v2() {
            Cgroup::V2(v2::Group::parse(&said, Path::new(ROOT))?)
        } else {
            Cgroup::V1(v1::Group::parse(&said, &v1::Hierarchies::of_this_process()?)?)
        };
        // Checked last: a process that lived at this point was in its cgroup when it was asked.
        if has_ended(pid) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the process has ended"));
        }
        Ok(group)
    }

    /// `io.containerd.cgroups.v1.Metrics` or `io.containerd.cgroups.v2.Metrics`, with the fields that containerd's own
    /// shim fills.
    pub(crate) fn stats(&self) -> io::Result<Any> {
        match self {
            Cgroup::V1(group) => any("io.containerd.cgroups.v1", &group.stats()?),
            Cgroup::V2(group) => any("io.containerd.cgroups.v2", &group.stats()?),
        }
    }

    /// v2: makes all controllers available to this cgroup, as the Go shim does; v1: nothing.
    pub(crate) fn enable_controllers(&self) -> io::Result<()> {
        match self {
            Cgroup::V1(_) => Ok(()),
            Cgroup::V2(group) => group.enable_controllers(),
        }
    }

    /// Whether this machine has v2 alone; v2 beside v1 counts as v1.
    pub(crate) fn is_v2() -> bool {
        statfs(ROOT).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
    }
}

/// Moves a process into a cgroup that exists.
pub(crate) fn join(cgroup: &str, pid: u32) -> io::Result<()> {
    let path = Path::new(cgroup);
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path has \"..\" in it"));
    }
    let below = path.strip_prefix("/").unwrap_or(path);
    let folders: Vec<PathBuf> = if Cgroup::is_v2() {
        vec![Path::new(ROOT).join(below)]
    } else {
        let hierarchies = v1::Hierarchies::of_this_process()?;
        hierarchies.mount_points().map(|point| point.join(below)).filter(|f| f.is_dir()).collect()
    };
    if folders.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no such cgroup"));
    }
    folders.iter().try_for_each(|folder| add_process(&folder.join("cgroup.procs"), pid))
}

/// The kernel answers EINVAL for a process that is still being made (runc pull request 1950).
fn add_process(file: &Path, pid: u32) -> io::Result<()> {
    let write = || {
        std::fs::OpenOptions::new()
            .write(true)
            .open(file)
            .and_then(|mut opened| io::Write::write_all(&mut opened, pid.to_string().as_bytes()))
    };
    for _ in 0..4 {
        match write() {
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
                std::thread::sleep(Duration::from_millis(30));
            }
            other => return other,
        }
    }
    write()
}

/// A process that is dead and not yet reaped is, in v1, in the root of every hierarchy.
fn has_ended(pid: i32) -> bool {
    // The name, in parentheses, may hold anything; the state follows the last one.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| {
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
        matches!(state, None | Some('Z' | 'X'))
    })
}

fn any<M: Message>(package: &str, metrics: &M) -> io::Result<Any> {
    Ok(Any {
        type_url: format!("{package}.{}", M::NAME),
        value: metrics.write_to_bytes().map_err(io::Error::other)?,
        ..Any::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_has_a_cgroup_with_stats() {
        let own = i32::try_from(std::process::id()).unwrap();
        let cgroup = Cgroup::of_process(own).unwrap();
        let stats = cgroup.stats().unwrap();
        let version = if Cgroup::is_v2() { 2 } else { 1 };
        assert_eq!(stats.type_url, format!("io.containerd.cgroups.v{version}.Metrics"));
        assert!(!stats.value.is_empty());
    }

    #[test]
    fn a_dead_process_has_none() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        while !has_ended(pid) {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(Cgroup::of_process(pid).unwrap_err().kind(), io::ErrorKind::NotFound);
        child.wait().unwrap();
        assert_eq!(Cgroup::of_process(pid).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_a_cgroup_that_exists_is_joined() {
        let own = std::process::id();
        assert_eq!(join("/../x", own).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(join("/no/such/cgroup", own).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
