//! Merged seccomp filters: held against the rules that they were merged from, under each libseccomp, in the kernel, and
//! through runc and crun.

// All of this is tests, helpers included.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

mod algebra;
mod kernel;
mod one_filter;
mod oracle;
mod profiles;
mod ranges;
mod runtimes;
mod trial;
