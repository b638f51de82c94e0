//! The policies of an image, and their snapshot.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use coaming_config::Configuration;
use coaming_policy::document::Directory;
use coaming_shim::baked;
use coaming_shim::in_force::{self, Baked};
use serde_json::Value;

use super::plan::Wish;
use super::record::Record;
use crate::error::CommandError;
use crate::install::tree::Tree;

/// The set that is in force when the image boots.
#[derive(Debug)]
pub(super) struct Policies {
    pub(super) set: Directory,
    pub(super) wishes: Vec<Wish>,
    /// How many policies and waivers.
    pub(super) counts: (usize, usize),
    pub(super) signed_by: Option<String>,
    pub(super) refused: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl Policies {
    /// Reads the image's own directory, or one that becomes it.
    pub(super) fn read(
        tree: &Tree,
        configuration: &Configuration,
        given: Option<&Path>,
    ) -> Result<Policies, CommandError> {
        let directory = configuration.policy_directory.display().to_string();
        if !configuration.policy_directory.is_absolute() {
            return Err(CommandError::Bake(format!(
                "policy_directory = {directory:?} is no path that begins with a slash"
            )));
        }
        let place = match given {
            Some(given) => given.to_owned(),
            None => tree.real(&directory).map_err(CommandError::Bake)?,
        };
        if given.is_some() && !place.is_dir() {
            let error = std::io::Error::from(std::io::ErrorKind::NotADirectory);
            return Err(CommandError::Path { path: place, error });
        }
        let baked = bake(tree, &place, configuration)?;
        let mut wishes = Vec::new();
        let mut refused = Vec::new();
        if given.is_some() {
            let files = baked.sources.iter();
            wishes.extend(files.map(|(name, bytes)| {
                Wish::file(&format!("{directory}/{name}"), bytes.clone(), 0o644)
            }));
            refused = others(tree, &directory, &baked).map_err(CommandError::Bake)?;
        }
        for (name, bytes) in &baked.files {
            wishes.push(Wish::file(&format!("{}/{name}", baked::POLICY), bytes.clone(), 0o644));
        }
        let mut notes = Vec::new();
        if baked.sources.is_empty() {
            notes.push(format!(
                "{directory} holds no policies: the built-in floor alone ({}) will be in force",
                configuration.floor.name()
            ));
        }
        if tree.exists("/var/lib/coaming/policy/current") {
            notes.push(
                "/var/lib/coaming/policy is in the image: what was in force there goes before what is baked; remove it \
                 before the image is given away"
                    .to_owned(),
            );
        }
        Ok(Policies {
            counts: (baked.set.names().count(), baked.set.waivers().count()),
            set: baked.set,
            signed_by: baked.signed_by,
            wishes,
            refused,
            notes,
        })
    }
}

/// Made twice where need be: a set that is baked already keeps its time.
fn bake(tree: &Tree, place: &Path, configuration: &Configuration) -> Result<Baked, CommandError> {
    let make = |at| in_force::bake(place, configuration, at).map_err(CommandError::Policy);
    let path = |name: &str| format!("{}/{name}", baked::POLICY);
    let before = tree.read_own(&path("current")).ok().flatten();
    let accepted = before.as_ref().and_then(|seen| {
        serde_json::from_slice::<Value>(&seen.bytes).ok()?.get("accepted")?.as_u64()
    });
    if let (Some(before), Some(accepted)) = (before, accepted) {
        let same = make(accepted)?;
        if same.files.iter().any(|(_, bytes)| *bytes == before.bytes) {
            return Ok(same);
        }
    }
    make(now())
}

/// As reproducible builds have it (reproducible-builds.org, SOURCE_DATE_EPOCH).
fn now() -> u64 {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|text| text.parse().ok());
    let since = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    given.unwrap_or_else(since)
}

/// Files of the image's directory that the given one has not, and that no earlier run wrote: with them the set in force would be
/// another than what was given.
fn others(tree: &Tree, directory: &str, baked: &Baked) -> Result<Vec<String>, String> {
    let record = Record::read(tree)?;
    let is_policy = |name: &str| {
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        !name.starts_with('.') && matches!(extension, Some("yaml" | "yml" | "json"))
            || name.starts_with(coaming_policy::document::MANIFEST)
    };
    let names = tree.names(directory)?.into_iter();
    let others = names.filter(|name| {
        is_policy(name)
            && !baked.sources.contains_key(name)
            && !record.files.contains_key(&format!("{directory}/{name}"))
    });
    Ok(others
        .map(|name| {
            format!(
                "{directory}/{name} is in the image and not among the policies that you gave; remove it from the \
                 image, or put it beside them"
            )
        })
        .collect())
}
