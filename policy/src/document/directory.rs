//! The policies of a directory, parsed, with their clauses.

use std::path::{Path, PathBuf};

use super::sources::{Listing, Sources};
use super::{
    Document, DocumentError, Match, Part, PolicyDocument, WaiverDocument, parse_documents,
};
use crate::demands::{Granted, Selection, fault_of_waiver};
use crate::facts::Facts;
use crate::floor::Floor;

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
    Sources::read(directory, Listing::of(directory)?)?.parse()
}

impl Directory {
    /// The policies of one file, which need not be in a directory of policies. Profiles that it
    /// names are looked up beside it.
    ///
    /// # Errors
    /// See [`read_directory`].
    pub fn of_file(path: &Path) -> Result<Directory, DocumentError> {
        Sources::of_file(path)?.parse()
    }

    #[cfg(test)]
    pub(crate) fn of_text(file: &str, text: &str) -> Result<Directory, DocumentError> {
        let mut read = Directory::default();
        read.take(Path::new(file), text.as_bytes(), &mut |name| panic!("no profile {name} here"))?;
        Ok(read)
    }

    /// Takes in the documents of one file.
    pub(super) fn take(
        &mut self,
        path: &Path,
        bytes: &[u8],
        profile: &mut dyn FnMut(&str) -> Result<Vec<u8>, DocumentError>,
    ) -> Result<(), DocumentError> {
        let file = &path.display().to_string();
        let text = std::str::from_utf8(bytes).map_err(|error| DocumentError::Untrusted {
            path: file.clone(),
            problem: format!("not UTF-8: {error}; save it as UTF-8"),
        })?;
        for document in parse_documents(file, text)? {
            self.refuse_namesake(file, &document)?;
            match document {
                Document::Policy(document) => {
                    // What is included may be for fewer containers than the policy's own rules.
                    for Part { document, floor } in document.parts(file, profile)? {
                        self.policies.push(Loaded { file: file.clone(), document, floor });
                    }
                }
                Document::Waiver(waiver) => self.waivers.push((file.clone(), *waiver)),
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
        let message =
            format!("a {kind} named {:?} stands in {other} already; rename one", own.value.name);
        Err(DocumentError::at(file, own.line, message))
    }

    /// Whether what applies to a container may depend on the door through which a request comes.
    pub fn tells_doors_apart(&self) -> bool {
        self.selectors().any(Match::tells_doors_apart)
    }

    /// Whether what applies to a container may depend on the labels of its pod.
    pub fn goes_by_labels(&self) -> bool {
        self.selectors().any(Match::goes_by_labels)
    }

    /// The selectors of policies and waivers, where they have one.
    fn selectors(&self) -> impl Iterator<Item = &Match> {
        let policies = self.policies.iter().filter_map(|p| p.document.spec.selector.as_ref());
        policies.chain(self.waivers.iter().map(|(_, waiver)| &waiver.spec.selector.value))
    }

    /// What selects a container.
    pub fn select(&self, facts: &Facts) -> Selection {
        let mut selection = Selection::default();
        for Loaded { document, floor, .. } in &self.policies {
            if !document.selects(facts) {
                continue;
            }
            let fault = document.spec.selector.as_ref().and_then(|selector| selector.fault(facts));
            selection.take(document.terms(), floor.clone(), fault);
        }
        for (file, waiver) in &self.waivers {
            if let Some(why) = waiver.spec.selector.value.fault(facts) {
                selection.notes.push(fault_of_waiver(&waiver.metadata.value.name, file, &why));
            } else if waiver.selects(facts) {
                let (file, waiver) = (file.clone(), waiver.clone());
                selection.waivers.push(Granted { file, waiver, break_glass: None });
            }
        }
        selection
    }

    /// The waivers and their files.
    pub fn waivers(&self) -> impl Iterator<Item = (&str, &WaiverDocument)> {
        self.waivers.iter().map(|(file, waiver)| (file.as_str(), waiver))
    }

    /// The names of the policies and their files, in the order of the files; see [`Self::floors`].
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.policies.iter().map(|p| (p.document.metadata.value.name.as_str(), p.file.as_str()))
    }

    /// Each policy's clauses by themselves, those that are audited too. What a policy includes stands after
    /// it, as further policies of its name.
    pub fn floors(&self) -> impl Iterator<Item = (&PolicyDocument, &Floor)> {
        self.policies.iter().map(|loaded| (&loaded.document, &loaded.floor))
    }

    /// The policies as they were written, with their files and all their clauses, the included ones among
    /// them.
    pub fn written(&self) -> Vec<(&str, &PolicyDocument, Floor)> {
        let mut written: Vec<(&str, &PolicyDocument, Floor)> = Vec::new();
        for Loaded { file, document, floor } in &self.policies {
            match written.last_mut() {
                Some((_, own, all)) if own.metadata.value == document.metadata.value => {
                    *all = all.meet(floor);
                }
                _ => written.push((file, document, floor.clone())),
            }
        }
        written
    }
}
