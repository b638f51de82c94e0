//! The file for node_exporter's textfile collector.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Writes it whole or not at all, readable by all. The collector reads what ends in `.prom`; what is being written does
/// not.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
    if path.extension().is_none_or(|extension| extension != "prom") {
        return Err(io::Error::other("the collector reads files whose names end in .prom alone"));
    }
    let temporary =
        path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let write = || {
        // What another process of this number left behind.
        let _ = fs::remove_file(&temporary);
        // No link is followed: who else may write the folder could have put one there.
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        // Whatever the umask.
        file.set_permissions(Permissions::from_mode(0o644))?;
        fs::rename(&temporary, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&temporary)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_replaced_whole_and_readable_by_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("coaming.prom");
        write(&path, "a 1\n").unwrap();
        write(&path, "a 2\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a 2\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
        // A link in its place is replaced, and what it leads to is left alone.
        let target = folder.path().join("target");
        fs::write(&target, "untouched").unwrap();
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        write(&path, "a 3\n").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
        assert!(write(&folder.path().join("coaming.txt"), "").is_err());
        assert!(write(&folder.path().join("none/coaming.prom"), "").is_err());
    }
}
