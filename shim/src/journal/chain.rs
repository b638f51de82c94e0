//! Walking the chain: whether every line still is what the line after it was written upon.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::event::{Event, Line};
use super::read::{self, JournalFile};
use super::{JournalError, NOTHING};
use crate::host::hex;
use crate::journal::totals::Totals;

/// A journal whose chain is whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Whole {
    /// How many files.
    pub files: usize,
    /// How many lines.
    pub lines: u64,
    /// Number of the first line that is kept; what was before was rotated away.
    pub first: u64,
    /// Number of the last.
    pub last: u64,
    /// SHA-256 of the last, in lower-case hex.
    pub head: String,
    /// Bytes behind the last line: one that is being written, or was torn and is repaired when
    /// the next is written.
    pub unfinished_bytes: usize,
}

/// The first line that breaks the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{}:{line}: {why}", .file.display())]
pub struct Broken {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1.
    pub line: usize,
    /// Why it cannot be what was written.
    pub why: String,
}

/// Walks the chain of a journal.
///
/// # Errors
/// A folder or file that cannot be read, which says nothing of the chain.
pub fn verify(folder: &Path) -> Result<Result<Whole, Broken>, JournalError> {
    let files = read::files(folder)?;
    let mut walk = Walk::default();
    let mut unfinished = 0;
    for (index, file) in files.iter().enumerate() {
        let bytes = file.read()?;
        let (lines, rest) = read::lines(&bytes);
        let is_last = index + 1 == files.len();
        let mut check = || {
            walk.file(file, &lines)?;
            if rest.is_empty() || is_last {
                return Ok(());
            }
            let why = format!("{} bytes behind the last line of a file that is done", rest.len());
            Err((lines.len() + 1, why))
        };
        if let Err((line, why)) = check() {
            return Ok(Err(Broken { file: file.path.clone(), line, why }));
        }
        unfinished = rest.len();
    }
    if let (Some(first), Some(newest)) = (files.first(), files.last())
        && first.first > walk.oldest
    {
        return Ok(Err(Broken {
            file: newest.path.clone(),
            line: 1,
            why: format!(
                "the oldest file is that of line {}, and this one was begun when that of line {} was \
                 kept: files are missing before {}",
                first.first,
                walk.oldest,
                first.path.display()
            ),
        }));
    }
    Ok(Ok(Whole {
        files: files.len(),
        lines: walk.lines,
        first: files.first().map_or(0, |file| file.first),
        last: walk.last.as_ref().map_or(0, |last| last.0),
        head: walk.last.map_or_else(|| NOTHING.to_owned(), |last| last.1),
        unfinished_bytes: unfinished,
    }))
}

#[derive(Default)]
struct Walk {
    /// Number and digest of the line before.
    last: Option<(u64, String)>,
    lines: u64,
    /// By the last checkpoint.
    oldest: u64,
    /// What was counted since a checkpoint, with it.
    totals: Totals,
}

impl Walk {
    fn file(&mut self, file: &JournalFile, lines: &[&[u8]]) -> Result<(), (usize, String)> {
        if lines.is_empty() {
            return Err((1, "a file without a whole line".to_owned()));
        }
        for (index, bytes) in lines.iter().enumerate() {
            let line =
                read::parse(bytes).map_err(|why| (index + 1, format!("not a line: {why}")))?;
            self.line(file, index, &line).map_err(|why| (index + 1, why))?;
            self.last = Some((line.seq, hex(&Sha256::digest(bytes))));
            self.lines += 1;
        }
        Ok(())
    }

    fn line(&mut self, file: &JournalFile, index: usize, line: &Line) -> Result<(), String> {
        let Line { seq, previous, event, .. } = line;
        if index == 0 && *seq != file.first {
            return Err(format!(
                "the file is named for line {}, and its first is line {seq}",
                file.first
            ));
        }
        match &self.last {
            Some((last, _)) if *seq != last + 1 => {
                return Err(format!("line {seq} follows line {last}: lines are missing or moved"));
            }
            Some((last, digest)) if previous != digest => {
                return Err(format!(
                    "line {seq} was written after another line {last} than the one that stands there \
                     (SHA-256 {previous}, found {digest})"
                ));
            }
            None if *seq == 1 && previous != NOTHING => {
                return Err(format!("line 1 was written after a line of SHA-256 {previous}"));
            }
            _ => {}
        }
        match event {
            Event::Checkpoint(checkpoint) => {
                if index > 0 {
                    return Err("a checkpoint that is not the first line of its file".to_owned());
                }
                // The first line of all says since when; nothing was counted before it.
                let counted =
                    Totals { since: checkpoint.totals.since.clone(), ..self.totals.clone() };
                if (self.last.is_some() || *seq == 1) && counted != checkpoint.totals {
                    return Err("its totals are not those of the lines before it".to_owned());
                }
                self.totals = checkpoint.totals.clone();
                self.oldest = checkpoint.oldest;
            }
            _ if index == 0 => return Err("a file that begins with no checkpoint".to_owned()),
            event => self.totals.count(event),
        }
        Ok(())
    }
}
