//! The launcher itself, as it is shipped, on this kernel: what passes through, what is looked up,
//! what is restricted, and that it fails closed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test")]

#[path = "../support/mod.rs"]
mod support;

mod closed;
mod landlock;
mod lookup;
mod root;
mod seccomp;
mod transparent;

/// Ends a test that cannot run here.
macro_rules! needs_root {
    () => {
        if !$crate::support::can_run(&$crate::root::TOOLS) {
            return;
        }
    };
}
pub(crate) use needs_root;
