//! One at a time: locks on files, which the kernel frees when their holder ends.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

/// How long is waited between two attempts, at most.
const PAUSE: Duration = Duration::from_millis(5);

/// Opens a file that is there to be locked, and makes it and its folder where they are not; then [`take`].
///
/// # Errors
/// As [`take`], or it cannot be opened.
pub(crate) fn exclusive(path: &Path, patience: Duration) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o711).create(folder)?;
    }
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600).custom_flags(O_NOFOLLOW | O_NONBLOCK);
    take(options.open(path)?, patience)
}

/// Waits for whoever has a file's lock. It is held until the file is closed.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`]: another has had it for all of that time.
pub(crate) fn take(file: File, patience: Duration) -> io::Result<File> {
    let begun = Instant::now();
    let mut pause = Duration::from_micros(100);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() < patience => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSE);
            }
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::WouldBlock,
                    format!(
                        "another process of coaming's has had it for {} s; try again, and look for one that hangs",
                        patience.as_secs()
                    ),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_one_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/lock");
        let first = exclusive(&path, Duration::ZERO).unwrap();
        let busy = exclusive(&path, Duration::from_millis(20)).unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::WouldBlock);
        let second = std::thread::spawn({
            let path = path.clone();
            move || exclusive(&path, Duration::from_secs(60)).map(drop)
        });
        std::thread::sleep(Duration::from_millis(20));
        assert!(!second.is_finished());
        drop(first);
        second.join().unwrap().unwrap();
    }

    #[test]
    fn a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("lock");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &link).unwrap();
        assert!(exclusive(&link, Duration::ZERO).is_err());
        assert!(!folder.path().join("elsewhere").exists());
    }
}
