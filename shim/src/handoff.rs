//! Becoming the runtime.
//!
//! By execve in place, never by a child: the pid, the parent-death signal, the terminal, every
//! descriptor, the signals' dispositions and mask, the environment and the exit status are then the
//! caller's and the runtime's own affair.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use coaming_config::CONFIG_FILE;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::libc::MFD_NOEXEC_SEAL;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;
use nix::unistd::{Uid, close, execv};
use thiserror::Error;

use crate::{ownership, sys};

/// Room left above stdio and the preserved descriptors for `$LISTEN_FDS` ones, which crun passes on
/// too: their number stands in the environment, which is not consulted.
const LISTEN_ROOM: u32 = 256;

/// Why the runtime was not reached.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandoffError {
    /// The configured path is not absolute.
    #[error(
        "the runtime {}: its path must be absolute; correct it under runtimes in {CONFIG_FILE}",
        .path.display()
    )]
    Relative {
        /// As configured.
        path: PathBuf,
    },
    /// The runtime cannot be opened.
    #[error(
        "the runtime {}: {source}; is it installed, and is its path under runtimes in {CONFIG_FILE} right?",
        .path.display()
    )]
    Open {
        /// As configured.
        path: PathBuf,
        /// The kernel's word.
        source: std::io::Error,
    },
    /// The file is not fit to be run as root.
    #[error(
        "the runtime {} is refused: {why}; it must be a program that root alone can change",
        .path.display()
    )]
    Unfit {
        /// As configured.
        path: PathBuf,
        /// Owner, mode or type.
        why: String,
    },
    /// A word has a NUL inside.
    #[error("handing over to the runtime: argument {argument:?} has a NUL byte in it")]
    Nul {
        /// The word, with replacement characters.
        argument: String,
    },
    /// The process file could not be made.
    #[error("{doing} the file that holds the exec's process: {source}")]
    ProcessFile {
        /// What was being done.
        doing: &'static str,
        /// The kernel's word.
        source: std::io::Error,
    },
    /// SIGPIPE could not be restored.
    #[error("restoring SIGPIPE before the runtime: {source}")]
    Signal {
        /// The kernel's word.
        source: Errno,
    },
    /// execve failed.
    #[error("executing the runtime {}: {source}", .path.display())]
    Exec {
        /// As configured.
        path: PathBuf,
        /// The kernel's word.
        source: Errno,
    },
}

/// The real runtime, found fit: a regular executable file that only root can change.
#[derive(Debug)]
pub struct Runtime {
    path: PathBuf,
    resolved: PathBuf,
}

impl Runtime {
    /// Examines the file at the configured path. Symlinks are followed (distributions use them);
    /// the file they lead to, and every directory above it, must be root's alone to change.
    pub fn open(path: &Path) -> Result<Self, HandoffError> {
        if !path.is_absolute() {
            return Err(HandoffError::Relative { path: path.to_owned() });
        }
        let failed = |source| HandoffError::Open { path: path.to_owned(), source };
        let file = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .map(File::from)
            .map_err(|errno| failed(errno.into()))?;
        let meta = file.metadata().map_err(failed)?;
        let resolved =
            fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).map_err(failed)?;
        let why = if !meta.is_file() {
            Some("it is not a regular file".to_owned())
        } else if meta.mode() & 0o111 == 0 {
            Some("it is not executable".to_owned())
        } else {
            ownership::exposed(meta.uid(), meta.mode(), Uid::from_raw(0))
                .or_else(|| ownership::exposed_ancestor(&resolved, Uid::from_raw(0)))
        };
        match why {
            Some(why) => Err(HandoffError::Unfit { path: path.to_owned(), why }),
            None => Ok(Self { path: path.to_owned(), resolved }),
        }
    }

    /// Replaces this process by the runtime. The configured path is argv\[0\] (crun chooses a
    /// handler by it); what is executed is the file that was examined. The environment is passed on
    /// unread.
    ///
    /// # Errors
    /// Returns only when it failed.
    pub fn exec(&self, arguments: &[OsString]) -> Result<Infallible, HandoffError> {
        let file = c_string(self.resolved.as_os_str())?;
        let mut argv = vec![c_string(self.path.as_os_str())?];
        for argument in arguments {
            argv.push(c_string(argument)?);
        }
        sys::restore_sigpipe().map_err(|source| HandoffError::Signal { source })?;
        execv(&file, &argv).map_err(|source| HandoffError::Exec { path: self.path.clone(), source })
    }
}

/// An exec's process in memory that nobody can change any more, at a descriptor that the runtime
/// inherits and the container does not: runc and crun pass on exactly stdio and the preserved ones
/// and mark every higher one close-on-exec (runc `utils.CloseExecFrom`, crun
/// `mark_or_close_fds_ge_than`).
#[derive(Debug)]
pub struct ProcessFile {
    fd: RawFd,
}

