//! The files of a policy directory as they were read: the only I/O of this crate.
//!
//! What loosens nothing may still be forged to tighten nothing: files that others than root can
//! change, and symbolic links, are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use coaming_config::trust::{check_trust, read_root_owned};
use sha2::{Digest, Sha256};

use super::{Directory, DocumentError};

/// The most files read from one directory.
pub const MAX_FILES: usize = 4096;
/// The manifest of a directory, in the format of sha256sum(1).
pub const MANIFEST: &str = "SHA256SUMS";
/// Its signature, as minisign(1) writes it.
pub const SIGNATURE: &str = "SHA256SUMS.minisig";

/// What a directory holds, as far as it matters: policy files by name, and the profiles that they name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// The directory.
    pub directory: PathBuf,
    /// The policy files, by their names in the directory.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The profiles that were named and read, by their paths below the directory.
    pub profiles: BTreeMap<String, Vec<u8>>,
    /// The manifest, where there is one.
    pub manifest: Option<Vec<u8>>,
    /// The manifest's signature, where there is one.
    pub signature: Option<Vec<u8>>,
    /// Files that are not policies by their names, and so were not read.
    pub ignored: Vec<PathBuf>,
    /// Profiles that were named and could not be read.
    pub(crate) missing: BTreeSet<String>,
}

/// The names that a directory lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Policy files.
    pub files: BTreeSet<String>,
    /// Whether the manifest and its signature are there.
    signed: [bool; 2],
    ignored: Vec<PathBuf>,
}

impl Listing {
    /// Lists a directory; one that does not exist holds nothing.
    ///
    /// # Errors
    /// A directory that others can change, or that holds too much.
    pub fn of(directory: &Path) -> Result<Listing, DocumentError> {
        let mut listing = Listing::default();
        let untrusted = |path: &Path, problem| DocumentError::Untrusted {
            path: path.display().to_string(),
            problem,
        };
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(listing),
            Err(error) => return Err(DocumentError::io("list", directory, error)),
        };
        let metadata = fs::symlink_metadata(directory)
            .map_err(|error| DocumentError::io("look at", directory, error))?;
        check_trust(directory, &metadata)?;
        for entry in entries {
            let path = entry.map_err(|error| DocumentError::io("list", directory, error))?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            let name = path.file_name().unwrap_or_default();
            let hidden = name.as_encoded_bytes().starts_with(b".");
            if !hidden && matches!(extension, Some("yaml" | "yml" | "json")) {
                let Some(name) = name.to_str() else {
                    return Err(untrusted(&path, "its name is not UTF-8; rename it".to_owned()));
                };
                listing.files.insert(name.to_owned());
            } else if name == MANIFEST {
                listing.signed[0] = true;
            } else if name == SIGNATURE {
                listing.signed[1] = true;
            } else if !path.is_dir() {
                listing.ignored.push(path);
            }
        }
        if listing.files.len() > MAX_FILES {
            let found = listing.files.len();
            let problem = format!(
                "{found} files, more than the {MAX_FILES} that are read; a file may hold several \
                 policies, with --- between them"
            );
            return Err(untrusted(directory, problem));
        }
        Ok(listing)
    }

    /// The names of all that is looked at: policy files, the manifest, its signature.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let signed = [MANIFEST, SIGNATURE].into_iter().zip(self.signed);
        self.files
            .iter()
            .map(String::as_str)
            .chain(signed.filter(|(_, is)| *is).map(|(name, _)| name))
    }
}

impl Sources {
    /// Reads what a directory lists; the profiles are read by [`Sources::parse`], which knows them.
    ///
    /// # Errors
    /// The first file that cannot be read or trusted.
    pub fn read(directory: &Path, listing: Listing) -> Result<Sources, DocumentError> {
        let mut read = Sources {
            directory: directory.to_owned(),
            ignored: listing.ignored,
            ..Sources::default()
        };
        for name in listing.files {
            let bytes = read_root_owned(&directory.join(&name))?;
            read.files.insert(name, bytes);
        }
        let [manifest, signature] = listing.signed;
        let extra = |is: bool, name| is.then(|| read_root_owned(&directory.join(name))).transpose();
        read.manifest = extra(manifest, MANIFEST)?;
        read.signature = extra(signature, SIGNATURE)?;
        Ok(read)
    }

