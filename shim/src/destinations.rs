//! Where mounts lead: their destinations in the container's root, by links of the image and of volumes, and their sources
//! on the host, by links in volumes.
//!
//! The runtimes follow them, within the root (runc's securejoin, crun's openat2), and make device nodes and masks on top
//! of what lies there: a volume that comes to lie on /dev by a link takes the masks away (CVE-2025-31133). A volume that
//! another container changes between this look and the runtime's is not seen through.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use coaming_policy::spec::view;
use serde_json::Value;

/// As many links as the kernel follows, and more.
const MAX_LINKS: usize = 64;

/// Folders in which programs of the node have theirs (`/var/lib/kubelet`), which may be links to another disk.
const STATE_FOLDERS: [&str; 2] = ["/var/lib", "/run"];

/// The places in which the policy protects destinations.
const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Writes the destination of each mount that a link leads to /proc, /sys or /dev as what it is, so that it is judged as
/// that, and mounted there. Those in a circle of links are written as the root, which nothing may be mounted on. The
/// source of a bind mount is written without the links that it goes through.
pub fn settle(spec: &mut Value, bundle: &Path) {
    let Some(root) = view::text(spec, "root.path") else { return };
    let mut container = Container { root: bundle.join(root), mounts: Vec::new() };
    let Some(mounts) = spec.get_mut("mounts").and_then(Value::as_array_mut) else { return };
    for mount in mounts {
        if let Some(real) = view::text(mount, "source").and_then(real_source)
            && let Some(source) = mount.get_mut("source")
        {
            *source = real.into();
        }
        let Some(destination) = view::text(mount, "destination") else { continue };
        let at = container.resolve(destination).unwrap_or_else(|| PathBuf::from("/"));
        let is_kernels = KERNELS.iter().any(|place| at.starts_with(place)) || at == Path::new("/");
        let moved = is_kernels && at != written(destination);
        let source = view::text(mount, "source").filter(|source| source.starts_with('/'));
        container.mounts.push((at.clone(), source.map(PathBuf::from)));
        if moved && let Some(place) = mount.get_mut("destination") {
            *place = at.display().to_string().into();
        }
    }
}

/// As much of a path as the machine's own layout may make links, which policies may name: two components (`/var/run`),
/// and one more below [`STATE_FOLDERS`].
fn machines(path: &Path) -> PathBuf {
    let is_state = STATE_FOLDERS.iter().any(|folder| path.starts_with(folder));
    let own = if is_state { 3 } else { 2 };
    path.components().take(1 + own).collect()
}

/// What a source is without links, where that differs; the machine's own stay.
fn real_source(source: &str) -> Option<String> {
    let source = Path::new(source);
    let written: PathBuf = source.is_absolute().then(|| source.components().collect())?;
    let machines = machines(&written);
    let real = fs::canonicalize(&written).ok()?;
    let rest = written.strip_prefix(&machines).ok()?;
    if fs::canonicalize(&machines).is_ok_and(|folder| folder.join(rest) == real) {
        return None;
    }
    // What a magic link of /proc says is no path.
    let same = |left: fs::Metadata, right: fs::Metadata| {
        (left.dev(), left.ino()) == (right.dev(), right.ino())
    };
    let is_it = same(fs::metadata(&written).ok()?, fs::symlink_metadata(&real).ok()?);
    is_it.then(|| real.to_str().map(str::to_owned)).flatten()
}

/// Without `.` and doubled slashes.
fn written(destination: &str) -> PathBuf {
    Path::new("/").join(destination).components().collect()
}

/// A container's files as they will be once it has its first mounts.
struct Container {
    root: PathBuf,
    /// Where each leads, and what of the host is there; nothing of the host, where it is a file system of its own.
    mounts: Vec<(PathBuf, Option<PathBuf>)>,
}

