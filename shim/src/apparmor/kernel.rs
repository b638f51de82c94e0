//! What the kernel says of its AppArmor profiles: securityfs (security/apparmor/apparmorfs.c).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::AppArmorError;
use crate::host::hex;

/// The module's folder.
pub const ROOT: &str = "/sys/kernel/security/apparmor";
/// The mode of the whole kernel: another than `enforce` overrides those of profiles.
pub(super) const MODE: &str = "/sys/module/apparmor/parameters/mode";
/// The mode in which a profile denies.
pub(super) const ENFORCE: &str = "enforce";
/// The largest file that is read, in bytes: a loaded profile's own bytes.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// A loaded profile.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) mode: String,
    /// SHA-256, in lower-case hex, of the bytes that were loaded; none where the kernel does not keep it
    /// (CONFIG_SECURITY_APPARMOR_EXPORT_BINARY).
    pub(super) digest: Option<String>,
}

impl Loaded {
    pub(super) fn check(&self, name: &str) -> Result<(), AppArmorError> {
        if self.mode == ENFORCE {
            return Ok(());
        }
        Err(AppArmorError::NotEnforced { name: name.to_owned(), mode: self.mode.clone() })
    }
}

/// The kernel's folder.
#[derive(Debug, Clone)]
pub(super) struct Kernel {
    root: PathBuf,
}

impl Kernel {
    pub(super) fn at(root: &Path) -> Kernel {
        Kernel { root: root.to_owned() }
    }

    /// Refuses a kernel that denies nothing whatever its profiles say.
    pub(super) fn check_mode(&self) -> Result<(), AppArmorError> {
        // In tests the folder is another's.
        if self.root != Path::new(ROOT) {
            return Ok(());
        }
        let mode = read(Path::new(MODE))?;
        match mode.trim() {
            ENFORCE => Ok(()),
            other => Err(AppArmorError::Mode { mode: other.to_owned() }),
        }
    }

    pub(super) fn features(&self) -> PathBuf {
        self.root.join("features")
    }

    /// A profile that comes with a policy. Its folder is called by its name, a full stop and a number that the
    /// kernel counts up (`__aafs_profile_mkdir`).
    pub(super) fn find(&self, name: &str) -> Result<Option<Loaded>, AppArmorError> {
        let folder = self.root.join("policy/profiles");
        let unseen = |error| AppArmorError::Unseen { path: folder.clone(), error };
        for entry in fs::read_dir(&folder).map_err(unseen)? {
            let entry = entry.map_err(unseen)?;
            let file = entry.file_name();
            let number = file.to_str().and_then(|file| file.strip_prefix(name)?.strip_prefix('.'));
            let is_number =
                |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            if !number.is_some_and(is_number) {
                continue;
            }
            let path = entry.path();
            match loaded(&path, name) {
                Ok(None) => {}
                // Removed while we looked.
                Err(AppArmorError::Unseen { error, .. })
                    if error.kind() == io::ErrorKind::NotFound => {}
                found => return found,
            }
        }
        Ok(None)
    }

    /// The mode of any profile: a line of `profiles` for each, `name (mode)`.
    pub(super) fn mode_of(&self, name: &str) -> Result<Option<String>, AppArmorError> {
        let list = read(&self.root.join("profiles"))?;
        let mode = list
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(" (")?.strip_suffix(')'));
        Ok(mode.map(str::to_owned))
    }

    /// Loads a profile, or puts it in the place of the one of its name. The kernel takes what one write brings.
    pub(super) fn load(&self, name: &str, binary: &[u8]) -> Result<(), AppArmorError> {
        let path = self.root.join(".replace");
        let failed = |problem: String| AppArmorError::Load { name: name.to_owned(), problem };
        let mut file = OpenOptions::new()
            .write(true)
            .open(&path)
            .map_err(|error| failed(format!("{}: {error}", path.display())))?;
        match file.write(binary) {
            Ok(written) if written == binary.len() => Ok(()),
            Ok(written) => Err(failed(format!("it took {written} of {} bytes", binary.len()))),
            Err(error) => Err(failed(format!(
                "{error}; the compiled file may be of another kernel, or damaged: remove it from {}",
                super::KEPT
            ))),
        }
    }
}

/// What a profile's folder says; none if it is another's.
fn loaded(folder: &Path, name: &str) -> Result<Option<Loaded>, AppArmorError> {
    if read(&folder.join("name"))?.trim_end() != name {
        return Ok(None);
    }
    let mode = read(&folder.join("mode"))?.trim_end().to_owned();
    // `raw_sha256` since Linux 6.8, `raw_sha1` before; the bytes themselves in both.
    let digest = match read(&folder.join("raw_sha256")) {
        Ok(digest) => Some(digest.trim_end().to_owned()),
        Err(_) => bytes(&folder.join("raw_data")).ok().map(|bytes| hex(&Sha256::digest(bytes))),
    };
    Ok(Some(Loaded { mode, digest }))
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read(path: &Path) -> Result<String, AppArmorError> {
    let read = bytes(path).map_err(|error| AppArmorError::Unseen { path: path.to_owned(), error });
    read.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
