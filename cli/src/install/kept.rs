//! What was written by `coaming install`, so that it can be taken away again: `/var/lib/coaming/install.json`, and
//! the files that others had in the place of ours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::plan::Change;
use super::tree::{Attributes, Seen, Tree};
use crate::doctor::handlers::Manager;

/// The record.
pub(super) const RECORD: &str = "/var/lib/coaming/install.json";
/// The folder of others' files as they were.
pub(super) const ORIGINALS: &str = "/var/lib/coaming/install";
const VERSION: u32 = 1;

/// All that was written on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Kept {
    version: u32,
    pub(super) files: Vec<Entry>,
    /// Folders that were not there before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    folders: Vec<String>,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) manager: Manager,
    /// The handler that is in it.
    pub(super) handler: String,
    pub(super) path: String,
    /// The digest of what was written.
    pub(super) sha256: String,
    /// What was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) original: Option<Original>,
}

/// A file of others, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Original {
    /// The digest of its content, which is kept under this name in [`ORIGINALS`].
    pub(super) sha256: String,
    mode: u32,
    uid: u32,
    gid: u32,
    /// Seconds and nanoseconds since 1970 (UTC).
    modified: Option<(u64, u32)>,
}

impl Kept {
    /// Reads the record; where there is none, nothing was written.
    ///
    /// # Errors
    /// In words.
    pub(super) fn read(tree: &Tree) -> Result<Kept, String> {
        let Some(seen) = tree.read_own(RECORD)? else {
            return Ok(Kept { version: VERSION, files: Vec::new(), folders: Vec::new() });
        };
        let kept: Kept = serde_json::from_slice(&seen.bytes)
            .map_err(|error| format!("{RECORD} is not understood: {error}"))?;
        if kept.version != VERSION {
            return Err(format!(
                "{RECORD} is of version {}, and this coaming knows {VERSION}; use the coaming that wrote it",
                kept.version
            ));
        }
        Ok(kept)
    }

    pub(super) fn entry(&self, path: &str) -> Option<&Entry> {
        self.files.iter().find(|entry| entry.path == path)
    }

    /// Remembers a change, before it is made.
    ///
    /// # Errors
    /// In words; the change must not be made then.
    pub(super) fn remember(
        &mut self,
        tree: &Tree,
        manager: Manager,
        handler: &str,
        change: &Change,
    ) -> Result<(), String> {
        let sha256 = digest(&change.after);
        if let Some(entry) = self.files.iter_mut().find(|entry| entry.path == change.path) {
            entry.sha256 = sha256;
            handler.clone_into(&mut entry.handler);
            return self.write(tree);
        }
        let original = match &change.before {
            Some(seen) if seen.bytes != change.after => {
                let original = Original::of(seen);
                let own = Attributes { mode: 0o600, ..Attributes::OURS };
                let made = tree.write(&original.path(), &seen.bytes, own)?;
                self.folders.extend(made);
                Some(original)
            }
            _ => None,
        };
        let path = change.path.clone();
        let handler = handler.to_owned();
        self.files.push(Entry { manager, handler, path, sha256, original });
        self.write(tree)
    }

    /// Remembers folders that were made for a file.
    ///
    /// # Errors
    /// In words.
    pub(super) fn remember_folders(
        &mut self,
        tree: &Tree,
        made: Vec<String>,
    ) -> Result<(), String> {
        if made.is_empty() {
            return Ok(());
        }
        self.folders.extend(made);
        self.write(tree)
    }

    /// Forgets a file, and what was kept of it.
    ///
    /// # Errors
    /// In words.
    pub(super) fn forget(&mut self, tree: &Tree, path: &str) -> Result<(), String> {
        let Some(at) = self.files.iter().position(|entry| entry.path == path) else {
            return Ok(());
        };
        let entry = self.files.remove(at);
        self.write(tree)?;
        if let Some(original) = entry.original
            && !self.files.iter().any(|other| other.original.as_ref() == Some(&original))
        {
            tree.remove(&original.path())?;
        }
        Ok(())
    }

    /// Puts the record back as it was.
    ///
    /// # Errors
    /// In words.
    pub(super) fn back_to(&mut self, tree: &Tree, was: &Kept) -> Result<(), String> {
        let made = std::mem::take(&mut self.folders);
        self.clone_from(was);
        self.folders.extend(made);
        self.settle(tree)
    }

    /// Puts the record in order after all is done: where nothing is left of ours, nothing is left of it either.
    ///
    /// # Errors
    /// In words.
    pub(super) fn settle(&mut self, tree: &Tree) -> Result<(), String> {
        if self.files.is_empty() {
            tree.remove(RECORD)?;
        }
        tree.remove_folders(&[ORIGINALS.to_owned()]);
        tree.remove_folders(&self.folders);
        self.folders.retain(|folder| tree.exists(folder));
        match self.files.is_empty() {
            true => Ok(()),
            false => self.write(tree),
        }
    }

    fn write(&mut self, tree: &Tree) -> Result<(), String> {
        // The record's own folder may be one that is made, and is then in the record.
        let made = tree.make_folders_of(RECORD)?;
        self.folders.extend(made);
        self.folders.sort();
        self.folders.dedup();
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| error.to_string())?;
        text.push(b'\n');
        // What is in the record already is not written again: its time says when something changed.
        if tree.read_own(RECORD)?.is_some_and(|seen| seen.bytes == text) {
            return Ok(());
        }
        let own = Attributes { mode: 0o600, ..Attributes::OURS };
        tree.write(RECORD, &text, own).map(drop)
    }
}

impl Original {
    fn of(seen: &Seen) -> Original {
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok();
        let attributes = seen.attributes;
        Original {
            sha256: digest(&seen.bytes),
            mode: attributes.mode,
            uid: attributes.uid,
            gid: attributes.gid,
            modified: attributes
                .modified
                .and_then(since)
                .map(|since| (since.as_secs(), since.subsec_nanos())),
        }
    }

    /// Where its content is kept.
    pub(super) fn path(&self) -> String {
        format!("{ORIGINALS}/{}", self.sha256)
    }

    /// The file as it was.
    ///
    /// # Errors
    /// In words.
    pub(super) fn read(&self, tree: &Tree) -> Result<Seen, String> {
        let path = self.path();
        let seen = tree.read_own(&path)?.ok_or_else(|| format!("{path} is not there"))?;
        if digest(&seen.bytes) != self.sha256 {
            return Err(format!("{path} is not what was kept there: its digest is another"));
        }
        let modified = self.modified.and_then(|(seconds, nanos)| {
            UNIX_EPOCH.checked_add(Duration::new(seconds, nanos.min(999_999_999)))
        });
        let attributes = Attributes { mode: self.mode, uid: self.uid, gid: self.gid, modified };
        Ok(Seen { bytes: seen.bytes, attributes })
    }
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
