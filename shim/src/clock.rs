//! The time by which waivers end: never earlier than one that this node has seen before.
//!
//! A clock that is set back would bring an ended waiver back. The latest time seen is kept as the
//! modification time of a file that outlives a reboot; it is written at most once a minute, and only
//! where a policy directory has waivers at all.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use coaming_policy::document::Moment;

/// The file whose modification time is the latest time seen.
pub const MARK: &str = "/var/lib/coaming/clock";
/// How far behind a clock may be without a word (NTP steps it by less), in seconds.
const TOLERANCE: u64 = 5 * 60;
/// How old the mark may get before it is renewed, in seconds.
const RENEWAL: u64 = 60;

/// The time, and what an operator should know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// Seconds since 1970.
    pub moment: Moment,
    /// Why it is not the system's.
    pub note: Option<String>,
}

impl Default for Clock {
    fn default() -> Self {
        Clock { moment: Moment(0), note: None }
    }
}

/// The time now. Where the latest time seen cannot be kept, a time at which every waiver has ended.
pub fn now() -> Clock {
    after(Path::new(MARK), Moment::now().0)
}

fn after(mark: &Path, now: u64) -> Clock {
    match seen(mark).and_then(|seen| {
        if now > seen.saturating_add(RENEWAL) {
            renew(mark, now)?;
        }
        Ok(seen)
    }) {
        Ok(seen) if seen > now.saturating_add(TOLERANCE) => Clock {
            moment: Moment(seen),
            note: Some(format!(
                "this node's clock is at {}, and {} was seen before ({}); waivers end by the latter. If \
                 that time was wrong, remove the file",
                Moment(now),
                Moment(seen),
                mark.display()
            )),
        },
        Ok(seen) => Clock { moment: Moment(seen.max(now)), note: None },
        Err(error) => Clock {
            moment: Moment(u64::MAX),
            note: Some(format!(
                "no waiver is honoured: the latest time seen cannot be kept in {} ({error})",
                mark.display()
            )),
        },
    }
}

/// The latest time seen; 0 where none has been.
fn seen(mark: &Path) -> io::Result<u64> {
    let metadata = match fs::symlink_metadata(mark) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        metadata => metadata?,
    };
    if !metadata.is_file() || metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::other("it is not a file of root's own"));
    }
    Ok(u64::try_from(metadata.mtime()).unwrap_or_default())
}

fn renew(mark: &Path, now: u64) -> io::Result<()> {
    if let Some(folder) = mark.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let file = File::options().create(true).append(true).open(mark)?;
    file.set_modified(UNIX_EPOCH + Duration::from_secs(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_time_seen_counts_when_the_clock_is_set_back() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("coaming/clock");
        assert_eq!(after(&mark, 1000), Clock { moment: Moment(1000), note: None });
        assert_eq!(after(&mark, 900), Clock { moment: Moment(1000), note: None }, "within reason");
        assert_eq!(after(&mark, 5000).moment, Moment(5000));
        let back = after(&mark, 2000);
        assert_eq!(back.moment, Moment(5000));
        let note = back.note.unwrap();
        assert!(note.contains("1970-01-01T00:33:20Z") && note.contains("01:23:20Z"), "{note}");
        // A wrong time that was seen is forgotten by hand.
        fs::remove_file(&mark).unwrap();
        assert_eq!(after(&mark, 2000).moment, Moment(2000));
    }

    #[test]
    fn without_a_place_for_the_latest_time_every_waiver_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("clock");
        std::os::unix::fs::symlink("/etc/hostname", &mark).unwrap();
        assert_eq!(after(&mark, 1000).moment, Moment(u64::MAX));
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let clock = after(&file.join("clock"), 1000);
        assert_eq!(clock.moment, Moment(u64::MAX));
        assert!(clock.note.unwrap().contains("no waiver is honoured"));
    }
}
