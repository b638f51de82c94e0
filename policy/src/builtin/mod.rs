//! The built-in floors, compiled in as reviewed YAML.

use std::sync::OnceLock;

use crate::document::{BuiltIn, DocumentError, parse_policies};
use crate::floor::Floor;

/// The text of `baseline`.
pub const BASELINE: &str = include_str!("baseline.yaml");
/// The text of `node`.
pub const NODE: &str = include_str!("node.yaml");

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
        let own = document.floor("built-in", &mut |name| {
            Err(DocumentError::Untrusted {
                path: name.to_owned(),
                problem: "built-in floors name no profile files".to_owned(),
            })
        })?;
        floor = floor.meet(&own);
    }
    Ok(cell.get_or_init(|| floor).clone())
}

#[cfg(test)]
mod tests;
