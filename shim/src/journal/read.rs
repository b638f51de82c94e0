//! Reading the journal, while it is written.
//!
//! Readers take no lock: lines are appended whole, and a file is never written again once there is a
//! later one. A last line without its line break is being written, or was torn.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use coaming_config::trust::check_trust;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use super::event::{Event, Line};
use super::totals::Totals;
use super::{JournalError, MAX_FILE, MAX_LINE};

/// The end of a file's name.
const SUFFIX: &str = ".jsonl";
/// Digits of a file's name, which is the number of its first line.
const DIGITS: usize = 20;

/// One file of the journal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalFile {
    /// The number of its first line, by its name.
    pub first: u64,
    /// Where it is.
    pub path: PathBuf,
}

impl JournalFile {
    pub(super) fn of(folder: &Path, first: u64) -> JournalFile {
        JournalFile { first, path: folder.join(format!("{first:0DIGITS$}{SUFFIX}")) }
    }

    /// Its bytes, at most a little more than a file may have.
    ///
    /// # Errors
    /// A file that others than root can have written, and what the system says.
    pub fn read(&self) -> Result<Vec<u8>, JournalError> {
        let failed = |error| JournalError::io("read", &self.path, error);
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(O_NOFOLLOW | O_NONBLOCK)
            .open(&self.path)
            .map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        trusted(&self.path, &metadata)?;
        let mut bytes = Vec::new();
        file.take(2 * MAX_FILE).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes)
    }
}

/// A file is taken for the journal's only where root alone can have made it what it is.
pub(super) fn trusted(path: &Path, metadata: &fs::Metadata) -> Result<(), JournalError> {
    let untrusted = |problem: String| JournalError::Untrusted { path: path.to_owned(), problem };
    if !metadata.is_file() {
        return Err(untrusted("not a regular file".to_owned()));
    }
    if metadata.nlink() > 1 {
        return Err(untrusted("another name leads to the same file".to_owned()));
    }
    check_trust(path, metadata).map_err(|error| untrusted(error.to_string()))
}

/// The files of a journal, the oldest first; none where there is no journal.
///
/// # Errors
/// A folder that cannot be read.
pub fn files(folder: &Path) -> Result<Vec<JournalFile>, JournalError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| JournalError::io("list", folder, error))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| JournalError::io("list", folder, error))?;
        let name = entry.file_name();
        let first = name
            .to_str()
            .and_then(|name| name.strip_suffix(SUFFIX))
            .filter(|digits| digits.len() == DIGITS)
            .and_then(|digits| digits.parse().ok());
        if let Some(first) = first {
            files.push(JournalFile { first, path: entry.path() });
        }
    }
    files.sort();
    Ok(files)
}

/// The whole lines of a file's bytes, without their breaks, and what stands behind the last break.
pub fn lines(bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let (whole, rest) = bytes.split_at_checked(whole).unwrap_or((&[], bytes));
    let mut lines: Vec<&[u8]> = whole.split(|byte| *byte == b'\n').collect();
    lines.pop();
    (lines, rest)
}

/// Understands a line.
pub fn parse(line: &[u8]) -> Result<Line, String> {
    if line.len() > MAX_LINE {
        return Err(format!("longer than {MAX_LINE} bytes"));
    }
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

/// What was counted since the journal began: the last file's checkpoint and every line after it. All
/// zero where there is no journal. Lines that cannot be understood are not counted; `verify` names them.
///
/// # Errors
/// A folder or file that cannot be read.
pub fn totals(folder: &Path) -> Result<Totals, JournalError> {
    // The last file may be gone by the time that it is opened only if several more were begun meanwhile.
    let Some(last) = files(folder)?.pop() else { return Ok(Totals::default()) };
    Ok(count(&last.read()?))
}

/// The totals that a file's bytes come to.
pub(super) fn count(bytes: &[u8]) -> Totals {
    let mut totals = Totals::default();
    for (index, line) in lines(bytes).0.into_iter().enumerate() {
        match parse(line) {
            Ok(Line { event: Event::Checkpoint(checkpoint), .. }) if index == 0 => {
                totals = checkpoint.totals;
            }
            Ok(Line { event, at, .. }) => {
                totals.since.get_or_insert(at);
                totals.count(&event);
            }
            Err(_) => {}
        }
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_line_without_its_break_is_none() {
        assert_eq!(lines(b""), (vec![], &b""[..]));
        assert_eq!(lines(b"torn"), (vec![], &b"torn"[..]));
        assert_eq!(lines(b"a\nb\n"), (vec![&b"a"[..], b"b"], &b""[..]));
        assert_eq!(lines(b"a\n\nb"), (vec![&b"a"[..], b""], &b"b"[..]));
    }

    #[test]
    fn events_of_a_later_version_are_lines_all_the_same() {
        let text = r#"{"seq":7,"at":"2026-01-01T00:00:00Z","previous":"00","event":"yodelled","loud":true}"#;
        let line = parse(text.as_bytes()).unwrap();
        assert_eq!((line.seq, line.event), (7, Event::Unknown));
    }

    #[test]
    fn nothing_but_a_file_of_the_journal_is_read() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.jsonl"), "").unwrap();
        fs::write(folder.path().join("7.jsonl"), "").unwrap();
        let file = JournalFile::of(folder.path(), 7);
        std::os::unix::fs::symlink("/etc/passwd", &file.path).unwrap();
        assert_eq!(files(folder.path()).unwrap(), std::slice::from_ref(&file));
        assert!(file.read().is_err());
        assert_eq!(files(&folder.path().join("none")).unwrap(), []);
    }
}
