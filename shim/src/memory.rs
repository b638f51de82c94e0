//! What was worked out for a start before, in files beside the compiled filters.
//!
//! They are root's alone, in /run, or came with the image: what is trusted here is what is trusted of the filters there, and no more than of the
//! records.

use std::path::{Path, PathBuf};

use coaming_policy::memory::Memory;
use sha2::{Digest, Sha256};

use crate::baked;
use crate::host::hex;
use crate::launch::store;

/// The largest answer that is kept, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// A folder of answers. One that cannot be read or written costs time, and nothing else.
#[derive(Debug)]
pub struct Remembered(PathBuf);

impl Remembered {
    /// What is kept in a folder of root's.
    pub fn in_folder(folder: &Path) -> Remembered {
        Remembered(folder.to_owned())
    }

    fn file(&self, key: &[u8; 32]) -> PathBuf {
        self.0.join(name(key))
    }
}

fn name(key: &[u8; 32]) -> String {
    format!("{}.met", hex(key))
}

/// What was kept, if it is what its digest says.
fn checked(bytes: &[u8]) -> Option<Vec<u8>> {
    let (digest, answer) = bytes.split_at_checked(32)?;
    (Sha256::digest(answer).as_slice() == digest).then(|| answer.to_vec())
}

impl Memory for Remembered {
    fn recall(&self, key: &[u8; 32]) -> Option<Vec<u8>> {
        let kept = std::fs::read(self.file(key)).ok().and_then(|bytes| checked(&bytes));
        kept.or_else(|| {
            let bytes = baked::filter(&name(key))?;
            let answer = checked(&bytes)?;
            let _ = store(&self.file(key), &bytes);
            Some(answer)
        })
    }

    fn keep(&self, key: &[u8; 32], answer: &[u8]) {
        if answer.len() <= MAX_ANSWER {
            let mut bytes = Sha256::digest(answer).to_vec();
            bytes.extend_from_slice(answer);
            let _ = store(&self.file(key), &bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_back_as_it_was_kept_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Remembered::in_folder(&folder.path().join("not there yet"));
        let key = [7; 32];
        assert_eq!(memory.recall(&key), None);
        memory.keep(&key, b"answer");
        assert_eq!(memory.recall(&key).as_deref(), Some(&b"answer"[..]));
        assert_eq!(memory.recall(&[8; 32]), None);
        let file = memory.file(&key);
        let mut bytes = std::fs::read(&file).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&file, bytes).unwrap();
        assert_eq!(memory.recall(&key), None, "damaged");
        memory.keep(&[9; 32], &vec![0; MAX_ANSWER + 1]);
        assert_eq!(memory.recall(&[9; 32]), None, "too large");
    }
}
