//! The floor and its algebra: what a container may do, decided from what it asks.
//!
//! Data flows one way: a request (the OCI spec and the door it came by) and what is known of it
//! ([`facts`]) meet the floor (policy [`document`]s composed by [`controls`]) and give a verdict.
//! Nothing here starts a process, opens a socket or holds a lock; reading a directory of policy is
//! the only I/O, in one module.

pub mod builtin;
pub mod compare;
pub mod controls;
pub mod decide;
pub mod demands;
pub mod denial_log;
pub mod document;
pub mod expression;
pub mod facts;
pub mod floor;
pub mod json;
pub mod kernel_log;
pub mod launch;
pub mod memory;
pub mod proc;
pub mod runtime_versions;
pub mod snapshot;
pub mod spec;
pub mod verdict;

pub use coaming_seccomp as seccomp;
