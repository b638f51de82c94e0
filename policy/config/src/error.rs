//! What is wrong with a document, and where.

use std::path::Path;

use crate::suggest;

/// Why a document or a directory of documents was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The text is not what the document's kind allows.
    #[error("{file}:{line}:{column}: {message}")]
    Invalid {
        /// The file, as it was named.
        file: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What is wrong, with the nearest known word.
        message: String,
    },
    /// A file or directory cannot be read or cannot be trusted.
    #[error("{path}: {problem}")]
    Untrusted {
        /// The path.
        path: String,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// Reading failed.
    #[error("cannot {operation} {path}: {error}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To what.
        path: String,
        /// The system's answer.
        error: std::io::Error,
    },
}

impl DocumentError {
    /// An error at a line that a checked value stands on.
    #[must_use]
    pub fn at(file: &str, line: u64, message: String) -> Self {
        DocumentError::Invalid { file: file.to_owned(), line, column: 1, message }
    }

    /// Reading failed.
    #[must_use]
    pub fn io(operation: &'static str, path: &Path, error: std::io::Error) -> Self {
        DocumentError::Io { operation, path: path.display().to_string(), error }
    }

    /// True where the file or directory is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, DocumentError::Io { error, .. } if error.kind() == std::io::ErrorKind::NotFound)
    }

    /// An error at the first place of a checked string in a text.
    pub(crate) fn in_value(file: &str, text: &str, value: &str, message: String) -> Self {
        let (line, column) = place(text, text.find(&format!("\"{value}\"")).unwrap_or(0));
        DocumentError::Invalid { file: file.to_owned(), line, column, message }
    }

    pub(crate) fn from_toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let (line, column) = place(text, error.span().map_or(0, |span| span.start));
        DocumentError::Invalid {
            file: file.to_owned(),
            line,
            column,
            message: in_words(error.message()),
        }
    }
}

/// Line and column, from 1, of a byte of a text.
fn place(text: &str, at: usize) -> (u64, u64) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() as u64 + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) as u64 + 1;
    (line, column)
}

/// serde's sentence about an unknown word, with a suggestion.
fn in_words(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let kind = match message.split(' ').next().zip(message.split(' ').nth(1)) {
        Some(("unknown", "field")) => "key",
        Some(("unknown", "variant")) => "value",
        _ => {
            let line = message.lines().next().unwrap_or_default();
            // What serde expects is named as in the code.
            let found = line.strip_prefix("invalid type: ").unwrap_or(line);
            return match found.split_once(", expected struct ") {
                Some((found, _)) => format!("expected a table ([name] or {{...}}), found {found}"),
                None => line.to_owned(),
            };
        }
    };
    let word = quoted.next().unwrap_or_default();
    let known: Vec<&str> = quoted.collect();
    let message = suggest::unknown(kind, word, known.iter().copied());
    format!("{message} (known: {})", known.join(", "))
}
