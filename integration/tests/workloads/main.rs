//! Ordinary images run under the floor `baseline` as they run without it.

// All of this is tests, helpers included.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

mod images;
mod pods;
mod process;
#[allow(dead_code)] // what only the tests of the gate use
#[path = "../gate/setup.rs"]
mod setup;
