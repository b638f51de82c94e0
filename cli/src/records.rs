//! The records of the containers that coaming knows on this node.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use coaming_shim::record::{FILE, Record};

use crate::error::CommandError;

/// The largest record read, in bytes; the writer's own limit.
pub(crate) const MAX_RECORD: u64 = 8 * 1024 * 1024;

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) found: Vec<Record>,
    /// Files that are not records as this version writes them.
    pub(crate) unreadable: Vec<String>,
}

/// Reads every record in a folder of records, in the order of ids and runtime directories. A folder
/// that is not there has none.
pub(crate) fn read_all(records: &Path) -> Result<Records, CommandError> {
    let failed = |error| CommandError::Records { path: records.to_owned(), error };
    let mut read_all = Records::default();
    let entries = match fs::read_dir(records) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(read_all),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let file = entry.map_err(failed)?.path().join(FILE);
        match read(&file) {
            // A record is written last: the folder without one is of a container being created.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Err(failed(error));
            }
            Err(_) => read_all.unreadable.push(file.display().to_string()),
            Ok(record) => read_all.found.push(record),
        }
    }
    read_all.found.sort_by(|a, b| (&a.id, &a.runtime_root).cmp(&(&b.id, &b.runtime_root)));
    Ok(read_all)
}

fn read(file: &Path) -> std::io::Result<Record> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_RECORD).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}
