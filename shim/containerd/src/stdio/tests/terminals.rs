//! Terminals. The runtime's part is played by the test: it opens a pseudo-terminal and sends one side over the socket.

use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::*;

/// Sends the controlling side of a new terminal; the other side, for the process.
pub(super) fn send_terminal(socket: &Path) -> OwnedFd {
    let terminal = nix::pty::openpty(None, None).unwrap();
    for side in [&terminal.master, &terminal.slave] {
        nix::fcntl::fcntl(side, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))
            .unwrap();
    }
    send(socket, &[terminal.master.as_raw_fd()]);
    terminal.slave
}

fn send(socket: &Path, descriptors: &[i32]) {
    let stream = UnixStream::connect(socket).unwrap();
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control = if descriptors.is_empty() { &[][..] } else { &rights[..] };
    sendmsg::<()>(
        stream.as_raw_fd(),
        &[IoSlice::new(b"/dev/ptmx")],
        control,
        MsgFlags::empty(),
        None,
    )
    .unwrap();
}

/// A shell whose controlling terminal this is.
fn terminal_shell(terminal: OwnedFd, script: &str) -> Child {
    Command::new("setsid")
        .args(["--ctty", "sh", "-c", script])
        .stdin(terminal.try_clone().unwrap())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal)
        .spawn()
        .unwrap()
}

async fn connected(client: &Client, reaper: &Reaper, script: &str) -> (Stdio, Child, File) {
    let streams = Streams { stderr: String::new(), terminal: true, ..client.streams() };
    let (mut stdio, ends) = Stdio::prepare(&streams, &owner(reaper)).await.unwrap();
    let socket = ends.console_socket.unwrap();
    let process = terminal_shell(send_terminal(&socket), script);
    let out = client.read("stdout");
    stdio.connect().await.unwrap();
    assert!(!socket.exists() && !socket.parent().unwrap().exists());
    (stdio, process, out)
}

#[tokio::test]
async fn a_terminal_carries_input_output_and_size() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let script = "stty -echo; echo ready; read line; echo \"got $line\"; stty size; exit 5";
    let (stdio, process, mut out) = connected(&client, &reaper, script).await;
    let mut ready = [0; 7];
    let mut out = tokio::task::spawn_blocking(move || out.read_exact(&mut ready).map(|()| out))
        .await
        .unwrap()
        .unwrap();
    stdio.resize(132, 43).unwrap();
    client.write("stdin").write_all(b"hello\n").unwrap();
    assert_eq!(ended(process).await.code(), Some(5));
    stdio.process_exited();
    let mut rest = String::new();
    tokio::task::spawn_blocking(move || out.read_to_string(&mut rest).map(|_| rest))
        .await
        .unwrap()
        .map(|rest| assert_eq!(rest, "got hello\r\n43 132\r\n"))
        .unwrap();
    // After the end there is nothing to resize, and that is no error.
    stdio.resize(1, 1).unwrap();
    stdio.close().await;
}

#[tokio::test]
async fn an_exit_may_come_before_its_terminal() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let streams = Streams { stderr: String::new(), terminal: true, ..client.streams() };
    let (mut stdio, ends) = Stdio::prepare(&streams, &owner(&reaper)).await.unwrap();
    let process = terminal_shell(send_terminal(&ends.console_socket.unwrap()), "echo short");
    assert!(ended(process).await.success());
    stdio.process_exited();
    let out = client.read("stdout");
    stdio.connect().await.unwrap();
    assert_eq!(read_all(out).await, b"short\r\n");
    stdio.close().await;
}

#[tokio::test]
async fn much_output_of_a_terminal_arrives_whole() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let (mut stdio, process, out) = connected(&client, &reaper, "stty -opost; seq 1 200000").await;
    let reading = tokio::spawn(read_all(out));
    assert!(ended(process).await.success());
    stdio.process_exited();
    stdio.drain(Duration::from_secs(10)).await;
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(reading.await.unwrap(), expected.as_bytes());
    stdio.close().await;
}

#[tokio::test]
async fn a_terminal_may_be_closed_and_opened_again() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let script = "name=$(tty); echo one; exec <&- >&- 2>&-; sleep 0.6; echo two >$name; sleep 0.3; echo three > $name";
    let (mut stdio, process, out) = connected(&client, &reaper, script).await;
    let reading = tokio::spawn(read_all(out));
    // Both sides of the terminal belong to the shell alone: in between nobody has it open.
    assert!(ended(process).await.success());
    stdio.drain(Duration::from_secs(5)).await;
    assert_eq!(String::from_utf8(reading.await.unwrap()).unwrap(), "one\r\ntwo\r\nthree\r\n");
    stdio.close().await;
}

