//! The containerd shim of a pod, as a library: the program `containerd-shim-coaming-v1` is [`run`] alone.
//!
//! containerd runs it with a verb (`start`, `delete`) or a question (`-info`, `-v`); `start` leaves behind a daemon that
//! serves containerd's task service for the pod's containers. Whatever starts a process is asked of the wrapper
//! (`coaming-runc`), which judges it; nothing here knows policy.

mod bootstrap;
mod cgroup;
mod error;
mod events;
mod flags;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod log;
mod mounts;
mod options;
mod reaper;
mod runtime;
mod server;
mod service;
mod socket;
mod stdio;
mod sys;
mod task;
mod verbs;

pub use verbs::run;
