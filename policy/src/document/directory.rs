//! A directory of policies: the only I/O of this crate.
//!
//! What loosens nothing may still be forged to tighten nothing: files that others than root can
//! change, and symbolic links, are refused.

use std::fs;
use std::path::{Component, Path, PathBuf};

use coaming_config::trust::{check_trust, read_root_owned};

use super::{Document, DocumentError, Match, Part, PolicyDocument, WaiverDocument, parse_documents};
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
    waivers: Vec<(String, WaiverDocument)>,
    /// Files that are not policies by their names, and so were not read.
    pub ignored: Vec<PathBuf>,
}

#[derive(Debug, Clone, PartialEq)]
struct Loaded {
    file: String,
    document: PolicyDocument,
    /// The clauses of all parts.
    floor: Floor,
    parts: Vec<Part>,
}

impl Loaded {
    /// What the policy states for a container that it selects.
    fn stated_for(&self, facts: &Facts) -> Floor {
        match self.parts.as_slice() {
            [_] => self.floor.clone(),
            parts => parts
                .iter()
                .filter(|part| part.selector.selects(facts))
                .fold(Floor::default(), |floor, part| floor.meet(&part.floor)),
        }
    }
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
        self.take(&file, &text, &mut |name| read_profile(directory, name))
    }

    #[cfg(test)]
    pub(crate) fn of_text(file: &str, text: &str) -> Result<Directory, DocumentError> {
        let mut read = Directory::default();
        read.take(file, text, &mut |name| panic!("no profile {name} here"))?;
        Ok(read)
    }

    fn take(
        &mut self,
        file: &str,
        text: &str,
        profile: &mut dyn FnMut(&str) -> Result<Vec<u8>, DocumentError>,
    ) -> Result<(), DocumentError> {
        for document in parse_documents(file, text)? {
            self.refuse_namesake(file, &document)?;
            match document {
                Document::Policy(document) => {
                    let parts = document.parts(file, profile)?;
                    let all = parts.iter();
                    let floor = all.fold(Floor::default(), |floor, part| floor.meet(&part.floor));
                    let (file, document) = (file.to_owned(), *document);
                    self.policies.push(Loaded { file, document, floor, parts });
                }
                Document::Waiver(waiver) => self.waivers.push((file.to_owned(), *waiver)),
            }
        }
        Ok(())
    }

    /// Policies are told apart by their names, and so are waivers.
    fn refuse_namesake(&self, file: &str, document: &Document) -> Result<(), DocumentError> {
        let (kind, own, other) = match document {
            Document::Policy(policy) => {
                let own = &policy.metadata;
                let other = self.policies.iter().find(|p| p.document.metadata.value == own.value);
                ("policy", own, other.map(|p| &p.file))
            }
            Document::Waiver(waiver) => {
                let own = &waiver.metadata;
                let other = self.waivers.iter().find(|(_, w)| w.metadata.value == own.value);
                ("waiver", own, other.map(|(file, _)| file))
            }
        };
        let Some(other) = other else {
            return Ok(());
        };
        let message = format!("a {kind} named {:?} stands in {other} already", own.value.name);
        Err(DocumentError::at(file, own.line, message))
    }

    /// The policies that select a container, with everything that they state for it.
    pub(crate) fn selected<'a>(
        &'a self,
        facts: &'a Facts,
    ) -> impl Iterator<Item = (&'a PolicyDocument, Floor)> {
        let selecting = self.policies.iter().filter(|loaded| loaded.document.selects(facts));
        selecting.map(|loaded| (&loaded.document, loaded.stated_for(facts)))
    }

    /// Whether what applies to a container may depend on the door through which a request comes.
    pub fn tells_doors_apart(&self) -> bool {
        let policies = self.policies.iter().filter_map(|p| p.document.spec.selector.as_ref());
        let waivers = self.waivers.iter().map(|(_, waiver)| &waiver.spec.selector.value);
        policies.chain(waivers).any(Match::tells_doors_apart)
    }

    /// The waivers and their files.
    pub fn waivers(&self) -> impl Iterator<Item = (&str, &WaiverDocument)> {
        self.waivers.iter().map(|(file, waiver)| (file.as_str(), waiver))
    }

    /// The names of the policies and their files, in the order of the files.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.policies.iter().map(|p| (p.document.metadata.value.name.as_str(), p.file.as_str()))
    }

    /// Each policy's clauses by themselves, those that are audited too, and those that it includes for
    /// only some of the containers that it selects.
    pub fn floors(&self) -> impl Iterator<Item = (&PolicyDocument, &Floor)> {
        self.policies.iter().map(|loaded| (&loaded.document, &loaded.floor))
    }

    /// The parts of each policy: what it states itself, and what it includes.
    pub fn parts(&self) -> impl Iterator<Item = (&PolicyDocument, &Part)> {
        self.policies
            .iter()
            .flat_map(|loaded| loaded.parts.iter().map(move |part| (&loaded.document, part)))
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
