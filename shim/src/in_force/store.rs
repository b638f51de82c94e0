//! Where the set in force is kept: `current`, which says what it is, and the snapshots.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use coaming_config::trust::{MAX_FILE_BYTES, check_trust, read_root_owned};
use coaming_policy::snapshot::{Refusal, Root, Signed, Snapshot, SnapshotError};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde::{Deserialize, Serialize};

use super::scan::Seen;
use crate::{lock, whole_file};

pub(super) const CURRENT: &str = "current";
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
    /// Where the node's image has a set, which holds until there is one in `folder`. Never written.
    pub(super) baked: Option<PathBuf>,
}

impl Store {
    /// Which set is in force; none where there has been none, and why where that cannot be known.
    pub(super) fn current(&self) -> Result<Option<Current>, String> {
        match (current_in(&self.folder)?, &self.baked) {
            (None, Some(baked)) => current_in(baked),
            (own, _) => Ok(own),
        }
    }

    /// Opens a snapshot.
    pub(super) fn open(&self, root: &str) -> Result<Snapshot<File>, SnapshotError> {
        let root: Root = root.parse()?;
        let own = open_file(&self.path(root));
        let file = match (own, &self.baked) {
            (Err(error), Some(baked)) if error.kind() == io::ErrorKind::NotFound => {
                open_file(&baked.join(file_name(root)))?
            }
            (own, _) => own?,
        };
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
        match snapshot {
            Some((root, bytes)) => whole_file::write_durable(&self.path(root), bytes)?,
            None => self.take_over(&current.root)?,
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

    /// Has a snapshot that came with the image in the folder: the next image has another.
    fn take_over(&self, root: &str) -> io::Result<()> {
        let Some(baked) = &self.baked else { return Ok(()) };
        let root: Root = root.parse().map_err(io::Error::other)?;
        let own = self.path(root);
        if own.exists() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        open_file(&baked.join(file_name(root)))?.read_to_end(&mut bytes)?;
        whole_file::write_durable(&own, &bytes)
    }

    fn path(&self, root: Root) -> PathBuf {
        self.folder.join(file_name(root))
    }

    /// Takes the lock; whoever holds it is at the same work.
    pub(super) fn lock(&self) -> io::Result<File> {
        lock::exclusive(&self.lock, PATIENCE)
    }
}

/// What a folder says is in force.
fn current_in(folder: &Path) -> Result<Option<Current>, String> {
    // Whoever could write the folder could put an older file of root's back.
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", folder.display())),
        Ok(metadata) => {
            check_trust(folder, &metadata).map_err(|error| error.to_string())?;
        }
    }
    let path = folder.join(CURRENT);
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

/// The name of a snapshot's file.
pub(super) fn file_name(root: Root) -> String {
    format!("{root}.{SUFFIX}")
}

/// Opens a snapshot's file, if nobody but root could have written it.
fn open_file(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    check_trust(path, &metadata).map_err(io::Error::other)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}
