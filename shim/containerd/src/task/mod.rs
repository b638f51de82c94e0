//! Containers and their processes.
//!
//! A [`Pod`] has containers; a [`Container`] has its first process, *init*, and others, *execs*. What changes a process
//! takes turns at it; what only looks at one never waits, so that `State` answers while a runtime hangs. No
//! lock of this module is held across a call of the runtime but that turn.

mod announce;
pub(crate) mod bundle;
mod container;
mod create;
mod exec;
mod exits;
mod init;
mod pod;
mod process;
pub(crate) mod resources;

pub(crate) use announce::timestamp;
pub(crate) use container::Container;
pub(crate) use pod::{Pod, Setting};
pub(crate) use process::{Ended, State};
