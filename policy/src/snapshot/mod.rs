//! The snapshot of a policy directory: what a start reads instead of every file.
//!
//! One file holds a whole set of policies: an index that is read by every start, each policy's clauses
//! by themselves, and the files that it was made from. Its name is the digest of its index, the index
//! holds the digests of all else, and a start checks those of the parts that it reads; so a start uses
//! one whole set or none. The sources serve another version of coaming, which makes its own clauses of
//! them, and whoever compares a changed directory with the set in force.
//!
//! Here is what a snapshot says, and whether a changed directory may take its place; files and locks
//! are the gate's.

mod acceptance;
mod break_glass;
mod bytes;
mod encode;
mod index;
mod manifest;
mod reader;
mod signature;
mod waiver;

#[cfg(test)]
mod tests;

pub use acceptance::{Kept, Offer, Refusal, SetInForce, Verdict, judge};
pub use break_glass::{Answered, BreakGlassError, break_glass};
pub use encode::encode;
pub use index::Root;
pub use manifest::{ManifestError, check_manifest};
pub use reader::{ReadAt, Snapshot};
pub use signature::{Keys, SignatureError, Signed};

use sha2::{Digest, Sha256};

use crate::builtin;
use crate::document::Include;

/// The version of the format. It is raised whenever what stands in a snapshot changes its meaning.
const FORMAT: u32 = 2;

/// The largest part of a snapshot that is read at once, in bytes.
const MAX_PART: u64 = 64 * 1024 * 1024;

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It is not what was written, or not by this program.
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
    /// Another version of coaming wrote it, whose clauses may mean something else.
    #[error("the snapshot was written by another version of coaming ({0})")]
    OtherBuild(String),
    /// It cannot be read.
    #[error("the snapshot cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

fn damaged(what: impl Into<String>) -> SnapshotError {
    SnapshotError::Damaged(what.into())
}

/// What a snapshot's clauses depend on besides its sources: this version of coaming, and the policies
/// that are compiled in.
pub fn build() -> String {
    format!("{} {FORMAT} {BUILT_IN:016x}", env!("CARGO_PKG_VERSION"))
}

/// What tells the policies compiled in from those of another build: worked out by the compiler, so that no start does. It
/// guards against nobody (FNV-1a).
#[allow(clippy::indexing_slicing)] // by the compiler, which says where it is wrong
const BUILT_IN: u64 = {
    let mut hash = fnv(0xcbf2_9ce4_8422_2325, builtin::BASELINE);
    hash = fnv(hash, builtin::NODE);
    let mut at = 0;
    while at < Include::ALL.len() {
        hash = fnv(hash, builtin::text(Include::ALL[at]));
        at += 1;
    }
    hash
};

#[allow(clippy::indexing_slicing)] // as above
const fn fnv(mut hash: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    // So that moving an end from one text to the next counts.
    (hash ^ bytes.len() as u64).wrapping_mul(0x0100_0000_01b3)
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
