//! A bundle directory, read and rewritten without trusting its path.
//!
//! containerd's bundles are 0700 and root's; Docker's and Podman's are the daemon's. A bundle that
//! somebody else can write could change between the judgement and the runtime's reading of it:
//! refused. config.json is rewritten in place, by a temporary file and a rename: runc keeps the
//! bundle's path as a label, and containerd keeps files of its own beside config.json, so another
//! directory would not do.

use std::fs::{File, Metadata};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, readlink, renameat};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, unlinkat};
use thiserror::Error;

use crate::ownership;

/// The largest config.json that is read. containerd's are 8 to 60 kB.
pub const MAX_CONFIG: usize = 4 << 20;

const CONFIG: &str = "config.json";

/// Why a bundle is refused, or could not be rewritten.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The directory could not be opened (also: it is a symlink).
    #[error("opening the bundle {}: {source}", .path.display())]
    Open {
        /// As given, or `.`.
        path: PathBuf,
        /// The kernel's word.
        source: Errno,
    },
    /// Somebody else can change it.
    #[error("the bundle {}: {why}; it must be writable by root or the caller alone", .path.display())]
    Exposed {
        /// Directory or file.
        path: PathBuf,
        /// Owner or mode.
        why: String,
    },
    /// An operation on config.json failed.
    #[error("{doing} {}: {source}", .path.display())]
    Config {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's word.
        source: std::io::Error,
    },
    /// config.json is a directory, a device, a FIFO, ...
    #[error("{} is not a regular file, and a bundle's config.json must be one", .path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// config.json has another name somewhere, under which it could be changed.
    #[error("{} has {links} hard links; it must have one: copy it to a new file", .path.display())]
    Linked {
        /// The file.
        path: PathBuf,
        /// Their number.
        links: u64,
    },
    /// config.json is too large to be one.
    #[error(
        "{} is larger than {MAX_CONFIG} bytes (4 MiB), which is the most that is read; shorten it",
        .path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Between reading and replacing, somebody put another config.json there.
    #[error(
        "{} was replaced by somebody else while it was being judged; create the container again",
        .path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

/// An open bundle directory. Everything in it is reached through the descriptor.
#[derive(Debug)]
pub struct Bundle {
    dir: OwnedFd,
    path: PathBuf,
    trusted: Uid,
}

/// config.json as it was read.
#[derive(Debug)]
pub struct Config {
    /// The bytes, at most [`MAX_CONFIG`].
    pub bytes: Vec<u8>,
    meta: Metadata,
}

impl Bundle {
    /// Opens the directory (`None`: the working directory), which root or `trusted` must own, and
    /// which nobody else may be able to change or to move away.
    pub fn open(path: Option<&Path>, trusted: Uid) -> Result<Self, BundleError> {
        let asked = path.unwrap_or(Path::new("."));
        let failed = |source| BundleError::Open { path: asked.to_owned(), source };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let dir = open(asked, flags, Mode::empty()).map_err(failed)?;
        let stat = fstat(&dir).map_err(failed)?;
        let link = format!("/proc/self/fd/{}", dir.as_raw_fd());
        let path = PathBuf::from(readlink(link.as_str()).map_err(failed)?);
        let exposed = ownership::exposed(stat.st_uid, stat.st_mode, trusted)
            .or_else(|| ownership::exposed_ancestor(&path, trusted));
        match exposed {
            Some(why) => Err(BundleError::Exposed { path, why }),
            None => Ok(Self { dir, path, trusted }),
        }
    }

    /// The directory's absolute path, symlinks resolved: what the runtime should be given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads config.json, once and whole.
    pub fn read_config(&self) -> Result<Config, BundleError> {
        let path = self.config_path();
        // One component, not followed: what openat2's RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS give,
        // on kernels before 5.6 too. O_NONBLOCK: a FIFO must not keep us waiting.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = openat(&self.dir, CONFIG, flags, Mode::empty())
            .map(File::from)
            .map_err(|errno| self.failed("opening", errno))?;
        let meta = file.metadata().map_err(|source| self.failed("examining", source))?;
        if !meta.is_file() {
            return Err(BundleError::NotRegular { path });
        }
        if let Some(why) = ownership::exposed(meta.uid(), meta.mode(), self.trusted) {
            return Err(BundleError::Exposed { path, why });
        }
        if meta.nlink() != 1 {
            return Err(BundleError::Linked { path, links: meta.nlink() });
        }
        if meta.len() > MAX_CONFIG as u64 {
            return Err(BundleError::TooLarge { path });
        }
        let mut bytes = Vec::new();
        file.take(MAX_CONFIG as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| self.failed("reading", source))?;
        if bytes.len() > MAX_CONFIG {
            return Err(BundleError::TooLarge { path });
        }
        Ok(Config { bytes, meta })
    }

