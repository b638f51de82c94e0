//! What the runtime behind the wrapper is: its version, what it says of itself (`features`), and what its
//! distribution has mended in it.
//!
//! It is asked once for each file that it is: a start compares a few numbers of the file with those under which the
//! answer is kept, and asks anew only where they differ. `coaming load` asks ahead of the next start.

mod package;
mod store;
#[cfg(test)]
mod tests;
mod told;
mod verdict;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coaming_policy::runtime_versions::{Product, Version};
use serde::{Deserialize, Serialize};

use crate::handoff::{HandoffError, Runtime};

pub use package::Package;
pub use told::{Features, Told};
pub use verdict::{Admitted, VulnerableError, admit, ahead, known};

use crate::ask::Ask;
use store::Store;

/// The folder in which answers are kept.
pub const KEPT: &str = "/var/lib/coaming/runtimes";
/// The flag of seccomp(2) by which denied calls are logged.
const LOG: &str = "SECCOMP_FILTER_FLAG_LOG";
/// How long a runtime may take over one question.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a runtime that gave no answer is not asked again, in seconds.
const AGAIN: u64 = 10 * 60;

/// What is known of a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probed {
    /// The version of this form; 1.
    form: u32,
    /// The file that answered.
    pub file: Identity,
    /// What `--version` said.
    pub told: Told,
    /// What `features` said; none of runtimes that have no such command (crun before 1.9.1).
    pub features: Option<Features>,
    /// The package that brought the file, where it is one of dpkg's and as it was brought.
    pub package: Option<Package>,
    /// Why it did not say its version.
    pub failed: Option<String>,
    /// When it was asked, in seconds since 1970.
    pub asked_at: u64,
}

/// Which file it is: another content has other numbers, unless root's clock and hand made them the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// The path without links.
    pub path: PathBuf,
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    pub(crate) fn of(path: &Path) -> std::io::Result<Identity> {
        let resolved = fs::canonicalize(path)?;
        let meta = fs::metadata(&resolved)?;
        Ok(Identity {
            path: resolved,
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }

    /// Whether both are one file, whatever their paths: by device and inode.
    #[must_use]
    pub fn is_same_file(&self, other: &Identity) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// Why a runtime cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// It is not fit to be run.
    #[error(transparent)]
    Unfit(#[from] HandoffError),
    /// It cannot be looked at.
    #[error("cannot look at the runtime {}: {error}", .path.display())]
    Look {
        /// As configured.
        path: PathBuf,
        /// The system's answer.
        error: std::io::Error,
    },
}

/// What is known of the runtime at this path: what is kept of it, or, where the file is another, what it says now.
/// An answer that cannot be kept is given all the same.
///
/// # Errors
/// [`ProbeError`]. That it does not answer is none: see [`Probed::failed`].
pub fn probe(path: &Path) -> Result<Probed, ProbeError> {
    Prober::of_node().probe(path, now())
}

/// The same, and nothing is written.
///
/// # Errors
/// [`ProbeError`].
pub fn look(path: &Path) -> Result<Probed, ProbeError> {
    Prober::of_node().look(path, now())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

/// Whoever asks, and where answers are kept.
struct Prober {
    store: Store,
    patience: Duration,
}

impl Prober {
    fn of_node() -> Prober {
        Prober { store: Store::at(Path::new(KEPT)), patience: PATIENCE }
    }

    fn probe(&self, path: &Path, now: u64) -> Result<Probed, ProbeError> {
        let (probed, is_new) = self.known(path, now)?;
        if is_new {
            // Without a place to keep it the next start asks again.
            let _ = self.store.write(path, &probed);
        }
        Ok(probed)
    }

    fn look(&self, path: &Path, now: u64) -> Result<Probed, ProbeError> {
        self.known(path, now).map(|(probed, _)| probed)
    }

    /// What is kept, or what it says now; and whether it is new.
    fn known(&self, path: &Path, now: u64) -> Result<(Probed, bool), ProbeError> {
        // The same examination as before it is executed for a container.
        Runtime::open(path)?;
        let look = |error| ProbeError::Look { path: path.to_owned(), error };
        let file = Identity::of(path).map_err(look)?;
        match self.store.read(path).filter(|kept| kept.is_of(&file, now)) {
            Some(kept) => Ok((kept, false)),
            None => Ok((self.ask(path, file, now), true)),
        }
    }

    fn ask(&self, path: &Path, file: Identity, now: u64) -> Probed {
        let ask = Ask { name: path, program: &file.path, patience: self.patience };
        let (told, failed) = match ask.answer(&["--version".as_ref()]) {
            Ok(text) => match Told::read(&text) {
                Some(told) => (told, None),
                None => (Told::default(), Some("--version names no version".to_owned())),
            },
            Err(why) => (Told::default(), Some(format!("--version: {why}"))),
        };
        // A runtime that hangs is not waited for twice.
        let features = match &failed {
            None => ask.answer(&["features".as_ref()]).ok().and_then(|text| Features::read(&text)),
            Some(_) => None,
        };
        let package = told.version().and_then(|version| Package::of(&file.path, &version));
        Probed { form: store::FORM, file, told, features, package, failed, asked_at: now }
    }
}

impl Probed {
    /// Whether what was said then still holds.
    fn is_of(&self, file: &Identity, now: u64) -> bool {
        let package = self.package.as_ref().is_none_or(Package::is_as_it_was);
        // A clock that was set back asks again, too.
        let failed = self.failed.is_some() && now.abs_diff(self.asked_at) > AGAIN;
        self.form == store::FORM && self.file == *file && package && !failed
    }

    /// The version, where it is understood.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.told.version()
    }

    /// Whether it loads a seccomp filter with `SECCOMP_FILTER_FLAG_LOG`. runc refuses every flag before 1.2 ("seccomp
    /// flags are not yet supported") and says from then on which it takes; crun takes this one in every version from 1.8 on,
    /// and its `features` says nothing of flags.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn takes_log(&self) -> Result<(), String> {
        let says_so = |features: &Features| features.seccomp_flags.iter().any(|flag| flag == LOG);
        if self.told.product() == Some(Product::Crun) || self.features.as_ref().is_some_and(says_so)
        {
            return Ok(());
        }
        Err(format!(
            "{} does not take the flag {LOG}; runc does from 1.2 on, and crun does",
            self.file.path.display()
        ))
    }

    /// The annotations that the runtime itself calls potentially unsafe.
    #[must_use]
    pub fn unsafe_annotations(&self) -> &[String] {
        self.features.as_ref().map_or(&[], |features| &features.unsafe_annotations)
    }
}
