//! Fifos and files.

use std::io::{Read, Write};

use super::*;

#[tokio::test]
async fn without_streams_there_is_nothing() {
    let reaper = Reaper::start_for_own_children().unwrap();
    let (mut stdio, ends) = Stdio::prepare(&Streams::default(), &owner(&reaper)).await.unwrap();
    assert!(ends.stdin.is_none() && ends.stdout.is_none() && ends.stderr.is_none());
    assert!(ends.console_socket.is_none());
    stdio.connect().await.unwrap();
    stdio.resize(80, 24).unwrap();
    stdio.close_stdin();
    stdio.drain(Duration::from_secs(1)).await;
    stdio.close().await;
}

#[tokio::test]
async fn three_fifos_carry_three_streams() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let (mut stdio, ends) = Stdio::prepare(&client.streams(), &owner(&reaper)).await.unwrap();
    let process = shell(ends, "read line; echo \"out $line\"; echo err >&2; cat; echo end");
    let (out, err) = (client.read("stdout"), client.read("stderr"));
    stdio.connect().await.unwrap();
    client.write("stdin").write_all(b"one\ntwo\n").unwrap();
    // A second client after the first has gone: the input has not ended.
    client.write("stdin").write_all(b"three\n").unwrap();
    stdio.close_stdin();
    let (out, err) = tokio::join!(read_all(out), read_all(err));
    assert_eq!(String::from_utf8(out).unwrap(), "out one\ntwo\nthree\nend\n");
    assert_eq!(err, b"err\n");
    assert!(ended(process).await.success());
    stdio.drain(Duration::from_secs(1)).await;
    stdio.close().await;
}

#[tokio::test]
async fn much_output_arrives_whole() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let (mut stdio, ends) = Stdio::prepare(&client.streams(), &owner(&reaper)).await.unwrap();
    let process = shell(ends, "head -c 40000000 /dev/zero & seq 1 300000 >&2; wait");
    let (out, err) = (client.read("stdout"), client.read("stderr"));
    stdio.connect().await.unwrap();
    let (out, err) = tokio::join!(read_all(out), read_all(err));
    assert_eq!(out.len(), 40_000_000);
    let expected: String = (1..=300_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(err.len(), expected.len());
    assert_eq!(err, expected.as_bytes());
    assert!(ended(process).await.success());
    stdio.drain(Duration::from_secs(1)).await;
    stdio.close().await;
}

#[tokio::test]
async fn a_reader_may_go_and_another_come() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let (mut stdio, ends) = Stdio::prepare(&client.streams(), &owner(&reaper)).await.unwrap();
    let process = shell(ends, "seq 1 200000");
    let (mut first, err) = (client.read("stdout"), client.read("stderr"));
    stdio.connect().await.unwrap();
    drop(err);
    let mut before = tokio::task::spawn_blocking(move || {
        let mut before = vec![0; 10_000];
        first.read_exact(&mut before).map(|()| before)
    })
    .await
    .unwrap()
    .unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    // The process waits: it has not been killed by SIGPIPE, and has not ended.
    let after = read_all(client.read("stdout")).await;
    before.extend(after);
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(before, expected.as_bytes());
    assert!(ended(process).await.success());
    stdio.close().await;
}

#[tokio::test]
async fn without_a_reader_the_process_waits_and_memory_stays() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let (mut stdio, ends) = Stdio::prepare(&client.streams(), &owner(&reaper)).await.unwrap();
    // Each dot on stderr is a block of 4096 bytes that stdout has taken.
    let script = "while :; do head -c 4096 /dev/zero || exit; printf . >&2; done";
    let mut process = shell(ends, script);
    let (out, mut err) = (client.read("stdout"), client.read("stderr"));
    stdio.connect().await.unwrap();
    drop(out);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(process.try_wait().unwrap().is_none());
    let mut dots = [0; 4096];
    let blocks = err.read(&mut dots).unwrap();
    // Two pipes of 64 KiB and one chunk of 32 KiB, with one block under way.
    assert!((16..=41).contains(&blocks), "{blocks} blocks were taken");
    process.kill().unwrap();
    process.wait().unwrap();
    // The fifo is full and stays so; deleting does not wait longer than it is told to.
    let began = Instant::now();
    stdio.drain(Duration::from_millis(200)).await;
    assert!(began.elapsed() < Duration::from_secs(2));
    stdio.close().await;
}

