//! Loggers.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// A shell script as a logger.
fn logger(client: &Client, script: &str) -> PathBuf {
    let path = client.path("logger");
    std::fs::write(
        &path,
        format!("#!/bin/sh\ncd {}\n{script}\n", client.directory.path().display()),
    )
    .unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

fn streams(scheme: &str, logger: &Path, query: &str) -> Streams {
    let uri = format!("{scheme}://{}{query}", logger.display());
    Streams { stdout: uri.clone(), stderr: uri, ..Streams::default() }
}

#[tokio::test]
async fn a_logger_gets_both_streams_and_its_names() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let script = "echo \"$CONTAINER_ID $CONTAINER_NAMESPACE $# $*\" > names; env > env
        ls /proc/self/fd > fds
        exec 5>&-
        cat <&4 > err & cat <&3 > out; wait; echo whole > end";
    let path = logger(&client, script);
    for (exec, id) in [(None, "box"), (Some("exec-1"), "exec-1")] {
        let owner = Owner { exec, ..owner(&reaper) };
        let streams = streams("binary", &path, "?b=2&a=x%20y");
        let (mut stdio, ends) = Stdio::prepare(&streams, &owner).await.unwrap();
        assert!(ends.stdin.is_none());
        let process = shell(ends, "seq 1 50000; echo err >&2");
        stdio.connect().await.unwrap();
        assert!(ended(process).await.success());
        stdio.drain(Duration::from_secs(5)).await;
        stdio.close().await;
        assert_eq!(text(&client.path("names")), format!("{id} test 4 b 2 a x y\n"));
        // PWD and such are the shell's own.
        assert!(
            !text(&client.path("env")).contains("PATH=")
                && !text(&client.path("env")).contains("HOME=")
        );
        // 0 to 5, and the one with which ls reads the directory. Higher ones are the test's own surroundings'.
        let low = text(&client.path("fds")).lines().filter(|name| name.len() == 1).count();
        assert_eq!(low, 7);
        assert_eq!(text(&client.path("out")).lines().count(), 50_000);
        assert_eq!(text(&client.path("err")), "err\n");
        assert_eq!(text(&client.path("end")), "whole\n");
        std::fs::remove_file(client.path("end")).unwrap();
    }
}

#[tokio::test]
async fn the_second_kind_must_say_that_it_is_ready() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let owner = owner(&reaper);
    let path = logger(&client, "exec 5>&-; exec cat <&3 >out");
    let error = Stdio::prepare(&streams("binary-v2", &path, ""), &owner).await.err().unwrap();
    assert!(matches!(error, StdioError::LoggerNotReady { .. }), "{error}");
    let path = logger(&client, "exit 3");
    assert!(Stdio::prepare(&streams("binary-v2", &path, ""), &owner).await.is_err());
    let path = logger(&client, "echo >&5; exec 5>&-; exec cat <&3 >out");
    let (mut stdio, ends) = Stdio::prepare(&streams("binary-v2", &path, ""), &owner).await.unwrap();
    let process = shell(ends, "echo hello");
    stdio.connect().await.unwrap();
    assert!(ended(process).await.success());
    stdio.drain(Duration::from_secs(5)).await;
    stdio.close().await;
    assert_eq!(text(&client.path("out")), "hello\n");
}

#[tokio::test]
async fn a_logger_that_never_says_that_it_is_ready_is_ended() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    // Nobody but the logger holds descriptor 5: a child of its shell would keep it open.
    let program = logger(&client, "trap '' TERM; echo $$ > pid; exec sleep 100");
    for must_say_ready in [false, true] {
        let wanted =
            uri::LoggerCommand { program: program.clone(), arguments: Vec::new(), must_say_ready };
        let (stdout, stdout_writer) = crate::stdio::pipes::between_children("stdout").unwrap();
        let (stderr, stderr_writer) = crate::stdio::pipes::between_children("stderr").unwrap();
        let limit = Duration::from_millis(300);
        let names = owner(&reaper).names();
        let started = Logger::start(&wanted, names, [stdout, stderr], limit, &reaper).await;
        let error = started.err().unwrap();
        assert!(matches!(error, StdioError::LoggerNotReady { .. }), "{error}");
        assert!(error.to_string().contains("within 300ms"), "{error}");
        // It is gone by now, and nothing holds the other ends of the streams.
        let pid = text(&client.path("pid"));
        assert!(!pid.is_empty() && !Path::new(&format!("/proc/{}", pid.trim())).exists());
        for writer in [stdout_writer, stderr_writer] {
            let written = nix::unistd::write(&writer, b"x");
            assert_eq!(written, Err(nix::errno::Errno::EPIPE));
        }
        std::fs::remove_file(client.path("pid")).unwrap();
    }
}

#[tokio::test]
async fn a_missing_logger_is_an_error() {
    let reaper = Reaper::start_for_own_children().unwrap();
    let streams = streams("binary", Path::new("/nonexistent/logger"), "");
    let error = Stdio::prepare(&streams, &owner(&reaper)).await.err().unwrap();
    assert!(matches!(error, StdioError::Logger { .. }), "{error}");
    assert!(error.to_string().contains("/nonexistent/logger"), "{error}");
}

#[tokio::test]
async fn a_logger_that_does_not_end_is_told_to_and_then_killed() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    for (trap, end) in [("trap 'echo term > end; exit' TERM", "term\n"), ("trap '' TERM", "")] {
        let script = format!("{trap}; echo $$ > pid; exec 5>&-; while :; do sleep 0.1; done");
        let path = logger(&client, &script);
        let (mut stdio, ends) =
            Stdio::prepare(&streams("binary", &path, ""), &owner(&reaper)).await.unwrap();
        let process = shell(ends, "echo hello");
        stdio.connect().await.unwrap();
        assert!(ended(process).await.success());
        stdio.drain(Duration::from_millis(100)).await;
        stdio.close().await;
        assert_eq!(text(&client.path("end")), end);
        let pid = text(&client.path("pid"));
        assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists());
        let _ = std::fs::remove_file(client.path("end"));
    }
}

#[tokio::test]
async fn a_dropped_logger_is_killed() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let path = logger(&client, "echo $$ > pid; exec 5>&-; exec sleep 100");
    let prepared = Stdio::prepare(&streams("binary", &path, ""), &owner(&reaper)).await.unwrap();
    let pid = text(&client.path("pid"));
    drop(prepared);
    let path = format!("/proc/{}", pid.trim());
    eventually("the logger is gone", || !Path::new(&path).exists()).await;
}

#[tokio::test]
async fn the_process_outlives_its_logger() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let path = logger(&client, "exec 5>&-; read line <&3; echo \"$line\" > out");
    let (mut stdio, ends) =
        Stdio::prepare(&streams("binary", &path, ""), &owner(&reaper)).await.unwrap();
    let process = shell(ends, "trap '' PIPE; echo one; sleep 0.3; echo two; exit 7");
    stdio.connect().await.unwrap();
    assert_eq!(ended(process).await.code(), Some(7));
    stdio.drain(Duration::from_secs(1)).await;
    stdio.close().await;
    assert_eq!(text(&client.path("out")), "one\n");
}
