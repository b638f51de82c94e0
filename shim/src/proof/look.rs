//! Looking at a process: the files of `/proc/<pid>`, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use coaming_policy::floor::Floor;
use coaming_policy::proc::Seen;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;

use super::process::Process;
use crate::apparmor::Profiles;

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
/// The most descriptors that are looked at.
const MAX_DESCRIPTORS: usize = 4096;
/// The largest file of `/proc` that is read, in bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// What was seen of a process.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// What the controls judge.
    pub seen: Seen,
    /// Its namespaces by OCI name, as device and inode.
    pub namespaces: BTreeMap<String, (u64, u64)>,
    /// Where its working directory is.
    pub cwd: Option<Place>,
    /// The directories that it has open, by descriptor.
    pub directories: BTreeMap<u32, Place>,
    /// Ids in its user namespace and outside: first inside, first outside, how many.
    pub uid_map: Vec<[u64; 3]>,
}

/// A directory, by the mount in which it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The number of the mount.
    pub mount: u64,
    /// As the kernel names it to us.
    pub path: String,
}

impl Look {
    /// Looks at a process; the floor says which paths it must be asked for.
    ///
    /// # Errors
    /// The process is gone, or `/proc` is not there.
    pub fn at(process: &Process, floor: &Floor) -> io::Result<Look> {
        let pid = process.pid;
        let read_file = |name: &str| read_text(&format!("/proc/{pid}/{name}"));
        let mut look = Look::default();
        let seen = &mut look.seen;
        seen.read_status(&read_file("status")?);
        seen.read_limits(&read_file("limits")?);
        seen.read_mountinfo(&read_file("mountinfo")?);
        // Absent, or EINVAL, where no security module has labels (proc_pid_attr(5)).
        seen.label = read_file("attr/apparmor/current").or_else(|_| read_file("attr/current")).ok();
        // Under its name is now another profile than the one that the policy brought: it is shown so, and is within
        // no rule.
        let of_node = Profiles::of_node(None);
        if let Some(label) = &mut seen.label
            && let Some(name) = of_node.replaced(label).map(str::to_owned)
        {
            *label = format!("{} (but {name} was replaced by another profile)", label.trim_end());
        }
        look.uid_map = match is_in_our_user_namespace(pid) {
            // The file names ids of the namespace above ours (user_namespaces(7)), and all else names ours.
            true => vec![[0, 0, u64::from(u32::MAX)]],
            false => read_file("uid_map").map(|text| id_map(&text)).unwrap_or_default(),
        };
        for (name, file) in NAMESPACES {
            let identity = |pid: &str| {
                fs::metadata(format!("/proc/{pid}/ns/{file}")).map(|meta| (meta.dev(), meta.ino()))
            };
            let theirs = match identity(&pid.to_string()) {
                Ok(theirs) => theirs,
                // A kernel without this type has one for all.
                Err(error) if error.kind() == io::ErrorKind::NotFound && process.runs() => continue,
                Err(error) => return Err(error),
            };
            if theirs == identity("1").or_else(|_| identity("self"))? {
                seen.host_namespaces.push(name.to_owned());
            }
            look.namespaces.insert(name.to_owned(), theirs);
        }
        seen.present = present(pid, floor);
        look.cwd = place(&format!("/proc/{pid}/cwd"));
        look.directories = directories(pid)?;
        Ok(look)
    }

    /// The mounts that it sees.
    pub fn mounts(&self) -> BTreeSet<u64> {
        self.seen.mounts.iter().map(|mount| mount.id).collect()
    }

    /// An id of its user namespace, as we number it.
    pub fn outside(&self, inside: u64) -> Option<u64> {
        self.uid_map.iter().find_map(|[first, outside, count]| {
            let offset = inside.checked_sub(*first).filter(|offset| offset < count)?;
            outside.checked_add(offset)
        })
    }
}

fn is_in_our_user_namespace(pid: u32) -> bool {
    let identity = |pid: &str| {
        fs::metadata(format!("/proc/{pid}/ns/user")).map(|meta| (meta.dev(), meta.ino())).ok()
    };
    identity(&pid.to_string()).is_some_and(|theirs| identity("self") == Some(theirs))
}

