//! What ordinary containers do, to see that a policy lets them.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::time::Duration;

use serde_json::json;

use crate::state::terminal;
use crate::sys::child::{self, Companion, Exit};

/// For `probe list`.
pub(crate) const LIST: &[(&str, &str, &str)] = &[
    ("serve", "<port>", "say \"listening PORT\", then echo one line to each TCP client"),
    (
        "serve-abstract",
        "<name>",
        "say \"listening NAME\", then accept on that abstract unix socket",
    ),
    ("sleep", "<seconds>", "sleep, then exit 0"),
    ("pause", "", "reap children until SIGTERM or SIGINT (a pid 1)"),
    ("fork-signal", "", "fork children, signal and reap them: OK, or FAIL and why"),
    ("cat", "", "stdin to stdout"),
    ("tty", "", "which of the standard descriptors are terminals, and their size, as JSON"),
];

/// The workload called `name`, if it is one.
pub(crate) fn find(name: &str) -> Option<&'static str> {
    LIST.iter().map(|(known, ..)| *known).find(|known| *known == name)
}

/// Runs it; an error is a usage error.
pub(crate) fn run(name: &str, args: &[String]) -> Result<u8, String> {
    let result = match (name, args) {
        ("serve", [port]) => serve(number(port)?),
        ("serve-abstract", [name]) => serve_abstract(name),
        ("sleep", [seconds]) => {
            std::thread::sleep(Duration::from_secs(number(seconds)?));
            Ok(())
        }
        ("pause", []) => pause(),
        ("fork-signal", []) => return Ok(fork_signal()),
        ("cat", []) => cat(),
        ("tty", []) => tty(),
        _ => {
            return Err(format!("wrong arguments for {name}; `probe list` tells them"));
        }
    };
    match result {
        Ok(()) => Ok(0),
        Err(error) => {
            let _ = writeln!(io::stderr(), "probe: {name}: {error}");
            Ok(1)
        }
    }
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{word} is no number for this"))
}

fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    say(&format!("listening {}", listener.local_addr()?.port()))?;
    for client in listener.incoming() {
        // A client that goes away is its own affair.
        let _ = client.and_then(|client| {
            client.set_read_timeout(Some(Duration::from_secs(10)))?;
            let mut line = String::new();
            BufReader::new(&client).read_line(&mut line)?;
            (&client).write_all(line.as_bytes())
        });
    }
    Ok(())
}

fn serve_abstract(name: &str) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    let listener = std::os::unix::net::UnixListener::bind_addr(&address)?;
    say(&format!("listening {name}"))?;
    for client in listener.incoming() {
        drop(client);
    }
    Ok(())
}

fn pause() -> io::Result<()> {
    loop {
        match child::next_signal() {
            libc::SIGTERM | libc::SIGINT => return Ok(()),
            _ => child::reap(),
        }
    }
}

/// Each child must die by the very signal it was sent; one more must exit with its own code.
fn fork_signal() -> u8 {
    let outcome = signal_children();
    let line = match &outcome {
        Ok(()) => "OK".to_owned(),
        Err(why) => format!("FAIL {why}"),
    };
    match (say(&line), outcome) {
        (Ok(()), Ok(())) => 0,
        _ => 1,
    }
}

fn signal_children() -> Result<(), String> {
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGUSR1] {
        let companion = Companion::start().map_err(|errno| format!("fork: {errno}"))?;
        child::kill(companion.pid(), signal).map_err(|errno| format!("kill: {errno}"))?;
        match companion.wait().map_err(|errno| format!("wait: {errno}"))? {
            Exit::Signal(ended) if ended == signal => {}
            other => return Err(format!("signal {signal} ended a child as {other:?}")),
        }
    }
    let pid = child::fork(|| 7).map_err(|errno| format!("fork: {errno}"))?;
    match child::wait(pid).map_err(|errno| format!("wait: {errno}"))? {
        Exit::Code(7) => Ok(()),
        other => Err(format!("a child that exits with 7 ended as {other:?}")),
    }
}

/// Unbuffered: what came in goes out at once, partial lines too.
fn cat() -> io::Result<()> {
    let mut stdout = std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?);
    io::copy(&mut io::stdin(), &mut stdout).map(drop)
}

fn tty() -> io::Result<()> {
    let [stdin, stdout, stderr] = [0, 1, 2].map(terminal);
    let size = stdin.or(stdout).or(stderr);
    let value = json!({
        "stdin": stdin.is_some(),
        "stdout": stdout.is_some(),
        "stderr": stderr.is_some(),
        "rows": size.map(|(rows, _)| rows),
        "columns": size.map(|(_, columns)| columns),
    });
    say(&value.to_string())
}

fn say(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