    /// Puts `bytes` in config.json's place, with the owner and mode of the one that was read.
    /// Either the old or the new file is there at every moment, also after a crash; on failure
    /// nothing else is left.
    pub fn replace_config(&self, read: &Config, bytes: &[u8]) -> Result<(), BundleError> {
        if bytes.len() > MAX_CONFIG {
            return Err(BundleError::TooLarge { path: self.config_path() });
        }
        let temporary = Temporary::create(self)?;
        let mut file = &temporary.file;
        file.write_all(bytes).map_err(|source| self.failed("writing the new", source))?;
        let owner = (Uid::from_raw(read.meta.uid()), Gid::from_raw(read.meta.gid()));
        fchown(file, Some(owner.0), Some(owner.1))
            .map_err(|errno| self.failed("setting the owner of the new", errno))?;
        // After the owner: chown clears set-id bits, and a mode must not be open to the wrong
        // owner.
        fchmod(file, Mode::from_bits_truncate(read.meta.mode()))
            .map_err(|errno| self.failed("setting the mode of the new", errno))?;
        file.sync_all().map_err(|source| self.failed("syncing the new", source))?;
        self.check_unchanged(read)?;
        temporary.put_in_place()?;
        self.sync()
    }

    fn check_unchanged(&self, read: &Config) -> Result<(), BundleError> {
        let now = fstatat(&self.dir, CONFIG, AtFlags::AT_SYMLINK_NOFOLLOW)
            .map_err(|errno| self.failed("examining", errno))?;
        let then = &read.meta;
        let same = (now.st_dev, now.st_ino, now.st_size as u64)
            == (then.dev(), then.ino(), then.len())
            && (now.st_mtime, now.st_mtime_nsec) == (then.mtime(), then.mtime_nsec());
        if same { Ok(()) } else { Err(BundleError::Changed { path: self.config_path() }) }
    }

    /// An O_PATH descriptor cannot be synced (open(2)).
    fn sync(&self) -> Result<(), BundleError> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let dir = openat(&self.dir, ".", flags, Mode::empty())
            .map_err(|errno| self.failed("opening the directory of", errno))?;
        File::from(dir).sync_all().map_err(|source| self.failed("syncing the directory of", source))
    }

    fn config_path(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    fn failed(&self, doing: &'static str, source: impl Into<std::io::Error>) -> BundleError {
        BundleError::Config { doing, path: self.config_path(), source: source.into() }
    }
}

/// A file beside config.json that goes away unless it is put in its place.
struct Temporary<'a> {
    bundle: &'a Bundle,
    name: String,
    file: File,
    placed: bool,
}

impl<'a> Temporary<'a> {
    fn create(bundle: &'a Bundle) -> Result<Self, BundleError> {
        let name = format!(".{CONFIG}.coaming-{}", std::process::id());
        let flags =
            OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let create = || openat(&bundle.dir, name.as_str(), flags, mode);
        let fd = create()
            .or_else(|errno| match errno {
                // Ours alone, by the pid: a process of that pid was killed here before us.
                Errno::EEXIST => {
                    unlinkat(&bundle.dir, name.as_str(), UnlinkatFlags::NoRemoveDir)?;
                    create()
                }
                other => Err(other),
            })
            .map_err(|errno| bundle.failed("creating a new file beside", errno))?;
        let file = fd.into();
        Ok(Self { bundle, name, file, placed: false })
    }

