//! Where the container's root file system is, before the runtime has made it `/`.
//!
//! The runtimes differ: runc 1.1 runs a createContainer hook with it as working directory, crun 1.8
//! with the bundle, but crun's state names it. So every likely place is held against the one sure
//! sign: our launch directory is mounted at its /dev/.coaming.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use coaming_hooks::sys;

use crate::HookError;
use crate::state::State;

/// Where the wrapper has the runtime mount the launch directory.
const MOUNTED: &str = "/dev/.coaming";

/// The root file system under which `check`, a file of the launch directory, is to be found.
pub(crate) fn find(state: &State, check: &File) -> Result<OwnedFd, HookError> {
    let here = Some(PathBuf::from("."));
    let named = state.root.clone().filter(|root| root.is_absolute());
    here.into_iter()
        .chain(named)
        .chain(mounted_at(Path::new("/proc/self/mountinfo")))
        .find_map(|candidate| open_if_ours(&candidate, check))
        .ok_or(HookError::NoRootfs)
}

fn open_if_ours(candidate: &Path, check: &File) -> Option<OwnedFd> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let root: OwnedFd = File::options().read(true).custom_flags(flags).open(candidate).ok()?.into();
    // The image may hold any symlink, so the path is walked as the container would walk it.
    let flags = libc::O_PATH | libc::O_NOFOLLOW;
    let inside = sys::file(sys::open_in_root(&root, c"/dev/.coaming/check.json", flags).ok()?);
    let (inside, check) = (inside.metadata().ok()?, check.metadata().ok()?);
    ((inside.dev(), inside.ino()) == (check.dev(), check.ino())).then_some(root)
}

/// The places that have something mounted at their /dev/.coaming.
fn mounted_at(mountinfo: &Path) -> Vec<PathBuf> {
    let Ok(file) = File::open(mountinfo) else {
        return Vec::new();
    };
    BufReader::new(file)
        .split(b'\n')
        .map_while(Result::ok)
        .filter_map(|line| {
            let point = unescape(line.split(|byte| *byte == b' ').nth(4)?);
            let root = point.strip_suffix(MOUNTED.as_bytes())?;
            let root = if root.is_empty() { b"/" } else { root };
            Some(PathBuf::from(std::ffi::OsString::from_vec(root.to_vec())))
        })
        .collect()
}

/// Undoes the kernel's `\040` and the like (proc_pid_mountinfo(5)).
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.first_chunk::<3>().filter(|_| byte == b'\\');
        let octal = digits.and_then(|digits| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        });
        match octal {
            Some(value) => {
                out.push(value);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_table_names_the_root() {
        let table = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
            105 90 0:39 /coaming/launch/ab /b/a\\040b/rootfs/dev/.coaming ro,relatime - tmpfs tmpfs rw\n\
            106 105 0:40 /coaming/coaming-init /b/rootfs/dev/.coaming/init ro - tmpfs tmpfs rw\n";
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), table).unwrap();
        assert_eq!(mounted_at(file.path()), [PathBuf::from("/b/a b/rootfs")]);
    }

    #[test]
    fn only_a_directory_with_this_very_file_is_ours() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let launch = folder.path().join(name).join("dev/.coaming");
            std::fs::create_dir_all(&launch).unwrap();
            std::fs::write(launch.join("check.json"), "{}").unwrap();
            launch
        };
        let check = File::open(make("ours").join("check.json")).unwrap();
        make("other");
        std::fs::create_dir_all(folder.path().join("sly/dev")).unwrap();
        let absolute = folder.path().join("ours/dev/.coaming");
        std::os::unix::fs::symlink(absolute, folder.path().join("sly/dev/.coaming")).unwrap();
        let ours = |name: &str| open_if_ours(&folder.path().join(name), &check).is_some();
        assert!(ours("ours"));
        assert!(!ours("other"));
        // A symlink to the host's directory leads nowhere inside.
        assert!(!ours("sly"));
        assert!(!ours("nowhere"));
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape(b"/a\\040b\\134c\\01\\xyz"), b"/a b\\c\\01\\xyz");
    }
}
