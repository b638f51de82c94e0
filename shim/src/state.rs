//! The state that coaming keeps of each container, under `/run/coaming`.
//!
//! `containers/<key>` is root's alone and holds the record; `launch/<key>` is what the container sees
//! at `/dev/.coaming`: the plan and a placeholder for the launcher. The key is a digest of the
//! runtime's state directory and the container's id, which together name a container on a node.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::host::hex;

/// The largest state file read, in bytes.
const MAX_FILE: u64 = 8 * 1024 * 1024;
const OWNER: &str = "owner";

/// Why state cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The runtime already has a container of this id, or is making one.
    #[error("a container with id {id:?} exists already; delete it, or choose another id")]
    Exists {
        /// The id.
        id: String,
    },
    /// No record: the container was not created through coaming, or its record was removed.
    #[error(
        "coaming has no record of container {id:?}, so what it was created under is not known; \
         it was not created through coaming: create it again"
    )]
    Unknown {
        /// The id.
        id: String,
    },
    /// The file system said no.
    #[error("cannot {operation} {}: {error}", .path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
}

/// The state of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    id: String,
    runtime_root: PathBuf,
    /// Root's own: `containers/<key>`.
    pub private: PathBuf,
    /// What the container sees: `launch/<key>`.
    pub launch: PathBuf,
}

impl State {
    /// Names the state of a container; nothing is touched.
    pub fn of(base: &Path, runtime_root: &Path, id: &str) -> State {
        // One folder, one spelling: without doubled and trailing slashes.
        let runtime_root: PathBuf = runtime_root.components().collect();
        let mut digest = Sha256::new();
        digest.update(runtime_root.as_os_str().as_encoded_bytes());
        digest.update([0]);
        digest.update(id);
        let key = hex(&digest.finalize());
        State {
            id: id.to_owned(),
            runtime_root,
            private: base.join("containers").join(&key),
            launch: base.join("launch").join(&key),
        }
    }

    /// Takes the container's state for this process, which is about to become the runtime. What a
    /// container that is gone left behind is cleared away first.
    ///
    /// # Errors
    /// [`StateError::Exists`] where the id is taken.
    pub fn reserve(&self) -> Result<(), StateError> {
        if self.runtime_root.join(&self.id).exists() {
            return Err(StateError::Exists { id: self.id.clone() });
        }
        for folder in [&self.private, &self.launch] {
            if let Some(parent) = folder.parent() {
                // 0711: a container in a user namespace reaches its own folder, and lists none.
                make_folder(parent, 0o711, true)?;
            }
        }
        if self.private.exists() {
            if is_live(&self.private) {
                return Err(StateError::Exists { id: self.id.clone() });
            }
            self.remove();
        }
        // The folder's creation is the reservation: of two who try, one fails.
        match make_folder(&self.private, 0o700, false) {
            Err(StateError::Io { error, .. }) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(StateError::Exists { id: self.id.clone() });
            }
            made => made?,
        }
        let owner = format!(
            "{}\n{}\n{}\n",
            self.runtime_root.join(&self.id).display(),
            std::process::id(),
            start_time(std::process::id()).unwrap_or_default()
        );
        write_new(&self.private.join(OWNER), owner.as_bytes(), 0o600)
    }

    /// Removes the state, as far as it is there.
    pub fn remove(&self) {
        // Nothing to be done about a failure: the next container of this id tries again.
        let _ = fs::remove_dir_all(&self.launch);
        let _ = fs::remove_dir_all(&self.private);
    }

    /// Writes a file that only root reads.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn write_private(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        write_new(&self.private.join(name), bytes, 0o600)
    }

    /// Reads a file that only root reads.
    ///
    /// # Errors
    /// [`StateError::Unknown`] where it is absent.
    pub fn read_private(&self, name: &str) -> Result<Vec<u8>, StateError> {
        match read(&self.private.join(name)) {
            Err(StateError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                Err(StateError::Unknown { id: self.id.clone() })
            }
            other => other,
        }
    }

    /// Makes the folder that the container sees, with the placeholder that the launcher is mounted
    /// over.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn make_launch(&self) -> Result<(), StateError> {
        make_folder(&self.launch, 0o755, false)?;
        self.write_launch("init", b"")
    }

    /// Writes a file that the container sees; the same content twice is no error.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn write_launch(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        write_new(&self.launch.join(name), bytes, 0o444)
    }
}

