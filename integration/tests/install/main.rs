//! `coaming install` with real containerd, Docker and Podman: what they make of what it writes, and that nothing is left
//! of it when it is taken away.

// All of this crate is tests, helpers included.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

mod engines;
mod image;
mod refusals;
mod runs;
mod shapes;
mod six;
mod tree;
