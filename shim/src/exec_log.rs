//! What was executed in a container: a line for each exec that policy has rules over, and for each that was refused.
//! Root's alone to read.
//!
//! It lies beside the container's record and goes with it. Lines are bounded, and so is the file: when
//! it is full it becomes `execs.old.jsonl`, in the place of the one before.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use coaming_policy::spec::view;
use coaming_policy::verdict::{Change, Reason};
use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::state::{State, StateError};

/// The file in the container's private state.
pub const FILE: &str = "execs.jsonl";
const OLD: &str = "execs.old.jsonl";
/// The longest file, in bytes.
const MAX_FILE: u64 = 256 * 1024;
/// The most of a command's words that is kept, in bytes.
const MAX_WORDS: usize = 4096;

/// One exec, as it was asked and decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Executed {
    /// Seconds since 1970 (UTC).
    pub at: u64,
    /// The command, word by word; cut where it is longer than 4 KiB.
    pub args: Vec<String>,
    /// The user id that was asked for.
    pub uid: Option<u64>,
    /// On a terminal.
    pub terminal: bool,
    /// With standard input.
    pub stdin: bool,
    /// What was asked and not given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// Why it was refused; empty for one that was started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Reason>,
}

impl Executed {
    /// An exec as asked; `spec` holds its `process`.
    pub fn of(at: u64, spec: &Value, stdin: bool) -> Executed {
        let mut room = MAX_WORDS;
        let args = view::strings(spec, "process.args")
            .map_while(|word| {
                let kept: String = word.chars().take(room).collect();
                let left = room;
                room = room.saturating_sub(word.len() + 1);
                (left > 0).then_some(kept)
            })
            .collect();
        Executed {
            at,
            args,
            uid: view::at(spec, "process.user.uid").and_then(Value::as_u64),
            terminal: view::at(spec, "process.terminal") == Some(&Value::Bool(true)),
            stdin,
            changes: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Adds the line.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn write(&self, state: &State) -> Result<(), StateError> {
        self.append(&state.private).map_err(|error| StateError::Io {
            operation: "write",
            path: state.private.join(FILE),
            error,
        })
    }

    fn append(&self, folder: &Path) -> io::Result<()> {
        let path = folder.join(FILE);
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        if fs::metadata(&path).is_ok_and(|file| file.len() + line.len() as u64 > MAX_FILE) {
            fs::rename(&path, folder.join(OLD))?;
        }
        // In one write: execs run beside each other.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&path)?
            .write_all(&line)
    }
}

/// Every line that is still there, the oldest first; what cannot be read is left out.
pub fn read(private: &Path) -> Vec<Executed> {
    [OLD, FILE]
        .iter()
        .filter_map(|name| fs::read_to_string(private.join(name)).ok())
        .flat_map(|text| {
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_are_bounded_and_so_is_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let long = json!({"process": {"args": ["sh", "-c", "x".repeat(100_000), "gone"],
            "user": {"uid": 7}, "terminal": true}});
        let executed = Executed::of(1, &long, true);
        assert_eq!((executed.args.len(), executed.uid, executed.terminal), (3, Some(7), true));
        assert!(executed.args[2].len() <= MAX_WORDS);
        for at in 0..500 {
            Executed { at, ..executed.clone() }.append(folder.path()).unwrap();
        }
        for name in [FILE, OLD] {
            assert!(fs::metadata(folder.path().join(name)).unwrap().len() <= MAX_FILE);
        }
        let read = read(folder.path());
        assert_eq!(read.last().map(|last| last.at), Some(499));
        assert!(read.len() > 60 && read.windows(2).all(|pair| pair[0].at + 1 == pair[1].at));
    }
}
