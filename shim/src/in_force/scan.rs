//! Whether a directory is as it was: by what the kernel says of its files, without reading them.
//!
//! A file that was changed within a tick of the clock after it was read has the times that it had
//! before (inode(7)); git's index calls such an entry racily clean. What was changed so late that this
//! is possible is not known to be as it was, and its content is compared.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use coaming_policy::document::Listing;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::host::hex;

/// The coarsest clock of a file system that a policy directory may lie on (FAT), in seconds.
const TICK: i64 = 2;

/// A directory as it was last looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Seen {
    /// What the kernel said of the directory and of what was watched in it.
    fingerprint: String,
    /// When looking began, in seconds since 1970.
    taken: i64,
    /// Paths below the directory: every file that was read or looked for.
    pub(super) watched: BTreeSet<String>,
    /// The digest of what was read; none where not all of it could be.
    pub(super) content: Option<String>,
    /// The latest change of anything watched, in seconds since 1970.
    changed: i64,
}

impl Seen {
    /// Begins to look.
    pub(super) fn begin() -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    /// A directory of which these files were read.
    pub(super) fn of(
        directory: &Path,
        taken: i64,
        watched: BTreeSet<String>,
        content: Option<String>,
    ) -> nix::Result<Seen> {
        let (fingerprint, changed) = scan(directory, &watched)?;
        Ok(Seen { fingerprint, taken, watched, content, changed })
    }

    /// A directory that will lie elsewhere when it is looked at: its content alone can be held against this.
    pub(super) fn elsewhere(watched: BTreeSet<String>, content: String) -> Seen {
        Seen { watched, content: Some(content), ..Seen::default() }
    }

    /// Whether the directory is known to be as it was.
    pub(super) fn is_current(&self, directory: &Path) -> bool {
        self.is_settled()
            && scan(directory, &self.watched)
                .is_ok_and(|(fingerprint, _)| fingerprint == self.fingerprint)
    }

    /// Whether its last change lies so far back that another would have another time.
    pub(super) fn is_settled(&self) -> bool {
        self.changed.saturating_add(TICK) < self.taken
    }

    /// Whether this is what an earlier scan of the same names brought.
    pub(super) fn is_of(&self, (fingerprint, _): &(String, i64)) -> bool {
        self.fingerprint == *fingerprint
    }
}

/// The names that are watched: files, the profiles and the folders on the way to them.
pub(super) fn watched<'a>(
    listing: &Listing,
    profiles: impl Iterator<Item = &'a str>,
) -> BTreeSet<String> {
    let mut watched: BTreeSet<String> = listing.names().map(str::to_owned).collect();
    for profile in profiles {
        // The path itself, and each folder above it; the last is the directory, which is watched anyway.
        let folders = Path::new(profile).ancestors().filter(|path| !path.as_os_str().is_empty());
        watched.extend(folders.filter_map(|path| path.to_str()).map(str::to_owned));
    }
    watched
}

/// The digest of what the kernel says, and the latest change.
pub(super) fn scan(directory: &Path, watched: &BTreeSet<String>) -> nix::Result<(String, i64)> {
    // Hashed at once: of a thousand files, many small pieces cost more than all that is asked of the kernel.
    let mut told = Vec::with_capacity(128 * (watched.len() + 1));
    let mut latest = i64::MIN;
    let folder = match open(
        directory,
        OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY,
        Mode::empty(),
    ) {
        Err(Errno::ENOENT) => return Ok(("absent".to_owned(), latest)),
        folder => folder?,
    };
    let mut add = |name: &str, stat: Option<FileStat>| {
        told.extend_from_slice(name.as_bytes());
        told.extend([0, u8::from(stat.is_some())]);
        let Some(stat) = stat else { return };
        latest = latest.max(stat.st_ctime);
        for number in
            [stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec]
        {
            told.extend(number.to_le_bytes());
        }
        for number in [stat.st_dev, stat.st_ino] {
            told.extend(number.to_le_bytes());
        }
    };
    add("", Some(fstat(folder.as_fd())?));
    for name in watched {
        let stat = match fstatat(folder.as_fd(), name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Some(stat),
            Err(Errno::ENOENT | Errno::ENOTDIR) => None,
            Err(error) => return Err(error),
        };
        add(name, stat);
    }
    Ok((hex(&Sha256::digest(&told)), latest))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn seen(directory: &Path, names: &[&str]) -> Seen {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Seen::of(directory, Seen::begin(), names, None).unwrap()
    }

    /// As if the look had been taken long after the last change.
    fn later(seen: Seen) -> Seen {
        Seen { taken: seen.changed + TICK + 1, ..seen }
    }

    #[test]
    fn every_kind_of_change_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("policy.d");
        let names = ["a.yaml", "p", "p/x.json", "gone.json"];
        assert!(later(seen(&directory, &names)).is_current(&directory), "no directory is one too");
        let before = later(seen(&directory, &names));
        fs::create_dir_all(directory.join("p")).unwrap();
        assert!(!before.is_current(&directory));
        let a = directory.join("a.yaml");
        for path in [&a, &directory.join("p/x.json")] {
            fs::write(path, "one").unwrap();
        }
        let changes: [(&str, &dyn Fn()); 7] = [
            ("written", &|| fs::write(&a, "two").unwrap()),
            ("of a profile", &|| fs::write(directory.join("p/x.json"), "two").unwrap()),
            ("of its mode", &|| {
                fs::set_permissions(&a, fs::Permissions::from_mode(0o600)).unwrap()
            }),
            ("added", &|| fs::write(directory.join("b.yaml"), "").unwrap()),
            ("a missing one", &|| fs::write(directory.join("gone.json"), "").unwrap()),
            ("removed", &|| fs::remove_file(&a).unwrap()),
            ("a folder", &|| {
                fs::set_permissions(directory.join("p"), fs::Permissions::from_mode(0o700))
                    .unwrap();
            }),
        ];
        for (what, change) in changes {
            let before = later(seen(&directory, &names));
            assert!(before.is_current(&directory), "before: {what}");
            std::thread::sleep(std::time::Duration::from_millis(20));
            change();
            assert!(!before.is_current(&directory), "not seen: {what}");
        }
    }

    #[test]
    fn what_was_changed_a_moment_ago_is_not_taken_for_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yaml"), "one").unwrap();
        let now = seen(folder.path(), &["a.yaml"]);
        assert!(!now.is_settled() && !now.is_current(folder.path()));
        assert!(later(now.clone()).is_current(folder.path()));
        let edge = Seen { taken: now.changed + TICK, ..now };
        assert!(!edge.is_current(folder.path()));
    }
}
