//! What was put into an image, by path and digest: the next run goes by it, and so can whoever audits the image.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::install::tree::{Attributes, Tree};

/// Where it is, in the image.
pub(super) const PATH: &str = "/usr/lib/coaming/baked.json";

/// `baked.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// coaming's version.
    pub(super) version: String,
    /// What was written: SHA-256, or where a link leads.
    pub(super) files: BTreeMap<String, String>,
}

impl Default for Record {
    fn default() -> Record {
        Record { version: env!("CARGO_PKG_VERSION").to_owned(), files: BTreeMap::new() }
    }
}

impl Record {
    /// # Errors
    /// It is no record.
    pub(super) fn read(tree: &Tree) -> Result<Record, String> {
        match tree.read_own(PATH)? {
            None => Ok(Record::default()),
            Some(seen) => serde_json::from_slice(&seen.bytes)
                .map_err(|error| format!("cannot understand {PATH}: {error}; remove it")),
        }
    }

    /// # Errors
    /// Why not, in words.
    pub(super) fn write(&self, tree: &Tree) -> Result<(), String> {
        let mut text = serde_json::to_string_pretty(self).map_err(|error| error.to_string())?;
        text.push('\n');
        tree.write(PATH, text.as_bytes(), Attributes::OURS).map(drop)
    }
}
