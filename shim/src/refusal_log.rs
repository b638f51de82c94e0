//! Saying no where the caller looks.
//!
//! containerd's go-runc and Podman read the last error of the file that they named with `--log` and
//! show it to the user (`kubectl describe pod`); people look at stderr. So a refusal goes to both,
//! written as the runtime writes its own errors (runc `main.go` `configLogrus` and `utils.go`
//! `fatalWithCode`; crun `error.c` `libcrun_init_logging`).

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde_json::json;
use thiserror::Error;

use crate::argv::{Global, LogFormat};

const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";

/// The log could not be written; the refusal itself stands, and stderr has it.
#[derive(Debug, Error)]
#[error("writing the refusal to the log {}: {source}", .target.display())]
pub struct LogError {
    /// The file or socket.
    pub target: PathBuf,
    /// The kernel's word.
    pub source: io::Error,
}

/// Writes `message` to the log that `global` names, and one line to `stderr`.
///
/// Without `--log` the runtimes log to stderr, in the format asked for: a caller who asked for JSON
/// there gets JSON alone.
///
/// # Errors
/// When the log cannot be written. stderr has the message even then.
pub fn report(
    global: &Global,
    message: &str,
    now: SystemTime,
    stderr: &mut dyn Write,
) -> Result<(), LogError> {
    let message = one_line(message);
    let format = global.log_format.unwrap_or_default();
    let target = Target::of(global.log.as_deref());
    if target == Target::Stderr && format == LogFormat::Json {
        return to_stderr(stderr, &record(format, &message, now));
    }
    let program = program();
    let told = to_stderr(stderr, &format!("{program}: {message}\n"));
    let logged = match target {
        Target::Stderr => Ok(()),
        Target::File(path) => append(path, record(format, &message, now).as_bytes())
            .map_err(|source| LogError { target: path.to_owned(), source }),
        Target::Journal => {
            // One field a line (systemd's native protocol); the message has no line breaks.
            let entry = format!("PRIORITY=3\nSYSLOG_IDENTIFIER={program}\nMESSAGE={message}\n");
            send(Path::new(JOURNAL), &entry)
        }
        // <11>: facility user, severity error (syslog(3)).
        Target::Syslog => send(Path::new(SYSLOG), &format!("<11>{program}: {message}")),
    };
    logged.and(told)
}

/// Warns of something under which a container starts all the same: in the node's journal, and where
/// the runtimes put their own warnings, in the log that `global` names or else on stderr. What cannot be
/// written anywhere stands in the record alone.
pub fn warn(global: &Global, message: &str, now: SystemTime, stderr: &mut dyn Write) {
    let message = one_line(message);
    let line = record_at("warning", global.log_format.unwrap_or_default(), &message, now);
    match Target::of(global.log.as_deref()) {
        Target::File(path) => drop(append(path, line.as_bytes())),
        Target::Stderr => drop(to_stderr(stderr, &line)),
        Target::Journal | Target::Syslog => {}
    }
    let program = program();
    let entry = format!("PRIORITY=4\nSYSLOG_IDENTIFIER={program}\nMESSAGE={message}\n");
    if send(Path::new(JOURNAL), &entry).is_err() {
        // <12>: facility user, severity warning (syslog(3)).
        let _ = send(Path::new(SYSLOG), &format!("<12>{program}: {message}"));
    }
}

/// The name by which this program was called, as it stands before its messages: of the wrappers there is one for
/// each runtime.
fn program() -> String {
    let words = std::env::args_os().next();
    named(words.as_deref().unwrap_or_default())
}

/// A name of ours, and one that cannot be taken for another part of a line.
fn named(program: &OsStr) -> String {
    let name = Path::new(program).file_name().and_then(OsStr::to_str).unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    match name {
        // What the hook becomes.
        "coaming-validator" => "coaming-hook".to_owned(),
        name if name.starts_with("coaming-") && name.len() <= 64 && name.chars().all(is_plain) => {
            name.to_owned()
        }
        _ => "coaming-runc".to_owned(),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Target<'a> {
    Stderr,
    File(&'a Path),
    Journal,
    Syslog,
}

impl<'a> Target<'a> {
    /// crun's prefixes; runc has none, and no caller of runc logs to a file of such a name.
    fn of(log: Option<&'a OsStr>) -> Self {
        let Some(log) = log else { return Self::Stderr };
        let bytes = log.as_bytes();
        if bytes.starts_with(b"journald:") {
            return Self::Journal;
        }
        if bytes.starts_with(b"syslog:") {
            return Self::Syslog;
        }
        let path = OsStr::from_bytes(bytes.strip_prefix(b"file:").unwrap_or(bytes));
        // A symlink to our own descriptor, which O_NOFOLLOW would refuse.
        if path == "/dev/stderr" || path.is_empty() {
            Self::Stderr
        } else {
            Self::File(Path::new(path))
        }
    }
}

/// One log line, as logrus' formatters have it.
fn record(format: LogFormat, message: &str, now: SystemTime) -> String {
    record_at("error", format, message, now)
}

fn record_at(level: &str, format: LogFormat, message: &str, now: SystemTime) -> String {
    // As logrus writes them (Go's time.RFC3339, in UTC). A clock before 1970 reads as 1970.
    let time = humantime::format_rfc3339_seconds(now.max(UNIX_EPOCH));
    match format {
        LogFormat::Json => {
            format!("{}\n", json!({"level": level, "msg": message, "time": time.to_string()}))
        }
        LogFormat::Text => {
            format!("time=\"{time}\" level={level} msg=\"{}\"\n", escaped(message))
        }
    }
}

/// Go's `%q` for a line without control characters.
fn escaped(message: &str) -> String {
    message.replace('\\', "\\\\").replace('"', "\\\"")
}

/// A reader takes a line for a record; what stands in the message was written by the asker in part.
fn one_line(message: &str) -> String {
    message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

/// As runc opens it, and no symlink: the log's directory may be another user's. A FIFO that
/// nobody reads is an error, not a wait.
fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o644)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK)
        .open(path)?
        .write_all(line)
}

