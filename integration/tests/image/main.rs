//! Node images: what `coaming bake` puts into a root directory, and one that boots.

// All of this is tests, helpers included.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

mod bake;
mod boot;
mod inside;
mod refusals;
mod root;
