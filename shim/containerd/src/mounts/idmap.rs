//! Mounts whose files belong to the users of a user namespace (`uidmap=`, `gidmap=`; mount_setattr(2)).
//!
//! containerd asks for them when a pod has its own users and the snapshotter leaves the layers as they are. As there, an
//! overlay gets mapped layers, for the time of the mount in a directory of their own; any other mount is mapped itself.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;

use super::MountError;
use super::options::{OwnerMap, Range, common_directory, layers as layers_of};
use crate::sys::{self, NamespaceHolder};

/// Where layers are mounted while an overlay of them is made.
const PLACES: &str = "/run/coaming/layers";

/// A user namespace that has this map and no process.
pub(super) fn namespace(map: &OwnerMap, path: &Path) -> Result<OwnedFd, MountError> {
    let make = || {
        let holder = NamespaceHolder::new()?;
        let process = PathBuf::from(format!("/proc/{}", holder.pid()));
        fs::write(process.join("uid_map"), lines(&map.uids))?;
        fs::write(process.join("gid_map"), lines(&map.gids))?;
        File::open(process.join("ns/user")).map(OwnedFd::from)
    };
    make().map_err(|source| failed(path, "cannot make the user namespace", source))
}

/// Layers that are mounted with mapped owners; dropped, they are mounted in the overlay alone.
pub(super) struct MappedLayers {
    place: PathBuf,
}

impl Drop for MappedLayers {
    fn drop(&mut self) {
        clear(&self.place);
    }
}

fn clear(place: &Path) {
    let _ = umount2(place, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    // Fails if the unmount did: nothing of a layer is removed.
    let _ = fs::remove_dir(place);
}

/// Clears away what shims left that were killed amid a mount.
pub(crate) fn sweep_layers() {
    sweep(Path::new(PLACES));
}

pub(super) fn sweep(places: &Path) {
    for entry in fs::read_dir(places).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.split('-').next()?.parse::<u32>().ok());
        // A pid that is another's by now keeps it until that one has gone too.
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            clear(&entry.path());
        }
    }
}

/// The options of an overlay with its layers mapped.
pub(super) fn layers(
    options: &[String],
    namespace: &OwnedFd,
    path: &Path,
) -> Result<(Vec<String>, MappedLayers), MountError> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let wrong = |reason| MountError::Option { option: "lowerdir".to_owned(), reason };
    let (index, layers) = layers_of(options).ok_or_else(|| wrong("is missing"))?;
    let common = common_directory(&layers)
        .ok_or_else(|| wrong("names layers that have no directory in common to be mapped"))?;

    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let place = Path::new(PLACES).join(format!("{}-{number}", std::process::id()));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&place)
        .map_err(|source| failed(path, "cannot make a place for its layers", source))?;
    let mapped = MappedLayers { place };
    let attach = || {
        let tree = sys::copy_of_mount(handle(&common)?.as_fd(), false)?;
        sys::map_owners(tree.as_fd(), namespace.as_fd(), true, false)?;
        sys::attach_mount(tree.as_fd(), handle(&mapped.place)?.as_fd())
    };
    attach().map_err(|source| failed(path, "cannot map its layers", source))?;

    let renamed = layers
        .iter()
        .map(|layer| Some(mapped.place.join(Path::new(layer).strip_prefix(&common).ok()?)))
        .map(|layer| layer?.into_os_string().into_string().ok())
        .collect::<Option<Vec<String>>>()
        .ok_or_else(|| wrong("names a layer outside their common directory"))?;
    let mut options: Vec<String> = options
        .iter()
        .enumerate()
        .filter(|(at, option)| {
            *at != index && !option.starts_with("uidmap=") && !option.starts_with("gidmap=")
        })
        .map(|(_, option)| option.clone())
        .collect();
    options.push(format!("lowerdir={}", renamed.join(":")));
    Ok((options, mapped))
}

/// Mounts a mapped copy of what is mounted at a place over it.
pub(super) fn remount(namespace: &OwnedFd, place: &OwnedFd, path: &Path) -> Result<(), MountError> {
    let attach = || {
        let tree = sys::copy_of_mount(place.as_fd(), true)?;
        sys::map_owners(tree.as_fd(), namespace.as_fd(), false, true)?;
        sys::attach_mount(tree.as_fd(), place.as_fd())
    };
    attach().map_err(|source| failed(path, "cannot map the mount", source))
}

fn handle(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

/// As the kernel reads them, one range a line (user_namespaces(7)).
fn lines(ranges: &[Range]) -> String {
    ranges.iter().fold(String::new(), |mut text, Range { inside, outside, size }| {
        let _ = writeln!(text, "{inside} {outside} {size}");
        text
    })
}

fn failed(path: &Path, what: &'static str, source: io::Error) -> MountError {
    MountError::Map { path: path.to_owned(), what, source }
}
