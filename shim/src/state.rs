//! The state that coaming keeps of each container, under `/run/coaming`.
//!
//! `containers/<key>` is root's alone and holds the record; `launch/<key>` is what the container sees
//! at `/dev/.coaming`: the plan and a placeholder for the launcher. The key is a digest of the
//! runtime's state directory and the container's id, which together name a container on a node.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::host::hex;
use crate::proof::Process;
use crate::whole_file;

/// The largest state file read, in bytes.
const MAX_FILE: u64 = 8 * 1024 * 1024;
const OWNER: &str = "owner";
/// Below it are the folders of users who are logged in.
const USERS: &str = "/run/user";

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
    /// An ordinary user's runtime directory cannot hold the state of his containers.
    #[error(
        "the runtime directory {}, where coaming keeps the state of this user's containers, {why}; it is made at \
         login (pam_systemd), or by `loginctl enable-linger`",
        .path.display()
    )]
    RuntimeDirectory {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
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
        let pid = std::process::id();
        self.reserve_for(Process::of(pid).unwrap_or(Process { pid, start: 0 }))
    }

    /// The same, for as long as the runtime has the container or this process runs.
    ///
    /// # Errors
    /// As [`State::reserve`].
    pub fn reserve_for(&self, process: Process) -> Result<(), StateError> {
        if self.runtime_root.join(&self.id).exists() {
            return Err(StateError::Exists { id: self.id.clone() });
        }
        if let Some(base) = self.private.parent().and_then(Path::parent)
            && let Some(above) = base.parent().filter(|above| above.starts_with(USERS))
        {
            check_users_own(above)?;
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
            process.pid,
            process.start
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

    /// Writes a document that only root reads.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn write_document<T: Serialize>(&self, name: &str, document: &T) -> Result<(), StateError> {
        let bytes = serde_json::to_vec(document).map_err(|error| StateError::Io {
            operation: "write",
            path: self.private.join(name),
            error: error.into(),
        })?;
        self.write_private(name, &bytes)
    }

    /// Reads a document that only root reads.
    ///
    /// # Errors
    /// [`StateError::Unknown`] where it is absent; one that is not understood is an I/O error.
    pub fn read_document<T: DeserializeOwned>(&self, name: &str) -> Result<T, StateError> {
        understand(&self.read_private(name)?, &self.private.join(name))
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

/// Reads a document of a container of which nothing but its folder is known.
pub(crate) fn read_document<T: DeserializeOwned>(path: &Path) -> Result<T, StateError> {
    understand(&read(path)?, path)
}

fn understand<T: DeserializeOwned>(bytes: &[u8], path: &Path) -> Result<T, StateError> {
    serde_json::from_slice(bytes).map_err(|error| StateError::Io {
        operation: "understand",
        path: path.to_owned(),
        error: error.into(),
    })
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
    let start = lines.next().and_then(|start| start.parse().ok());
    let process = pid.zip(start).map(|(pid, start)| Process { pid, start });
    Path::new(runtime_state).exists() || process.is_some_and(|process| process.runs())
}

/// A folder that is the caller's own: whoever else could write it could put another record in a record's place.
fn check_users_own(folder: &Path) -> Result<(), StateError> {
    let failed = |why: String| StateError::RuntimeDirectory { path: folder.to_owned(), why };
    let meta =
        fs::symlink_metadata(folder).map_err(|error| failed(format!("is of no use: {error}")))?;
    if !meta.is_dir() {
        return Err(failed("is no directory".to_owned()));
    }
    let own = nix::unistd::geteuid().as_raw();
    if meta.uid() != own {
        return Err(failed(format!(
            "belongs to uid {}, and not to the caller, uid {own}",
            meta.uid()
        )));
    }
    match crate::ownership::exposed(meta.uid(), meta.mode(), nix::unistd::geteuid()) {
        Some(why) => Err(failed(format!("could be changed by others: {why}"))),
        None => Ok(()),
    }
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
    whole_file::write(path, bytes, mode).map_err(|error| StateError::Io {
        operation: "write",
        path: path.to_owned(),
        error,
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
    fn a_users_state_lies_in_a_folder_that_is_his_alone() {
        let own = tempfile::tempdir().unwrap();
        let with_mode = |mode| {
            fs::set_permissions(own.path(), fs::Permissions::from_mode(mode)).unwrap();
            check_users_own(own.path())
        };
        with_mode(0o700).unwrap();
        let error = with_mode(0o770).unwrap_err().to_string();
        assert!(error.contains("0770") && error.contains("enable-linger"), "{error}");
        let link = own.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        assert!(check_users_own(&link).is_err());
        assert!(check_users_own(&own.path().join("absent")).is_err());
        if nix::unistd::geteuid().is_root() {
            with_mode(0o700).unwrap();
            std::os::unix::fs::chown(own.path(), Some(4321), None).unwrap();
            assert!(check_users_own(own.path()).unwrap_err().to_string().contains("4321"));
        }
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