fn send(socket: &Path, entry: &str) -> Result<(), LogError> {
    let sent = || {
        let datagram = UnixDatagram::unbound()?;
        // A journal that does not read must not keep the caller waiting.
        datagram.set_nonblocking(true)?;
        datagram.send_to(entry.as_bytes(), socket)
    };
    sent().map(drop).map_err(|source| LogError { target: socket.to_owned(), source })
}

fn to_stderr(stderr: &mut dyn Write, line: &str) -> Result<(), LogError> {
    stderr
        .write_all(line.as_bytes())
        .map_err(|source| LogError { target: "/dev/stderr".into(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;

    fn at() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_709_251_199)
    }

    fn told(global: &Global, message: &str) -> (String, Result<(), LogError>) {
        let mut stderr = Vec::new();
        let logged = report(global, message, at(), &mut stderr);
        (String::from_utf8(stderr).unwrap(), logged)
    }

    fn global(log: &Path, format: LogFormat) -> Global {
        Global { log: Some(log.into()), log_format: Some(format), ..Global::default() }
    }

    #[test]
    fn messages_name_the_program_as_it_was_called() {
        let name = |program: &str| named(OsStr::new(program));
        assert_eq!(name("/usr/libexec/coaming/coaming-crun"), "coaming-crun");
        assert_eq!(name("coaming-validator"), "coaming-hook");
        for other in
            ["", "runc", "/", "coaming-a: b", "coaming-\n", &format!("coaming-{}", "x".repeat(64))]
        {
            assert_eq!(name(other), "coaming-runc", "{other:?}");
        }
    }

    #[test]
    fn json_is_appended_as_containerd_reads_it() {
        let dir = TempDir::new().unwrap();
        let log = dir.path().join("log.json");
        fs::write(&log, "{\"level\":\"info\"}\n").unwrap();
        let (stderr, logged) = told(&global(&log, LogFormat::Json), "no \"x\"\nat line 2");
        logged.unwrap();
        assert_eq!(stderr, "coaming-runc: no \"x\" at line 2\n");
        assert_eq!(
            fs::read_to_string(&log).unwrap(),
            "{\"level\":\"info\"}\n{\"level\":\"error\",\"msg\":\"no \\\"x\\\" at line 2\",\
             \"time\":\"2024-02-29T23:59:59Z\"}\n"
        );
    }

    #[test]
    fn text_is_logrus_text_and_crun_prefixes_are_understood() {
        let dir = TempDir::new().unwrap();
        let log = dir.path().join("log");
        let mut prefixed = std::ffi::OsString::from("file:");
        prefixed.push(&log);
        told(&global(Path::new(&prefixed), LogFormat::Text), "no \"x\"").1.unwrap();
        assert_eq!(
            fs::read_to_string(&log).unwrap(),
            "time=\"2024-02-29T23:59:59Z\" level=error msg=\"no \\\"x\\\"\"\n"
        );
        assert_eq!(Target::of(Some("journald:x".as_ref())), Target::Journal);
        assert_eq!(Target::of(Some("syslog:x".as_ref())), Target::Syslog);
        assert_eq!(Target::of(Some("/dev/stderr".as_ref())), Target::Stderr);
    }

    #[test]
    fn a_warning_is_no_error() {
        let dir = TempDir::new().unwrap();
        let log = dir.path().join("log.json");
        warn(&global(&log, LogFormat::Json), "kept\nin force", at(), &mut Vec::new());
        let line: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
        assert_eq!((&line["level"], &line["msg"]), (&"warning".into(), &"kept in force".into()));
    }

    #[test]
    fn without_a_log_file_stderr_is_the_log() {
        assert_eq!(told(&Global::default(), "no").0, "coaming-runc: no\n");
        let json = Global { log_format: Some(LogFormat::Json), ..Global::default() };
        let line: serde_json::Value = serde_json::from_str(&told(&json, "no").0).unwrap();
        assert_eq!(line["msg"], "no");
    }

    #[test]
    fn a_symlink_is_not_followed_and_stderr_still_hears() {
        let dir = TempDir::new().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "").unwrap();
        symlink(&victim, dir.path().join("log")).unwrap();
        let (stderr, logged) = told(&global(&dir.path().join("log"), LogFormat::Json), "no");
        assert!(logged.is_err());
        assert_eq!(stderr, "coaming-runc: no\n");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "");
    }
}
