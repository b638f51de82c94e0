//! Where the set in force is kept: `current`, which says what it is, and the snapshots.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use coaming_config::trust::{MAX_FILE_BYTES, check_trust, read_root_owned};
use coaming_policy::snapshot::{Refusal, Root, Signed, Snapshot, SnapshotError};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde::{Deserialize, Serialize};

use super::scan::Seen;
use crate::{lock, whole_file};

const CURRENT: &str = "current";
const SUFFIX: &str = "snapshot";
/// The version of `current`.
pub(super) const VERSION: u32 = 1;
/// How long another that is at work is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which set is in force, and what became of the directory as it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Current {
    pub(super) version: u32,
    /// The snapshot's name.
    pub(super) root: String,
    /// The directory that the set came from.
    pub(super) directory: PathBuf,
    /// When the set came into force, in seconds since 1970.
    pub(super) accepted: u64,
    /// Who signed it, where that counted.
    pub(super) signed: Option<Signed>,
    /// The latest time of a signature under which a set was taken.
    pub(super) latest_signature: Option<u64>,
    /// The rules that the directory was judged by.
    pub(super) rules: String,
    /// The directory as it was judged.
    pub(super) seen: Seen,
    /// Why it is not in force, where that is so.
    pub(super) kept: Option<Since>,
}

/// A directory that is not in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Since {
    /// Why it is not.
    pub refusal: Refusal,
    /// Since when that has been known, in seconds since 1970.
    pub since: u64,
}

/// The folder of the snapshots.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) folder: PathBuf,
    pub(super) lock: PathBuf,
}

impl Store {
    /// Which set is in force; none where there has been none, and why where that cannot be known.
    pub(super) fn current(&self) -> Result<Option<Current>, String> {
        // Whoever could write the folder could put an older file of root's back.
        match fs::symlink_metadata(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", self.folder.display())),
            Ok(metadata) => {
                check_trust(&self.folder, &metadata).map_err(|error| error.to_string())?;
            }
        }
        let path = self.folder.join(CURRENT);
        let bytes = match read_root_owned(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        match serde_json::from_slice::<Current>(&bytes) {
            Ok(current) if current.version == VERSION => Ok(Some(current)),
            Ok(other) => Err(format!("{}: version {} is not known", path.display(), other.version)),
            Err(error) => Err(format!("{}: {error}", path.display())),
        }
    }

    /// Opens a snapshot.
    pub(super) fn open(&self, root: &str) -> Result<Snapshot<File>, SnapshotError> {
        let root: Root = root.parse()?;
        let path = self.path(root);
        let file =
            OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(&path)?;
        let metadata = file.metadata()?;
        check_trust(&path, &metadata).map_err(io::Error::other)?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file").into());
        }
        Snapshot::open(file, root)
    }

    /// Writes a snapshot, and then that it is the current one; and removes what came before the last.
    pub(super) fn keep(
        &self,
        snapshot: Option<(Root, &[u8])>,
        current: &Current,
    ) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let last = self.current().ok().flatten().map(|current| current.root);
        if let Some((root, bytes)) = snapshot {
            whole_file::write_durable(&self.path(root), bytes)?;
        }
        let bytes = serde_json::to_vec(current)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(io::Error::other("the names of the files are too long together"));
        }
        whole_file::write_durable(&self.folder.join(CURRENT), &bytes)?;
        // A start that has read `current` a moment ago opens the last one still.
        let keep = [Some(&current.root), last.as_ref()];
        for entry in fs::read_dir(&self.folder)?.flatten() {
            let name = entry.file_name();
            let is_kept = keep.iter().flatten().any(|root| name == *format!("{root}.{SUFFIX}"));
            if name != CURRENT && !is_kept {
                // What cannot be removed takes some room and nothing else.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    fn path(&self, root: Root) -> PathBuf {
        self.folder.join(format!("{root}.{SUFFIX}"))
    }

    /// Takes the lock; whoever holds it is at the same work.
    pub(super) fn lock(&self) -> io::Result<File> {
        lock::exclusive(&self.lock, PATIENCE)
    }
}
