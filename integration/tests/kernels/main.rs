//! Tests on other kernels than the machine's own. Those in `guests` run here: each boots a kernel and runs, in it, the tests of
//! this same program that concern it. All others run in a guest alone, and are ignored here.
//!
//! One of them alone: `COAMING_GUEST_TESTS=apparmor::NAME cargo test -p coaming-integration --test kernels guests::uml_apparmor -- --nocapture`

// All of this is tests, helpers included.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

mod absent;
mod apparmor;
mod denials;
mod guests;
mod landlock;
mod launcher;
mod node;
mod selinux;
mod setup;
