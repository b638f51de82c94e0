//! `containerd-shim-coaming-v1`: the containerd shim of a pod.
//!
//! containerd runs this program with a verb (`start`, `delete`) or a question (`-info`, `-v`); `start` leaves behind a
//! daemon that serves containerd's task service for the pod's containers. Whatever starts a process is asked of
//! the wrapper (`coaming-runc`), which judges it; this program knows no policy.

mod bootstrap;
mod cgroup;
mod error;
mod events;
mod flags;
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

use std::process::ExitCode;

fn main() -> ExitCode {
    verbs::run()
}