#[tokio::test]
async fn what_a_grandchild_holds_does_not_hold_up_a_delete() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let (mut stdio, ends) = Stdio::prepare(&client.streams(), &owner(&reaper)).await.unwrap();
    let process = shell(ends, "sleep 5 & echo $!");
    let (mut out, _err) = (client.read("stdout"), client.read("stderr"));
    stdio.connect().await.unwrap();
    assert!(ended(process).await.success());
    let began = Instant::now();
    stdio.drain(Duration::from_millis(300)).await;
    stdio.close().await;
    assert!(began.elapsed() < Duration::from_secs(2));
    let mut pid = String::new();
    out.read_to_string(&mut pid).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_process_that_reads_no_input_does_not_matter() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let streams = Streams { stderr: String::new(), ..client.streams() };
    let (mut stdio, ends) = Stdio::prepare(&streams, &owner(&reaper)).await.unwrap();
    let process = shell(ends, "exec <&-; echo done");
    let out = client.read("stdout");
    stdio.connect().await.unwrap();
    let mut input = client.write("stdin");
    assert_eq!(read_all(out).await, b"done\n");
    assert!(ended(process).await.success());
    input.write_all(b"too late\n").unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stdio.close().await;
    drop(input);
}

#[tokio::test]
async fn both_streams_may_be_one_file() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let log = client.path("deep/er/log");
    let uri = format!("file://{}", log.display());
    let streams = Streams { stdout: uri.clone(), stderr: uri, ..Streams::default() };
    let (mut stdio, ends) = Stdio::prepare(&streams, &owner(&reaper)).await.unwrap();
    let process = shell(ends, "echo out; sleep 0.2; echo err >&2; sleep 0.2; echo out");
    stdio.connect().await.unwrap();
    assert!(ended(process).await.success());
    stdio.drain(Duration::from_secs(5)).await;
    assert_eq!(text(&log), "out\nerr\nout\n");
    stdio.close().await;
}

#[tokio::test]
async fn each_stream_may_have_its_own_file() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let uri = |name: &str| format!("file://{}", client.path(name).display());
    let streams = Streams { stdout: uri("a"), stderr: uri("b"), ..Streams::default() };
    let (mut stdio, ends) = Stdio::prepare(&streams, &owner(&reaper)).await.unwrap();
    let process = shell(ends, "seq 1 100000; echo err >&2");
    stdio.connect().await.unwrap();
    assert!(ended(process).await.success());
    stdio.drain(Duration::from_secs(5)).await;
    assert_eq!(text(&client.path("a")).lines().count(), 100_000);
    assert_eq!(text(&client.path("b")), "err\n");
    stdio.close().await;
}

#[tokio::test]
async fn a_broken_sink_does_not_hang_the_process() {
    let reaper = Reaper::start_for_own_children().unwrap();
    // Writing to the controlling side of no terminal fails each time: a file that cannot be written.
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("log");
    std::fs::write(&fifo, "").unwrap();
    let streams = Streams { stdout: "/proc/self/comm_is_missing".to_owned(), ..Streams::default() };
    let error = Stdio::prepare(&streams, &owner(&reaper)).await.err().unwrap();
    assert!(matches!(error, StdioError::Open { .. }), "{error}");
    // Writing to this file is refused with EINVAL.
    let streams = Streams { stdout: "/proc/self/oom_score_adj".to_owned(), ..Streams::default() };
    let (mut stdio, ends) = Stdio::prepare(&streams, &owner(&reaper)).await.unwrap();
    let process = shell(ends, "head -c 1000000 /dev/zero | tr '\\0' x");
    stdio.connect().await.unwrap();
    assert!(ended(process).await.success());
    stdio.drain(Duration::from_secs(5)).await;
    stdio.close().await;
}

#[tokio::test]
async fn streams_that_cannot_be_are_refused_before_the_runtime_runs() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    for (stdin, stdout) in [
        (client.name("missing"), client.name("stdout")),
        (client.name("stdin"), client.name("missing")),
        (client.name("stdin"), "npipe://x".to_owned()),
        ("file:///x".to_owned(), String::new()),
    ] {
        let streams = Streams { stdin, stdout, ..Streams::default() };
        assert!(Stdio::prepare(&streams, &owner(&reaper)).await.is_err(), "{streams:?}");
    }
}

#[tokio::test]
async fn the_process_owns_its_ends() {
    use std::os::unix::fs::MetadataExt;

    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let owner = Owner { io_uid: 1000, io_gid: 1001, ..owner(&reaper) };
    let (_stdio, ends) = Stdio::prepare(&client.streams(), &owner).await.unwrap();
    for end in [ends.stdin, ends.stdout, ends.stderr] {
        let status = File::from(end.unwrap()).metadata().unwrap();
        assert_eq!((status.uid(), status.gid()), (1000, 1001));
    }
}
