//! What `coaming-hook validate`, `prove` and `forget` become: the part of the hook that knows the node's policy.
//!
//! Not for people, and not for a hook's path: only its static predecessor keeps the environment of a
//! runtime, or of a container, from the dynamic loader.

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use coaming_policy::document::BuiltIn;
use coaming_shim::{proving, unwrapped, validation};

/// Judges and proves containers whose runtime no wrapper stands before. Run by coaming-hook alone.
#[derive(Parser)]
#[command(name = "coaming-validator", version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Judge the container whose state is on stdin.
    Validate {
        /// The built-in floor beneath all policies, where it is not the node's.
        #[arg(long, value_parser = floor)]
        floor: Option<BuiltIn>,
    },
    /// Hold the process of the container whose state is on stdin against what was decided of it.
    Prove,
    /// Remove the record of the container whose state is on stdin.
    Forget,
}

fn main() -> ExitCode {
    match judge() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            log(&error);
            ExitCode::FAILURE
        }
    }
}

fn judge() -> Result<(), String> {
    if std::env::vars_os().next().is_some() {
        return Err(
            "coaming-validator has an environment, so coaming-hook has not called it; name \
                    coaming-hook as the hook"
                .to_owned(),
        );
    }
    let state = std::io::stdin().lock();
    match Arguments::parse().verb {
        Verb::Validate { floor } => {
            let notes = validation::validate(state, floor).map_err(|error| error.to_string())?;
            for note in notes {
                let _ = writeln!(std::io::stderr(), "{note}");
            }
            Ok(())
        }
        Verb::Prove => proving::prove(state).map_err(|error| error.to_string()),
        Verb::Forget => unwrapped::forget(state).map_err(|error| error.to_string()),
    }
}

/// Tells the system's log too: crun shows nobody what a hook writes. Best effort, and it never waits.
fn log(error: &str) {
    // LOG_AUTH and LOG_WARNING (syslog(3)).
    const PRIORITY: u32 = 4 << 3 | 4;
    let _ = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to(format!("<{PRIORITY}>coaming-hook: {error}").as_bytes(), "/dev/log")
    });
}

fn floor(name: &str) -> Result<BuiltIn, String> {
    [BuiltIn::Baseline, BuiltIn::Node]
        .into_iter()
        .find(|floor| floor.name() == name)
        .ok_or_else(|| "it is baseline or node".to_owned())
}
