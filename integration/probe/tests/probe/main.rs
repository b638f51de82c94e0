//! The probe on this machine: each attempt as it is, and under a denial that it must see.
//!
//! What this kernel lacks shows as `unsupported`; what needs root is left out for others, and says so.

// clippy.toml lets tests stop at a surprise, but clippy does not see that these helpers are test code too.
#![allow(clippy::indexing_slicing, clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod denials;
mod effects;
mod workloads;

use std::process::{Command, Output};

use serde_json::Value;

const PROBE: &str = env!("CARGO_BIN_EXE_probe");

/// Runs the probe with words separated by spaces.
fn run(line: &str) -> Output {
    Command::new(PROBE).args(line.split(' ')).output().expect("the probe starts")
}

/// What an attempt says.
fn judge(line: &str) -> Value {
    let output = run(line);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{line}: {output:?}"))
}

fn outcome(line: &str) -> String {
    judge(line)["outcome"].as_str().expect("an outcome").to_owned()
}

/// "allowed" or, when the kernel here lacks it, "unsupported".
#[track_caller]
fn assert_allowed_if_known(line: &str) {
    let verdict = judge(line);
    assert!(
        verdict["outcome"] == "allowed" || verdict["outcome"] == "unsupported",
        "{line}: {verdict}"
    );
}

#[track_caller]
fn assert_outcome(line: &str, expected: &str) {
    let verdict = judge(line);
    assert_eq!(verdict["outcome"], expected, "{line}: {verdict}");
}

/// Most denials cannot be told from "was never allowed" without root; a run without it tests less, and says so.
fn root() -> bool {
    let root = std::fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own));
    let root = root.is_ok_and(|uid| uid == 0);
    if !root {
        eprintln!("left out: needs root");
    }
    root
}

#[test]
fn usage_errors_exit_with_2() {
    for line in
        ["no-such-attempt", "umount", "kill x", "under-seccomp", "under-seccomp 1 EPERM nothing"]
    {
        assert_eq!(run(line).status.code(), Some(2), "{line}");
    }
}

#[test]
fn all_runs_every_attempt_without_arguments_and_each_is_judged() {
    let listed = String::from_utf8(run("list").stdout).expect("text");
    let output = run("all");
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).expect("text");
    let verdicts: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(verdicts.len() > 60, "{}", verdicts.len());
    for verdict in verdicts {
        let name = verdict["attempt"].as_str().expect("a name");
        assert!(listed.lines().any(|line| line.split(' ').next() == Some(name)), "{name}");
        assert_ne!(verdict["outcome"], "inconclusive", "{verdict}");
        assert_ne!(verdict["outcome"], "killed", "{verdict}");
    }
}

#[test]
fn each_runs_every_command_and_exits_with_the_worst() {
    let output = run("each holds /proc/self/comm probe -- status-has /uid/0 no-id -- umount");
    assert_eq!(output.status.code(), Some(2));
    let outcomes: Vec<Value> = String::from_utf8(output.stdout)
        .expect("text")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(outcomes.len(), 2);
    assert_eq!(outcomes[0]["outcome"], "allowed", "{outcomes:?}");
    assert_eq!(outcomes[1]["outcome"], "denied", "{outcomes:?}");
    assert_outcome("processes 5", "allowed");
    assert_outcome("holds /no-file x", "unsupported");
    assert_outcome("remount-rw /no-directory", "unsupported");
}
