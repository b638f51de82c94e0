//! A thousand execs leave nothing behind. The test runs itself in a process of its own, where nobody else opens anything.

use std::io::{Read, Write};
use std::os::fd::AsFd;

use super::terminals::send_terminal;
use super::*;

const ALONE: &str = "COAMING_TEST_ALONE";

#[test]
fn a_thousand_leave_nothing() {
    if std::env::var_os(ALONE).is_some() {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(a_thousand());
        return;
    }
    let module = module_path!().split_once("::").unwrap().1;
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::a_thousand_leave_nothing"), "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

async fn a_thousand() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let log = client.path("log");
    // Once before counting: the event loop and the scratch buffer are made on first use.
    one(&client, &reaper, &log, 0).await;
    let before = descriptors();
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for number in 0..1000 {
        one(&client, &reaper, &log, number).await;
    }
    // The blocking thread has its own moment to end the last write.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(descriptors(), before);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), tasks);
    let consoles: Vec<_> = std::fs::read_dir(consoles())
        .unwrap()
        .flatten()
        .filter(|entry| {
            entry.file_name().to_string_lossy().starts_with(&format!("{}-", std::process::id()))
        })
        .collect();
    assert!(consoles.is_empty(), "{consoles:?}");
}

async fn one(client: &Client, reaper: &Reaper, log: &Path, number: usize) {
    let (mut streams, owner) = (client.streams(), owner(reaper));
    match number % 4 {
        0 => streams.stdout = format!("file://{}", log.display()),
        1 => streams.terminal = true,
        _ => {}
    }
    let (mut stdio, ends) = Stdio::prepare(&streams, &owner).await.unwrap();
    if number % 4 == 3 {
        // The runtime failed.
        drop(ends);
        return if number % 8 == 3 { stdio.close().await } else { drop(stdio) };
    }
    let (mut out, err) = (client.read("stdout"), client.read("stderr"));
    let terminal = ends.console_socket.as_deref().map(send_terminal);
    stdio.connect().await.unwrap();
    match (terminal, ends.stdout) {
        (Some(terminal), _) => {
            nix::unistd::write(terminal.as_fd(), b"text").unwrap();
        }
        (None, stdout) => {
            File::from(stdout.unwrap()).write_all(b"text").unwrap();
        }
    }
    drop((ends.stderr, ends.stdin));
    if number.is_multiple_of(5) {
        stdio.close_stdin();
    }
    stdio.drain(Duration::from_secs(5)).await;
    if !number.is_multiple_of(4) {
        let mut text = [0; 4];
        out.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"text");
    }
    drop((out, err));
    if number.is_multiple_of(7) {
        drop(stdio)
    } else {
        stdio.close().await
    }
    tokio::task::yield_now().await;
}

fn descriptors() -> Vec<String> {
    let mut open: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .map(|path| path.display().to_string())
        .collect();
    open.sort();
    open.retain(|path| !path.starts_with("/proc/"));
    open
}