impl ProcessFile {
    /// Writes and seals `json`; `preserve_fds` is the exec's `--preserve-fds`.
    pub fn seal(json: &[u8], preserve_fds: u32) -> Result<Self, HandoffError> {
        let failed =
            |doing| move |source: std::io::Error| HandoffError::ProcessFile { doing, source };
        let mut file = File::from(memory_file().map_err(|e| failed("creating")(e.into()))?);
        file.write_all(json).map_err(failed("writing"))?;
        let seals = SealFlag::F_SEAL_SEAL
            | SealFlag::F_SEAL_SHRINK
            | SealFlag::F_SEAL_GROW
            | SealFlag::F_SEAL_WRITE;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).map_err(|e| failed("sealing")(e.into()))?;
        let fd = place(&file, preserve_fds).map_err(|e| failed("placing")(e.into()))?;
        Ok(Self { fd })
    }

    /// What `--process` is to name.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd))
    }
}

impl Drop for ProcessFile {
    fn drop(&mut self) {
        // After execve nothing is dropped; this is for the way back from a failed one.
        let _ = close(self.fd);
    }
}

/// vm.memfd_noexec=2 (Linux 6.3) refuses memory files that may be executed; older kernels do
/// not know the flag (memfd_create(2)).
fn memory_file() -> nix::Result<std::os::fd::OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let sealed = flags | MFdFlags::from_bits_retain(MFD_NOEXEC_SEAL);
    memfd_create(c"coaming-process", sealed).or_else(|errno| match errno {
        Errno::EINVAL => memfd_create(c"coaming-process", flags),
        other => Err(other),
    })
}

/// A duplicate that survives execve, above everything that is passed on to the container.
fn place(file: &File, preserve_fds: u32) -> nix::Result<RawFd> {
    let above = |room: u32| {
        let least = RawFd::try_from(3 + u64::from(preserve_fds) + u64::from(room));
        fcntl(file, FcntlArg::F_DUPFD(least.map_err(|_| Errno::EINVAL)?))
    };
    above(LISTEN_ROOM).or_else(|errno| match errno {
        // Beyond a low RLIMIT_NOFILE (fcntl(2)).
        Errno::EINVAL => above(0),
        other => Err(other),
    })
}

fn c_string(word: &OsStr) -> Result<CString, HandoffError> {
    CString::new(word.as_bytes())
        .map_err(|_| HandoffError::Nul { argument: word.to_string_lossy().into_owned() })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use nix::unistd::geteuid;
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_process_file_reads_back_from_the_start_and_cannot_be_written() {
        let process = ProcessFile::seal(b"{}", 7).unwrap();
        let mut text = String::new();
        File::open(process.path()).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "{}");
        assert!(process.fd >= 10);
        let writable = fs::OpenOptions::new().write(true).open(process.path());
        if let Ok(mut file) = writable {
            assert!(file.write_all(b"x").is_err());
        }
        assert!(fs::OpenOptions::new().write(true).truncate(true).open(process.path()).is_err());
    }

    #[test]
    fn only_a_runtime_that_root_alone_can_change_is_fit() {
        assert!(matches!(Runtime::open(Path::new("bin/sh")), Err(HandoffError::Relative { .. })));
        assert!(matches!(
            Runtime::open(Path::new("/nonexistent/runc")),
            Err(HandoffError::Open { .. })
        ));
        assert!(matches!(Runtime::open(Path::new("/usr")), Err(HandoffError::Unfit { .. })));
        if !geteuid().is_root() {
            return;
        }
        assert!(Runtime::open(Path::new("/bin/sh")).is_ok());
        let dir = TempDir::new().unwrap();
        let runtime = dir.path().join("runc");
        fs::write(&runtime, "").unwrap();
        let with_mode = |mode| {
            fs::set_permissions(&runtime, Permissions::from_mode(mode)).unwrap();
            Runtime::open(&runtime)
        };
        assert!(with_mode(0o755).is_ok());
        assert!(with_mode(0o644).unwrap_err().to_string().contains("not executable"));
        assert!(with_mode(0o775).unwrap_err().to_string().contains("0775"));
        with_mode(0o755).unwrap();
        std::os::unix::fs::chown(&runtime, Some(1000), None).unwrap();
        assert!(Runtime::open(&runtime).unwrap_err().to_string().contains("1000"));
        std::os::unix::fs::chown(&runtime, Some(0), None).unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(Runtime::open(&runtime).unwrap_err().to_string().contains("above it"));
    }
}