/// Reads a file of `/proc`.
pub(super) fn read_text(path: &str) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `uid_map` (user_namespaces(7)).
fn id_map(text: &str) -> Vec<[u64; 3]> {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
        Some([numbers.next()??, numbers.next()??, numbers.next()??])
    };
    text.lines().filter_map(line).collect()
}

/// Which of the paths that the floor masks or wants read-only are there, in the process's own root and
/// never outside of it, whatever links there are on the way.
fn present(pid: u32, floor: &Floor) -> BTreeSet<String> {
    let mut paths = floor.masked_paths.met().0;
    paths.extend(floor.readonly_paths.met().0);
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let Ok(root) =
        open(format!("/proc/{pid}/root").as_str(), flags | OFlag::O_DIRECTORY, Mode::empty())
    else {
        return BTreeSet::new();
    };
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    paths.into_iter().filter(|path| openat2(&root, path.as_str(), how).is_ok()).collect()
}

/// The directories that a process has open. Of its other descriptors only those lead anywhere by name
/// that are directories.
fn directories(pid: u32) -> io::Result<BTreeMap<u32, Place>> {
    let mut directories = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))?.take(MAX_DESCRIPTORS) {
        // A descriptor may be closed while we look.
        let Ok(entry) = entry else { continue };
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let link = format!("/proc/{pid}/fd/{}", entry.file_name().display());
        let (Some(number), true) = (number, fs::metadata(&link).is_ok_and(|meta| meta.is_dir()))
        else {
            continue;
        };
        if let Some(place) = place(&link) {
            directories.insert(number, place);
        }
    }
    Ok(directories)
}

/// Where a link of `/proc` leads; none where it leads nowhere any more, or to no directory.
fn place(link: &str) -> Option<Place> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_DIRECTORY;
    let directory = open(link, flags, Mode::empty()).ok()?;
    let info = read_text(&format!("/proc/self/fdinfo/{}", directory.as_raw_fd())).ok()?;
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()?;
    let path = fs::read_link(link).map(|path| path.display().to_string()).unwrap_or_default();
    Some(Place { mount, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Look {
        let process = Process::of(std::process::id()).unwrap();
        Look::at(&process, &Floor::default()).unwrap()
    }

    #[test]
    fn our_own_process_is_seen() {
        let folder = File::open("/").unwrap();
        let look = own();
        assert!(look.seen.mount_at("/").is_some() && !look.seen.rlimits.is_empty());
        assert_eq!(look.seen.uids.len(), 4);
        // Whatever its namespace calls itself above.
        assert_eq!(look.outside(7), Some(7));
        assert!(look.namespaces.contains_key("mount"));
        let mounts = look.mounts();
        assert!(look.cwd.is_some_and(|cwd| mounts.contains(&cwd.mount)));
        let number = u32::try_from(folder.as_raw_fd()).unwrap();
        assert_eq!(look.directories[&number].path, "/");
        assert!(mounts.contains(&look.directories[&number].mount));
    }

    #[test]
    fn ids_are_mapped() {
        let look = Look { uid_map: id_map("0 100000 1000\n  5000 7 1\nx\n"), ..Look::default() };
        assert_eq!((look.outside(0), look.outside(999)), (Some(100_000), Some(100_999)));
        assert_eq!((look.outside(1000), look.outside(5000)), (None, Some(7)));
    }

    #[test]
    fn paths_are_looked_for_in_the_processs_own_root() {
        let text = "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {name: p}\nspec:\n  \
                    maskedPaths: [/proc/self/status, /proc/none, /proc/version]\n";
        let policy = coaming_policy::document::parse_policies("p.yaml", text).unwrap().remove(0);
        let floor = policy.floor("p.yaml", &mut |_| panic!("no profiles")).unwrap();
        let found = present(std::process::id(), &floor);
        assert!(found.contains("/proc/version") && !found.contains("/proc/none"), "{found:?}");
    }
}
