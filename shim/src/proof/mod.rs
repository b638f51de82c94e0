//! The proof: what the kernel says of a process, held against its floor.
//!
//! A process is looked at when its container was created and waits for `start`, when it has executed
//! its workload, and whenever `coaming status` asks. What a process may lawfully change by itself is
//! judged only while it still is the runtime's; a false alarm stops a workload that did nothing wrong.

pub mod hold;
pub mod look;
pub mod process;
pub mod report;
#[cfg(test)]
mod tests;

pub use hold::{Judged, Moment, Outcome, judge};
pub use look::{Look, Place};
pub use process::{Process, ProgramFile};
pub use report::{Proof, Proofs};