impl Container {
    fn resolve(&self, destination: &str) -> Option<PathBuf> {
        let mut reached = PathBuf::from("/");
        let mut ahead = parts(Path::new(destination));
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            if part == ".." {
                reached.pop();
                continue;
            }
            let next = reached.join(&part);
            match self.on_the_host(&next).and_then(|path| fs::read_link(path).ok()) {
                None => reached = next,
                Some(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    if target.is_absolute() {
                        reached = PathBuf::from("/");
                    }
                    parts(&target).into_iter().rev().for_each(|part| ahead.push_front(part));
                }
            }
        }
        Some(reached)
    }

    /// Where the host has what the container finds at a path without links.
    fn on_the_host(&self, path: &Path) -> Option<PathBuf> {
        let over = self.mounts.iter().filter(|(at, _)| path.starts_with(at));
        // The innermost, and of two at one place the later.
        match over.max_by_key(|(at, _)| at.components().count()) {
            Some((at, _)) if at == path => None,
            Some((at, source)) => Some(source.as_ref()?.join(path.strip_prefix(at).ok()?)),
            None => Some(self.root.join(path.strip_prefix("/").ok()?)),
        }
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::symlink;

    /// Where the last of these comes to lie.
    fn settled(destinations: &[(&str, &str)]) -> String {
        let bundle = tempfile::tempdir().unwrap();
        let root = bundle.path().join("rootfs");
        fs::create_dir_all(root.join("usr/share")).unwrap();
        symlink("/dev", root.join("data")).unwrap();
        symlink("../../proc", root.join("usr/share/up")).unwrap();
        symlink("usr/share", root.join("share")).unwrap();
        symlink("/dev/pts", root.join("dangling")).unwrap();
        symlink("circle", root.join("circle")).unwrap();
        let volume = bundle.path().join("volume");
        fs::create_dir_all(volume.join("real")).unwrap();
        symlink("/dev", volume.join("link")).unwrap();
        let mounts: Vec<Value> = destinations
            .iter()
            .map(|(at, source)| {
                let source = match *source {
                    "volume" => volume.display().to_string(),
                    other => other.to_owned(),
                };
                json!({"destination": at, "source": source, "type": "bind"})
            })
            .collect();
        let mut spec = json!({"root": {"path": "rootfs"}, "mounts": mounts});
        settle(&mut spec, bundle.path());
        spec["mounts"][destinations.len() - 1]["destination"].as_str().unwrap().to_owned()
    }

    #[test]
    fn links_of_the_image_are_followed_within_it() {
        for (written, real) in [
            ("/data", "/dev"),
            ("/data/null", "/dev/null"),
            ("//usr/./share/up/keys", "/proc/keys"),
            ("/usr/../data/x", "/dev/x"),
            ("/dangling/x", "/dev/pts/x"),
            ("/circle", "/"),
        ] {
            assert_eq!(settled(&[(written, "/x")]), real);
        }
    }

    #[test]
    fn what_leads_to_no_such_place_stays_as_it_is_written() {
        for written in ["/share/new/folder", "/usr/share", "/new//folder", "/dev/shm", "/dev//shm"]
        {
            assert_eq!(settled(&[(written, "/x")]), written);
        }
    }

    #[test]
    fn links_of_a_volume_are_followed_too() {
        let at = "/mnt/link/null";
        assert_eq!(settled(&[("/mnt", "volume"), (at, "/x")]), "/dev/null");
        assert_eq!(settled(&[(at, "/x")]), at, "nothing is there yet");
        assert_eq!(settled(&[("/mnt", "tmpfs"), (at, "/x")]), at, "an empty file system");
        assert_eq!(settled(&[("/mnt", "volume"), ("/mnt/real/new", "/x")]), "/mnt/real/new");
        // By the image to a volume, and on.
        assert_eq!(settled(&[("/usr/share", "volume"), ("/share/link", "/x")]), "/dev");
        assert_eq!(
            settled(&[("/new", "volume"), ("/new/real", "volume"), ("/new/real/link", "/x")]),
            "/dev"
        );
    }

    #[test]
    fn the_machines_own_links_end_where_containers_write() {
        for (path, own) in [
            ("/var/run/docker.sock", "/var/run"),
            ("/var/lib/kubelet/pods/9f/volumes", "/var/lib/kubelet"),
            ("/var/library/x/y", "/var/library"),
            ("/run/containerd/x", "/run/containerd/x"),
            ("/run/containers/storage/x", "/run/containers/storage"),
            ("/srv/data/x/y", "/srv/data"),
            ("/srv", "/srv"),
        ] {
            assert_eq!(machines(Path::new(path)), Path::new(own), "{path}");
        }
    }

    #[test]
    fn sources_are_written_without_links_but_the_machines_own() {
        let folder = tempfile::tempdir().unwrap();
        let place = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(place.join("secret")).unwrap();
        symlink(place.join("secret"), place.join("link")).unwrap();
        let real = |path: &Path| real_source(path.to_str().unwrap());
        let secret = place.join("secret").display().to_string();
        assert_eq!(real(&place.join("x/../link")), None, "x is not there, and the runtime says so");
        assert_eq!(real(&place.join("link")), Some(secret.clone()));
        assert_eq!(real(&place.join("link/.")), Some(secret.clone()));
        assert_eq!(real(&place.join("secret/../link")), Some(secret));
        assert_eq!(real(&place.join("secret/.")), None);
        assert_eq!(real_source("/proc/self/ns/net"), None);
        assert_eq!(real_source("tmpfs"), None);
        assert_eq!(real_source("/bin/sh/../../nothing"), None);
    }
}
