//! The set of policies in force: whether it is what the directory holds, and what holds where it is not.
//!
//! Nothing watches the directory. Each start looks at it, and reads its snapshot where it is as it was
//! when the snapshot was made. Where it is not, the start itself reads it, judges it and, if it may take
//! the place of the set in force, makes the next snapshot; of several starts one does so, and the others
//! wait for it.

mod bake;
mod keeper;
mod look;
mod scan;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;

use coaming_policy::builtin;
use coaming_policy::demands::Selection;
use coaming_policy::document::{BuiltIn, Directory, DocumentError, Moment};
use coaming_policy::facts::Facts;
use coaming_policy::floor::Floor;
use coaming_policy::snapshot::{Kept, Signed, Snapshot, SnapshotError};

use crate::host::hex;

pub use bake::{Baked, bake};
pub use keeper::{Access, Keeper, Loaded};
pub use store::Since;

/// A whole set of policies.
#[derive(Debug)]
enum Set {
    Kept(Box<Snapshot<File>>),
    Read(Box<Directory>),
}

/// The set in force.
#[derive(Debug)]
pub struct InForce {
    set: Set,
    /// When it came into force, in seconds since 1970; none where that is not kept.
    pub accepted: Option<u64>,
    /// Who signed it, where that counted.
    pub signed: Option<Signed>,
    /// Why it is not what the directory holds, where that is so.
    pub kept: Option<Since>,
    /// What an operator should know of how it was read.
    pub notes: Vec<String>,
    /// SHA-256 of the names and contents of its files; none where its snapshot is damaged.
    pub digest: Option<[u8; 32]>,
    directory: String,
}

/// What a set has for one container.
#[derive(Debug)]
pub struct Chosen {
    /// The policies and waivers that select it.
    pub selection: Selection,
    /// The built-in floor.
    pub beneath: Floor,
    /// Whether there are waivers at all, whomever they select: the latest time seen is kept for them.
    pub has_waivers: bool,
}

impl InForce {
    /// [`InForce::digest`] in lower-case hexadecimal, as the journal has it.
    pub fn digest_in_hex(&self) -> Option<String> {
        self.digest.as_ref().map(|digest| hex(digest))
    }

    /// What selects a container.
    ///
    /// # Errors
    /// A damaged snapshot.
    pub fn select(&self, facts: &Facts, which: BuiltIn) -> Result<Chosen, SnapshotError> {
        match &self.set {
            Set::Kept(snapshot) => {
                let (selection, beneath) = snapshot.select(facts, which)?;
                Ok(Chosen { selection, beneath, has_waivers: snapshot.has_waivers()? })
            }
            Set::Read(directory) => Ok(Chosen {
                selection: directory.select(facts),
                beneath: builtin::floor(which).map_err(std::io::Error::other)?,
                has_waivers: directory.waivers().next().is_some(),
            }),
        }
    }

    /// Whether what applies to a container may depend on the door through which a request comes.
    ///
    /// # Errors
    /// A damaged snapshot.
    pub fn tells_doors_apart(&self) -> Result<bool, SnapshotError> {
        match &self.set {
            Set::Kept(snapshot) => snapshot.tells_doors_apart(),
            Set::Read(directory) => Ok(directory.tells_doors_apart()),
        }
    }

    /// Whether what applies to a container may depend on the labels of its pod.
    ///
    /// # Errors
    /// A damaged snapshot.
    pub fn goes_by_labels(&self) -> Result<bool, SnapshotError> {
        match &self.set {
            Set::Kept(snapshot) => snapshot.goes_by_labels(),
            Set::Read(directory) => Ok(directory.goes_by_labels()),
        }
    }

    /// The AppArmor profiles that come with the set's policies, by their names in the kernel, audited ones too.
    ///
    /// # Errors
    /// A damaged snapshot.
    pub fn app_armor_profiles(&self) -> Result<BTreeMap<String, String>, DocumentError> {
        let of = |directory: &Directory| {
            let rules = directory.floors().map(|(_, floor)| floor.app_armor.met());
            rules.flat_map(|rule| rule.profiles).collect()
        };
        match &self.set {
            Set::Read(directory) => Ok(of(directory)),
            Set::Kept(snapshot) => {
                let sources = snapshot.sources().map_err(|error| {
                    unusable(std::path::Path::new(&self.directory), error.to_string())
                })?;
                sources.replay().map(|directory| of(&directory))
            }
        }
    }

    /// How many policies and waivers there are.
    fn count(&self) -> Result<(usize, usize), DocumentError> {
        match &self.set {
            Set::Read(directory) => Ok((directory.names().count(), directory.waivers().count())),
            Set::Kept(snapshot) => snapshot.counts().map_err(|error| {
                unusable(std::path::Path::new(&self.directory), error.to_string())
            }),
        }
    }

    /// That the directory is not in force, and why, in a sentence.
    pub fn alarm(&self) -> Option<String> {
        let Since { refusal, since } = self.kept.as_ref()?;
        let what = match refusal.kind {
            Kept::Broken => "is broken",
            Kept::Loosens => "loosens",
            Kept::Signature => "is not signed as it must be",
        };
        let accepted = self.accepted.map_or_else(String::new, |at| format!(" of {}", Moment(at)));
        let mut alarm = format!(
            "the policies{accepted} stay in force, since the directory {} {what}: {} (since {})",
            self.directory,
            refusal.why,
            Moment(*since)
        );
        if let Some(first) = refusal.looser.first() {
            alarm.push_str(&format!("; it would loosen: {first}"));
            if refusal.looser.len() > 1 {
                alarm.push_str(&format!(", and {} more", refusal.looser.len() - 1));
            }
        }
        Some(alarm)
    }
}

/// An error as those of documents are told.
fn unusable(directory: &std::path::Path, problem: String) -> DocumentError {
    DocumentError::Untrusted { path: directory.display().to_string(), problem }
}
