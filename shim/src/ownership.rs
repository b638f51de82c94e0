//! Whether a path can be changed by anyone but root and one trusted user.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use coaming_config::trust::is_root;
use nix::unistd::Uid;

const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Why the object with this owner and mode could be changed by others; `None` when it could not.
pub(crate) fn exposed(owner: u32, mode: u32, trusted: Uid) -> Option<String> {
    if !is_root(owner) && owner != trusted.as_raw() {
        return Some(match trusted.is_root() {
            true => format!("it belongs to uid {owner}, not to root"),
            false => format!("it belongs to uid {owner}, neither root nor uid {trusted}"),
        });
    }
    (mode & WRITABLE_BY_OTHERS != 0)
        .then(|| format!("its mode {:04o} lets group or others write", mode & 0o7777))
}

/// The same for every directory above `resolved`, an absolute path without symlinks: who can rename
/// an ancestor can put another object in its place. In a sticky directory such as /tmp only the
/// owner of an entry may rename it (inode(7)), and every entry's owner is checked.
pub(crate) fn exposed_ancestor(resolved: &Path, trusted: Uid) -> Option<String> {
    resolved.ancestors().skip(1).find_map(|dir| {
        let meta = match fs::symlink_metadata(dir) {
            Ok(meta) => meta,
            Err(error) => return Some(format!("{}: {error}", dir.display())),
        };
        let mode =
            if meta.mode() & STICKY == 0 { meta.mode() } else { meta.mode() & !WRITABLE_BY_OTHERS };
        exposed(meta.uid(), mode, trusted)
            .map(|why| format!("the directory {} above it can be changed: {why}", dir.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_trusted_user_may_hold_write_access() {
        let me = Uid::from_raw(1000);
        assert_eq!(exposed(0, 0o755, me), None);
        assert_eq!(exposed(1000, 0o700, me), None);
        assert!(exposed(1001, 0o755, me).unwrap().contains("1001"));
        assert!(exposed(0, 0o775, me).unwrap().contains("0775"));
        assert!(exposed(0, 0o757, me).is_some());
    }
}
