//! The node's configuration, and how files that decide anything are read: only root's own, and with errors that say
//! where and suggest what was meant.
//!
//! Every program of coaming reads the same configuration file. It is not found through any variable or flag: whoever can
//! change the caller's environment must not choose the policy.

mod caller;
mod configuration;
mod error;
mod policy;
mod runtime;
pub mod suggest;
pub mod trust;

pub use caller::{Caller, User};
pub use configuration::{BuiltIn, Configuration, Journal, LogLevel, Rootless, Shim};
pub use error::DocumentError;
pub use policy::{Broken, Loosening, Policy, Signatures};
pub use runtime::{Runtime, Vulnerable};

/// The configuration file.
pub const CONFIG_FILE: &str = "/etc/coaming/config.toml";
/// Where coaming's programs are installed; wrappers are called by their name in it.
pub const PROGRAMS: &str = "/usr/libexec/coaming";
