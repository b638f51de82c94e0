//! What is behind the sources of mounts that the kubelet has mounted to for a `subPath`.
//!
//! The kernel tells the path of a mount within its file system (proc_pid_mountinfo(5)). By every other
//! mount of that file system a path on the host follows, and it counts if the same file or folder is
//! found there: two mounts of one device may have nothing in common (NFS), and one may hide another.
//! Symbolic links are not followed: what the kubelet and containerd name has none left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use coaming_policy::controls::mounts::host_sources;
use coaming_policy::controls::origin::{Origin, is_below_subpaths, is_subpath, may_lead_elsewhere};
use coaming_policy::proc::Mount;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use serde_json::Value;

/// The largest mount table that is read, in bytes: some 100,000 mounts, the kernel's own limit
/// (`fs.mount-max`), with long paths.
const MAX_TABLE: u64 = 64 * 1024 * 1024;

/// What each source of the spec reaches that may lead elsewhere. For most containers there is none, and
/// nothing is read.
pub(crate) fn origins(spec: &Value) -> BTreeMap<String, Vec<Origin>> {
    let sources: BTreeSet<&str> =
        host_sources(spec).filter(|source| may_lead_elsewhere(source)).collect();
    if sources.is_empty() {
        return BTreeMap::new();
    }
    // Open while the table is read, so that the kernel gives their mounts' numbers to no others.
    let open: Vec<_> = sources.into_iter().map(|source| (source, Open::at(source))).collect();
    let table = Table::read().unwrap_or_default();
    let look = |path: &str| Open::at(path).map(|open| open.place);
    open.iter()
        .map(|(source, open)| {
            let place = open.as_ref().map(|open| open.place);
            ((*source).to_owned(), table.behind(source, place, &look))
        })
        .collect()
}

/// What a path leads to: a file or folder, and the mount by which it was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    device: u64,
    inode: u64,
    mount: u64,
}

impl Place {
    fn is_same_file(self, other: Place) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// A path that is held open.
struct Open {
    place: Place,
    _file: File,
}

impl Open {
    /// Opens an absolute path for nothing but to look at it; `None` where that fails, or where a component
    /// is a symbolic link or `..`.
    fn at(path: &str) -> Option<Open> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut inside = path.strip_prefix('/')?.split('/').filter(|part| !part.is_empty());
        let root = open("/", flags, Mode::empty()).ok()?;
        let file = inside.try_fold(root, |folder, part| match part {
            ".." => None,
            // A link is opened itself, and nothing is found below it.
            part => openat(&folder, part, flags, Mode::empty()).ok(),
        })?;
        let file = File::from(file);
        let meta = file.metadata().ok()?;
        if meta.is_symlink() {
            return None;
        }
        let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
        let mount =
            told.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()?;
        Some(Open { place: Place { device: meta.dev(), inode: meta.ino(), mount }, _file: file })
    }
}

/// The mounts of this process's namespace.
#[derive(Debug, Default)]
struct Table(Vec<Mount>);

impl Table {
    fn read() -> Option<Table> {
        let mut bytes = Vec::new();
        File::open("/proc/self/mountinfo")
            .ok()?
            .take(MAX_TABLE + 1)
            .read_to_end(&mut bytes)
            .ok()?;
        // What is no UTF-8 names a path that is then not found.
        if bytes.len() as u64 > MAX_TABLE {
            None
        } else {
            Table::parse(&String::from_utf8_lossy(&bytes))
        }
    }

    /// All lines, or nothing: a mount that is left out might be what was looked for.
    fn parse(text: &str) -> Option<Table> {
        text.lines().map(Mount::parse).collect::<Option<_>>().map(Table)
    }

    /// What a source reaches, which is open at `place`.
    fn behind(
        &self,
        source: &str,
        place: Option<Place>,
        look: &impl Fn(&str) -> Option<Place>,
    ) -> Vec<Origin> {
        let unknown = Origin::default;
        let path = normal(source);
        let found = place.and_then(|place| {
            let mount = self.0.iter().find(|mount| mount.id == place.mount)?;
            Some((place, mount, below(&path, &mount.target)?))
        });
        let Some((place, mount, rest)) = found else { return vec![unknown()] };
        let mut origins = Vec::new();
        if is_below_subpaths(&mount.target) {
            origins.push(self.origin(place, mount, rest, look));
        } else if is_subpath(&path) {
            origins.push(unknown());
        }
        // Mounts that come along where the runtime binds with all below, or that were passed on to there
        // from the folder of which the source is a copy.
        let inside = self.0.iter().filter(|mount| {
            is_below_subpaths(&mount.target)
                && below(&mount.target, &path).is_some_and(|rest| !rest.is_empty())
        });
        origins.extend(inside.map(|mount| match look(&mount.target) {
            Some(place) if place.mount == mount.id => self.origin(place, mount, "", look),
            // Something is mounted over it.
            _ => unknown(),
        }));
        origins
    }

    /// Other paths to what is at `rest` in a mount, and open at `place`.
    fn origin(
        &self,
        place: Place,
        mount: &Mount,
        rest: &str,
        look: &impl Fn(&str) -> Option<Place>,
    ) -> Origin {
        // What was removed has no path (fs/d_path.c, `dentry_path`); the kernel writes no other `//`.
        if mount.root.ends_with("//deleted") {
            return Origin::default();
        }
        let inner = joined(&mount.root, rest);
        let others = self
            .0
            .iter()
            .filter(|other| other.device == mount.device && !is_below_subpaths(&other.target));
        let paths: BTreeSet<String> = others
            .filter_map(|other| Some(joined(&other.target, below(&inner, &other.root)?)))
            .collect();
        let is_here = |path: &String| look(path).is_some_and(|found| found.is_same_file(place));
        Origin { paths: paths.into_iter().filter(is_here).collect() }
    }
}

/// A path as the kernel writes it.
fn normal(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.fold(String::new(), |path, part| format!("{path}/{part}"))
}

/// What a path has beyond a folder that it is, or is below of: nothing, or more components, each after its
/// slash.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let rest = path.trim_end_matches('/').strip_prefix(folder.trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

fn joined(folder: &str, rest: &str) -> String {
    let path = format!("{}{rest}", folder.trim_end_matches('/'));
    if path.is_empty() { "/".to_owned() } else { path }
}

#[cfg(test)]
mod tests;