    fn put_in_place(mut self) -> Result<(), BundleError> {
        let dir = self.bundle.dir.as_fd();
        renameat(dir, self.name.as_str(), dir, CONFIG)
            .map_err(|errno| self.bundle.failed("replacing", errno))?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.placed {
            // The error that brought us here is the one to report.
            let _ = unlinkat(&self.bundle.dir, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use nix::unistd::{geteuid, mkfifo};
    use tempfile::TempDir;

    use super::*;

    fn bundle(config: &[u8]) -> TempDir {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join(CONFIG), config).unwrap();
        fs::set_permissions(dir.path().join(CONFIG), Permissions::from_mode(0o640)).unwrap();
        dir
    }

    fn open_it(dir: &TempDir) -> Result<Bundle, BundleError> {
        Bundle::open(Some(dir.path()), geteuid())
    }

    fn names(dir: &TempDir) -> Vec<String> {
        let entries = fs::read_dir(dir.path()).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn replacing_keeps_mode_and_owner_and_leaves_nothing_else() {
        let dir = bundle(b"old");
        if geteuid().is_root() {
            std::os::unix::fs::chown(dir.path().join(CONFIG), Some(0), Some(1234)).unwrap();
        }
        let before = fs::metadata(dir.path().join(CONFIG)).unwrap();
        let opened = open_it(&dir).unwrap();
        let config = opened.read_config().unwrap();
        assert_eq!(config.bytes, b"old");
        opened.replace_config(&config, b"newer").unwrap();
        let after = fs::metadata(dir.path().join(CONFIG)).unwrap();
        assert_eq!(fs::read(dir.path().join(CONFIG)).unwrap(), b"newer");
        assert_eq!(after.mode(), before.mode());
        assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
        assert_ne!(after.ino(), before.ino());
        assert_eq!(names(&dir), [CONFIG]);
    }

    #[test]
    fn a_config_that_changed_meanwhile_is_not_overwritten() {
        let dir = bundle(b"old");
        let opened = open_it(&dir).unwrap();
        let config = opened.read_config().unwrap();
        fs::write(dir.path().join("other"), b"theirs").unwrap();
        fs::rename(dir.path().join("other"), dir.path().join(CONFIG)).unwrap();
        let error = opened.replace_config(&config, b"new").unwrap_err();
        assert!(matches!(error, BundleError::Changed { .. }), "{error}");
        assert_eq!(fs::read(dir.path().join(CONFIG)).unwrap(), b"theirs");
        assert_eq!(names(&dir), [CONFIG]);
    }

    #[test]
    fn odd_configs_are_refused_unread() {
        let dir = bundle(b"x");
        let file = dir.path().join(CONFIG);
        let read = || open_it(&dir).unwrap().read_config().unwrap_err();

        fs::File::create(&file).unwrap().set_len(100 << 20).unwrap();
        assert!(matches!(read(), BundleError::TooLarge { .. }));

        fs::remove_file(&file).unwrap();
        fs::write(dir.path().join("real"), b"{}").unwrap();
        symlink("real", &file).unwrap();
        assert!(matches!(read(), BundleError::Config { doing: "opening", .. }));

        fs::remove_file(&file).unwrap();
        fs::hard_link(dir.path().join("real"), &file).unwrap();
        assert!(matches!(read(), BundleError::Linked { links: 2, .. }));

        fs::remove_file(&file).unwrap();
        mkfifo(&file, Mode::S_IRWXU).unwrap();
        assert!(matches!(read(), BundleError::NotRegular { .. }));

        fs::remove_file(&file).unwrap();
        fs::write(&file, b"{}").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(read(), BundleError::Exposed { .. }));

        fs::remove_file(&file).unwrap();
        let missing = read().to_string();
        assert!(missing.contains(CONFIG) && missing.contains("No such file"), "{missing}");
    }

    #[test]
    fn a_bundle_that_others_can_change_is_refused() {
        let dir = bundle(b"x");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(open_it(&dir), Err(BundleError::Exposed { .. })));
        // Also by way of a directory above it.
        fs::create_dir(dir.path().join("inner")).unwrap();
        let inner = dir.path().join("inner");
        let error = Bundle::open(Some(&inner), geteuid()).unwrap_err().to_string();
        assert!(error.contains("above it"), "{error}");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        assert!(Bundle::open(Some(&inner), geteuid()).is_ok());
        if geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(4321), None).unwrap();
            assert!(matches!(open_it(&dir), Err(BundleError::Exposed { .. })));
            assert!(Bundle::open(Some(dir.path()), Uid::from_raw(4321)).is_ok());
        }
    }

    #[test]
    fn a_symlink_in_the_bundles_place_is_refused() {
        let dir = bundle(b"x");
        let link = dir.path().join("link");
        symlink(dir.path(), &link).unwrap();
        assert!(matches!(Bundle::open(Some(&link), geteuid()), Err(BundleError::Open { .. })));
    }

    #[test]
    fn the_path_is_resolved_for_the_runtime() {
        let dir = bundle(b"x");
        fs::create_dir(dir.path().join("real")).unwrap();
        fs::create_dir(dir.path().join("real/b")).unwrap();
        symlink("real", dir.path().join("link")).unwrap();
        let opened = Bundle::open(Some(&dir.path().join("link/b")), geteuid()).unwrap();
        assert_eq!(opened.path(), dir.path().canonicalize().unwrap().join("real/b"));
    }
}
