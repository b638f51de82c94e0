//! The container's state, which the runtime writes to a hook's stdin.

use std::io::Read;
use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::HookError;

/// A state holds the container's annotations, which may be large, but not this large.
const MAX_SIZE: usize = 4 << 20;

/// What is used of it. Other fields are the runtime's business.
#[derive(Debug)]
pub(crate) struct State {
    /// crun's addition: the root file system, as the host sees it (observed with crun 1.8.1).
    pub(crate) root: Option<PathBuf>,
}

pub(crate) fn read(input: impl Read) -> Result<State, HookError> {
    let mut bytes = Vec::new();
    input
        .take(MAX_SIZE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| HookError::State(error.to_string()))?;
    if bytes.len() > MAX_SIZE {
        return Err(HookError::State(format!("more than {MAX_SIZE} bytes")));
    }
    let state: Map<String, Value> =
        serde_json::from_slice(&bytes).map_err(|error| HookError::State(error.to_string()))?;
    Ok(State { root: state.get("root").and_then(Value::as_str).map(PathBuf::from) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_runtimes_states_are_read() {
        let runc =
            br#"{"ociVersion":"1.0.2-dev","id":"t","status":"creating","pid":1,"bundle":"/b"}"#;
        assert_eq!(read(&runc[..]).unwrap().root, None);
        let crun =
            br#"{"ociVersion":"1.0","id":"t","pid":0,"root":"/r","bundle":"/b","status":"created"}"#;
        assert_eq!(read(&crun[..]).unwrap().root, Some(PathBuf::from("/r")));
    }

    #[test]
    fn what_is_no_state_is_refused() {
        for bytes in [&b""[..], b"[]", b"{", b"{} {}"] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
        let padded = [&b"{}"[..], &vec![b' '; MAX_SIZE]].concat();
        assert!(read(&padded[..]).is_err());
        assert!(read(&padded[..MAX_SIZE]).is_ok());
    }
}
