//! The agent's part of the node's policy directory: what is written there, how, and what is left alone.
//!
//! The agent writes `kubernetes.yaml`, folders below `kubernetes/`, and, where a signature was delivered, the manifest and its
//! signature. It changes and removes nothing else, and of these only what it wrote itself.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use coaming_config::{Policy, Signatures};
use coaming_policy::document::{Listing, MANIFEST, SIGNATURE, Sources};
use coaming_policy::snapshot::{Keys, check_manifest};
use sha2::{Digest, Sha256};

use crate::error::AgentError;
use crate::set::{FILE, FOLDER, Fault, HEAD, Rendered, hex};

/// Says, in [`FOLDER`], that the folder is the agent's.
const MARK: &str = ".coaming-agent";
/// The digests of the manifests that the agent wrote, in [`FOLDER`].
const MANIFESTS: &str = ".manifests";
/// How many of them are kept: the one before, and the one that was being written when the power went.
const KEPT_MANIFESTS: usize = 4;

/// How long profiles stay that no set names any more, and how many sets' at most beside the last one's.
const KEPT_FOR: Duration = Duration::from_secs(60);
const MAX_LEFT: usize = 8;

/// The policy directory of a node.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    policy: Policy,
    /// How long profiles stay that no set names any more.
    kept_for: Duration,
}

/// What became of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It stands in the directory now.
    Anew,
    /// It stood there already.
    Unchanged,
    /// It is not written, and what stood there stays.
    Refused(Vec<Fault>),
}

impl Directory {
    /// The directory at a path, under a node's rules.
    pub fn of(path: &Path, policy: Policy) -> Directory {
        Directory { path: path.to_owned(), policy, kept_for: KEPT_FOR }
    }

