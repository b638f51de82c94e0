//! The built-in floors and the policies that others may include, compiled in as reviewed YAML.

use std::sync::OnceLock;

use crate::document::{BuiltIn, DocumentError, Include, PolicyDocument, parse_policies};
use crate::floor::Floor;

/// The text of the floor `baseline`.
pub const BASELINE: &str = include_str!("baseline.yaml");
/// The text of the floor `node`.
pub const NODE: &str = include_str!("node.yaml");

/// The text of a policy that others may include.
pub const fn text(which: Include) -> &'static str {
    match which {
        Include::PssBaseline => include_str!("pss/baseline.yaml"),
        Include::PssRestricted => include_str!("pss/restricted.yaml"),
        Include::Default => include_str!("default.yaml"),
        Include::Cis => include_str!("cis.yaml"),
        Include::NsaHardening => include_str!("nsa-hardening.yaml"),
    }
}

/// The documents of a policy that others may include.
///
/// # Errors
/// None that a build which passed its tests can meet; the texts are compiled in.
pub fn documents(which: Include) -> Result<&'static [PolicyDocument], DocumentError> {
    static READ: [OnceLock<Vec<PolicyDocument>>; 5] = [const { OnceLock::new() }; 5];
    let cell = match which {
        Include::PssBaseline => &READ[0],
        Include::PssRestricted => &READ[1],
        Include::Default => &READ[2],
        Include::Cis => &READ[3],
        Include::NsaHardening => &READ[4],
    };
    if let Some(documents) = cell.get() {
        return Ok(documents);
    }
    let documents = parse_policies(which.name(), text(which))?;
    Ok(cell.get_or_init(|| documents))
}

/// The clauses of a built-in floor.
///
/// # Errors
/// None that a build which passed its tests can meet; the texts are compiled in.
pub fn floor(which: BuiltIn) -> Result<Floor, DocumentError> {
    static LOADED: [OnceLock<Floor>; 2] = [const { OnceLock::new() }; 2];
    let (text, cell) = match which {
        BuiltIn::Baseline => (BASELINE, &LOADED[0]),
        BuiltIn::Node => (NODE, &LOADED[1]),
    };
    if let Some(floor) = cell.get() {
        return Ok(floor.clone());
    }
    let mut floor = Floor::default();
    for document in parse_policies("built-in", text)? {
        floor = floor.meet(&document.floor("built-in", &mut no_profiles)?);
    }
    Ok(cell.get_or_init(|| floor).clone())
}

/// For documents that name no profile files.
pub(crate) fn no_profiles(name: &str) -> Result<Vec<u8>, DocumentError> {
    Err(DocumentError::Untrusted {
        path: name.to_owned(),
        problem: "built-in policies name no profile files".to_owned(),
    })
}

#[cfg(test)]
mod included;
#[cfg(test)]
mod tests;