    /// One file, which need not be in a directory of policies.
    ///
    /// # Errors
    /// See [`Sources::read`].
    pub fn of_file(path: &Path) -> Result<Sources, DocumentError> {
        let bytes = read_root_owned(path)?;
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
            let problem = "its name is not UTF-8; rename it".to_owned();
            DocumentError::Untrusted { path: path.display().to_string(), problem }
        })?;
        Ok(Sources {
            directory: path.parent().unwrap_or(Path::new(".")).to_owned(),
            files: BTreeMap::from([(name.to_owned(), bytes)]),
            ..Sources::default()
        })
    }

    /// Reads profiles by their names, as far as they can be read: for whoever wants to know whether they
    /// are what they were, and not yet what they are for.
    pub fn read_profiles<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            if let Ok(bytes) = read_profile(&self.directory, name) {
                self.profiles.insert(name.to_owned(), bytes);
            }
        }
    }

    /// Parses the files, and reads the profiles that they name.
    ///
    /// # Errors
    /// The first thing that is wrong, with the file, line and column.
    pub fn parse(&mut self) -> Result<Directory, DocumentError> {
        let Sources { directory, files, profiles, missing, ignored, .. } = self;
        profiles.clear();
        missing.clear();
        let mut parsed = Directory::default();
        parsed.ignored.clone_from(ignored);
        for (name, bytes) in files {
            parsed.take(&directory.join(name), bytes, &mut |profile| {
                let read = read_profile(directory, profile);
                match &read {
                    Ok(bytes) => drop(profiles.insert(profile.to_owned(), bytes.clone())),
                    Err(_) => drop(missing.insert(profile.to_owned())),
                }
                read
            })?;
        }
        Ok(parsed)
    }

    /// Parses what was read before, without looking at any file.
    ///
    /// # Errors
    /// See [`Sources::parse`]; a profile that was not read.
    pub fn replay(&self) -> Result<Directory, DocumentError> {
        let mut parsed = Directory::default();
        for (name, bytes) in &self.files {
            parsed.take(&self.directory.join(name), bytes, &mut |profile| {
                self.profiles.get(profile).cloned().ok_or_else(|| DocumentError::Untrusted {
                    path: profile.to_owned(),
                    problem: "it is not among the profiles that were kept".to_owned(),
                })
            })?;
        }
        Ok(parsed)
    }

    /// The paths below the directory of the profiles that were looked at.
    pub fn profile_names(&self) -> impl Iterator<Item = &str> {
        self.profiles.keys().chain(&self.missing).map(String::as_str)
    }

    /// What policy is made of: every policy and profile file, by its path below the directory.
    pub fn members(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files
            .iter()
            .chain(&self.profiles)
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// The digest of the members' names and contents.
    pub fn digest(&self) -> [u8; 32] {
        digest(self.files.iter().map(some).chain([None]).chain(self.profiles.iter().map(some)))
    }

    /// The digest of all that was looked at: the manifest and its signature too.
    pub fn whole_digest(&self) -> [u8; 32] {
        let signed = [&self.manifest, &self.signature];
        let mut whole = Sha256::new().chain_update(self.digest());
        for part in signed {
            whole.update([u8::from(part.is_some())]);
            whole.update(Sha256::digest(part.as_deref().unwrap_or_default()));
        }
        whole.finalize().into()
    }
}

fn some<'a>((name, bytes): (&'a String, &'a Vec<u8>)) -> Option<(&'a str, &'a [u8])> {
    Some((name, bytes))
}

/// Of names and contents, of which none can be taken for another's part.
fn digest<'a>(members: impl Iterator<Item = Option<(&'a str, &'a [u8])>>) -> [u8; 32] {
    let mut whole = Sha256::new();
    for member in members {
        let Some((name, bytes)) = member else {
            whole.update([0; 32]);
            continue;
        };
        whole.update(Sha256::digest(name));
        whole.update(Sha256::digest(bytes));
    }
    whole.finalize().into()
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
