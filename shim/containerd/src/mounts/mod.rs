//! The mounts that make a container's rootfs.
//!
//! containerd names them and the shim makes them, in the bundle. What the options mean, and how an overlay of many layers
//! is fitted into one page, follows containerd (core/mount/mount_linux.go). Nothing here follows a symbolic link below
//! the bundle: the contents of the rootfs are the image's.

mod idmap;
pub(crate) mod options;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use containerd_shim_protos::types::mount::Mount as WireMount;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::chdir;

pub(crate) use self::idmap::sweep_layers;
use self::options::Options;
use crate::{log, sys};

/// A request has one mount, seldom a few.
const MOST_MOUNTS: usize = 128;

/// How often what is mounted is looked up again after everything has been unmounted.
const ROUNDS: usize = 4;

/// One mount as containerd asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) fstype: String,
    pub(crate) source: String,
    /// Below the rootfs; empty for the rootfs itself.
    pub(crate) target: String,
    pub(crate) options: Vec<String>,
}

impl From<&WireMount> for Mount {
    fn from(wire: &WireMount) -> Self {
        Mount {
            fstype: wire.type_.clone(),
            source: wire.source.clone(),
            target: wire.target.clone(),
            options: wire.options.clone(),
        }
    }
}

/// Why a rootfs cannot be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MountError {
    #[error("cannot mount the rootfs: option {option:?} {reason}")]
    Option { option: String, reason: &'static str },
    #[error("cannot mount the rootfs: a mount of type {fstype:?} {reason}")]
    Type { fstype: String, reason: &'static str },
    #[error(
        "cannot mount the rootfs: {count} mounts are asked for, and {MOST_MOUNTS} are the limit"
    )]
    TooMany { count: usize },
    #[error(
        "cannot mount the rootfs: the options have {length} bytes, and the kernel takes {limit}; the image has too many layers"
    )]
    TooLong { length: usize, limit: usize },
    #[error("cannot mount onto {}: {source}", path.display())]
    Target { path: PathBuf, source: io::Error },
    #[error("cannot mount {from:?} ({fstype}) onto {} with {data:?}: {source}", path.display())]
    Mount { fstype: String, from: String, path: PathBuf, data: String, source: io::Error },
    #[error("cannot map the owners of {}: {what}: {source}", path.display())]
    Map { path: PathBuf, what: &'static str, source: io::Error },
    #[error("cannot see what is mounted: {0}")]
    Mounted(io::Error),
    #[error("cannot unmount {}: {source}", path.display())]
    Unmount { path: PathBuf, source: io::Error },
}