    /// Brings a set into the directory, if the whole directory is right with it.
    ///
    /// # Errors
    /// What the file system says, and what stands in the agent's place and is not its own.
    pub fn write(&self, set: &Rendered) -> Result<Written, AgentError> {
        self.check_own(set)?;
        let faults = self.check(set);
        if !faults.is_empty() {
            return Ok(Written::Refused(faults));
        }
        if self.holds(set) {
            return Ok(Written::Unchanged);
        }
        if let Some(generation) = &set.generation {
            self.write_profiles(generation, set)?;
        }
        let mut parts: Vec<(&str, &[u8])> = Vec::new();
        if let Some((manifest, signature)) = &set.signed {
            parts.extend([(SIGNATURE, signature.as_slice()), (MANIFEST, manifest.as_slice())]);
        }
        parts.push((FILE, &set.documents));
        let before = self.generation_in_use();
        self.remember_manifest(set)?;
        // All are on the disk before the first takes its place.
        for (name, bytes) in parts.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            write_durable(&self.path.join(next(name)), bytes)?;
        }
        if set.signed.is_none() {
            self.remove(SIGNATURE)?;
            self.remove(MANIFEST)?;
        }
        for (name, bytes) in &parts {
            if bytes.is_empty() {
                self.remove(name)?;
                continue;
            }
            let (from, to) = (self.path.join(next(name)), self.path.join(name));
            fs::rename(&from, &to).map_err(AgentError::io("put in place", &to))?;
        }
        sync(&self.path)?;
        self.forget(&[set.generation.as_deref(), before.as_deref()])?;
        Ok(Written::Anew)
    }

    /// Whether the directory is right with a set in it: as a node reads it, and as its configuration wants it signed.
    fn check(&self, set: &Rendered) -> Vec<Fault> {
        let fault = |message: String| vec![Fault { object: None, message }];
        let local = match self.local() {
            Ok(local) => local,
            Err(error) => {
                return fault(format!(
                    "the node's own policies are broken, and are mended first: {error}"
                ));
            }
        };
        let whole = set.beside(&local);
        if let Err(error) = whole.replay() {
            return fault(error.to_string());
        }
        if let Err(error) = check_manifest(&whole) {
            let hint = match set.signed {
                Some(_) => "",
                None => {
                    "; the node's own manifest is there, and no signature of the whole came with the cluster's objects"
                }
            };
            return fault(format!("{error}{hint}"));
        }
        if self.policy.signatures != Signatures::Required || whole.members().next().is_none() {
            return Vec::new();
        }
        let (Some(manifest), Some(signature)) = (&whole.manifest, &whole.signature) else {
            return fault(format!(
                "the node takes signed sets alone, and no signature came: a ConfigMap with {MANIFEST} and {SIGNATURE}"
            ));
        };
        let by = Keys::parse(&self.policy.trusted_keys)
            .and_then(|keys| keys.verify(manifest, signature));
        by.err().map_or_else(Vec::new, |error| fault(error.to_string()))
    }

    /// What the directory holds besides what is the agent's, with the profiles that it names.
    fn local(&self) -> Result<Sources, coaming_policy::document::DocumentError> {
        let mut local = Sources::read(&self.path, Listing::of(&self.path)?)?;
        local.files.remove(FILE);
        if local.manifest.as_deref().is_some_and(|manifest| self.is_own_manifest(manifest)) {
            local.manifest = None;
            local.signature = None;
        }
        local.parse()?;
        Ok(local)
    }

    /// Whether a set stands in the directory as it would be written.
    fn holds(&self, set: &Rendered) -> bool {
        let is = |name: &str, bytes: &[u8]| match fs::read(self.path.join(name)) {
            Ok(found) => found == bytes,
            Err(error) => error.kind() == io::ErrorKind::NotFound && bytes.is_empty(),
        };
        let signed = match &set.signed {
            Some((manifest, signature)) => is(MANIFEST, manifest) && is(SIGNATURE, signature),
            None => !fs::read(self.path.join(MANIFEST))
                .is_ok_and(|manifest| self.is_own_manifest(&manifest)),
        };
        signed
            && is(FILE, &set.documents)
            && set.profiles.iter().all(|(name, bytes)| is(name, bytes))
    }

    /// That what stands in the agent's places is the agent's.
    fn check_own(&self, set: &Rendered) -> Result<(), AgentError> {
        let foreign =
            |name: &str, problem| Err(AgentError::Foreign { path: self.path.join(name), problem });
        match fs::read(self.path.join(FILE)) {
            Ok(bytes) if !bytes.starts_with(HEAD.as_bytes()) => {
                return foreign(FILE, "its first line is another; give it another name");
            }
            _ => {}
        }
        let folder = self.path.join(FOLDER);
        if fs::symlink_metadata(&folder).is_ok() && fs::symlink_metadata(folder.join(MARK)).is_err()
        {
            return foreign(FOLDER, "it lacks the agent's mark; give the folder another name");
        }
        // One that was put there by hand is left to whoever did; the same one is as good as written.
        if let Some((manifest, _)) = &set.signed
            && let Ok(found) = fs::read(self.path.join(MANIFEST))
            && found != *manifest
            && !self.is_own_manifest(&found)
        {
            return foreign(
                MANIFEST,
                "its content is none of the agent's; remove it, so that the one from the cluster can stand there",
            );
        }
        Ok(())
    }

    fn write_profiles(&self, generation: &str, set: &Rendered) -> Result<(), AgentError> {
        let own = self.own_folder()?;
        let place = own.join(generation);
        let is_whole = set
            .profiles
            .iter()
            .all(|(name, bytes)| fs::read(self.path.join(name)).is_ok_and(|found| found == *bytes));
        if is_whole {
            return Ok(());
        }
        // A folder of this name that is not whole: torn by a power cut, or changed by hand.
        let making = own.join(format!(".{generation}.next"));
        for old in [&making, &place] {
            match fs::remove_dir_all(old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(AgentError::io("clear away", old)(error));
                }
                _ => {}
            }
        }
        for (name, bytes) in &set.profiles {
            let below = Path::new(name)
                .strip_prefix(Path::new(FOLDER).join(generation))
                .unwrap_or(Path::new(name));
            let path = making.join(below);
            let folder = path.parent().unwrap_or(&making);
            make_folder(folder)?;
            write_durable(&path, bytes)?;
        }
        sync(&making)?;
        fs::rename(&making, &place).map_err(AgentError::io("put in place", &place))?;
        sync(&own)
    }

    /// The folder of generations, with the agent's mark.
    fn own_folder(&self) -> Result<PathBuf, AgentError> {
        let own = self.path.join(FOLDER);
        if fs::symlink_metadata(&own).is_err() {
            // With its mark from the first moment on.
            let making = self.path.join(format!(".{FOLDER}.next"));
            make_folder(&making)?;
            write_durable(&making.join(MARK), b"")?;
            fs::rename(&making, &own).map_err(AgentError::io("put in place", &own))?;
        }
        Ok(own)
    }

    /// The folder of profiles that the set which stands there names.
    fn generation_in_use(&self) -> Option<String> {
        let text = fs::read_to_string(self.path.join(FILE)).ok()?;
        let (_, after) = text.split_once(&format!("\"{FOLDER}/"))?;
        let generation = after.split('/').next()?;
        is_generation(generation).then(|| generation.to_owned())
    }

    /// Removes generations of profiles that no set names. A start that has read a set a moment ago still finds its own: the last one's
    /// stays, and others as long as a start may take, few enough for any disk.
    fn forget(&self, keep: &[Option<&str>]) -> Result<(), AgentError> {
        let own = self.path.join(FOLDER);
        if let Some(Some(before)) = keep.get(1) {
            // From now on it is not the one in use.
            let left = own.join(before);
            if let Ok(folder) = File::open(&left) {
                folder.set_modified(SystemTime::now()).map_err(AgentError::io("mark", &left))?;
            }
        }
        let Ok(entries) = fs::read_dir(&own) else { return Ok(()) };
        let mut others = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if is_generation(name) && !keep.contains(&Some(name)) {
                let left = entry.metadata().and_then(|metadata| metadata.modified()).ok();
                others.push((left, entry.path()));
            }
        }
        // Those that were left last come first; a clock that was set back keeps none for longer.
        others.sort_by(|one, other| other.cmp(one));
        for (place, (left, path)) in others.into_iter().enumerate() {
            let age = left.and_then(|left| SystemTime::now().duration_since(left).ok());
            let is_young = age.is_some_and(|age| age < self.kept_for);
            if place >= MAX_LEFT || !is_young {
                fs::remove_dir_all(&path).map_err(AgentError::io("clear away", &path))?;
            }
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), AgentError> {
        let path = self.path.join(name);
        if [MANIFEST, SIGNATURE].contains(&name) {
            let own = fs::read(self.path.join(MANIFEST)).ok();
            let is_own = match own {
                Some(manifest) => self.is_own_manifest(&manifest),
                None => false,
            };
            // The signature goes first: a manifest alone is told from one that was put there by hand.
            if !is_own {
                return Ok(());
            }
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(AgentError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    fn is_own_manifest(&self, manifest: &[u8]) -> bool {
        self.own_manifests().contains(&hex(&Sha256::digest(manifest)))
    }

    fn own_manifests(&self) -> BTreeSet<String> {
        self.listed_manifests().into_iter().collect()
    }

    fn listed_manifests(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path.join(FOLDER).join(MANIFESTS)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Notes a manifest as the agent's before it is written.
    fn remember_manifest(&self, set: &Rendered) -> Result<(), AgentError> {
        let Some((manifest, _)) = &set.signed else { return Ok(()) };
        let own = self.own_folder()?;
        let mut listed = self.listed_manifests();
        listed.retain(|known| *known != hex(&Sha256::digest(manifest)));
        listed.push(hex(&Sha256::digest(manifest)));
        let from = listed.len().saturating_sub(KEPT_MANIFESTS);
        let text = listed.split_off(from).join("\n");
        let (making, place) = (own.join(next(MANIFESTS)), own.join(MANIFESTS));
        write_durable(&making, text.as_bytes())?;
        fs::rename(&making, &place).map_err(AgentError::io("put in place", &place))
    }
}

fn is_generation(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|c| c.is_ascii_hexdigit())
}

/// Where a file is made before it takes its place; such names are no policies.
fn next(name: &str) -> String {
    format!(".{}.coaming-agent-next", name.trim_start_matches('.'))
}

fn make_folder(path: &Path) -> Result<(), AgentError> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(AgentError::io("make the folder", path))
}

/// Writes a whole file and waits until it is on the disk.
fn write_durable(path: &Path, bytes: &[u8]) -> Result<(), AgentError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(AgentError::io("remove", path)(error));
        }
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(AgentError::io("write", path))
}

fn sync(folder: &Path) -> Result<(), AgentError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(AgentError::io("sync", folder))
}

#[cfg(test)]
mod tests;
