//! seccomp: profiles, their algebra, their compilation and a check of the result.
//!
//! A profile (OCI section, containerd/Docker format, or object of the Security Profiles Operator) is read as a function
//! from architecture, syscall and arguments to an action. Functions are exact: their meet is the pointwise strictest
//! answer, their join the most permissive, and what is written back or compiled is never weaker than the function, which
//! is checked by following the compiled program along every path. Functions that are equal have equal normal forms, and of
//! two that are not, the difference is told in words.

mod action;
mod alike;
mod answers;
mod arch;
mod arguments;
mod builtin;
mod compile;
mod cube;
mod deny;
mod diff;
mod docker;
mod emit;
mod error;
mod exact;
mod exceeds;
mod function;
mod join;
mod logging;
mod normal;
mod order;
mod profile;
mod program;
mod source;
mod spo;
mod syscalls;
mod table;

pub use action::Action;
pub use arch::Arch;
pub use builtin::{BuiltIn, builtin};
pub use compile::{compile, compile_as_written};
pub use deny::deny_profile;
pub use diff::{CallDiff, Diff, When};
pub use docker::{DockerProfile, Target};
pub use error::SeccompError;
pub use exceeds::{Counterexample, Excess};
pub use function::{Function, Reading};
pub use logging::Logging;
pub use normal::Normal;
pub use profile::{Flag, Listener, Profile};
pub use program::{Instruction, Program, SeccompData};
pub use source::Source;
pub use syscalls::{called, is_known, library_version, suggest};

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod pitfalls;
