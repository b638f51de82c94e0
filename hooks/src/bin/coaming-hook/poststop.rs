//! Removes what belonged to a container, and nothing else.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::{HookError, state};

/// Length of a container's key: a SHA-256 digest in hex.
const KEY: usize = 64;

/// How often a directory is emptied that somebody writes into meanwhile.
const ATTEMPTS: usize = 1000;

pub(crate) fn run(record: &Path, launch: &Path) -> Result<(), HookError> {
    // Nothing in the state decides what is removed; a state that is none still means that something is
    // wrong, and is said after the work is done.
    let state = state::read(std::io::stdin().lock());
    let record = remove(record, &base_of(record).join("containers"));
    let launch = remove(launch, &base_of(launch).join("launch"));
    record.and(launch)?;
    state.map(drop)
}

/// The fixed place of a container's state: root's, or for an ordinary user's container the one in his own runtime
/// directory. It must be the caller's own: what a user may write, root does not follow.
fn base_of(path: &Path) -> PathBuf {
    let mut parts = path.components().skip(3);
    let user = path.strip_prefix("/run/user").ok().and_then(|_| {
        let uid: u32 = parts.next()?.as_os_str().to_str()?.parse().ok()?;
        let folder = Path::new("/run/user").join(uid.to_string());
        let meta = fs::symlink_metadata(&folder).ok()?;
        let own = fs::metadata("/proc/self").ok()?.uid();
        (meta.is_dir() && meta.uid() == own).then(|| folder.join("coaming"))
    });
    user.unwrap_or_else(|| PathBuf::from("/run/coaming"))
}

/// Removes `parent/KEY`, if that is what `path` is, by its text and in truth.
fn remove(path: &Path, parent: &Path) -> Result<(), HookError> {
    let refused = |cause: &str| HookError::Remove {
        path: path.display().to_string(),
        cause: cause.to_owned(),
    };
    if !is_key_below(path, parent) {
        return Err(refused("it is not a container's directory below /run/coaming"));
    }
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| refused(&error.to_string()))?,
    };
    if !metadata.is_dir() || !is_own(&metadata) {
        return Err(refused("it is not a directory that its owner alone made"));
    }
    // What another container's create or delete sweeps meanwhile is gone too.
    let real = match fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        real => real.map_err(|error| refused(&error.to_string()))?,
    };
    if real != path {
        return Err(refused("a symlink leads to it"));
    }
    // The standard library walks by descriptors and follows no symlink on the way down.
    for _ in 0..ATTEMPTS {
        match fs::remove_dir_all(path) {
            // The prover wrote into it between the last file and the directory. It writes once or twice.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(refused(&error.to_string()));
            }
            _ => return Ok(()),
        }
    }
    Err(refused("files come into it as fast as they are removed"))
}

/// Root's, or the caller's.
fn is_own(metadata: &fs::Metadata) -> bool {
    let own = || fs::metadata("/proc/self").ok().map(|own| own.uid());
    metadata.uid() == 0 || Some(metadata.uid()) == own()
}

/// By text: no `..`, no doubled slash, no other depth.
fn is_key_below(path: &Path, parent: &Path) -> bool {
    let Some(path) = path.to_str() else {
        return false;
    };
    let name = parent.to_str().and_then(|parent| path.strip_prefix(parent)?.strip_prefix('/'));
    name.is_some_and(|name| {
        name.len() == KEY && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_right_below_the_parent_is_taken() {
        let key = "ab".repeat(32);
        let parent = Path::new("/run/coaming/launch");
        assert!(is_key_below(Path::new(&format!("/run/coaming/launch/{key}")), parent));
        for path in [
            format!("/run/coaming/launch/{key}/"),
            format!("/run/coaming/launch//{key}"),
            format!("/run/coaming/launch/./{key}"),
            format!("/run/coaming/launch/../launch/{key}"),
            format!("/run/coaming/launch/{key}/x"),
            format!("/run/coaming/containers/{key}"),
            format!("run/coaming/launch/{key}"),
            format!("/run/coaming/launch/{}", key.to_uppercase()),
            format!("/run/coaming/launch/{}", "..".repeat(32)),
            "/run/coaming/launch".to_owned(),
            "/".to_owned(),
            String::new(),
        ] {
            assert!(!is_key_below(Path::new(&path), parent), "{path}");
        }
    }

    #[test]
    fn what_is_not_ours_stays() {
        let folder = tempfile::tempdir().unwrap();
        let parent = folder.path().canonicalize().unwrap();
        let path = parent.join("cd".repeat(32));
        assert!(remove(&path, &parent).is_ok(), "a missing directory is fine");
        fs::write(&path, "a file").unwrap();
        assert!(remove(&path, &parent).is_err());
        fs::remove_file(&path).unwrap();

        let target = parent.join("target");
        fs::create_dir(&target).unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(remove(&path, &parent).is_err());
        assert!(target.is_dir() && path.is_symlink());
    }

    #[test]
    fn what_is_written_meanwhile_goes_too() {
        let folder = tempfile::tempdir().unwrap();
        let parent = folder.path().canonicalize().unwrap();
        for round in 0..50 {
            let path = parent.join("ef".repeat(32));
            fs::create_dir(&path).unwrap();
            (0..50).for_each(|number| fs::write(path.join(number.to_string()), "x").unwrap());
            std::thread::scope(|scope| {
                // As the prover does: to a name of its own, and then to the right one.
                scope.spawn(|| {
                    let new = path.join("proof.json.new");
                    let _ = fs::write(&new, "x");
                    let _ = fs::rename(&new, path.join("proof.json"));
                });
                assert!(remove(&path, &parent).is_ok(), "{round}");
            });
            assert!(!path.exists(), "{round}");
        }
    }

    #[test]
    fn a_symlink_on_the_way_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap().join("real");
        let key = "cd".repeat(32);
        fs::create_dir_all(real.join(&key)).unwrap();
        let link = real.with_file_name("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(remove(&link.join(&key), &link).is_err());
        assert!(real.join(&key).is_dir());
    }
}
