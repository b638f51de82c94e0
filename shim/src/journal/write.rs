//! Appending to the journal.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use coaming_config::trust::check_trust;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::event::{Checkpoint, Event, Line, Repaired};
use super::read::{JournalFile, count, files, trusted};
use super::totals::Totals;
use super::{JournalError, MAX_FILE, MAX_LINE, NOTHING};
use crate::host::hex;
use crate::lock;

const LOCK: &str = "lock";
/// How long other writers are waited for. One holds the lock for less than a millisecond, and for some
/// tens of them when a file is full.
const PATIENCE: Duration = Duration::from_secs(2);
/// What the last line fits into nearly always, with the end of the one before it, in bytes.
const COMMON_ROOM: u64 = 8 * 1024;
/// The fewest files that are kept: the one that is written and the one before.
const MIN_FILES: usize = 2;

/// The journal, to be written.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: PathBuf,
    max_files: usize,
    max_file: u64,
}

/// The line that stands last.
#[derive(Debug)]
struct Last {
    file: JournalFile,
    open: File,
    /// Length of the file up to and with this line's break.
    length: u64,
    seq: u64,
    digest: String,
}

/// What of a line must be understood to append another.
#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

impl Journal {
    /// The journal in a folder, which keeps so many files at most.
    pub fn at(folder: &Path, max_files: usize) -> Journal {
        Journal {
            folder: folder.to_owned(),
            max_files: max_files.max(MIN_FILES),
            max_file: MAX_FILE,
        }
    }

    #[cfg(test)]
    pub(super) fn with_files_of(self, max_file: u64) -> Journal {
        Journal { max_file, ..self }
    }

    /// Writes an event as the journal's next line.
    ///
    /// # Errors
    /// [`JournalError`]; then nothing of it was written.
    pub fn append(&self, event: Event, now: SystemTime) -> Result<(), JournalError> {
        self.make_folder()?;
        let _lock = self.lock()?;
        let mut torn = Sha256::new();
        let mut torn_bytes = 0;
        let last = self.last(&mut torn, &mut torn_bytes)?;
        let mut events = Vec::new();
        if torn_bytes > 0 {
            let torn_sha256 = hex(&torn.finalize());
            events.push(Event::Repaired(Repaired { torn_bytes, torn_sha256 }));
        }
        events.push(event);
        match last {
            None => self.begin(1, NOTHING.to_owned(), Totals::default(), events, now),
            Some(last) => {
                let bytes = chained(last.seq + 1, last.digest.clone(), events.clone(), now);
                if last.length + bytes.len() as u64 > self.max_file {
                    let totals = count(&last.file.read()?);
                    return self.begin(last.seq + 1, last.digest, totals, events, now);
                }
                append_to(&last, &bytes)
            }
        }
    }

