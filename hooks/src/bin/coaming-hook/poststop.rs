//! Removes what belonged to a container, and nothing else.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::{HookError, state};

/// Length of a container's key: a SHA-256 digest in hex.
const KEY: usize = 64;

pub(crate) fn run(record: &Path, launch: &Path) -> Result<(), HookError> {
    // Nothing in the state decides what is removed; a state that is none still means that something is
    // wrong, and is said after the work is done.
    let state = state::read(std::io::stdin().lock());
    let record = remove(record, Path::new("/run/coaming/containers"));
    let launch = remove(launch, Path::new("/run/coaming/launch"));
    record.and(launch)?;
    state.map(drop)
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
    if !metadata.is_dir() || metadata.uid() != 0 {
        return Err(refused("it is not a directory that root owns"));
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
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(refused(&error.to_string())),
        _ => Ok(()),
    }
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
