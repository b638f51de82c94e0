//! What was worked out before, for whoever asks the same again.
//!
//! Deciding is a function of its input, and some of it is dear: the meet of two seccomp profiles takes longer than all
//! else together, and a node meets the same few pairs at every start. Where answers are kept is the caller's; here is
//! what is asked of such a place.

use std::fmt::Debug;

/// A place that keeps answers. It is trusted as far as the policy is: an answer from it is used unchecked.
pub trait Memory: Debug {
    /// What was kept under a key, as it was kept; `None` where nothing is, or it can no longer be relied on.
    fn recall(&self, key: &[u8; 32]) -> Option<Vec<u8>>;

    /// Keeps an answer. That it cannot is no error: it is worked out again.
    fn keep(&self, key: &[u8; 32], answer: &[u8]);
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy)]
pub struct Forgetful;

impl Memory for Forgetful {
    fn recall(&self, _: &[u8; 32]) -> Option<Vec<u8>> {
        None
    }

    fn keep(&self, _: &[u8; 32], _: &[u8]) {}
}
