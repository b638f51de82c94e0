//! The journal: what the gate decided on this node and what became of it, line by line, each line
//! with the digest of the one before.
//!
//! It lies in [`FOLDER`], root's alone: files of JSON lines, each named by the number of its first line.
//! A line that was changed, moved, put in or left out no longer fits its successor
//! ([`chain::verify`]). That the newest lines were cut off, the journal cannot tell by itself: who
//! must know keeps the number and digest of a late line elsewhere.
//!
//! Nothing is synced: after a power cut the last lines may be gone, as those of any log. What is torn
//! is taken off, and a line says so.

pub mod chain;
pub mod event;
pub mod read;
#[cfg(test)]
mod tests;
pub mod totals;
mod write;

use std::io;
use std::path::{Path, PathBuf};

pub use event::{Event, Line};
pub use totals::Totals;
pub use write::Journal;

/// Where the journal lies.
pub const FOLDER: &str = "/var/lib/coaming/journal";
/// The longest file, in bytes.
pub const MAX_FILE: u64 = 8 * 1024 * 1024;
/// The longest line, in bytes, without its line break.
pub const MAX_LINE: usize = 32 * 1024;
/// What stands for the line before the first.
pub const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Why the journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system said no.
    #[error("cannot {operation} {}: {error}", .path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's answer.
        error: io::Error,
    },
    /// A file or folder in the journal's place that is not root's alone.
    #[error("{} is not the journal's: {problem}; look at who put it there, and move it away", .path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process has held the lock for long.
    #[error(
        "another process has held {} for {} ms; see which with `fuser`, and end it if it is stuck",
        .path.display(), .waited.as_millis()
    )]
    Busy {
        /// The lock.
        path: PathBuf,
        /// How long it was waited for.
        waited: std::time::Duration,
    },
}

impl JournalError {
    fn io(operation: &'static str, path: &Path, error: io::Error) -> JournalError {
        JournalError::Io { operation, path: path.to_owned(), error }
    }
}