#[tokio::test]
async fn the_end_of_its_input_hangs_a_terminal_up() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let (mut stdio, process, mut out) =
        connected(&client, &reaper, "echo up; exec sleep 100").await;
    // Until the terminal is the shell's, nobody is there to be told that it is gone.
    let mut up = [0; 4];
    let out = tokio::task::spawn_blocking(move || out.read_exact(&mut up).map(|()| (out, up)));
    let (out, up) = out.await.unwrap().unwrap();
    assert_eq!(&up, b"up\r\n");
    let mut stdin = client.write("stdin");
    stdin.write_all(b"x").unwrap();
    stdio.close_stdin();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(stdin);
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(ended(process).await.signal(), Some(nix::libc::SIGHUP));
    // What comes after is the echo of the input.
    assert!(!read_all(out).await.contains(&b'u'));
    stdio.close().await;
}

#[tokio::test]
async fn a_terminal_without_a_client_is_emptied() {
    let reaper = Reaper::start_for_own_children().unwrap();
    let streams = Streams { terminal: true, ..Streams::default() };
    let (mut stdio, ends) = Stdio::prepare(&streams, &owner(&reaper)).await.unwrap();
    let process =
        terminal_shell(send_terminal(&ends.console_socket.unwrap()), "seq 1 100000; exit 4");
    stdio.connect().await.unwrap();
    assert_eq!(ended(process).await.code(), Some(4));
    stdio.drain(Duration::from_secs(5)).await;
    stdio.close().await;
}

#[tokio::test]
async fn a_background_process_does_not_hold_a_terminal_up() {
    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let script = "trap '' HUP; (sleep 3) & echo done";
    let (mut stdio, process, out) = connected(&client, &reaper, script).await;
    assert!(ended(process).await.success());
    let began = Instant::now();
    stdio.process_exited();
    assert_eq!(read_all(out).await, b"done\r\n");
    stdio.drain(Duration::from_secs(10)).await;
    assert!(began.elapsed() < Duration::from_secs(2));
    stdio.close().await;
}

#[tokio::test]
async fn only_one_terminal_is_taken() {
    let reaper = Reaper::start_for_own_children().unwrap();
    let pipe = std::io::pipe().unwrap();
    let terminal = nix::pty::openpty(None, None).unwrap();
    let other = terminal.master.as_fd().try_clone_to_owned().unwrap();
    for (wrong, text) in [
        (vec![], "0 descriptors"),
        (vec![terminal.master.as_raw_fd(), other.as_raw_fd()], "2 descriptors"),
        (vec![other.as_raw_fd(); 20], "descriptors instead of one"),
        (vec![pipe.0.as_raw_fd()], "no terminal"),
        // The process's side is not the controlling one.
        (vec![terminal.slave.as_raw_fd()], "no terminal"),
    ] {
        let streams = Streams { terminal: true, ..Streams::default() };
        let (mut stdio, ends) = Stdio::prepare(&streams, &owner(&reaper)).await.unwrap();
        let socket = ends.console_socket.unwrap();
        send(&socket, &wrong);
        let error = stdio.connect().await.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
        assert!(!socket.exists());
        stdio.close().await;
    }
}

#[tokio::test]
async fn a_terminal_may_have_a_logger() {
    use std::os::unix::fs::PermissionsExt;

    let client = Client::new();
    let reaper = Reaper::start_for_own_children().unwrap();
    let logger = client.path("logger");
    let script = format!(
        "#!/bin/sh\ncd {}\nexec 5>&-; cat <&4 >err & cat <&3 >out; wait; echo end >> out\n",
        client.directory.path().display()
    );
    std::fs::write(&logger, script).unwrap();
    std::fs::set_permissions(&logger, PermissionsExt::from_mode(0o755)).unwrap();
    let stdout = format!("binary://{}", logger.display());
    let streams = Streams { stdout, terminal: true, ..Streams::default() };
    let (mut stdio, ends) = Stdio::prepare(&streams, &owner(&reaper)).await.unwrap();
    let process = terminal_shell(send_terminal(&ends.console_socket.unwrap()), "echo hello");
    stdio.connect().await.unwrap();
    assert!(ended(process).await.success());
    stdio.drain(Duration::from_secs(5)).await;
    stdio.close().await;
    assert_eq!(text(&client.path("out")), "hello\r\nend\n");
    assert_eq!(text(&client.path("err")), "");
}

#[test]
fn sockets_of_killed_shims_are_swept() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let mine = ConsoleSocket::bind(directory.path()).unwrap();
    let dead = directory.path().join("4194999-12345-0");
    let reused = directory.path().join("1-99999999-0");
    let foreign = directory.path().join("something");
    for path in [&dead, &reused, &foreign] {
        std::fs::create_dir(path).unwrap();
        std::fs::write(path.join("pty.sock"), "").unwrap();
    }
    console::sweep(directory.path());
    assert!(mine.path().exists() && foreign.exists());
    assert!(!dead.exists() && !reused.exists());
}