/// Removes the state of containers that are gone; called when a container is created or deleted.
pub fn sweep(base: &Path) {
    let Ok(entries) = fs::read_dir(base.join("containers")) else { return };
    for entry in entries.flatten() {
        if !is_live(&entry.path()) {
            let _ = fs::remove_dir_all(base.join("launch").join(entry.file_name()));
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether the runtime has the container, or whoever reserved the state is still making it.
fn is_live(private: &Path) -> bool {
    let owner =
        read(&private.join(OWNER)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let Ok(owner) = owner else {
        // Between the folder and its owner file lies an instant in which another is at work.
        let age = fs::metadata(private).and_then(|meta| meta.modified());
        return age.is_ok_and(|made| made.elapsed().is_ok_and(|age| age.as_secs() < 10));
    };
    let mut lines = owner.lines();
    let runtime_state = lines.next().unwrap_or_default();
    let pid = lines.next().and_then(|pid| pid.parse().ok());
    let started = lines.next().map(str::to_owned);
    Path::new(runtime_state).exists() || (pid.is_some() && pid.and_then(start_time) == started)
}

/// Field 22 of `/proc/<pid>/stat`: with the pid it names a process for good (proc(5)).
fn start_time(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses, which may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(19).map(str::to_owned)
}

fn make_folder(path: &Path, mode: u32, exists_is_fine: bool) -> Result<(), StateError> {
    let failed = |operation, error| StateError::Io { operation, path: path.to_owned(), error };
    if exists_is_fine && path.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .mode(mode)
        .recursive(exists_is_fine)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(|error| failed("make the folder", error))
}

/// Written beside and renamed, so that a reader sees all of it or none.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StateError> {
    let failed = |operation, error| StateError::Io { operation, path: path.to_owned(), error };
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    let write = || {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        // The umask may have taken bits that a container's user needs.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        fs::rename(&temporary, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        failed("write", error)
    })
}

fn read(path: &Path) -> Result<Vec<u8>, StateError> {
    let failed = |error| StateError::Io { operation: "read", path: path.to_owned(), error };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_FILE).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_reserved_once_and_freed_when_its_container_is_gone() {
        let base = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        let state = State::of(base.path(), root.path(), "c1");
        state.reserve().unwrap();
        state.make_launch().unwrap();
        // This process is alive: the state is its own.
        assert!(matches!(state.reserve(), Err(StateError::Exists { .. })));
        sweep(base.path());
        assert!(state.private.exists());
        // A process that is gone, and no container: stale.
        let gone = format!("{}\n4194304\n1\n", root.path().join("c1").display());
        write_new(&state.private.join(OWNER), gone.as_bytes(), 0o600).unwrap();
        fs::create_dir(root.path().join("c1")).unwrap();
        sweep(base.path());
        assert!(state.private.exists(), "the runtime still has it");
        fs::remove_dir(root.path().join("c1")).unwrap();
        sweep(base.path());
        assert!(!state.private.exists() && !state.launch.exists());
        state.reserve().unwrap();
    }

    #[test]
    fn a_container_that_the_runtime_has_is_not_reserved() {
        let base = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("c1")).unwrap();
        let state = State::of(base.path(), root.path(), "c1");
        assert!(matches!(state.reserve(), Err(StateError::Exists { .. })));
        assert!(matches!(state.read_private("record.json"), Err(StateError::Unknown { .. })));
    }

    #[test]
    fn a_folder_has_one_key_however_it_is_spelled() {
        let of = |root: &str| State::of(Path::new("/base"), Path::new(root), "c1");
        assert_eq!(of("/run/x/"), of("/run//x"));
        assert_ne!(of("/run/x"), of("/run/y"));
    }

    #[test]
    fn what_the_container_sees_is_readable_and_what_it_does_not_is_not() {
        let base = tempfile::tempdir().unwrap();
        let state = State::of(base.path(), Path::new("/nonexistent"), "c1");
        state.reserve().unwrap();
        state.make_launch().unwrap();
        state.write_launch("plan", b"p").unwrap();
        state.write_private("record.json", b"{}").unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(state.launch.join("plan")), 0o444);
        assert_eq!(mode(state.launch.clone()), 0o755);
        assert_eq!(mode(state.private.clone()), 0o700);
        assert_eq!(mode(state.private.join("record.json")), 0o600);
        assert_eq!(mode(base.path().join("launch")), 0o711);
    }
}
