//! Streams as a client and a process see them. Processes here are shells that are given the runtime's ends.

mod leaks;
mod loggers;
mod pipes;
mod terminals;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio as CommandStdio};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::*;

/// A client of containerd with its directory of fifos.
struct Client {
    directory: tempfile::TempDir,
}

impl Client {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["stdin", "stdout", "stderr"] {
            nix::unistd::mkfifo(&directory.path().join(name), Mode::S_IRWXU).unwrap();
        }
        Client { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn streams(&self) -> Streams {
        Streams {
            stdin: self.name("stdin"),
            stdout: self.name("stdout"),
            stderr: self.name("stderr"),
            terminal: false,
        }
    }

    /// Opens a fifo for reading, with reads that wait.
    fn read(&self, name: &str) -> File {
        let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let reader = open(&self.path(name), flags, Mode::empty()).unwrap();
        super::pipes::set_nonblocking(&reader, false).unwrap();
        File::from(reader)
    }

    fn write(&self, name: &str) -> File {
        File::options().write(true).open(self.path(name)).unwrap()
    }
}

fn owner(reaper: &Reaper) -> Owner<'_> {
    Owner { namespace: "test", container: "box", exec: None, io_uid: 0, io_gid: 0, reaper }
}

/// Runs a shell as the process whose streams these are.
fn shell(ends: RuntimeEnds, script: &str) -> Child {
    let stdio = |end: Option<OwnedFd>| end.map_or_else(CommandStdio::null, CommandStdio::from);
    Command::new("sh")
        .args(["-c", script])
        .stdin(stdio(ends.stdin))
        .stdout(stdio(ends.stdout))
        .stderr(stdio(ends.stderr))
        .spawn()
        .unwrap()
}

/// Reads to the end on another thread, as another process would.
async fn read_all(mut file: File) -> Vec<u8> {
    tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
        bytes
    })
    .await
    .unwrap()
}

async fn ended(mut child: Child) -> std::process::ExitStatus {
    tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap()
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within 5 s");
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
