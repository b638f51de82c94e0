//! What a thread asks of the kernel: every folder and file by every way, every move between two folders, ports and scopes.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{OFlag, RenameFlags, openat, renameat2};
use nix::sys::stat::Mode;

use crate::ground::{BASE, FOLDERS};

/// By what was asked: `allowed`, or the error.
pub(crate) type Answers = BTreeMap<String, String>;

pub(crate) const PORTS: [u16; 3] = [7001, 7002, 7003];

/// What must be there before the thread is restricted.
pub(crate) struct Prepared {
    outside: UnixListener,
}

pub(crate) fn prepare() -> Prepared {
    for (i, j, from, _) in pairs() {
        for kind in ["file", "link", "swap"] {
            fs::write(from.join(format!("{kind}-{i}-{j}")), "").unwrap();
        }
        fs::create_dir(from.join(format!("dir-{i}-{j}"))).unwrap();
    }
    for (i, j, _, to) in pairs() {
        fs::write(to.join(format!("swapped-{i}-{j}")), "").unwrap();
    }
    Prepared { outside: UnixListener::bind_addr(&abstract_name()).unwrap() }
}

fn abstract_name() -> UnixAddr {
    UnixAddr::from_abstract_name("outside").unwrap()
}

fn pairs() -> impl Iterator<Item = (usize, usize, PathBuf, PathBuf)> {
    let folder = |index: usize| Path::new(BASE).join(FOLDERS[index]);
    let all = 0..FOLDERS.len();
    all.clone().flat_map(move |i| all.clone().map(move |j| (i, j, folder(i), folder(j))))
}

pub(crate) fn ask(prepared: &Prepared) -> Answers {
    let mut answers = Answers::new();
    let mut note = |what: String, answer: io::Result<()>| {
        answers.insert(what, in_words(answer));
    };
    for folder in FOLDERS {
        let at = |name: &str| Path::new(BASE).join(folder).join(name);
        let called =
            |what: &str, name: &str| format!("{what} {}", Path::new(folder).join(name).display());
        note(called("list", ""), fs::read_dir(at("")).map(drop));
        note(called("read", "f"), File::open(at("f")).map(drop));
        note(called("write", "f"), OpenOptions::new().write(true).open(at("f")).map(drop));
        note(
            called("read and write", "f"),
            OpenOptions::new().read(true).write(true).open(at("f")).map(drop),
        );
        note(called("truncate", "f"), nix::unistd::truncate(&at("f"), 1).map_err(io::Error::from));
        note(
            called("open to truncate", "f"),
            OpenOptions::new().write(true).truncate(true).open(at("f")).map(drop),
        );
        let executed = match Command::new(at("x")).spawn() {
            // Past the right: it has no interpreter.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map(drop),
        };
        note(called("execute", "x"), executed);
        note(called("make a folder", "n"), fs::create_dir(at("n")));
        note(called("remove a folder", "n"), fs::remove_dir(at("n")));
        note(called("make a link", "s"), symlink("f", at("s")));
        note(
            called("make a pipe", "p"),
            nix::unistd::mkfifo(&at("p"), Mode::S_IRUSR).map_err(io::Error::from),
        );
        note(called("make a socket", "u"), UnixListener::bind(at("u")).map(drop));
        note(called("remove a file", "s"), fs::remove_file(at("s")));
    }
    for (i, j, from, to) in pairs() {
        let called = |kind: &str| format!("{kind} {} to {}", FOLDERS[i], FOLDERS[j]);
        let name = |kind: &str| format!("{kind}-{i}-{j}");
        let moved =
            |kind: &str| fs::rename(from.join(name(kind)), to.join(format!("{}-new", name(kind))));
        note(called("rename"), moved("file"));
        note(called("rename a folder from"), moved("dir"));
        note(
            called("link"),
            fs::hard_link(from.join(name("link")), to.join(format!("{}-new", name("link")))),
        );
        let swapped = renameat2(
            nix::fcntl::AT_FDCWD,
            &from.join(name("swap")),
            nix::fcntl::AT_FDCWD,
            &to.join(name("swapped")),
            RenameFlags::RENAME_EXCHANGE,
        );
        note(called("swap"), swapped.map_err(io::Error::from));
    }
    for port in PORTS {
        // Whatever the network answers: it has no interface, and Landlock answers first.
        note(
            format!("bind {port}"),
            unless_refused(TcpListener::bind(("0.0.0.0", port)).map(drop)),
        );
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        note(format!("connect {port}"), unless_refused(TcpStream::connect(address).map(drop)));
    }
    drop(prepared.outside.local_addr());
    note("abstract socket".to_owned(), UnixStream::connect_addr(&abstract_name()).map(drop));
    let init = nix::unistd::Pid::from_raw(1);
    note("signal".to_owned(), nix::sys::signal::kill(init, None).map_err(io::Error::from));
    answers
}

pub(crate) fn read_at(folder: &OwnedFd, name: &str) -> String {
    in_words(
        openat(folder, name, OFlag::O_RDONLY, Mode::empty()).map(drop).map_err(io::Error::from),
    )
}

fn unless_refused(answer: io::Result<()>) -> io::Result<()> {
    match answer {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}

fn in_words(answer: io::Result<()>) -> String {
    answer.map_or_else(|error| error.to_string(), |()| "allowed".to_owned())
}
