//! `coaming-runc`: stands in an OCI runtime's place, and hands off to it.
//!
//! Called as `coaming-crun` (a link), it stands before crun. It never outlives its decision: it
//! becomes the runtime by execve, or says why not and exits with 1.

use std::ffi::OsString;
use std::io::stderr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use coaming_config::CONFIG_FILE;
use coaming_shim::argv::{Global, Invocation};
use coaming_shim::config::Node;
use coaming_shim::gate::{self, Gate};
use coaming_shim::handoff::Runtime;
use coaming_shim::refusal_log;

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next().unwrap_or_default();
    let arguments: Vec<OsString> = words.collect();
    let error = hand_off(&program, &arguments);
    // Where to log is known even when the rest of the line is not understood.
    let global = Global::parse(&arguments).unwrap_or_default();
    // A log that cannot be written changes nothing: stderr has the message, and nothing started.
    let _ = refusal_log::report(&global, &error, SystemTime::now(), &mut stderr());
    ExitCode::FAILURE
}

/// Returns only when nothing was started, with the reason.
fn hand_off(program: &OsString, arguments: &[OsString]) -> String {
    let begun = Instant::now();
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let invocation = match Invocation::parse(arguments) {
        Ok(invocation) => invocation,
        Err(error) => return error.to_string(),
    };
    let (node, path) = match configured(&name) {
        Ok(configured) => configured,
        // Nothing starts without configuration; what runs can still be looked at, stopped and
        // deleted, by the runtime that its record names.
        Err(error) => match gate::recorded_runtime(&invocation) {
            Some(path) => (Node::default_for(&name), path),
            None => return error,
        },
    };
    let runtime = match Runtime::open(&path) {
        Ok(runtime) => runtime,
        Err(error) => return error.to_string(),
    };
    let mut handover = match Gate::new(node, path).since(begun).pass(invocation) {
        Ok(handover) => handover,
        Err(error) => return error.to_string(),
    };
    let error = match handover.prove() {
        Err(error) => error.to_string(),
        Ok(()) => match runtime.exec(&handover.arguments) {
            Ok(never) => match never {},
            Err(error) => error.to_string(),
        },
    };
    if let Some(state) = handover.undo {
        state.remove();
    }
    error
}

/// The node's configuration and the runtime behind this name.
fn configured(name: &str) -> Result<(Node, PathBuf), String> {
    let node = Node::load(name)
        .map_err(|error| format!("coaming cannot read its configuration: {error}"))?;
    node.check_caller().map_err(|error| format!("coaming: {error}"))?;
    let path = node.runtime().ok_or_else(|| {
        format!(
            "coaming has no runtime for the name {name:?}; name one under runtimes in {CONFIG_FILE}"
        )
    })?;
    Ok((node, path))
}
