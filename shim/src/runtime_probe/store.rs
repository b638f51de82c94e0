//! Where answers are kept: one file for each path of a runtime, root's alone.

use std::fs::{self, DirBuilder};
use std::io::{self};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use coaming_config::trust::{check_trust, read_root_owned};
use sha2::{Digest, Sha256};

use super::Probed;
use crate::host::hex;
use crate::whole_file;

/// The version of the form; another is asked for anew.
pub(super) const FORM: u32 = 1;

/// The folder.
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    pub(super) fn at(folder: &Path) -> Store {
        Store { folder: folder.to_owned() }
    }

    /// What is kept of a runtime. Anything that is wrong with it counts as nothing: it is asked again.
    pub(super) fn read(&self, runtime: &Path) -> Option<Probed> {
        // Whoever could write the folder could put an older file of root's back.
        let metadata = fs::symlink_metadata(&self.folder).ok()?;
        check_trust(&self.folder, &metadata).ok()?;
        serde_json::from_slice(&read_root_owned(&self.file(runtime)).ok()?).ok()
    }

    /// All of it or none. Of two that write at once the later stays; both say the same.
    pub(super) fn write(&self, runtime: &Path, probed: &Probed) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        check_trust(&self.folder, &fs::symlink_metadata(&self.folder)?)
            .map_err(io::Error::other)?;
        let path = self.file(runtime);
        whole_file::write(&path, &serde_json::to_vec(probed)?, 0o600)
    }

    /// By a digest of the configured path, so that there are no more files than runtimes.
    fn file(&self, runtime: &Path) -> PathBuf {
        let digest = hex(&Sha256::digest(runtime.as_os_str().as_bytes()));
        self.folder.join(format!("{}.json", digest.get(..32).unwrap_or(&digest)))
    }
}
