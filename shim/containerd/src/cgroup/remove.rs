//! Removing the cgroups of a container that its runtime has forgotten.
//!
//! A runtime that is killed amid a create has made cgroups and moved a process into them, and has not yet written down
//! that there is a container: its `delete --force` then knows nothing of them (runc, `libcontainer/factory_linux.go`).

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Cgroup, ROOT, v1};
use crate::sys;

/// For the processes of a cgroup to end once they are killed.
const PATIENCE: Duration = Duration::from_millis(1_000);
/// Cgroups within the container's own, at most: one that is in a user's hands may be a maze.
const MOST: usize = 1024;

/// Removes what is left of the cgroups at a `linux.cgroupsPath`, with the processes in them. A path whose last name is
/// not the container's id may be someone else's too, and is let be, as is what systemd manages (`slice:prefix:name`).
pub(crate) fn remove(cgroups_path: &str, id: &str) -> io::Result<()> {
    let Some(below) = own(cgroups_path, id) else { return Ok(()) };
    if Cgroup::is_v2() {
        return clear(&[Path::new(ROOT).join(below)]);
    }
    let hierarchies = v1::Hierarchies::of_this_process()?;
    clear(&hierarchies.mount_points().map(|point| point.join(&below)).collect::<Vec<_>>())
}

/// The path below the root of a hierarchy, where it is the container's alone.
pub(crate) fn own(cgroups_path: &str, id: &str) -> Option<PathBuf> {
    let path = Path::new(cgroups_path.trim_start_matches('/'));
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && !cgroups_path.contains(':') && path.file_name()? == id).then(|| path.to_owned())
}

/// Again and again, until none is there at two looks: what makes them may be about to die.
fn clear(folders: &[PathBuf]) -> io::Result<()> {
    let there = || folders.iter().filter(|folder| folder.is_dir());
    let until = Instant::now() + PATIENCE;
    let mut absent = if there().next().is_none() { 2 } else { 0 };
    while absent < 2 {
        let mut left = Ok(());
        for folder in there() {
            left = attempt(folder).and(left);
        }
        absent = if there().next().is_none() { absent + 1 } else { 0 };
        if Instant::now() >= until {
            return left;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn attempt(folder: &Path) -> io::Result<()> {
    let mut left = Ok(());
    // The innermost first.
    for folder in within(folder)?.iter().rev() {
        kill(folder);
        match fs::remove_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => left = Err(error),
            _ => {}
        }
    }
    left
}

/// The cgroup and those within it, each before its own.
fn within(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut folders = vec![folder.to_owned()];
    let mut next = 0;
    while let Some(folder) = folders.get(next).cloned() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
        if folders.len() > MOST {
            return Err(io::Error::other(format!("more than {MOST} cgroups")));
        }
        next += 1;
    }
    Ok(folders)
}

fn kill(folder: &Path) {
    let processes = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    for pid in processes.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 1)
    {
        // It may have ended just now.
        let _ = sys::kill(pid, nix::libc::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_that_ends_in_the_id_is_the_containers() {
        for path in ["/k8s.io/c1", "k8s.io/c1", "/kubepods/besteffort/pod1/c1", "c1"] {
            assert!(own(path, "c1").is_some(), "{path}");
        }
        for path in [
            "",
            "/",
            "/k8s.io",
            "/k8s.io/c1/x",
            "/../c1",
            "/a/../c1",
            "system.slice:cri:c1",
            "/c12",
        ] {
            assert_eq!(own(path, "c1"), None, "{path}");
        }
    }

    #[test]
    fn a_cgroup_goes_with_its_processes() {
        let name = format!("coaming-test-{}", std::process::id());
        let path = format!("/coaming-tests/{name}");
        let root = if Cgroup::is_v2() {
            PathBuf::from(ROOT)
        } else {
            let hierarchies = v1::Hierarchies::of_this_process().unwrap();
            hierarchies
                .mount_points()
                .find(|point| point.join("cgroup.procs").exists())
                .unwrap()
                .to_owned()
        };
        let folder = root.join("coaming-tests").join(&name);
        fs::create_dir_all(folder.join("inner")).unwrap();
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        fs::write(folder.join("inner/cgroup.procs"), child.id().to_string()).unwrap();
        // A zombie is still a member: someone has to reap it.
        let reaper = std::thread::spawn(move || child.wait());
        remove(&path, &name).unwrap();
        assert!(!folder.exists());
        reaper.join().unwrap().unwrap();
        remove(&path, &name).unwrap();
        fs::remove_dir(root.join("coaming-tests")).unwrap();
    }
}
