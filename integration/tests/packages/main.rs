//! The deb, the rpm and the tarball, made by `packaging/packages.sh` of the programs that the other tests run, and
//! `packaging/install.sh`: what is in them, and what they do to a fresh Debian.

// All of this file is tests, helpers included.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bare;
mod contents;
mod deb;
mod made;
mod node;
mod parts;
