//! What is wrong with a document, and where.

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
    pub(crate) fn at(file: &str, line: u64, message: String) -> Self {
        DocumentError::Invalid { file: file.to_owned(), line, column: 1, message }
    }

    pub(crate) fn from_yaml(file: &str, error: &serde_saphyr::Error) -> Self {
        let error = error.without_snippet();
        let location = error.location();
        let message = match error {
            serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
                let message = suggest::unknown("field", field, expected.iter().copied());
                match expected.as_slice() {
                    // A short list is worth more than a guess.
                    few @ [_, ..] if few.len() <= 8 && !message.contains("did you mean") => {
                        format!("{message}; known here: {}", few.join(", "))
                    }
                    _ => message,
                }
            }
            serde_saphyr::Error::SerdeUnknownVariant { variant, expected, .. } => {
                let message = suggest::unknown("value", variant, expected.iter().copied());
                format!("{message} (known: {})", expected.join(", "))
            }
            other => first_line(&other.render()),
        };
        DocumentError::Invalid {
            file: file.to_owned(),
            line: location.map_or(1, |at| at.line()),
            column: location.map_or(1, |at| at.column()),
            message,
        }
    }
}

/// The parser's own messages end with the place, which we give in front.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    match line.split_once("line ") {
        Some((place, rest)) if place.is_empty() => {
            rest.split_once(": ").map_or(line, |(_, message)| message).to_owned()
        }
        _ => line.to_owned(),
    }
}
