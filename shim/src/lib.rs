//! The gate and its doors: what stands between those who start containers and the runtime.
//!
//! [`gate`] is the one place where a request becomes a verdict and a verdict becomes what the runtime
//! is given. The wrapper (`main.rs`) is the door of those who call an OCI runtime.

pub mod argv;
pub mod break_glass;
pub mod bundle;
pub mod clock;
pub mod config;
pub mod exec_log;
pub mod exec_process;
pub mod family;
pub mod gate;
pub mod handoff;
pub mod host;
pub mod in_force;
pub mod launch;
pub mod record;
pub mod refusal_log;
pub mod state;

mod origins;
mod ownership;
mod sys;
