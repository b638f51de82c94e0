//! Writing a snapshot.

use serde::{Deserialize, Serialize};

use super::bytes::Writer;
use super::index::{Asks, HEADER, MAGIC, Part, Root, Selectors};
use super::waiver::Kept;
use super::{MAX_PART, build, sha256};
use crate::builtin;
use crate::document::{BuiltIn, Directory, DocumentError, Sources, Terms};
use crate::floor::Floor;

/// What stands of a policy in its part.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Stated {
    pub(super) terms: Terms,
    pub(super) floor: Floor,
}

/// A snapshot of what `sources` say, which were parsed into `directory`; and its name.
///
/// # Errors
/// None that a build which passed its tests can meet: those of the built-in floors, and of JSON.
pub fn encode(directory: &Directory, sources: &Sources) -> Result<(Root, Vec<u8>), DocumentError> {
    let mut parts = Parts::default();
    let mut index = Writer::default();
    index.text(&build());
    index.digest(&sources.digest());
    index.u32(directory.names().count());
    index.u32(directory.waivers().count());
    index.u32(Asks::of(directory).encode());
    let floors = [BuiltIn::Baseline, BuiltIn::Node];
    index.u32(floors.len());
    for which in floors {
        index.text(which.name());
        parts.add(&builtin::floor(which)?)?.write(&mut index);
    }
    let mut selectors = Selectors::default();
    let (mut policies, mut waivers) = (Writer::default(), Writer::default());
    let (mut policy_count, mut waiver_count) = (0, 0);
    for (document, floor) in directory.floors() {
        policies.u32(selectors.number(&document.selector()).map_err(unwritten)?);
        let stated = Stated { terms: document.terms(), floor: floor.clone() };
        parts.add(&stated)?.write(&mut policies);
        policy_count += 1;
    }
    for (file, waiver) in directory.waivers() {
        waivers.u32(selectors.number(&waiver.spec.selector.value).map_err(unwritten)?);
        parts.add(&Kept::of(file, waiver))?.write(&mut waivers);
        waiver_count += 1;
    }
    selectors.write(&mut index);
    index.u32(policy_count);
    index.0.extend(policies.0);
    index.u32(waiver_count);
    index.0.extend(waivers.0);

    let sources = sources_of(sources);
    let largest = [index.0.len(), parts.0.len(), sources.len()].into_iter().max().unwrap_or(0);
    if largest as u64 > MAX_PART {
        return Err(unwritten(format!("it would have {largest} bytes in one part")));
    }
    let mut whole = Writer::default();
    whole.0.extend(MAGIC);
    for length in [index.0.len(), parts.0.len(), sources.len()] {
        whole.u64(length as u64);
    }
    whole.digest(&sha256(&sources));
    debug_assert_eq!(whole.0.len() as u64, HEADER);
    whole.0.extend(index.0);
    let root = Root(sha256(&whole.0));
    whole.0.extend(parts.0);
    whole.0.extend(sources);
    Ok((root, whole.0))
}

#[derive(Debug, Default)]
struct Parts(Vec<u8>);

impl Parts {
    fn add(&mut self, value: &impl Serialize) -> Result<Part, DocumentError> {
        let bytes = serde_json::to_vec(value).map_err(unwritten)?;
        let part = Part {
            offset: self.0.len() as u64,
            length: bytes.len() as u64,
            digest: sha256(&bytes),
        };
        self.0.extend(bytes);
        Ok(part)
    }
}

fn sources_of(sources: &Sources) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.bytes(sources.directory.as_os_str().as_encoded_bytes());
    for members in [&sources.files, &sources.profiles] {
        writer.u32(members.len());
        for (name, bytes) in members {
            writer.text(name);
            writer.bytes(bytes);
        }
    }
    writer.0
}

fn unwritten(error: impl std::fmt::Display) -> DocumentError {
    DocumentError::Untrusted {
        path: "the snapshot of the policies".to_owned(),
        problem: format!("cannot be written: {error}"),
    }
}