    fn make_folder(&self) -> Result<(), JournalError> {
        let untrusted = |problem| JournalError::Untrusted { path: self.folder.clone(), problem };
        let metadata = match fs::symlink_metadata(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.folder)
                .and_then(|()| fs::symlink_metadata(&self.folder)),
            metadata => metadata,
        }
        .map_err(|error| JournalError::io("make the folder", &self.folder, error))?;
        if !metadata.is_dir() {
            return Err(untrusted("not a folder".to_owned()));
        }
        check_trust(&self.folder, &metadata).map_err(|error| untrusted(error.to_string()))
    }

    /// Of several writers one is at work. The kernel frees the lock when its holder ends.
    fn lock(&self) -> Result<File, JournalError> {
        let path = self.folder.join(LOCK);
        let failed = |error| JournalError::io("lock", &path, error);
        let file =
            private(OpenOptions::new().create(true).append(true)).open(&path).map_err(failed)?;
        trusted(&path, &file.metadata().map_err(failed)?)?;
        lock::take(file, PATIENCE).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                JournalError::Busy { path: path.clone(), waited: PATIENCE }
            }
            _ => failed(error),
        })
    }

    /// The last whole line, for whoever holds the lock. What stands behind it is torn and taken off, as
    /// is a last file without a whole line; its bytes are added up.
    fn last(&self, torn: &mut Sha256, torn_bytes: &mut u64) -> Result<Option<Last>, JournalError> {
        let mut files = files(&self.folder)?;
        while let Some(file) = files.pop() {
            let failed = |operation| {
                let path = file.path.clone();
                move |error| JournalError::Io { operation, path, error }
            };
            let open = private(OpenOptions::new().read(true).append(true))
                .open(&file.path)
                .map_err(failed("open"))?;
            let metadata = open.metadata().map_err(failed("look at"))?;
            trusted(&file.path, &metadata)?;
            // The last line, which is short as a rule; or the last whole one and a torn one after it: then one more look at it all.
            for room in [COMMON_ROOM, 2 * MAX_LINE as u64, u64::MAX] {
                let from = metadata.len().saturating_sub(room);
                let tail = read_at(&open, from, metadata.len()).map_err(failed("read"))?;
                let Some((seq, digest, end)) = last_whole(&tail, from == 0) else { continue };
                let length = from + end as u64;
                if length < metadata.len() {
                    torn.update(tail.get(end..).unwrap_or_default());
                    *torn_bytes += metadata.len() - length;
                    open.set_len(length).map_err(failed("repair"))?;
                }
                return Ok(Some(Last { file, open, length, seq, digest }));
            }
            let bytes = read_at(&open, 0, metadata.len()).map_err(failed("read"))?;
            torn.update(&bytes);
            // A file is begun with a line in it: one without any is what a power cut left, too.
            *torn_bytes += metadata.len().max(1);
            fs::remove_file(&file.path).map_err(failed("repair"))?;
        }
        Ok(None)
    }

    /// Begins a file, and takes away what is too many.
    fn begin(
        &self,
        first: u64,
        previous: String,
        totals: Totals,
        events: Vec<Event>,
        now: SystemTime,
    ) -> Result<(), JournalError> {
        let kept = files(&self.folder)?;
        let surplus = (kept.len() + 1).saturating_sub(self.max_files);
        let oldest = kept.get(surplus).map_or(first, |file| file.first);
        let totals = Totals { since: totals.since.or_else(|| Some(time(now))), ..totals };
        let checkpoint = Event::Checkpoint(Checkpoint { oldest, totals });
        let all = std::iter::once(checkpoint).chain(events).collect();
        let file = JournalFile::of(&self.folder, first);
        let temporary = file.path.with_extension("new");
        let write = || {
            let _ = fs::remove_file(&temporary);
            let mut new =
                private(OpenOptions::new().write(true).create_new(true)).open(&temporary)?;
            new.write_all(&chained(first, previous, all, now))?;
            fs::rename(&temporary, &file.path)
        };
        write().map_err(|error| {
            let _ = fs::remove_file(&temporary);
            JournalError::io("begin", &file.path, error)
        })?;
        for old in kept.iter().take(surplus) {
            // What cannot be removed takes room; the next time it is tried again.
            let _ = fs::remove_file(&old.path);
        }
        Ok(())
    }
}

/// In one write; what was written of a line that found no room is taken off again.
fn append_to(last: &Last, bytes: &[u8]) -> Result<(), JournalError> {
    (&last.open).write_all(bytes).map_err(|error| {
        let _ = last.open.set_len(last.length);
        JournalError::io("write", &last.file.path, error)
    })
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600).custom_flags(O_NOFOLLOW | O_NONBLOCK)
}

fn read_at(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(to - from).map_err(io::Error::other)?;
    if length as u64 > 2 * MAX_FILE {
        return Err(io::Error::other("longer than the journal ever makes a file"));
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}

/// Number, digest and end of the last line that is whole; `is_all`: whether the bytes are the whole
/// file's, so that the first line among them is not the end of one.
fn last_whole(bytes: &[u8], is_all: bool) -> Option<(u64, String, usize)> {
    let mut end = bytes.len();
    loop {
        // The last break before `end`, and the one before that.
        let close = bytes.get(..end)?.iter().rposition(|byte| *byte == b'\n')?;
        let open = bytes.get(..close)?.iter().rposition(|byte| *byte == b'\n');
        let begin = match open {
            Some(open) => open + 1,
            None if is_all => 0,
            None => return None,
        };
        let line = bytes.get(begin..close)?;
        if line.len() <= MAX_LINE
            && let Ok(Numbered { seq }) = serde_json::from_slice(line)
        {
            return Some((seq, hex(&Sha256::digest(line)), close + 1));
        }
        end = close;
    }
}

/// Lines that follow each other, with their breaks.
fn chained(first: u64, mut previous: String, events: Vec<Event>, now: SystemTime) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (seq, event) in (first..).zip(events) {
        let line = encoded(&Line { seq, at: time(now), previous, event });
        previous = hex(&Sha256::digest(&line));
        bytes.extend(line);
        bytes.push(b'\n');
    }
    bytes
}

/// A line within its bounds, whatever was asked.
fn encoded(line: &Line) -> Vec<u8> {
    // Text and numbers in maps with text for keys: there is nothing in it that JSON cannot say.
    let bytes = serde_json::to_vec(line).unwrap_or_default();
    if bytes.len() <= MAX_LINE {
        return bytes;
    }
    let line = Line { event: line.event.clone().without_lists(), ..line.clone() };
    serde_json::to_vec(&line).unwrap_or_default()
}

fn time(now: SystemTime) -> String {
    // The last second that RFC 3339 can name, of the year 9999.
    let latest = UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    humantime::format_rfc3339_millis(now.clamp(UNIX_EPOCH, latest)).to_string()
}
