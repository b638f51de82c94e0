//! What a node image was given ahead (`coaming bake`), in folders that only the image's maker writes: the snapshot of its
//! policies, and compiled filters.
//!
//! They are looked into second, after what the node itself has made, and never written; what is used of them is kept where the
//! node keeps its own. /usr may be read-only, and /run and
//! /var empty: so the first start of a node need neither parse nor compile. Whoever could write here could replace coaming's
//! programs, which lie beside; all the same only files of root's are read, and filters by their digests.

use std::fs;
use std::path::{Path, PathBuf};

use coaming_config::trust::{check_trust, read_root_owned};
use coaming_policy::snapshot;
use sha2::{Digest, Sha256};

use crate::host::hex;

/// The folder of filters and answers, in a folder for each build.
pub const FILTERS: &str = "/usr/lib/coaming/filters";
/// The folder of the policies' snapshot, as `/var/lib/coaming/policy` has it.
pub const POLICY: &str = "/usr/lib/coaming/policy";

/// Where this build looks for filters below a folder such as [`FILTERS`]: what another one compiled, or for another processor,
/// is not this one's.
pub fn filters_of_this_build(folder: &Path) -> PathBuf {
    let build: String = hex(&Sha256::digest(snapshot::build())).chars().take(16).collect();
    folder.join(format!("{}-{build}", std::env::consts::ARCH))
}

/// A file that was baked for this build, by its name in the cache.
pub(crate) fn filter(name: &str) -> Option<Vec<u8>> {
    filter_in(Path::new(FILTERS), name)
}

fn filter_in(folder: &Path, name: &str) -> Option<Vec<u8>> {
    // Most nodes have none: one look.
    if !is_root_owned(folder) {
        return None;
    }
    let own = filters_of_this_build(folder);
    is_root_owned(&own).then(|| read_root_owned(&own.join(name)).ok()).flatten()
}

fn is_root_owned(folder: &Path) -> bool {
    let metadata = fs::symlink_metadata(folder).ok();
    metadata.is_some_and(|found| found.is_dir() && check_trust(folder, &found).is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_read_where_root_alone_could_have_written_it() {
        let folder = tempfile::tempdir().unwrap();
        let filters = folder.path().join("filters");
        assert_eq!(filter_in(&filters, "x"), None, "no folder");
        let own = filters_of_this_build(&filters);
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("x"), b"1").unwrap();
        let with_mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            filter_in(&filters, "x")
        };
        for path in [&filters, &own] {
            assert_eq!(with_mode(path, 0o777), None, "{}", path.display());
            assert_eq!(with_mode(path, 0o755).as_deref(), Some(&b"1"[..]));
        }
        assert_eq!(with_mode(&own.join("x"), 0o666), None);
        assert_eq!(with_mode(&own.join("x"), 0o644).as_deref(), Some(&b"1"[..]));
        symlink(own.join("x"), own.join("y")).unwrap();
        assert_eq!(filter_in(&filters, "y"), None, "a link");
        let elsewhere = folder.path().join("other");
        symlink(&filters, &elsewhere).unwrap();
        assert_eq!(filter_in(&elsewhere, "x"), None, "a link to the folder");
    }
}
