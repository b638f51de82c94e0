//! The program of a container that the launcher starts, looked for in the image before the runtime is called.
//!
//! The createContainer hook looks for it inside, and has the last word; but of a hook's failure crun says only
//! `error executing hook`. What is certainly missing is said here, in the runtimes' own words. What a mount might
//! bring, or a symbolic link that leads nowhere yet, is left to the hook.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use coaming_hooks::lookup::{LookupCause, LookupError, Refusal, look_path};
use coaming_hooks::sys;
use coaming_policy::spec::view;
use nix::libc;
use serde_json::Value;

/// Why the program cannot be started, where that is certain.
pub(super) fn missing(spec: &Value, bundle: &Path) -> Option<LookupError> {
    let arg0 = view::strings(spec, "process.args").next()?;
    let root = bundle.join(view::text(spec, "root.path")?);
    let image = Image::open(&root, spec)?;
    let path = view::strings(spec, "process.env").filter_map(|entry| entry.strip_prefix("PATH="));
    let found = look_path(arg0.as_bytes(), path.last().map(str::as_bytes), |candidate| {
        image.certain(candidate).map_or(Ok(()), Err)
    });
    // Whether a relative name is one depends on the working directory, which is the hook's to enter.
    found.err().filter(|error| !matches!(error.cause, LookupCause::Relative))
}

/// The container's root as the image gives it, and what will be mounted over it.
struct Image {
    root: OwnedFd,
    /// Where the root really is.
    place: PathBuf,
    mounts: Vec<PathBuf>,
}

impl Image {
    fn open(root: &Path, spec: &Value) -> Option<Image> {
        let root = File::open(root).ok()?;
        let place = place(&root).ok()?;
        let mounts = view::items(spec, "mounts")
            .iter()
            .filter_map(|mount| view::text(mount, "destination").map(PathBuf::from))
            .collect();
        Some(Image { root: root.into(), place, mounts })
    }

    /// Why a file certainly cannot be executed. `None` where it can, or where that cannot be known from here.
    fn certain(&self, path: &[u8]) -> Option<Refusal> {
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let (true, Some(name)) = (path.is_absolute(), path.file_name()) else {
            return None;
        };
        if self.is_mounted(path) {
            return None;
        }
        let parent = match self.find(path.parent()?, libc::O_PATH | libc::O_DIRECTORY) {
            Ok(parent) => parent,
            Err(error) => return self.certain_without(path.parent()?, &error),
        };
        let inside = place(&parent).ok()?.strip_prefix(&self.place).ok()?.join(name);
        if self.is_mounted(&Path::new("/").join(&inside)) {
            return None;
        }
        match self.find(&inside, libc::O_PATH | libc::O_NOFOLLOW) {
            Ok(file) => {
                let metadata = File::from(file).metadata().ok()?;
                let plain = metadata.is_file() && metadata.permissions().mode() & 0o111 == 0;
                (plain || metadata.is_dir()).then_some(Refusal::Access(libc::EACCES))
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                Some(Refusal::Stat(libc::ENOENT))
            }
            Err(_) => None,
        }
    }

    /// The folder is not there: certain, unless a symbolic link on the way leads to where something may be mounted.
    fn certain_without(&self, folder: &Path, error: &io::Error) -> Option<Refusal> {
        let mut on_the_way = PathBuf::from("/");
        for part in folder.components().skip(1) {
            on_the_way.push(part);
            match self.find(&on_the_way, libc::O_PATH | libc::O_NOFOLLOW) {
                Ok(found) => {
                    if File::from(found).metadata().ok()?.is_symlink() {
                        return None;
                    }
                }
                Err(_) => break,
            }
        }
        let errno = error.raw_os_error().filter(|e| [libc::ENOENT, libc::ENOTDIR].contains(e))?;
        Some(Refusal::Stat(errno))
    }

    fn find(&self, path: &Path, flags: i32) -> io::Result<OwnedFd> {
        let path = CString::new(path.as_os_str().to_owned().into_vec())?;
        sys::open_in_root(&self.root, &path, flags)
    }

    /// Whether something is mounted at the path or above it, the root aside.
    fn is_mounted(&self, path: &Path) -> bool {
        self.mounts.iter().any(|mount| path.starts_with(mount) && mount != Path::new("/"))
    }
}

/// Where an open folder really is.
fn place(folder: &impl AsRawFd) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::symlink;

    fn bundle() -> tempfile::TempDir {
        let bundle = tempfile::tempdir().unwrap();
        let root = bundle.path().join("rootfs");
        fs::create_dir_all(root.join("usr/bin")).unwrap();
        fs::create_dir_all(root.join("data")).unwrap();
        symlink("usr/bin", root.join("bin")).unwrap();
        symlink("/volume/bin", root.join("opt")).unwrap();
        for (name, mode) in [("tool", 0o755), ("text", 0o644)] {
            let file = root.join("usr/bin").join(name);
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("/etc/alternatives/tool", root.join("usr/bin/linked")).unwrap();
        // What is outside must not count.
        symlink("/bin/sh", bundle.path().join("sh")).unwrap();
        symlink("../../..", root.join("up")).unwrap();
        bundle
    }

    fn says(arg0: &str, mounts: &[&str]) -> Option<String> {
        let bundle = bundle();
        let mounts: Vec<Value> = mounts.iter().map(|at| json!({"destination": at})).collect();
        let spec = json!({
            "root": {"path": "rootfs"}, "mounts": mounts,
            "process": {"args": [arg0], "env": ["PATH=/nothing", "PATH=/usr/local/bin:/bin"]},
        });
        missing(&spec, bundle.path()).map(|error| error.to_string())
    }

    #[test]
    fn what_is_there_or_may_come_is_left_to_the_hook() {
        for arg0 in
            ["tool", "/bin/tool", "/usr/bin/linked", "linked", "/opt/x", "bin/absent", "./x"]
        {
            assert_eq!(says(arg0, &["/proc", "/dev"]), None, "{arg0}");
        }
        for (arg0, mount) in [
            ("/data/run", "/data"),
            ("/bin/absent", "/usr"),
            ("/usr/bin/text", "/usr/bin/text"),
            ("absent", "/usr/local"),
        ] {
            assert_eq!(says(arg0, &[mount]), None, "{arg0}");
        }
    }

    #[test]
    fn what_is_certainly_missing_is_said_as_the_runtimes_say_it() {
        for (arg0, words) in [
            ("absent", "exec: \"absent\": executable file not found in $PATH"),
            ("/bin/absent", "exec: \"/bin/absent\": stat /bin/absent: no such file or directory"),
            ("/none/x", "exec: \"/none/x\": stat /none/x: no such file or directory"),
            ("/bin/text", "exec: \"/bin/text\": permission denied"),
            ("/data", "exec: \"/data\": permission denied"),
            ("/up/sh", "exec: \"/up/sh\": stat /up/sh: no such file or directory"),
        ] {
            assert_eq!(says(arg0, &["/proc", "/"]).as_deref(), Some(words), "{arg0}");
        }
    }
}
