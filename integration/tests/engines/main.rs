//! Docker and Podman as doors: coaming's wrappers are their runtimes exactly as the packaged files say, and what
//! their users ask is held to the floor. Each attempt is shown to work by the stock runtime first.

// All of this crate is tests, helpers included.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

mod chains;
mod checkpoint;
mod crio;
mod default_runtime;
mod hooks_d;
mod lifecycle;
mod podman;
mod restart;
mod rootless;
mod setup;
mod wider;
