//! The OCI hook: what the launcher cannot do, because it runs too late or not at all.
//!
//! `create-container` runs in the container's mount namespace before `pivot_root`, and turns a missing
//! program into a failed create, as it would be without the launcher. `poststop` clears away the
//! container's directories below `/run/coaming`. `validate` holds a container that did not come through the
//! wrapper against the node's policy, `prove` its process against what was decided, and `forget` removes what was
//! written down. All get the container's state on stdin (runtime-spec 1.2
//! `runtime.md#state`), run as root, and read nothing of their environment.

mod check;
mod create_container;
mod policy;
mod poststop;
mod rootfs;
mod state;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// coaming's OCI hook. The wrapper writes it into the container's spec, and an administrator its `validate`,
/// `prove` and `forget` into a node's configuration (docs/hooks.md); nobody runs it by hand.
#[derive(Parser)]
#[command(name = "coaming-hook", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Fail the create when the container's program cannot be executed.
    CreateContainer {
        /// The launch directory, as the host sees it.
        #[arg(long, value_name = "DIR")]
        launch: PathBuf,
        /// Where to write what was noticed.
        #[arg(long, value_name = "FILE")]
        report: PathBuf,
    },
    /// Remove what belonged to the container.
    Poststop {
        /// The container's record directory.
        #[arg(long, value_name = "DIR")]
        record: PathBuf,
        /// The container's launch directory.
        #[arg(long, value_name = "DIR")]
        launch: PathBuf,
    },
    /// Fail the create of a container that is wider than the node's policy; for createRuntime, or
    /// prestart, of runtimes before which no wrapper stands.
    Validate {
        /// The built-in floor beneath all policies, where it is not the node's.
        #[arg(long, value_name = "FLOOR", value_parser = ["baseline", "node"])]
        floor: Option<String>,
    },
    /// Kill a container whose process is wider than what `validate` admitted; for poststart, beside the other
    /// two.
    Prove,
    /// Remove what was written down of a container that `validate` admitted; for poststop.
    Forget,
}

/// Why a hook failed. The runtime shows the text to whoever asked for the container.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    /// The container's own mistake, in the runtime's own words.
    #[error("{0}")]
    Lookup(#[from] coaming_hooks::lookup::LookupError),
    #[error("coaming-hook: the container's state on stdin: {0}")]
    State(String),
    #[error("coaming-hook: {path}: {cause}")]
    Check { path: String, cause: String },
    #[error(
        "coaming-hook: no root file system found that has this launch directory at /dev/.coaming"
    )]
    NoRootfs,
    #[error("coaming-hook: {call} on the way into the container: {source}")]
    Enter { call: &'static str, source: std::io::Error },
    #[error("coaming-hook: not removing {path}: {cause}")]
    Remove { path: String, cause: String },
    #[error(
        "coaming-hook: cannot judge the container, so it does not start: {path}: {cause}; install coaming \
         again, as a whole"
    )]
    Policy { path: String, cause: String },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
        Verb::CreateContainer { launch, report } => create_container::run(&launch, &report),
        Verb::Poststop { record, launch } => poststop::run(&record, &launch),
        Verb::Validate { floor } => {
            let floor = floor.as_deref().map_or(vec![], |floor| vec!["--floor", floor]);
            policy::hand_over(&[&["validate"], floor.as_slice()].concat())
        }
        Verb::Prove => policy::hand_over(&["prove"]),
        Verb::Forget => policy::hand_over(&["forget"]),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}
