//! The shim's log: records in the bundle's fifo `log`, which containerd copies to its own standard error.
//!
//! `log::info!("text {x}")`, or of a container `log::info!(id = &id, "text {x}")`; `debug`, `warn` and `error` likewise. Never
//! the arguments or the environment of a workload.
//!
//! A record is written at once and whole, and never waits: a log that nobody reads loses records, not time.

use std::fmt::{self, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::libc;

pub(crate) use coaming_config::LogLevel as Level;

/// What a pipe takes in one piece (pipe(7), PIPE_BUF).
const LONGEST: usize = 4096;
const NEWLINE: &str = "\n";

static LOG: OnceLock<Log> = OnceLock::new();

struct Log {
    level: Level,
    namespace: String,
    fifo: Option<File>,
}

/// Opens the log of the bundle that is the working directory; standard error goes there too, for what a panic says.
/// Without the fifo, as when the shim is run by hand, records go to standard error.
pub(crate) fn open(level: Level, namespace: &str) -> io::Result<()> {
    let opened = open_fifo(Path::new("log"));
    let (fifo, problem) = match opened {
        Ok(fifo) => (Some(fifo), Ok(())),
        Err(error) => (None, Err(error)),
    };
    if let Some(fifo) = &fifo {
        nix::unistd::dup2_stderr(fifo)?;
    }
    let _ = LOG.set(Log { level, namespace: namespace.to_owned(), fifo });
    problem
}

/// Opened for reading too: then it opens without a reader, and what is written while containerd restarts waits in it.
fn open_fifo(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    if file.metadata()?.file_type().is_fifo() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a fifo"))
    }
}

/// Writes a record. Use the macros.
pub(crate) fn write(level: Level, container: Option<&str>, text: fmt::Arguments<'_>) {
    let Some(log) = LOG.get() else { return };
    if level > log.level {
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let record = record(now, level, &log.namespace, container, text);
    // A full or broken pipe loses the record: there is nowhere to report that.
    let _ = match log.fifo.as_ref() {
        Some(mut fifo) => fifo.write_all(record.as_bytes()),
        None => io::stderr().write_all(record.as_bytes()),
    };
}

macro_rules! at {
    ($level:ident, id = $id:expr, $($text:tt)+) => {
        $crate::log::write(
            $crate::log::Level::$level, Some(AsRef::<str>::as_ref($id)), format_args!($($text)+),
        )
    };
    ($level:ident, $($text:tt)+) => {
        $crate::log::write($crate::log::Level::$level, None, format_args!($($text)+))
    };
}
macro_rules! error { ($($text:tt)+) => { $crate::log::at!(Error, $($text)+) }; }
macro_rules! warning { ($($text:tt)+) => { $crate::log::at!(Warn, $($text)+) }; }
macro_rules! info { ($($text:tt)+) => { $crate::log::at!(Info, $($text)+) }; }
macro_rules! debug { ($($text:tt)+) => { $crate::log::at!(Debug, $($text)+) }; }
#[allow(unused_imports)]
pub(crate) use {at, debug, error, info, warning as warn};

/// A line in the form that containerd's own lines have, so that one collector reads both.
pub(crate) fn record(
    now: Duration,
    level: Level,
    namespace: &str,
    container: Option<&str>,
    text: fmt::Arguments<'_>,
) -> String {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
    };
    let mut tail = format!(" namespace={}", word(namespace));
    if let Some(id) = container {
        let _ = write!(tail, " id={}", word(id));
    }
    let mut line = format!(
        "time=\"{}\" level={level} runtime=io.containerd.coaming.v1 msg=\"",
        humantime::format_rfc3339_nanos(UNIX_EPOCH + now)
    );
    let most = LONGEST.saturating_sub(line.len() + tail.len() + 5);
    let mut message = String::new();
    for c in text.to_string().trim_end().chars() {
        let before = message.len();
        match c {
            '"' | '\\' => message.extend(['\\', c]),
            '\n' => message.push_str("\\n"),
            '\t' => message.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(message, "\\u{:04x}", u32::from(c));
            }
            c => message.push(c),
        }
        if message.len() > most {
            message.truncate(before);
            message.push('…');
            break;
        }
    }
    line.push_str(&message);
    line.push('"');
    line.push_str(&tail);
    line.push_str(NEWLINE);
    line
}

/// Identifiers are plain; anything else is quoted away.
fn word(text: &str) -> String {
    text.chars()
        .take(255)
        .map(|c| if c.is_ascii_graphic() && c != '"' && c != '\\' { c } else { '_' })
        .collect()
}

/// The level that is written: what is configured, and at least `debug` where containerd itself is at it.
pub(crate) fn level(configured: Level, debug: bool) -> Level {
    if debug { Level::Debug } else { configured }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_record_is_one_line_of_known_form() {
        let now = Duration::new(1_795_332_645, 123_456_789);
        let line =
            record(now, Level::Warn, "k8s.io", Some("c1"), format_args!("a \"b\"\nc\\\x07\n"));
        assert_eq!(
            line,
            "time=\"2026-11-22T07:30:45.123456789Z\" level=warning runtime=io.containerd.coaming.v1 \
             msg=\"a \\\"b\\\"\\nc\\\\\\u0007\" namespace=k8s.io id=c1\n"
        );
    }

    #[test]
    fn a_record_fits_into_a_pipe_in_one_piece() {
        let text = "ö\"".repeat(5_000);
        let line = record(Duration::ZERO, Level::Info, "n", None, format_args!("{text}"));
        assert!(line.len() <= LONGEST, "{}", line.len());
        assert!(line.ends_with("…\" namespace=n\n"), "{}", &line[line.len() - 40..]);
    }

    #[test]
    fn the_fifo_opens_without_a_reader_and_never_blocks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut fifo = open_fifo(&path).unwrap();
        fifo.write_all(b"kept\n").unwrap();
        let mut reader =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let mut got = [0; 5];
        reader.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"kept\n");
        drop(reader);
        while fifo.write_all(&[b'x'; 4096]).is_ok() {}
        std::fs::write(directory.path().join("plain"), "").unwrap();
        assert!(open_fifo(&directory.path().join("plain")).is_err());
        std::os::unix::fs::symlink("log", directory.path().join("link")).unwrap();
        assert!(open_fifo(&directory.path().join("link")).is_err());
    }
}
