//! Two sets of policies: what the new one tightens, and what it loosens.
//!
//! It is sound: where it reports nothing that loosens, the new set demands of every container, whatever is
//! known or claimed of it and at every moment, at least what the old one does, whichever built-in floor
//! lies beneath. What it cannot tell counts as looser. `compare/laws.rs` holds it to that.
//!
//! **The order.** A set demands at least what another does where, for each control, what its clauses
//! demand together is within what the other's do ([`Rule::at_least_as_strict_as`]; for `seccomp` also
//! what profiles answer), and where that holds of the clauses that refuse by themselves, and of those
//! that no node may leave out. So `refuse` is stricter than `tighten`: fewer containers start. And a
//! control under `bestEffort` is looser than one that is not: on a node that lacks it containers start
//! without it. A rule that says what to put in the place of what is not allowed (`appArmor.default`) is
//! ordered as the control orders it: whatever starts is within it, whether it was refused before or not.
//!
//! **Waivers.** A demand counts for less where a waiver may take it away at a moment at which none could
//! before. Moments that have passed are moments too: a waiver that is added after its end is reported.
//!
//! [`Rule::at_least_as_strict_as`]: crate::controls::Rule::at_least_as_strict_as

mod difference;
mod gaps;
mod landlock;
#[cfg(test)]
mod laws;
mod order;
mod report;
mod scope;
mod stated;
#[cfg(test)]
mod tests;
mod waivers;
mod words;

pub use difference::{Difference, Direction, Place, Subject};

use serde::Serialize;

use crate::document::Directory;
use stated::Set;

/// What differs between two sets of policies: what loosens first, in the order of names.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Comparison {
    differences: Vec<Difference>,
}

impl Comparison {
    /// Every difference.
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// What loosens, or cannot be told not to.
    pub fn looser(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(|difference| difference.direction.loosens())
    }

    /// What tightens.
    pub fn tighter(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(|difference| difference.direction == Direction::Tighter)
    }
}

/// Compares two sets of policies.
pub fn compare(old: &Directory, new: &Directory) -> Comparison {
    let (old, new) = match (Set::of(old), Set::of(new)) {
        (Ok(old), Ok(new)) => (old, new),
        // The built-in floors are compiled in and tested; nothing is known without them.
        (Err(error), _) | (_, Err(error)) => {
            return Comparison { differences: vec![report::unknown(&error.to_string())] };
        }
    };
    Comparison { differences: report::differences(&old, &new) }
}
