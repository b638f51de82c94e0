//! The files of a set without an API server, for the machine where somebody signs them.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use coaming_config::Policy;
use coaming_config::trust::MAX_FILE_BYTES;
use coaming_policy::document::{Listing, MANIFEST, Sources, parse_strict};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::directory::{Directory, Written};
use crate::error::AgentError;
use crate::objects::Cluster;
use crate::set::{Fault, Rendered, hex, render as render_set};

/// The most bytes of a file with objects.
const MOST: u64 = 32 * MAX_FILE_BYTES;

/// Writes the files that agents write of these objects, and the manifest of the whole directory.
///
/// # Errors
/// What is wrong with the objects or the folders, in words.
pub fn render(files: &[PathBuf], into: &Path, beside: Option<&Path>) -> Result<(), AgentError> {
    let mut cluster = Cluster::default();
    for file in files {
        let mut text = String::new();
        let read = fs::File::open(file).and_then(|file| file.take(MOST).read_to_string(&mut text));
        read.map_err(AgentError::io("read", file))?;
        let objects = parse_strict::<Value>(&file.display().to_string(), &text);
        for object in objects.map_err(|error| AgentError::Usage(error.to_string()))? {
            cluster
                .take(&object)
                .map_err(|why| AgentError::Usage(format!("{}: {why}", file.display())))?;
        }
    }
    // What was signed before is not part of what is to be signed.
    cluster.maps.retain(|_, map| map.part != crate::objects::SIGNATURE);
    let set = render_set(&cluster).map_err(|faults| AgentError::Usage(words(&faults)))?;
    fs::create_dir(into).map_err(AgentError::io("make the folder", into))?;
    if let Written::Refused(faults) = Directory::of(into, Policy::default()).write(&set)? {
        return Err(AgentError::Usage(words(&faults)));
    }
    let local = match beside {
        Some(folder) => sources(folder)?,
        None => Sources::default(),
    };
    let manifest = manifest(&set, &local);
    let place = into.join(MANIFEST);
    fs::write(&place, manifest).map_err(AgentError::io("write", &place))
}

fn sources(folder: &Path) -> Result<Sources, AgentError> {
    let listing = Listing::of(folder).map_err(AgentError::Configuration)?;
    let mut read = Sources::read(folder, listing).map_err(AgentError::Configuration)?;
    read.parse().map_err(AgentError::Configuration)?;
    Ok(read)
}

/// The manifest of a directory with a set in it, as sha256sum(1) writes one.
fn manifest(set: &Rendered, local: &Sources) -> String {
    let whole = set.beside(local);
    let line = |(name, bytes): (&str, &[u8])| format!("{}  {name}\n", hex(&Sha256::digest(bytes)));
    whole.members().map(line).collect()
}

fn words(faults: &[Fault]) -> String {
    let line = |fault: &Fault| match &fault.object {
        Some(object) => format!("{object}: {}", fault.message),
        None => fault.message.clone(),
    };
    faults.iter().map(line).collect::<Vec<_>>().join("\n")
}