/// Makes the mounts in order; after an error none of them is left.
pub(crate) fn mount_rootfs(mounts: &[Mount], rootfs: &Path) -> Result<(), MountError> {
    if mounts.len() > MOST_MOUNTS {
        return Err(MountError::TooMany { count: mounts.len() });
    }
    let mut made = Vec::new();
    for mount in mounts {
        if let Err(error) = make(mount, rootfs, &mut made) {
            for path in made.iter().rev() {
                if let Err(undo) = detach(path) {
                    log::warn!("{} is still mounted: {undo}", path.display());
                }
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Unmounts the rootfs and everything below it. That nothing is mounted, or that there is no rootfs, is no error.
pub(crate) fn unmount_all(rootfs: &Path) -> Result<(), MountError> {
    let Some(rootfs) = real_path(rootfs) else { return Ok(()) };
    let mut failed = None;
    for _ in 0..ROUNDS {
        let mounted = mounted_below(&rootfs)?;
        if mounted.is_empty() {
            return Ok(());
        }
        // The last mounted is on top.
        failed = None;
        for path in mounted.iter().rev() {
            if let Err(error) = detach(path) {
                failed.get_or_insert(error);
            }
        }
    }
    match failed {
        Some(error) => Err(error),
        // Unmounted by somebody else meanwhile, or mounted on as fast as it was unmounted: the next call sees.
        None => Ok(()),
    }
}

/// One mount. What it has mounted is noted before anything else can fail.
fn make(wanted: &Mount, rootfs: &Path, made: &mut Vec<PathBuf>) -> Result<(), MountError> {
    if wanted.fstype.starts_with("fuse.") || wanted.fstype.starts_with("fuse3.") {
        return Err(MountError::Type {
            fstype: wanted.fstype.clone(),
            reason: "needs a helper program, which this shim does not run; use another snapshotter",
        });
    }
    let parsed = Options::parse(&wanted.options)?;
    let path = rootfs.join(wanted.target.trim_start_matches('/'));
    let place = || {
        resolve(rootfs, &wanted.target)
            .map_err(|errno| MountError::Target { path: path.clone(), source: errno.into() })
    };

    let namespace = parsed.map.as_ref().map(|map| idmap::namespace(map, &path)).transpose()?;
    let mut layers = None;
    let options = match &namespace {
        // An overlay takes the owners of its layers as it finds them, so these are mapped.
        Some(namespace) if wanted.fstype == "overlay" => {
            let (options, mapped) = idmap::layers(&wanted.options, namespace, &path)?;
            layers = Some(mapped);
            Options::parse(&options)?
        }
        _ => parsed,
    };
    let limit = sys::page_size();
    let (directory, data) = options.fitted(&wanted.fstype, limit);
    if data.len() >= limit {
        return Err(MountError::TooLong { length: data.len(), limit });
    }

    let failed = |errno: Errno| MountError::Mount {
        fstype: wanted.fstype.clone(),
        from: wanted.source.clone(),
        path: path.clone(),
        data: shortened(&data),
        source: errno.into(),
    };
    let flags = options.flags;
    if !flags.contains(MsFlags::MS_REMOUNT) || !data.is_empty() {
        let target = place()?;
        mount_in(directory.as_deref(), &wanted.source, &target, &wanted.fstype, flags, &data)
            .map_err(failed)?;
        if !flags.contains(MsFlags::MS_REMOUNT) {
            made.push(path.clone());
        }
    }
    // The layers stay mounted in the overlay, and nowhere else.
    drop(layers);
    if !options.propagation.is_empty() {
        change(&place()?, options.propagation).map_err(failed)?;
    }
    if flags.contains(MsFlags::MS_BIND | MsFlags::MS_RDONLY) {
        // The kernel makes a bind mount first and read-only in a second step.
        change(&place()?, flags | MsFlags::MS_REMOUNT).map_err(failed)?;
    }
    if let Some(namespace) = &namespace
        && wanted.fstype != "overlay"
    {
        idmap::remount(namespace, &place()?, &path)?;
        made.push(path.clone());
    }
    Ok(())
}

/// The place of a mount: the bundle's rootfs, or what lies below it, reached without any symbolic link.
fn resolve(rootfs: &Path, target: &str) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let root = open(rootfs, flags | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())?;
    let target = target.trim_start_matches('/');
    if target.is_empty() {
        return Ok(root);
    }
    // The path is kept for undoing, and there it must mean the same.
    if Path::new(target).components().any(|part| part == Component::ParentDir) {
        return Err(Errno::EXDEV);
    }
    let how = OpenHow::new()
        .flags(flags)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(&root, target, how)
}

fn mount_in(
    directory: Option<&Path>,
    source: &str,
    target: &OwnedFd,
    fstype: &str,
    flags: MsFlags,
    data: &str,
) -> nix::Result<()> {
    let target = descriptor_path(target);
    let call = || mount(Some(source), target.as_str(), Some(fstype), flags, Some(data));
    let Some(directory) = directory else { return call() };
    // The layers' names are relative to this directory. A thread of its own has one of its own; the shim's stays.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(64 * 1024)
            .spawn_scoped(scope, || {
                unshare(CloneFlags::CLONE_FS)?;
                chdir(directory)?;
                call()
            })
            .map_err(|error| {
                Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EAGAIN as i32))
            })?;
        thread.join().unwrap_or(Err(Errno::EIO))
    })
}

/// Changes what is mounted at a place.
fn change(place: &OwnedFd, flags: MsFlags) -> nix::Result<()> {
    let none: Option<&str> = None;
    mount(none, descriptor_path(place).as_str(), none, flags, none)
}

fn descriptor_path(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// For an error: the options name every layer.
fn shortened(data: &str) -> String {
    match data.char_indices().nth(256) {
        Some((end, _)) => format!("{}...", data.get(..end).unwrap_or_default()),
        None => data.to_owned(),
    }
}

/// Unmounts the topmost mount at a path, at once for everybody who looks, and for good when the last user is gone.
fn detach(path: &Path) -> Result<(), MountError> {
    match umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        // Not a mount point, or not there (any more).
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT | Errno::ENOTDIR) => Ok(()),
        Err(errno) => Err(MountError::Unmount { path: path.to_owned(), source: errno.into() }),
    }
}

/// The path as mountinfo has it. The last part is the bundle's own and no link; above it the administrator may have links.
fn real_path(rootfs: &Path) -> Option<PathBuf> {
    let parent = fs::canonicalize(rootfs.parent()?).ok()?;
    Some(parent.join(rootfs.file_name()?))
}

/// Where something is mounted at or below a path, in the order of mounting.
fn mounted_below(rootfs: &Path) -> Result<Vec<PathBuf>, MountError> {
    let mut mounts =
        BufReader::new(File::open("/proc/self/mountinfo").map_err(MountError::Mounted)?);
    let mut found = Vec::new();
    let mut line = Vec::new();
    while mounts.read_until(b'\n', &mut line).map_err(MountError::Mounted)? > 0 {
        // proc_pid_mountinfo(5): the fifth field.
        if let Some(field) = line.split(|byte| *byte == b' ').nth(4) {
            let path = PathBuf::from(OsString::from_vec(unescape(field)));
            if path.starts_with(rootfs) {
                found.push(path);
            }
        }
        line.clear();
    }
    Ok(found)
}

/// Space, tab, newline and backslash are written in octal.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let code = (byte == b'\\')
            .then(|| after.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(code);
                rest = after.get(3..).unwrap_or_default();
            }
            None => plain.push(byte),
        }
    }
    plain
}
