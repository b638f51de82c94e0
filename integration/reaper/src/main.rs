//! PID 1 of a test world and of a test pod's sandbox: reaps what is left to it and ends when told.
//!
//! `reaper` ends on SIGTERM or SIGINT. `reaper --until-eof` also ends when its standard input does: the test process
//! holds the other end, so that a world cannot outlive it however it dies. The kernel kills every process of a PID
//! namespace whose PID 1 is gone (pid_namespaces(7)).

use std::io::Read;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

fn main() -> ExitCode {
    let signals: SigSet = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    // Blocked before the first thread starts, so that every thread inherits it and only `wait` sees them.
    if let Err(error) = signals.thread_block() {
        eprintln!("reaper: block signals: {error}");
        return ExitCode::FAILURE;
    }
    if std::env::args().nth(1).as_deref() == Some("--until-eof") {
        std::thread::spawn(end_with_stdin);
    }
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => reap(),
            Ok(_) => return ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("reaper: wait for a signal: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
}

fn end_with_stdin() {
    let mut ignored = [0; 64];
    while matches!(std::io::stdin().read(&mut ignored), Ok(1..)) {}
    std::process::exit(0);
}

/// SIGCHLD does not queue: one signal may stand for several children.
fn reap() {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return, // ECHILD: no children at all
        }
    }
}
