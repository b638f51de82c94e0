//! Runs the runtimes, from within namespaces of its own.

mod bundle;
mod cage;
mod case;
mod program;
mod runtime;

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::{Report, Request, sys};
pub(crate) use bundle::PRELOAD;
use cage::Cage;
use case::Case;
pub(crate) use runtime::CANARY;

/// The largest request that is read, in bytes.
const MAX_REQUEST: u64 = 1 << 20;
/// No answer.
const IMPOSSIBLE: i32 = 2;

/// The role of the program that drives the runtimes: a [`Request`] on standard input, a [`Report`] on standard
/// output.
pub fn main() -> ExitCode {
    sys::die_with_parent();
    sys::close_inherited();
    let done = Cage::new().and_then(|cage| cage.run(answer));
    match done {
        Ok(0) => ExitCode::SUCCESS,
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(2)),
        Err(why) => {
            complain(&why);
            ExitCode::from(2)
        }
    }
}

fn answer(base: &Path) -> i32 {
    let mut text = Vec::new();
    let _ = std::io::stdin().lock().take(MAX_REQUEST).read_to_end(&mut text);
    let report = serde_json::from_slice::<Request>(&text)
        .map_err(|error| format!("the request is not understood: {error}"))
        .and_then(|request| test(base, &request));
    let written = report.and_then(|report| {
        let text = serde_json::to_vec(&report).map_err(|error| error.to_string())?;
        std::io::stdout().lock().write_all(&text).map_err(|error| error.to_string())
    });
    match written {
        Ok(()) => 0,
        Err(why) => {
            complain(&why);
            IMPOSSIBLE
        }
    }
}

fn test(base: &Path, request: &Request) -> Result<Report, String> {
    let hook = request.hook.first().ok_or("no hook is named")?;
    let program = program::examine(Path::new(hook))?;
    let tools = bundle::Tools::prepare(base, request)?;
    let mut cases = Vec::new();
    for path in &request.runtimes {
        let runtime = runtime::Runtime::open(path, base)?;
        for &phase in &request.phases {
            cases.push(Case { runtime: &runtime, phase, tools: &tools, request }.run()?);
        }
    }
    Ok(Report { program, cases })
}

fn complain(why: &str) {
    let _ = writeln!(std::io::stderr(), "{why}");
}
