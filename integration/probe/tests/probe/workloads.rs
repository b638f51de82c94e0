//! The state report and the ordinary workloads.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use crate::{PROBE, judge, outcome, root, run};

#[test]
fn status_tells_what_confinement_did() {
    let plain = judge("status");
    assert_eq!(plain["argv0"], PROBE);
    let fds = plain["fds"].as_object().expect("descriptors");
    assert!(["0", "1", "2"].iter().all(|fd| fds.contains_key(*fd)), "{fds:?}");
    assert!(!fds.values().any(|target| target.as_str().is_some_and(|t| t.ends_with("/fd"))));
    assert_eq!(judge("under-nnp status")["noNewPrivs"], 1);
    let filtered = judge("under-seccomp 500 EPERM status");
    assert_eq!(filtered["seccomp"], 2);
    let before = plain["seccompFilters"].as_u64().expect("a number");
    assert_eq!(filtered["seccompFilters"].as_u64(), Some(before + 1));
    if root() {
        let sets = &judge("under-no-caps status")["capabilities"];
        for set in ["bounding", "effective", "permitted", "inheritable", "ambient"] {
            assert_eq!(sets[set], serde_json::json!([]), "{set}");
        }
        let effective = plain["capabilities"]["effective"].as_array().expect("a set");
        assert!(effective.contains(&"CAP_SYS_ADMIN".into()), "{effective:?}");
        assert_eq!(judge("as-nobody status")["uid"][1], 65534);
    }
}

#[test]
fn status_tells_inherited_state() {
    let line = format!(
        "umask 027; cd /proc; ulimit -n 77; trap '' USR2; exec 9</dev/null; exec {PROBE} status"
    );
    let output = Command::new("sh")
        .args(["-c", &line])
        .env_clear()
        .env("ONE", "1")
        .output()
        .expect("sh starts");
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(status["umask"], "0027");
    assert_eq!(status["cwd"], "/proc");
    assert_eq!(status["rlimits"]["Max open files"], serde_json::json!(["77", "77"]));
    assert_eq!(status["fds"]["9"], "/dev/null");
    let ignored = status["signalsIgnored"].as_str().expect("a mask");
    let ignored = u64::from_str_radix(ignored, 16).expect("hexadecimal");
    assert_ne!(ignored & 1 << (libc::SIGUSR2 - 1), 0, "{status}");
    // The shell adds PWD, and some add more of their own: never fewer than what was given.
    assert!(status["environment"].as_u64().expect("a number") >= 1);
}

#[test]
fn namespaces_are_compared_by_inode() {
    let link = std::fs::read_link("/proc/self/ns/net").expect("a link");
    let inode: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    assert_eq!(outcome(&format!("host-namespace net {inode}")), "allowed");
    assert_eq!(outcome(&format!("host-namespace net {inode}1")), "denied");
    if root() {
        let output = Command::new("unshare")
            .args(["--uts", PROBE, "host-namespace", "uts"])
            .output()
            .expect("unshare starts");
        assert!(String::from_utf8_lossy(&output.stdout).contains("denied"), "{output:?}");
        let output = Command::new("unshare")
            .args(["--pid", "--fork", "--mount-proc", PROBE, "host-pids"])
            .output()
            .expect("unshare starts");
        assert!(String::from_utf8_lossy(&output.stdout).contains("denied"), "{output:?}");
    }
}

#[test]
fn cat_passes_its_input_on() {
    let mut child = Command::new(PROBE)
        .arg("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the probe starts");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"one\ntwo\0three").expect("a pipe");
    drop(input);
    assert_eq!(child.wait_with_output().expect("an end").stdout, b"one\ntwo\0three");
}

#[test]
fn serve_echoes_a_line() {
    let mut child =
        Command::new(PROBE).args(["serve", "0"]).stdout(Stdio::piped()).spawn().expect("start");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a line");
    let port: u16 =
        line.trim_end().strip_prefix("listening ").expect("a port").parse().expect("a number");
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    client.write_all(b"hello\n").expect("sent");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    child.kill().expect("killed");
    child.wait().expect("reaped");
    assert_eq!(answer, "hello\n");
}

#[test]
fn fork_signal_works_and_fails_where_waiting_is_refused() {
    let output = run("fork-signal");
    assert_eq!(output.stdout, b"OK\n");
    assert!(output.status.success());
    let output = run(&format!("under-seccomp {} EPERM fork-signal", libc::SYS_wait4));
    assert!(!output.status.success());
    assert!(output.stdout.starts_with(b"FAIL"), "{output:?}");
}

#[test]
fn pause_reaps_as_process_1_and_ends_on_sigterm() {
    if !root() {
        return;
    }
    // The orphan goes to process 1 of its namespace, and its /proc entry stays until it is reaped.
    let script = format!(
        "(orphan=$(sh -c 'sleep 0.1 >/dev/null & echo $!'); tries=200; \
          while [ -e /proc/$orphan ] && [ $tries -gt 0 ]; do sleep 0.05; tries=$((tries-1)); done; \
          [ -e /proc/$orphan ] && echo LEFT; kill -TERM 1) & exec {PROBE} pause"
    );
    let output = Command::new("unshare")
        .args(["--pid", "--fork", "--mount-proc", "sh", "-c", &script])
        .output()
        .expect("unshare starts");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stdout, b"", "{output:?}");
}

#[test]
fn tty_says_when_there_is_none() {
    let output = Command::new(PROBE).arg("tty").stdin(Stdio::null()).output().expect("start");
    let tty: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&tty["stdin"], &tty["stdout"]), (&false.into(), &false.into()));
}
