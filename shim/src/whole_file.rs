//! Files that are written whole or not at all: beside, and renamed.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Writes a file, so that a reader sees all of it or what was there before. `mode` holds whatever the umask is.
///
/// # Errors
/// Nothing is left of it then.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    put(path, bytes, mode, |_| Ok(()))
}

/// The same for root alone, after a power cut too.
///
/// # Errors
/// As [`write`].
pub(crate) fn write_durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, 0o600, File::sync_all)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn put(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    settle: impl Fn(&File) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = path.with_extension(format!("tmp{}", std::process::id()));
    let write = || {
        // What another process of this number left behind.
        let _ = fs::remove_file(&temporary);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        settle(&file)?;
        fs::rename(&temporary, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&temporary)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_whole_or_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("document.json");
        // Of a process of this number that was killed.
        fs::write(path.with_extension(format!("tmp{}", std::process::id())), "half").unwrap();
        write(&path, b"one", 0o644).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        write_durable(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let names = || fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names(), 1);
        // A folder in its place.
        let taken = folder.path().join("taken");
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("x"), "").unwrap();
        assert!(write(&taken, b"three", 0o600).is_err());
        assert_eq!(names(), 2);
    }
}
