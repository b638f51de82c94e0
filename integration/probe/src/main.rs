//! `probe`: attempts, from inside a container, what a policy forbids, and says exactly what happened.
//!
//! It needs nothing from the image: build it for `x86_64-unknown-linux-musl` and it runs as the only file there.
//! `probe list` names every attempt. Each attempt is safe on a host that allows it: what it changes it undoes,
//! and where success could not be undone it asks in a way that the kernel refuses only after its permission check.

// std's own start-up would ignore SIGPIPE and open /dev/null on closed standard descriptors: `status` must report
// what the runtime set up, so `sys::entry` holds `main`.
#![cfg_attr(not(test), no_main)]

mod attempts;
mod confine;
mod cost;
mod errno;
mod runner;
mod state;
mod sys;
mod tries;
mod verdict;
mod workload;

use std::io::Write;

use verdict::{Outcome, Report};

const SUCCESS: u8 = 0;
const FAILURE: u8 = 1;
const USAGE: u8 = 2;
const INCONCLUSIVE: u8 = 3;

/// Runs the command line `args` (without argv[0], which only `status` reports) and gives the exit code.
#[cfg_attr(test, allow(dead_code))]
fn run(argv0: &str, args: &[String]) -> u8 {
    let Some((command, rest)) = args.split_first() else {
        return usage("a command is needed; `probe list` names them");
    };
    match command.as_str() {
        "list" => list(),
        "all" => all(rest),
        "each" => each(argv0, rest),
        "status" => print(&state::status(argv0)),
        "ids" => print(&state::ids()),
        "tries" => tries::run(rest).unwrap_or_else(|message| usage(&message)),
        "cost" => cost::run(rest).unwrap_or_else(|message| usage(&message)),
        "under-seccomp" | "under-no-caps" | "as-nobody" | "under-landlock" | "under-nnp" => {
            match confine::confine(command, rest) {
                Ok(rest) => run(argv0, rest),
                Err(message) => usage(&message),
            }
        }
        _ => match workload::find(command) {
            Some(work) => workload::run(work, rest).unwrap_or_else(|message| usage(&message)),
            None => attempt(command, rest),
        },
    }
}

fn attempt(name: &str, args: &[String]) -> u8 {
    let Some(attempt) = attempts::find(name) else {
        return usage(&format!("there is no attempt {name}; `probe list` names them"));
    };
    match runner::judge(attempt, args) {
        Ok(report) => {
            print(&report.to_json());
            exit_code(&report)
        }
        Err(message) => usage(&message),
    }
}

/// Every attempt that needs no argument, a line each. `--json` is accepted for symmetry: there is no other form.
fn all(args: &[String]) -> u8 {
    if args.iter().any(|arg| arg != "--json") {
        return usage("all takes no argument but --json");
    }
    for attempt in attempts::all().filter(|attempt| attempt.min == 0) {
        match runner::judge(attempt, &[]) {
            Ok(report) => drop(print(&report.to_json())),
            Err(message) => return usage(&message),
        }
    }
    SUCCESS
}

/// Several commands, one after another, with `--` between them; the worst exit code. With `pause` for the last one, a
/// container's first process can attempt all that it likes and then stay.
fn each(argv0: &str, args: &[String]) -> u8 {
    args.split(|word| word == "--").map(|command| run(argv0, command)).max().unwrap_or(SUCCESS)
}

fn list() -> u8 {
    let attempts = attempts::all().map(|attempt| (attempt.name, attempt.args, attempt.about));
    let others = confine::LIST.iter().chain(state::LIST).chain(workload::LIST);
    let others = others.chain(tries::LIST).chain(cost::LIST).copied();
    for (name, args, about) in attempts.chain(others) {
        let call = format!("{name} {args}");
        if writeln!(std::io::stdout(), "{call:<42} {about}").is_err() {
            return FAILURE;
        }
    }
    SUCCESS
}

fn print(value: &serde_json::Value) -> u8 {
    match writeln!(std::io::stdout(), "{value}") {
        Ok(()) => SUCCESS,
        Err(_) => FAILURE,
    }
}

fn exit_code(report: &Report) -> u8 {
    match report.verdict.outcome {
        Outcome::Inconclusive => INCONCLUSIVE,
        _ => SUCCESS,
    }
}

fn usage(message: &str) -> u8 {
    // Nothing can be done about a closed stderr; the exit code says it too.
    let _ = writeln!(std::io::stderr(), "probe: {message}");
    USAGE
}
