//! Whether coaming itself is in order on this node.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use coaming_config::trust::check_trust;
use coaming_config::{Configuration, PROGRAMS};
use coaming_shim::clock;
use coaming_shim::config::{HOOK, LAUNCHER};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::geteuid;
use serde::Serialize;

use super::program;

const SHIM: &str = "/usr/bin/containerd-shim-coaming-v1";

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Grade {
    Fine,
    Note,
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Check {
    pub(super) what: String,
    pub(super) grade: Grade,
    pub(super) found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mend: Option<String>,
}

impl Check {
    pub(super) fn wrong(what: &str, found: String, mend: Option<&str>) -> Check {
        Check::new(what, Grade::Wrong, found, mend)
    }

    fn new(what: &str, grade: Grade, found: String, mend: Option<&str>) -> Check {
        Check { what: what.to_owned(), grade, found, mend: mend.map(str::to_owned) }
    }
}

/// Programs, folders and the clock.
pub(super) fn checks(configuration: &Configuration) -> Vec<Check> {
    let mut checks = Vec::new();
    if !geteuid().is_root() {
        let found = "this is not root: what is root's alone could not be looked at".to_owned();
        checks.push(Check::new("privileges", Grade::Note, found, Some("run it as root")));
    }
    for wrapper in configuration.wrappers() {
        let path = format!("{PROGRAMS}/{wrapper}");
        // coaming-crun needs to be there only where crun is.
        if configuration.runtime(wrapper).is_some() {
            checks.push(program_check(&path, false));
        }
    }
    checks.push(program_check(LAUNCHER, true));
    checks.push(program_check(HOOK, true));
    checks.push(match Path::new(SHIM).exists() {
        true => program_check(SHIM, false),
        false => {
            let found = "not installed; handlers go through the wrapper".to_owned();
            Check::new(SHIM, Grade::Note, found, None)
        }
    });
    for folder in ["/run/coaming", "/var/lib/coaming", "/etc/coaming"] {
        checks.push(folder_check(folder));
    }
    if let Some(ahead) = seen_ahead(Path::new(clock::MARK), SystemTime::now()) {
        let found = format!(
            "this node's clock is {} behind a time that was seen before ({}); waivers end by the latter",
            humantime::format_duration(ahead),
            clock::MARK
        );
        checks.push(Check::wrong(
            "clock",
            found,
            Some("set the clock; if that time was wrong, remove the file"),
        ));
    }
    checks
}

/// By how much the latest time that was seen is ahead of the clock, where that is more than a clock may be stepped by.
fn seen_ahead(mark: &Path, now: SystemTime) -> Option<Duration> {
    const TOLERANCE: Duration = Duration::from_secs(5 * 60);
    let seen = fs::symlink_metadata(mark).ok()?.modified().ok()?;
    let ahead = seen.duration_since(now).ok().filter(|ahead| *ahead > TOLERANCE)?;
    Some(Duration::from_secs(ahead.as_secs()))
}

/// A program that is run as root: `enters` where it is mounted into containers, or run in their namespaces.
fn program_check(path: &str, enters: bool) -> Check {
    let wrong = |found: String, mend: &str| Check::wrong(path, found, Some(mend));
    let file = match fs::canonicalize(path) {
        Ok(file) => file,
        Err(error) => return wrong(format!("{error}"), "install coaming's programs again"),
    };
    for part in file.ancestors() {
        let trusted = fs::symlink_metadata(part)
            .map_err(|error| format!("{}: {error}", part.display()))
            .and_then(|metadata| check_trust(part, &metadata).map_err(|error| error.to_string()));
        if let Err(why) = trusted {
            return wrong(why, "whoever can change it can start anything as root");
        }
    }
    if !program::is_executable(&file) {
        return wrong("it is not a regular file that can be executed".to_owned(), "chmod 755");
    }
    if statvfs(&file).is_ok_and(|mount| mount.flags().contains(FsFlags::ST_NOEXEC)) {
        return wrong(
            "its file system is mounted noexec".to_owned(),
            "move it, or remount with exec",
        );
    }
    if enters && let Err(why) = program::is_static(&file) {
        return wrong(why, "build it for a static target, as `make build` does");
    }
    Check::new(path, Grade::Fine, "in place, root's alone to change".to_owned(), None)
}

fn folder_check(folder: &str) -> Check {
    let path = Path::new(folder);
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Check::new(folder, Grade::Note, "not there yet".to_owned(), None);
        }
        Err(error) => return Check::wrong(folder, error.to_string(), None),
    };
    if !metadata.is_dir() {
        return Check::wrong(
            folder,
            "not a folder".to_owned(),
            Some("put a folder of root's there"),
        );
    }
    match check_trust(path, &metadata) {
        Ok(()) => Check::new(folder, Grade::Fine, "root's alone to change".to_owned(), None),
        Err(error) => Check::wrong(folder, error.to_string(), Some("chown root, chmod go-w")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_program_that_others_can_change_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("coaming-runc");
        let shown = path.display().to_string();
        assert_eq!(program_check(&shown, false).grade, Grade::Wrong, "not there");
        fs::copy("/bin/true", &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let check = program_check(&shown, false);
        assert!(check.grade == Grade::Wrong && check.found.contains("777"), "{check:?}");
        // The system's own programs are root's, and linked to its libraries.
        assert_eq!(program_check("/bin/true", false).grade, Grade::Fine);
        let linked = program_check("/bin/true", true);
        assert!(linked.found.contains("not static"), "{linked:?}");
    }

    #[test]
    fn a_clock_that_was_set_back_is_seen() {
        let mark = tempfile::NamedTempFile::new().unwrap();
        let seen = fs::metadata(mark.path()).unwrap().modified().unwrap();
        let behind = |seconds| seen_ahead(mark.path(), seen - Duration::from_secs(seconds));
        assert_eq!(behind(3600), Some(Duration::from_secs(3600)));
        assert_eq!((behind(60), behind(0)), (None, None));
        assert_eq!(seen_ahead(mark.path(), seen + Duration::from_secs(9)), None);
        assert_eq!(seen_ahead(Path::new("/nonexistent"), seen), None);
    }

    #[test]
    fn a_folder_that_others_can_write_is_wrong() {
        assert_eq!(folder_check("/usr").grade, Grade::Fine);
        assert_eq!(folder_check("/nonexistent").grade, Grade::Note);
        assert_eq!(folder_check("/tmp").grade, Grade::Wrong);
        assert_eq!(folder_check("/etc/hostname").grade, Grade::Wrong);
    }
}
