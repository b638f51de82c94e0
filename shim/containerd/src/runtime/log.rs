//! What a runtime says went wrong: the last error of the log that it was told to write.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::Deserialize;

/// The end of a log is all that is read: a runtime with `--debug` writes a lot before it fails.
const TAIL: u64 = 256 * 1024;
/// Longer messages are cut: the text goes into a message of at most 4 MiB, and to people.
pub(crate) const LONGEST: usize = 16 * 1024;

#[derive(Deserialize)]
struct Record {
    #[serde(default)]
    level: String,
    #[serde(default)]
    msg: String,
}

/// The last error of the log; `None` where there is none, or no log. What is no record is passed over: what the
/// others say is worth more than to fail over it.
pub(super) fn last_error(log: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(log) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    Ok(last_error_of(&tail))
}

/// The last error among the records of a text.
pub(crate) fn last_error_of(text: &[u8]) -> Option<String> {
    let last = records(text).filter(|record| record.level == "error").last();
    last.map(|record| cut(record.msg.trim()).to_owned()).filter(|message| !message.is_empty())
}

/// What of a text is records, each wherever it begins: crun 1.28 spreads one over several lines. What a record that came
/// to nothing has taken is not looked at again, so that no text takes longer than its length warrants.
fn records(mut text: &[u8]) -> impl Iterator<Item = Record> {
    std::iter::from_fn(move || {
        loop {
            let begin = text.iter().position(|byte| *byte == b'{')?;
            text = text.get(begin..)?;
            let mut stream = serde_json::Deserializer::from_slice(text).into_iter::<Record>();
            match stream.next()? {
                Ok(record) => {
                    text = text.get(stream.byte_offset()..)?;
                    return Some(record);
                }
                Err(error) => text = text.get(taken(text, &error).max(1)..)?,
            }
        }
    })
}

/// How many bytes were taken for a part of a record before the one that could not be.
fn taken(text: &[u8], error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
    let before: usize = lines.map(<[u8]>::len).sum();
    (before + error.column()).saturating_sub(1)
}

/// The beginning of a text, of a length that can be shown.
pub(super) fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_last_error_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log.json");
        assert_eq!(last_error(&log).unwrap(), None);
        fs::write(
            &log,
            "{\"level\":\"error\",\"msg\":\"first\",\"time\":\"t\"}\nnot json\n\
             {\"level\":\"error\",\"msg\":\" runc create failed: no such file \\n\"}\n\
             {\"level\":\"warning\",\"msg\":\"later\"}\n{\"level\":\"error\",\"ms",
        )
        .unwrap();
        assert_eq!(last_error(&log).unwrap().as_deref(), Some("runc create failed: no such file"));
        fs::write(&log, "{\n  \"msg\": \"over {lines\",\n  \"level\":\"error\"\n}\n").unwrap();
        assert_eq!(last_error(&log).unwrap().as_deref(), Some("over {lines"));
        fs::write(&log, "{\"level\":\"info\",\"msg\":\"x\"}\n").unwrap();
        assert_eq!(last_error(&log).unwrap(), None);
    }

    /// Each of these begins a record that reaches to the end: were each read to there, it would take minutes.
    #[test]
    fn records_without_an_end_are_read_once() {
        let text = r#"{"a":"#.repeat(50_000);
        assert_eq!(last_error_of(text.as_bytes()), None);
        let text = format!("{text}!\n{{\"level\":\"error\",\"msg\":\"x\"}}");
        assert_eq!(last_error_of(text.as_bytes()).as_deref(), Some("x"));
    }

    #[test]
    fn a_long_log_is_read_from_its_end_and_a_long_message_cut() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log.json");
        let noise = "{\"level\":\"debug\",\"msg\":\"x\"}\n".repeat(20_000);
        let message = "ü".repeat(20_000);
        fs::write(&log, format!("{noise}{{\"level\":\"error\",\"msg\":\"{message}\"}}\n")).unwrap();
        let error = last_error(&log).unwrap().unwrap();
        assert_eq!(error.len(), LONGEST);
    }
}
