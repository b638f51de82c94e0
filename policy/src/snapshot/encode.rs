//! Writing a snapshot.

use serde::{Deserialize, Serialize};

use super::bytes::Writer;
use super::index::{Asks, Chunks, HEADER, MAGIC, Part, Root};
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
    let mut chunks = Chunks::of(directory.names().count() + directory.waivers().count());
    for (document, floor) in directory.floors() {
        let stated = Stated { terms: document.terms(), floor: floor.clone() };
        let part = parts.add(&stated)?;
        chunks.policy(&document.selector(), part).map_err(unwritten)?;
    }
    for (file, waiver) in directory.waivers() {
        let part = parts.add(&Kept::of(file, waiver))?;
        chunks.waiver(&waiver.spec.selector.value, part).map_err(unwritten)?;
    }
    let chunks: Vec<Part> = chunks.write().map(|chunk| parts.put(&chunk)).collect();
    index.u32(chunks.len());
    for chunk in chunks {
        chunk.write(&mut index);
    }

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
        Ok(self.put(&serde_json::to_vec(value).map_err(unwritten)?))
    }

    fn put(&mut self, bytes: &[u8]) -> Part {
        let (offset, length) = (self.0.len() as u64, bytes.len() as u64);
        self.0.extend(bytes);
        Part { offset, length, digest: sha256(bytes) }
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
