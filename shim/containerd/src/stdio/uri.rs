//! What the stream strings of a request mean.
//!
//! A plain path is a fifo (or a file that exists); `file://` names a log file, `binary://` and `binary-v2://` name a program
//! that is given the output. The reading follows Go's `net/url`, which containerd's own shim uses.

use std::path::PathBuf;

use super::StdioError;

/// Longer than any path and any sensible list of arguments.
const LONGEST: usize = 32 * 1024;

/// Where output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    Null,
    /// A fifo, or something else that exists.
    Path(PathBuf),
    /// A file that is made if it is missing, and appended to.
    File(PathBuf),
    Logger(LoggerCommand),
}

/// A `binary://` or `binary-v2://` logger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggerCommand {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// `binary-v2`: the logger must write a byte; closing the descriptor is not enough.
    pub(crate) must_say_ready: bool,
}

/// Reads the string of stdout or stderr.
pub(crate) fn output(text: &str) -> Result<Output, StdioError> {
    check_length(text)?;
    if text.is_empty() {
        return Ok(Output::Null);
    }
    if text.starts_with('/') {
        return Ok(Output::Path(PathBuf::from(text)));
    }
    let refuse = |reason: &str| StdioError::Uri { uri: text.to_owned(), reason: reason.to_owned() };
    let Some((scheme, rest)) = text.split_once(':') else {
        return Err(refuse("it is neither an absolute path nor a URI"));
    };
    let (rest, query) = split_tail(rest);
    let path = || path(rest).ok_or_else(|| refuse("its path is not absolute or wrongly escaped"));
    match scheme.to_ascii_lowercase().as_str() {
        "fifo" => Ok(Output::Path(path()?)),
        "file" => Ok(Output::File(path()?)),
        scheme @ ("binary" | "binary-v2") => Ok(Output::Logger(LoggerCommand {
            program: path()?,
            arguments: arguments(query),
            must_say_ready: scheme == "binary-v2",
        })),
        _ => Err(refuse("its scheme is none of fifo, file, binary and binary-v2")),
    }
}

/// Reads the string of stdin, which is a fifo or nothing.
pub(crate) fn input(text: &str) -> Result<Option<PathBuf>, StdioError> {
    match output(text)? {
        Output::Null => Ok(None),
        Output::Path(path) => Ok(Some(path)),
        Output::File(_) | Output::Logger(_) => Err(StdioError::Uri {
            uri: text.to_owned(),
            reason: "standard input is read from a fifo".to_owned(),
        }),
    }
}

fn check_length(text: &str) -> Result<(), StdioError> {
    if text.len() > LONGEST {
        return Err(StdioError::Uri {
            uri: text.chars().take(64).chain("...".chars()).collect(),
            reason: format!("it has {} bytes, and {LONGEST} are the limit", text.len()),
        });
    }
    if text.contains('\0') {
        return Err(StdioError::Uri {
            uri: text.replace('\0', "\\0"),
            reason: "it contains a NUL byte".to_owned(),
        });
    }
    Ok(())
}

/// What is before the query, and the query, both without the fragment.
fn split_tail(rest: &str) -> (&str, &str) {
    let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
    rest.split_once('?').unwrap_or((rest, ""))
}

/// The path of `//host/path` or `/path`. The host means nothing.
fn path(rest: &str) -> Option<PathBuf> {
    let path = match rest.strip_prefix("//") {
        Some(authority) => authority.get(authority.find('/')?..)?,
        None => rest,
    };
    let path = unescape(path, false)?;
    (path.starts_with('/') && !path.contains('\0')).then(|| PathBuf::from(path))
}

/// Each key and its first value, in the order in which keys first appear (Go's order is that of a hash map, so no logger
/// can rely on another).
fn arguments(query: &str) -> Vec<String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty() && !part.contains(';')) {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let (Some(key), Some(value)) = (unescape(key, true), unescape(value, true)) else {
            continue;
        };
        if key.contains('\0') || value.contains('\0') {
            continue;
        }
        if !pairs.iter().any(|(known, _)| *known == key) {
            pairs.push((key, value));
        }
    }
    pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()
}

fn unescape(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = text.bytes();
    let mut plain = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logger(program: &str, arguments: &[&str], must_say_ready: bool) -> Output {
        Output::Logger(LoggerCommand {
            program: program.into(),
            arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
            must_say_ready,
        })
    }

    #[test]
    fn paths_are_taken_as_they_are() {
        assert_eq!(output("").unwrap(), Output::Null);
        assert_eq!(output("/run/a%20b?c").unwrap(), Output::Path("/run/a%20b?c".into()));
        assert_eq!(output("fifo:///run/x").unwrap(), Output::Path("/run/x".into()));
        assert_eq!(input("/run/in").unwrap(), Some("/run/in".into()));
        assert_eq!(input("").unwrap(), None);
    }

    #[test]
    fn files_and_loggers_are_uris() {
        assert_eq!(output("file:///var/a%20b").unwrap(), Output::File("/var/a b".into()));
        assert_eq!(output("FILE://host/var/a").unwrap(), Output::File("/var/a".into()));
        assert_eq!(
            output("binary:///bin/log?a=1&b&a=2&c=x+y%26#f").unwrap(),
            logger("/bin/log", &["a", "1", "b", "", "c", "x y&"], false)
        );
        assert_eq!(output("binary-v2:/bin/log").unwrap(), logger("/bin/log", &[], true));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in [
            "relative",
            "http://x/y",
            "binary:log",
            "binary://log",
            "file:///a%2",
            "file:///a%00b",
            "/run/a\0b",
            "npipe:////./pipe/x",
        ] {
            assert!(output(text).is_err(), "{text}");
        }
        assert!(output(&format!("/{}", "a".repeat(LONGEST))).is_err());
        assert!(input("binary:///bin/log").is_err());
        assert!(input("file:///x").is_err());
    }

    #[test]
    fn bad_query_parts_are_left_out_as_go_does() {
        assert_eq!(
            output("binary:///l?&&a;b=1&%zz=1&ok=%41").unwrap(),
            logger("/l", &["ok", "A"], false)
        );
    }
}
