//! The node's agent: brings a cluster's policies to the node's policy directory, and reports what became of them.
//!
//! It decides nothing. A start reads the policy directory and the node's configuration, and whether a set is taken is judged there
//! (`shim/src/in_force`): a set that loosens, or lacks a signature that the node wants, waits there like any
//! other. So whoever owns the API server, or this program, can do what the node's configuration lets a file do. Without
//! the agent, and without an API server, the set that was written last stays what it is.

pub mod agent;
pub mod directory;
pub mod error;
pub mod journal;
pub mod objects;
pub mod render;
pub mod report;
pub mod set;
pub mod watch;
