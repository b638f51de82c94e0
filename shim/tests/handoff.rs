//! The hand-off, for real: a process of this test becomes a shell, runc, crun.
//!
//! The container tests need root, busybox and the runtime; without them they say so and pass.

// clippy takes only functions marked #[test] for tests.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod container;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use coaming_shim::argv::{self, Invocation};
use coaming_shim::handoff::{ProcessFile, Runtime};
use nix::unistd::geteuid;
use serde_json::{Value, json};

use self::container::{Container, NO_HYBRID_CGROUPS, after_begin};

const PLAN: &str = "COAMING_TEST_HANDOFF";

/// Not a test: what the others start, with its orders in the environment, to become something else.
#[test]
#[ignore = "started by the other tests in a process of its own"]
fn become_the_runtime() {
    let plan: Value = serde_json::from_str(&std::env::var(PLAN).unwrap()).unwrap();
    let words: Vec<OsString> =
        plan["argv"].as_array().unwrap().iter().map(|w| w.as_str().unwrap().into()).collect();
    let runtime = Runtime::open(Path::new(plan["runtime"].as_str().unwrap())).unwrap();
    if plan["process"].is_null() {
        panic!("{:?}", runtime.exec(&words));
    }
    let mut invocation = Invocation::parse(&words).unwrap();
    let argv::Command::Exec(exec) = invocation.command else { panic!("not an exec") };
    let json = plan["process"].to_string();
    let process = ProcessFile::seal(json.as_bytes(), exec.preserve_fds).unwrap();
    invocation.command = argv::Command::Exec(exec.with_process_file(process.path()));
    panic!("{:?}", runtime.exec(&invocation.to_argv()));
}

/// A command that becomes `runtime`, started through `sh -c script`, which may prepare descriptors.
fn becoming(runtime: &str, argv: &[&str], process: &Value, script: &str) -> Command {
    let plan = json!({"runtime": runtime, "argv": argv, "process": process});
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "become_the_runtime", "--ignored", "--nocapture"])
        .env(PLAN, plan.to_string())
        .stdin(Stdio::null());
    command
}

const JUST: &str = "exec \"$@\"";

/// How many lines are descriptors, as readlink(1) prints them.
fn descriptors(lines: &[String]) -> usize {
    lines.iter().filter(|line| line.starts_with('/') || line.contains(":[")).count()
}

/// Whether a line `SigIgn: ...` of /proc/PID/status has SIGPIPE.
fn ignores_sigpipe(lines: &[String]) -> bool {
    let mask = lines.iter().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    u64::from_str_radix(mask, 16).unwrap() & (1 << 12) != 0
}

#[test]
fn signals_environment_descriptors_and_status_are_the_callers() {
    if !geteuid().is_root() {
        eprintln!("skipped: /bin/sh passes as a runtime for root only");
        return;
    }
    let look = "echo BEGIN; echo arg0=$0; echo WITNESS=$WITNESS; grep SigIgn /proc/self/status; \
                readlink /proc/self/fd/*; exit 7";
    let argv = ["-c", look];
    let mut plain = becoming("/bin/sh", &argv, &Value::Null, JUST);
    let output = plain.env("WITNESS", "kept").output().unwrap();
    let lines = after_begin(&output);
    assert_eq!(output.status.code(), Some(7));
    assert!(lines.contains(&"arg0=/bin/sh".to_owned()), "{lines:?}");
    assert!(lines.contains(&"WITNESS=kept".to_owned()), "{lines:?}");
    assert!(!ignores_sigpipe(&lines), "Rust's own SIG_IGN must not reach the runtime");
    // The test's own caller may have left descriptors open: as many as without us, no more.
    let direct = Command::new("/bin/sh").args(argv).stdin(Stdio::null()).output().unwrap();
    assert_eq!(descriptors(&lines), descriptors(&after_begin(&direct)), "{lines:?}");

    let mut ignoring = becoming("/bin/sh", &argv, &Value::Null, "trap '' PIPE; exec \"$@\"");
    let lines = after_begin(&ignoring.output().unwrap());
    assert!(ignores_sigpipe(&lines), "the caller's SIG_IGN must reach the runtime");
}

#[test]
fn runc_takes_the_sealed_process_and_the_container_never_sees_it() {
    if let Some(container) = Container::start("runc", "") {
        the_sealed_process_works(&container);
    }
}

#[test]
fn crun_takes_the_sealed_process_and_the_container_never_sees_it() {
    if let Some(container) = Container::start("crun", NO_HYBRID_CGROUPS) {
        the_sealed_process_works(&container);
    }
}

fn the_sealed_process_works(container: &Container) {
    let look = "echo BEGIN; for f in /proc/self/fd/*; do readlink $f; done; \
                grep -E 'SigIgn|NoNewPrivs|CapEff' /proc/self/status; cat <&3; exit 7";
    let witness = container.dir.path().join("witness");
    fs::write(&witness, "witness\n").unwrap();
    for preserved in [0, 1] {
        let process = json!({
            "terminal": false, "cwd": "/", "user": {"uid": 0, "gid": 0},
            "args": ["sh", "-c", look], "env": ["PATH=/bin"], "noNewPrivileges": true,
            "capabilities": {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"],
                             "permitted": ["CAP_KILL"]},
        });
        // Two descriptors are open in the caller; the container gets as many as are preserved.
        let script = format!("exec 3<{0} 4<{0}; {JUST}", witness.display());
        let count = preserved.to_string();
        let root = container.root();
        // Everything but --process and --preserve-fds must fall away.
        let argv = [
            "--root",
            &root,
            "exec",
            "--preserve-fds",
            &count,
            "--cap",
            "CAP_SYS_ADMIN",
            "--env",
            "X=1",
            container.id,
            "true",
        ];
        let output = container.within(becoming(&container.runtime, &argv, &process, &script));
        let lines = after_begin(&output);
        let context = format!("{} preserving {preserved}: {lines:?}", container.runtime);
        assert_eq!(output.status.code(), Some(7), "{context}");
        assert!(!lines.iter().any(|line| line.contains("memfd")), "{context}");
        assert!(lines.iter().any(|line| line == "NoNewPrivs:\t1"), "{context}");
        assert!(lines.iter().any(|line| line == "CapEff:\t0000000000000020"), "{context}");
        assert!(!ignores_sigpipe(&lines), "{context}");
        let witnessed = lines.iter().filter(|line| *line == "witness").count();
        assert_eq!(witnessed, preserved, "{context}");
        assert_eq!(descriptors(&lines), 3 + preserved, "{context}");
    }
}
