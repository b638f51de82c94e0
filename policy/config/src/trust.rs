//! Files that only root can have written.
//!
//! What loosens nothing may still be forged to tighten nothing: files that others than root can
//! change, and symbolic links, are refused.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::DocumentError;

/// Whether files of this uid are root's: 0, and in a user's own namespace what root is shown as there.
pub fn is_root(uid: u32) -> bool {
    crate::caller::is_root(uid)
}

/// The largest file read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads a regular file that only root can have written, without following a symbolic link at it.
///
/// # Errors
/// [`DocumentError::Untrusted`] for what root alone did not write or what is too large.
pub fn read_root_owned(path: &Path) -> Result<Vec<u8>, DocumentError> {
    let untrusted =
        |problem: String| DocumentError::Untrusted { path: path.display().to_string(), problem };
    let file = match OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
    {
        Ok(file) => file,
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err(untrusted("a symbolic link; put the file itself here".to_owned()));
        }
        Err(error) => return Err(DocumentError::io("open", path, error)),
    };
    let metadata = file.metadata().map_err(|error| DocumentError::io("look at", path, error))?;
    if !metadata.is_file() {
        return Err(untrusted(
            "not a regular file; put a file in its place, or remove it".to_owned(),
        ));
    }
    check_trust(path, &metadata)?;
    read_bounded(file, path)
}

fn read_bounded(file: File, path: &Path) -> Result<Vec<u8>, DocumentError> {
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| DocumentError::io("read", path, error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(DocumentError::Untrusted {
            path: path.display().to_string(),
            problem: format!(
                "larger than {MAX_FILE_BYTES} bytes, which is the most that is read; split or shorten it"
            ),
        });
    }
    Ok(bytes)
}

/// Only root, or whoever runs this (who could run anything else instead), may be able to write it.
///
/// # Errors
/// [`DocumentError::Untrusted`], with what to change.
pub fn check_trust(path: &Path, metadata: &fs::Metadata) -> Result<(), DocumentError> {
    let problem = if metadata.file_type().is_symlink() {
        "a symbolic link; name the place itself".to_owned()
    } else if !is_root(metadata.uid()) && Some(metadata.uid()) != own_uid() {
        format!("owned by uid {}, who could change it; chown it to root", metadata.uid())
    } else if metadata.mode() & 0o022 != 0 {
        format!("mode {:o} lets others write it; chmod go-w", metadata.mode() & 0o7777)
    } else {
        return Ok(());
    };
    Err(DocumentError::Untrusted { path: path.display().to_string(), problem })
}

/// Our own uid: the owner of /proc/self (proc(5)).
fn own_uid() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|metadata| metadata.uid())
}
