//! The container's state, which a runtime writes to a hook's stdin (runtime-spec 1.2, runtime.md, "State").
//!
//! Judged before it is believed: it names the bundle in whose name a container passes or fails.

use std::io::Read;
use std::path::PathBuf;

use serde::Deserialize;

/// The largest state that is read, in bytes. It holds the container's annotations, which may be large,
/// but not this large.
pub const MAX_SIZE: usize = 4 << 20;

/// Why what came on stdin is no state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It could not be read.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It is larger than [`MAX_SIZE`].
    #[error("is larger than {MAX_SIZE} bytes")]
    TooLarge,
    /// It is not JSON, or a field is absent, twice there, or not of its type.
    #[error("is not what the runtime-spec says: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A field has a value that no runtime writes.
    #[error("has a {field} that no runtime writes: {value:?}")]
    Value {
        /// The field.
        field: &'static str,
        /// What it holds.
        value: String,
    },
}

/// A container's state. What else runtimes write into it is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct State {
    /// The container's id.
    pub id: String,
    /// `creating`, `created`, `running` or `stopped`.
    pub status: String,
    /// The container's first process in the runtime's PID namespace; 0 where there is none.
    #[serde(default)]
    pub pid: i32,
    /// The absolute path of the bundle.
    pub bundle: PathBuf,
}

impl State {
    /// Reads a state to its end.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn read(input: impl Read) -> Result<State, StateError> {
        let mut bytes = Vec::new();
        input.take(MAX_SIZE as u64 + 1).read_to_end(&mut bytes)?;
        State::parse(&bytes)
    }

    /// Reads a state that is there as a whole.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn parse(bytes: &[u8]) -> Result<State, StateError> {
        if bytes.len() > MAX_SIZE {
            return Err(StateError::TooLarge);
        }
        let state: State = serde_json::from_slice(bytes)?;
        let wrong = |field, value: &str| StateError::Value { field, value: cut(value) };
        // The runtimes' own rule of names (runc libcontainer/factory_linux.go, `validateID`).
        let is_name = |c: char| c.is_ascii_alphanumeric() || "_+-.:@".contains(c);
        if state.id.is_empty()
            || !state.id.chars().all(is_name)
            || [".", ".."].contains(&&*state.id)
        {
            return Err(wrong("id", &state.id));
        }
        if !["creating", "created", "running", "stopped"].contains(&&*state.status) {
            return Err(wrong("status", &state.status));
        }
        if state.pid < 0 {
            return Err(wrong("pid", &state.pid.to_string()));
        }
        if !state.bundle.is_absolute() || state.bundle.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(wrong("bundle", &state.bundle.to_string_lossy()));
        }
        Ok(state)
    }
}

fn cut(value: &str) -> String {
    value.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RUNC: &str = r#"{"ociVersion":"1.0.2-dev","id":"t","status":"creating","pid":7,"bundle":"/b","annotations":{"a":"b"}}"#;
    const CRUN: &str =
        r#"{"ociVersion":"1.0","id":"t","pid":0,"root":"/r","bundle":"/b","status":"created"}"#;

    #[test]
    fn both_runtimes_states_are_read() {
        for (text, pid) in [(RUNC, 7), (CRUN, 0)] {
            let state = State::read(text.as_bytes()).unwrap();
            assert_eq!((state.id.as_str(), state.pid), ("t", pid));
            assert_eq!(state.bundle, PathBuf::from("/b"));
        }
    }

    #[test]
    fn what_no_runtime_writes_is_refused() {
        let changed = |from: &str, to: &str| RUNC.replacen(from, to, 1);
        let bad = [
            String::new(),
            "[]".to_owned(),
            "null".to_owned(),
            format!("{RUNC}{RUNC}"),
            RUNC[..RUNC.len() - 1].to_owned(),
            changed("\"id\":\"t\",", ""),
            changed("\"bundle\":\"/b\",", ""),
            changed("\"bundle\":\"/b\"", "\"bundle\":\"b\""),
            changed("\"bundle\":\"/b\"", "\"bundle\":\"/b\\u0000\""),
            changed("\"bundle\":\"/b\"", "\"bundle\":\"/b\",\"bundle\":\"/c\""),
            changed("\"id\":\"t\"", "\"id\":\"../t\""),
            changed("\"id\":\"t\"", "\"id\":\"..\""),
            changed("\"id\":\"t\"", "\"id\":\"\""),
            changed("creating", "paused"),
            changed("\"pid\":7", "\"pid\":-7"),
            changed("\"pid\":7", "\"pid\":99999999999"),
            changed("\"pid\":7", "\"pid\":\"7\""),
        ];
        for text in bad {
            assert!(State::parse(text.as_bytes()).is_err(), "{text}");
        }
        let padded = format!("{RUNC}{}", " ".repeat(MAX_SIZE));
        assert!(matches!(State::read(padded.as_bytes()), Err(StateError::TooLarge)));
        let nested = format!("{{\"x\":{}", "[".repeat(100_000));
        assert!(State::parse(nested.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_state_or_an_error(bytes: Vec<u8>) {
            let _ = State::parse(&bytes);
        }

        #[test]
        fn what_is_taken_names_one_container_and_an_absolute_bundle(
            id in "[a-z./_]{0,6}", status in "(creating|created|gone)", bundle in "/?[a-z./]{0,8}",
        ) {
            let text = serde_json::json!({"ociVersion": "1.2.0", "id": id, "status": status,
                "pid": 1, "bundle": bundle}).to_string();
            if let Ok(state) = State::parse(text.as_bytes()) {
                prop_assert_eq!(&state.id, &id);
                prop_assert!(!id.contains('/') && id != "." && id != ".." && !id.is_empty());
                prop_assert!(status != "gone" && state.bundle.starts_with("/"));
            }
        }
    }
}
