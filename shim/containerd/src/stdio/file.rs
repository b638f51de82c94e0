//! Output that goes to a file.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use super::StdioError;
use super::pipes::set_nonblocking;

/// Opens the file of a `file://` URI for appending, and makes it and the directories above it where they are missing.
/// `None` if it is a fifo, which is opened another way.
pub(super) fn create(path: &Path) -> Result<Option<File>, StdioError> {
    let failed = |source| StdioError::Open { path: path.to_owned(), source };
    if path.metadata().is_ok_and(|status| status.file_type().is_fifo()) {
        return Ok(None);
    }
    if let Some(parent) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .map_err(|source| StdioError::LogDirectory { path: parent.to_owned(), source })?;
    }
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        // Opening never waits, whatever the path names by now.
        .custom_flags((OFlag::O_NOCTTY | OFlag::O_NONBLOCK).bits())
        .open(path)
        .map_err(failed)?;
    set_nonblocking(&file, false).map_err(failed)?;
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn missing_directories_are_made_and_old_contents_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/log");
        create(&path).unwrap().unwrap().write_all(b"one\n").unwrap();
        create(&path).unwrap().unwrap().write_all(b"two\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path) & 0o133, 0);
        assert_eq!(mode(path.parent().unwrap()) & 0o022, 0);
    }

    #[test]
    fn a_fifo_is_not_opened_here_and_a_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(create(&fifo).unwrap().is_none());
        assert!(create(directory.path()).is_err());
    }
}
