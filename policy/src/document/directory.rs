//! A directory of policies: the only I/O of this crate.
//!
//! What loosens nothing may still be forged to tighten nothing: files that others than root can
//! change, and symbolic links, are refused.

use std::fs;
use std::path::{Component, Path, PathBuf};

use coaming_config::trust::{check_trust, read_root_owned};

use super::{DocumentError, PolicyDocument, parse_policies};
use crate::facts::Facts;
use crate::floor::Floor;

/// The most files read from one directory.
pub const MAX_FILES: usize = 4096;
/// How often a directory that changes while it is read is read again.
const LISTINGS: usize = 3;

/// The policies of a directory, with their clauses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Directory {
    policies: Vec<Loaded>,
    /// Files that are not policies by their names, and so were not read.
    pub ignored: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq)]
struct Loaded {
    file: String,
    document: PolicyDocument,
    floor: Floor,
}

/// Reads every `*.yaml`, `*.yml` and `*.json` of a directory. A directory that does not exist holds
/// no policies.
///
/// # Errors
/// The first thing that is wrong, with the file, line and column.
pub fn read_directory(directory: &Path) -> Result<Directory, DocumentError> {
    // A file that was listed and is gone was replaced or removed meanwhile: what counts is the directory as it is now.
    for _ in 1..LISTINGS {
        match read_once(directory) {
            Err(error) if error.is_not_found() => {}
            read => return read,
        }
    }
    read_once(directory)
}

fn read_once(directory: &Path) -> Result<Directory, DocumentError> {
    let mut read = Directory::default();
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(read),
        Err(error) => return Err(DocumentError::io("list", directory, error)),
    };
    let metadata = fs::symlink_metadata(directory)
        .map_err(|error| DocumentError::io("look at", directory, error))?;
    check_trust(directory, &metadata)?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| DocumentError::io("list", directory, error))?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(path);
        } else if !path.is_dir() {
            read.ignored.push(path);
        }
    }
    if files.len() > MAX_FILES {
        return Err(DocumentError::Untrusted {
            path: directory.display().to_string(),
            problem: format!("{} files, more than the {MAX_FILES} that are read", files.len()),
        });
    }
    files.sort();
    for path in files {
        read.add(directory, &path)?;
    }
    Ok(read)
}

impl Directory {
    /// The policies of one file, which need not be in a directory of policies. Profiles that it
    /// names are looked up beside it.
    ///
    /// # Errors
    /// See [`read_directory`].
    pub fn of_file(path: &Path) -> Result<Directory, DocumentError> {
        let mut read = Directory::default();
        read.add(path.parent().unwrap_or(Path::new(".")), path)?;
        Ok(read)
    }

    fn add(&mut self, directory: &Path, path: &Path) -> Result<(), DocumentError> {
        let file = path.display().to_string();
        let text = String::from_utf8(read_root_owned(path)?).map_err(|error| {
            DocumentError::Untrusted { path: file.clone(), problem: format!("not UTF-8: {error}") }
        })?;
        for document in parse_policies(&file, &text)? {
            let name = &document.metadata.value.name;
            if let Some(other) =
                self.policies.iter().find(|p| p.document.metadata.value.name == *name)
            {
                let message = format!("a policy named {name:?} stands in {} already", other.file);
                return Err(DocumentError::at(&file, document.metadata.line, message));
            }
            let floor = document.floor(&file, &mut |name| read_profile(directory, name))?;
            self.policies.push(Loaded { file: file.clone(), document, floor });
        }
        Ok(())
    }

    /// The strictest combination of the policies that select a container.
    pub fn floor_for(&self, facts: &Facts) -> Floor {
        self.policies
            .iter()
            .filter(|loaded| loaded.document.selects(facts))
            .fold(Floor::default(), |floor, loaded| floor.meet(&loaded.floor))
    }

    /// The names of the policies and their files, in the order of the files.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.policies.iter().map(|p| (p.document.metadata.value.name.as_str(), p.file.as_str()))
    }

    /// Each policy's clauses by themselves.
    pub fn floors(&self) -> impl Iterator<Item = (&PolicyDocument, &Floor)> {
        self.policies.iter().map(|loaded| (&loaded.document, &loaded.floor))
    }
}

/// A profile that a policy names: a path below the directory of the policies.
fn read_profile(directory: &Path, name: &str) -> Result<Vec<u8>, DocumentError> {
    let relative = Path::new(name);
    let inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !inside {
        return Err(DocumentError::Untrusted {
            path: name.to_owned(),
            problem: "a profile is named by its path below the policy's directory, without .."
                .to_owned(),
        });
    }
    // Each folder on the way must be root's too, and no link.
    let mut folder = directory.to_owned();
    for part in relative.parent().into_iter().flat_map(Path::components) {
        folder.push(part);
        let metadata = fs::symlink_metadata(&folder)
            .map_err(|error| DocumentError::io("look at", &folder, error))?;
        check_trust(&folder, &metadata)?;
    }
    read_root_owned(&directory.join(relative))
}
