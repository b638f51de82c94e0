//! Why the workload was not started, in one line and one exit code.

use std::io::{self, Write};

use coaming_hooks::lookup::LookupError;
use coaming_hooks::plan::PlanError;

/// Everything that can go wrong. All but [`Failure::Lookup`] are the launcher's own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(
        "usage: /dev/.coaming/init PLAN PROGRAM [ARGUMENT]...: the wrapper adds it, nobody runs it by hand"
    )]
    Usage,
    #[error("the plan's name may hold only a-z, 0-9 and '-'")]
    PlanName,
    #[error("opening the launch plan below /dev/.coaming: {0}")]
    PlanOpen(io::Error),
    #[error("reading the launch plan below /dev/.coaming: {0}")]
    PlanRead(io::Error),
    #[error("the launch plan below /dev/.coaming is not a regular file")]
    PlanType,
    #[error("{0}")]
    Plan(PlanError),
    #[error(
        "no_new_privs is not set, which Landlock and seccomp need: the runtime did not honour process.noNewPrivileges"
    )]
    NoNewPrivileges,
    #[error("Landlock layer {layer}: {rights:#x} holds a right that this version does not know")]
    UnknownRight { layer: usize, rights: u64 },
    #[error("Landlock layer {layer}: opening {path:?} for a rule: {source}")]
    RulePath { layer: usize, path: String, source: io::Error },
    #[error("Landlock layer {layer}: {source}: this kernel cannot give what the policy requires")]
    Landlock { layer: usize, source: landlock::RulesetError },
    #[error("Landlock layer {layer}: the kernel enforces only a part of it")]
    Partial { layer: usize },
    #[error("loading seccomp filter {index}: {source}")]
    Filter { index: usize, source: io::Error },
    #[error("{error}{}", if *under_landlock { " (under this container's Landlock policy)" } else { "" })]
    Lookup { error: LookupError, under_landlock: bool },
}

impl Failure {
    pub(crate) fn exit_code(&self) -> i32 {
        match self {
            Self::Lookup { error, .. } => error.exit_code(),
            _ => 125,
        }
    }

    /// One write(2) of one line, whatever names it quotes.
    pub(crate) fn report(&self) {
        let mut line = format!("coaming-init: {self}").replace(char::is_control, " ");
        line.push('\n');
        // Nobody is left to tell if stderr is gone; the exit code says the rest.
        let _ = io::stderr().write_all(line.as_bytes());
    }
}
