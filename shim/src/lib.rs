//! The gate and its doors: what stands between those who start containers and the runtime.
//!
//! [`gate`] is the one place where a request becomes a verdict and a verdict becomes what the runtime
//! is given. The wrapper (`main.rs`) is the door of those who call an OCI runtime.

pub mod apparmor;
pub mod argv;
pub mod baked;
pub mod break_glass;
pub mod bundle;
pub mod clock;
pub mod config;
pub mod destinations;
pub mod exec_log;
pub mod exec_process;
pub mod family;
pub mod gate;
pub mod handoff;
pub mod host;
pub mod in_force;
pub mod journal;
pub mod launch;
pub mod memory;
pub mod proof;
pub mod proving;
pub mod record;
pub mod refusal_log;
pub mod runtime_probe;
pub mod selinux;
pub mod state;
pub mod unwrapped;
pub mod validation;

mod ask;
mod engine_hook;
mod lock;
mod origins;
mod ownership;
mod pod_labels;
mod prover;
mod sys;
mod whole_file;
