//! Container ids, which become path components under the runtime's root and under `/run/coaming`.

use std::ffi::OsStr;
use std::fmt;

use super::ArgvError;

/// NAME_MAX: the id is one path component.
const MAX_ID: usize = 255;

/// An id made of `[A-Za-z0-9_+.-]`, neither `.` nor `..`: what runc takes
/// (libcontainer, `validateID`; runc 1.1 let a comma through by a slip in the range).
/// Narrower in one thing: a leading dash, which the runtimes would read as a flag, is refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerId(String);

impl ContainerId {
    /// Checks one word of a command line; `verb` is for the message.
    pub(super) fn parse(verb: &'static str, word: &OsStr) -> Result<Self, ArgvError> {
        Self::check(word).map_err(|why| ArgvError::BadId {
            verb,
            id: word.to_string_lossy().into_owned(),
            why,
        })
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(word: &OsStr) -> Result<Self, &'static str> {
        let id = word.to_str().ok_or("it is not UTF-8")?;
        if id.is_empty() {
            return Err("it is empty");
        }
        if id.len() > MAX_ID {
            return Err("it is longer than 255 bytes");
        }
        if id == "." || id == ".." {
            return Err("it names a directory");
        }
        if id.starts_with('-') {
            return Err("it starts with a dash");
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"_+.-".contains(&b);
        if !id.bytes().all(allowed) {
            return Err("only letters, digits, '_', '+', '-' and '.' may stand in it");
        }
        Ok(Self(id.to_owned()))
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ContainerId {
    type Err = ArgvError;

    fn from_str(word: &str) -> Result<Self, ArgvError> {
        Self::parse("container id", OsStr::new(word))
    }
}

#[cfg(test)]
mod tests {
    use super::ContainerId;

    #[test]
    fn ids_are_single_safe_path_components() {
        for good in ["a", "ctr-1", "A_b+c.d", "...", &"x".repeat(255)] {
            assert!(good.parse::<ContainerId>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "../x", "a b", "-x", "a,b", "é", "a\n", &"x".repeat(256)]
        {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
        }
    }
}
