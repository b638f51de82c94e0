//! Where tests stand, and how they are read.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use coaming_policy::document::{DocumentError, parse_strict};

use super::document::PolicyTest;
use crate::error::CommandError;

/// Names of test files end so.
const ENDINGS: [&str; 3] = [".test.yaml", ".test.yml", ".test.json"];
/// How deep folders are searched, and how many files are taken.
const MAX_DEPTH: usize = 16;
const MAX_FILES: usize = 4096;
/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// A file of tests.
pub(super) struct TestFile {
    pub(super) path: PathBuf,
    pub(super) tests: Vec<PolicyTest>,
}

/// The files below these paths; a file that is named is one, whatever its name.
pub(super) fn find(paths: &[PathBuf]) -> Result<Vec<TestFile>, CommandError> {
    let mut files = Vec::new();
    for path in paths {
        let metadata =
            fs::metadata(path).map_err(|error| CommandError::Path { path: path.clone(), error })?;
        if metadata.is_dir() {
            search(path, 0, &mut files)?;
        } else {
            files.push(path.clone());
        }
    }
    files.sort();
    files.dedup();
    files.into_iter().map(read).collect()
}

fn search(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), CommandError> {
    let failed = |error| CommandError::Path { path: folder.to_owned(), error };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Links are not followed, and hidden folders are other programs'.
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() && depth < MAX_DEPTH && !name.starts_with('.') {
            search(&entry.path(), depth + 1, files)?;
        } else if kind.is_file() && ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            files.push(entry.path());
        }
        if files.len() > MAX_FILES {
            return Err(CommandError::Usage(format!(
                "more than {MAX_FILES} files of tests below {}; name folders further down",
                folder.display()
            )));
        }
    }
    Ok(())
}

fn read(path: PathBuf) -> Result<TestFile, CommandError> {
    let text = text(&path).map_err(CommandError::Fixture)?;
    let tests = parse_strict(&path.display().to_string(), &text).map_err(CommandError::Fixture)?;
    Ok(TestFile { path, tests })
}

/// The text of a file that a test names, or is.
pub(super) fn text(path: &Path) -> Result<String, DocumentError> {
    let failed = |error| DocumentError::io("read", path, error);
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(failed)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(DocumentError::Untrusted {
            path: path.display().to_string(),
            problem: format!("more than the {MAX_BYTES} bytes that are read"),
        });
    }
    String::from_utf8(bytes).map_err(|error| DocumentError::Untrusted {
        path: path.display().to_string(),
        problem: format!("not UTF-8: {error}"),
    })
}
