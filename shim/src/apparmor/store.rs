//! What was compiled, and what was loaded since the machine is up.
//!
//! A binary is for one text (whose digest its name carries) and one kernel's features: another kernel would
//! refuse it, or enforce less of it than it can.

use std::fs::{DirBuilder, File};
use std::io::{self};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coaming_config::trust::read_root_owned;
use sha2::{Digest, Sha256};

use super::AppArmorError;
use crate::host::hex;
use crate::{lock, whole_file};

/// How long another may be compiling and loading.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub(super) struct Store {
    kept: PathBuf,
    /// Memory, so that what it says is of this boot.
    state: PathBuf,
}

/// The digest of a binary, as the kernel tells it.
pub(super) fn digest(binary: &[u8]) -> String {
    hex(&Sha256::digest(binary))
}

impl Store {
    pub(super) fn at(kept: &Path, state: &Path) -> Store {
        Store { kept: kept.to_owned(), state: state.join("apparmor") }
    }

    /// The binary that was compiled for a kernel, if one was.
    pub(super) fn binary(
        &self,
        name: &str,
        features: &str,
    ) -> Result<Option<Vec<u8>>, AppArmorError> {
        let path = self.path(name, features);
        match read_root_owned(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(AppArmorError::Io {
                operation: "use",
                path,
                error: io::Error::other(error.to_string()),
            }),
        }
    }

    /// Keeps a binary.
    pub(super) fn keep(
        &self,
        name: &str,
        features: &str,
        binary: &[u8],
    ) -> Result<PathBuf, AppArmorError> {
        let path = self.path(name, features);
        write(&self.kept, &path, binary)?;
        Ok(path)
    }

    fn path(&self, name: &str, features: &str) -> PathBuf {
        self.kept.join(format!("{name}.{}.bin", features.get(..16).unwrap_or(features)))
    }

    /// Notes that a profile was loaded.
    pub(super) fn mark(&self, name: &str, digest: &str) -> Result<(), AppArmorError> {
        write(&self.state, &self.state.join(name), digest.as_bytes())
    }

    /// The digest of what was loaded under a name.
    pub(super) fn marked(&self, name: &str) -> Option<String> {
        String::from_utf8(read_root_owned(&self.state.join(name)).ok()?).ok()
    }

    /// Taken by whoever loads; the kernel frees it when its holder ends.
    pub(super) fn lock(&self) -> Result<File, AppArmorError> {
        let path = self.state.join(".lock");
        lock::exclusive(&path, PATIENCE).map_err(|error| AppArmorError::Io {
            operation: "lock",
            path,
            error,
        })
    }
}

fn make(folder: &Path) -> Result<(), AppArmorError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(folder)
        .map_err(|error| AppArmorError::Io { operation: "make", path: folder.to_owned(), error })
}

fn write(folder: &Path, path: &Path, bytes: &[u8]) -> Result<(), AppArmorError> {
    make(folder)?;
    whole_file::write_durable(path, bytes).map_err(|error| AppArmorError::Io {
        operation: "write",
        path: path.to_owned(),
        error,
    })
}
