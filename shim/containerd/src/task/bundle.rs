//! The files of a bundle, containerd's folder for one container.
//!
//! They are written as root. Names are of our own making, never an id from a request, and no link is followed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use nix::libc;
use serde::Deserialize;

use crate::error::Error;

/// A config.json that is longer is not looked into.
const LONGEST_CONFIG: u64 = 16 * 1024 * 1024;
/// A pid and some room.
const LONGEST_PID: u64 = 32;

/// The bundle's path, if it is one that a request may name: absolute, without `..`, a folder and no link to one.
pub(super) fn check(bundle: &str) -> Result<PathBuf, Error> {
    let invalid = |problem: String| Error::Invalid { what: "bundle", problem };
    let path = Path::new(bundle);
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(invalid(format!("{bundle:?} is not an absolute path without \"..\"")));
    }
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(path.to_owned()),
        Ok(_) => Err(invalid(format!("{bundle:?} is not a directory"))),
        Err(error) => Err(invalid(format!("{bundle:?}: {error}"))),
    }
}

/// An id as the runtimes take it (runc libcontainer/factory_linux.go, `validateID`), which also is no flag.
pub(crate) fn check_id(what: &'static str, id: &str) -> Result<(), Error> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    let starts = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    if id.len() <= 255 && id.bytes().all(fits) && id.as_bytes().first().is_some_and(starts) {
        return Ok(());
    }
    let shown: String = id.chars().take(300).collect();
    let problem = format!(
        "{shown:?} must have 1 to 255 of the characters A-Z a-z 0-9 _ + - . and start with a letter, a digit or _"
    );
    Err(Error::Invalid { what, problem })
}

/// Writes a file that root alone reads. One that is there is replaced only where it may be.
pub(super) fn write(path: &Path, bytes: &[u8], replace: bool) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    if replace {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let written = options.open(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|error| Error::File { doing: "write", path: path.to_owned(), error })
}

/// The mount point of the rootfs; it may be there.
pub(super) fn make_rootfs(rootfs: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(0o711).create(rootfs) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::File { doing: "make the directory", path: rootfs.to_owned(), error })
        }
        _ => Ok(()),
    }
}

/// What a runtime wrote as `--pid-file`.
pub(super) fn read_pid(path: &Path) -> Result<i32, Error> {
    let failed =
        |error| Error::File { doing: "read the process id in", path: path.to_owned(), error };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST_PID).read_to_string(&mut text))
        .map_err(failed)?;
    pid_of(&text).ok_or_else(|| {
        failed(io::Error::new(io::ErrorKind::InvalidData, format!("{text:?} is no process id")))
    })
}

/// Of a pid file's text.
pub(crate) fn pid_of(text: &str) -> Option<i32> {
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

/// Whether processes of this container may live on when its init has gone: only in a pid namespace of its own does the
/// kernel end them (pid_namespaces(7)). What cannot be read counts as yes.
pub(super) fn outlives_init(bundle: &Path) -> bool {
    let mut config = Vec::new();
    let read = File::open(bundle.join("config.json"))
        .and_then(|file| file.take(LONGEST_CONFIG).read_to_end(&mut config));
    read.is_err() || outlives_init_of(&config)
}

/// Of a configuration's text.
pub(crate) fn outlives_init_of(config: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Config {
        linux: Option<Linux>,
    }
    #[derive(Deserialize)]
    struct Linux {
        namespaces: Option<Vec<Namespace>>,
    }
    #[derive(Deserialize)]
    struct Namespace {
        r#type: String,
        path: Option<String>,
    }
    let namespaces = serde_json::from_slice::<Config>(config)
        .ok()
        .and_then(|config| config.linux?.namespaces)
        .unwrap_or_default();
    !namespaces.iter().any(|namespace| {
        namespace.r#type == "pid" && namespace.path.as_deref().unwrap_or_default().is_empty()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_runtimes_and_no_flags() {
        for id in ["a", "0f", "a-b_c.d+e", "_x", &"x".repeat(255)] {
            assert!(check_id("container", id).is_ok(), "{id}");
        }
        for id in ["", "-a", ".", "..", "a/b", "a b", "ä", "a\n", "--force", &"x".repeat(256)] {
            assert!(check_id("container", id).is_err(), "{id}");
        }
    }

    #[test]
    fn a_bundle_is_a_plain_directory() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        assert!(check(path).is_ok());
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/tmp", &link).unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        for bad in [
            "",
            "relative",
            link.to_str().unwrap(),
            file.to_str().unwrap(),
            &format!("{path}/../x"),
            &format!("{path}/none"),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_link_is_written_through() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("options.json");
        let elsewhere = directory.path().join("elsewhere");
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        assert!(write(&link, b"x", true).is_err());
        assert!(write(&link, b"x", false).is_err());
        assert!(!elsewhere.exists());
    }

    #[test]
    fn processes_outlive_init_without_a_pid_namespace_of_the_containers_own() {
        let directory = tempfile::tempdir().unwrap();
        let outlives = |config: &str| {
            fs::write(directory.path().join("config.json"), config).unwrap();
            outlives_init(directory.path())
        };
        assert!(!outlives(r#"{"linux":{"namespaces":[{"type":"mount"},{"type":"pid"}]},"x":1}"#));
        assert!(!outlives(r#"{"linux":{"namespaces":[{"type":"pid","path":""}]}}"#));
        assert!(outlives(r#"{"linux":{"namespaces":[{"type":"pid","path":"/proc/7/ns/pid"}]}}"#));
        assert!(outlives(r#"{"linux":{"namespaces":[{"type":"mount"}]}}"#));
        assert!(outlives(r#"{"linux":{}}"#));
        assert!(outlives("{}"));
        assert!(outlives("no json"));
        fs::remove_file(directory.path().join("config.json")).unwrap();
        assert!(outlives_init(directory.path()));
    }

    #[test]
    fn a_pid_file_holds_a_pid() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("init.pid");
        for (text, pid) in
            [("42", Some(42)), ("42\n", Some(42)), ("0", None), ("-1", None), ("", None)]
        {
            fs::write(&path, text).unwrap();
            assert_eq!(read_pid(&path).ok(), pid, "{text:?}");
        }
    }
}
