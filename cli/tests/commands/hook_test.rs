//! `coaming hook-test`, before a program that stands in for the one that drives runtimes; that is tested with real ones in
//! `integration/tests/gate`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use super::{Said, coaming};

/// A program that keeps the request and gives an answer.
fn harness(script: &str) -> TempDir {
    let folder = tempdir().unwrap();
    let path = folder.path().join("harness");
    let keep = folder.path().join("request");
    fs::write(&path, format!("#!/bin/sh\ncat >{}\n{script}\n", keep.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn hook_test(harness: &TempDir, words: &[&str]) -> Said {
    let path = harness.path().join("harness").display().to_string();
    coaming(&[&["hook-test", "--harness", &path, "--runtime", "/usr/bin/rt"], words].concat())
}

/// A report of a hook that ends with this code.
fn report(exit: i32) -> String {
    let report = json!({
        "program": {"path": "/h\u{1b}", "uid": 0, "mode": 0o755, "isLoaded": true},
        "cases": [{
            "runtime": "/usr/bin/rt", "version": "rt 1", "phase": "createRuntime", "runs": 1, "calls": [],
            "seen": {
                "state": {"id": "c", "status": "creating", "pid": 1, "bundle": "/b", "more": [], "problems": []},
                "namespaces": {"mnt": "runtime"}, "cwd": "/", "root": "/", "environment": ["A=1"],
                "uid": 0, "gid": 0, "capabilities": "00", "descriptors": {"0": "pipe", "7": "/secret"},
            },
            "did": {
                "exit": exit, "signal": null, "notExecuted": null, "milliseconds": 1, "stdout": "", "stderr": "",
                "readState": true, "leftBehind": [], "holdsOutput": false,
                "changes": {"mount": [{"how": "added", "what": "tmpfs"}]},
            },
            "onFailure": {"failed": "create", "messageShown": true, "status": null},
            "onHang": {"timeoutSeconds": 2, "isHonoured": true, "failed": "create", "milliseconds": 2000},
            "left": [],
        }],
    });
    format!("cat <<'END'\n{report}\nEND")
}

#[test]
fn what_was_seen_is_told_and_judged() {
    let harness = harness(&report(0));
    let words =
        ["--phase", "createRuntime", "--env", "A=1", "--timeout", "3", "--", "h", "x", "--flag"];
    let said = hook_test(&harness, &words);
    assert_eq!(said.code, Some(0), "{}", said.err);
    for part in [
        "/h\\u{1b} (started by a loader, uid 0)",
        "createRuntime with /usr/bin/rt (rt 1)",
        "state        status creating, pid 1, bundle /b",
        "namespaces   the runtime's mnt",
        "environment  A=1",
        "descriptor   7 /secret",
        "did          exit 0 after 1 ms",
        "changed      mount added tmpfs",
        "on exit 1    create fails, with its message, the container is gone",
        "on hanging   a timeout of 2 s is honoured (2000 ms), create fails",
        "note: changes (/usr/bin/rt, createRuntime): mount: added tmpfs",
        "0 errors, 0 warnings, 1 note",
    ] {
        assert!(said.out.contains(part), "no {part:?} in: {}", said.out);
    }
    let request = fs::read_to_string(harness.path().join("request")).unwrap();
    let request: Value = serde_json::from_str(&request).unwrap();
    let hook = std::env::current_dir().unwrap().join("h").display().to_string();
    let expected = json!({"runtimes": ["/usr/bin/rt"], "phases": ["createRuntime"], "bundle": null,
        "timeoutSeconds": 3, "env": ["A=1"], "hook": [hook, "x", "--flag"]});
    assert_eq!(request, expected);
}

#[test]
fn a_hook_that_fails_is_a_finding() {
    let harness = harness(&report(3));
    let said = hook_test(&harness, &["--output", "json", "--", "/h"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(answer["findings"][0]["name"], "fails");
    assert_eq!(answer["cases"][0]["did"]["exit"], 3);
    let request = fs::read_to_string(harness.path().join("request")).unwrap();
    let request: Value = serde_json::from_str(&request).unwrap();
    assert_eq!(request["phases"].as_array().unwrap().len(), 6, "all by default");
    assert_eq!(request["env"], Value::Null);
}

#[test]
fn what_cannot_be_tested_is_no_answer() {
    let cases = [
        (hook_test(&harness("echo only root >&2; exit 2"), &["--", "/h"]), "only root"),
        (hook_test(&harness("echo '{}'"), &["--", "/h"]), "does not answer with a report"),
        (hook_test(&harness("exit 0"), &["--env", "A", "--", "/h"]), "NAME=VALUE"),
        (hook_test(&harness("exit 0"), &["--phase", "never", "--", "/h"]), "never"),
        (hook_test(&harness("exit 0"), &[]), "HOOK"),
        (
            coaming(&["hook-test", "--harness", "/nonexistent", "--runtime", "/r", "--", "/h"]),
            "/nonexistent",
        ),
    ];
    for (said, part) in cases {
        assert_eq!(said.code, Some(2), "{}", said.err);
        assert!(said.err.contains(part), "no {part:?} in: {}", said.err);
    }
}
