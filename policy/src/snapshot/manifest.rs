//! The manifest of a set: every file of it with its digest, in the format of sha256sum(1).
//!
//! It makes many files one: a directory that is half changed does not match it, and neither does one
//! from which a file was taken. Signed, it vouches for the whole set.

use std::collections::BTreeMap;

use super::index::Root;
use super::sha256;
use crate::document::{MANIFEST, Sources};

/// Why a directory is not what its manifest says.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManifestError {
    /// A line is not one of sha256sum's.
    #[error(
        "{MANIFEST}:{line}: not a digest and a name as `sha256sum` writes them; write the file anew \
         (sha256sum *.yaml > {MANIFEST})"
    )]
    Line {
        /// The line, from 1.
        line: usize,
    },
    /// A file has another content.
    #[error(
        "{name} is not the file that {MANIFEST} names: its SHA-256 is another; put the file back, or write \
         {MANIFEST} anew and sign it"
    )]
    Other {
        /// The file.
        name: String,
    },
    /// A file is not in it.
    #[error(
        "{name} is not in {MANIFEST}, and every policy and profile must be; add it and sign anew, or \
         remove the file"
    )]
    Unlisted {
        /// The file.
        name: String,
    },
    /// It names what is not part of the set.
    #[error(
        "{MANIFEST} lists {name}, which is neither a policy file here nor a profile that one names; put the \
         file back, or take it off the list and sign anew"
    )]
    Gone {
        /// The file.
        name: String,
    },
}

/// Holds a directory against its manifest. A directory without one is not held against anything.
///
/// # Errors
/// The first difference.
pub fn check_manifest(sources: &Sources) -> Result<(), ManifestError> {
    let Some(manifest) = &sources.manifest else { return Ok(()) };
    let mut listed = parse(manifest)?;
    for (name, bytes) in sources.members() {
        let digest =
            listed.remove(name).ok_or_else(|| ManifestError::Unlisted { name: name.to_owned() })?;
        if sha256(bytes) != digest.0 {
            return Err(ManifestError::Other { name: name.to_owned() });
        }
    }
    match listed.into_keys().next() {
        Some(name) => Err(ManifestError::Gone { name: name.to_owned() }),
        None => Ok(()),
    }
}

fn parse(manifest: &[u8]) -> Result<BTreeMap<&str, Root>, ManifestError> {
    let text = std::str::from_utf8(manifest).map_err(|_| ManifestError::Line { line: 1 })?;
    let mut listed = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let wrong = || ManifestError::Line { line: at + 1 };
        // Two spaces, or one and a star for "binary", which is the same here.
        let (digest, name) =
            line.split_once("  ").or_else(|| line.split_once(" *")).ok_or_else(wrong)?;
        let digest = digest.parse().map_err(|_| wrong())?;
        let name = name.strip_prefix("./").unwrap_or(name);
        if listed.insert(name, digest).is_some() {
            return Err(wrong());
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(manifest: &str) -> Sources {
        Sources {
            files: BTreeMap::from([("a.yaml".to_owned(), b"a".to_vec())]),
            profiles: BTreeMap::from([("p/b.json".to_owned(), b"b".to_vec())]),
            manifest: Some(manifest.as_bytes().to_vec()),
            ..Sources::default()
        }
    }

    const A: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    const B: &str = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d";

    #[test]
    fn every_file_stands_in_it_and_none_besides() {
        let whole = format!("{A}  a.yaml\n{B} *./p/b.json\n");
        assert_eq!(check_manifest(&set(&whole)), Ok(()));
        let name = |name: &str| name.to_owned();
        for (manifest, error) in [
            (format!("{A}  a.yaml\n"), ManifestError::Unlisted { name: name("p/b.json") }),
            (
                format!("{B}  a.yaml\n{B}  p/b.json\n"),
                ManifestError::Other { name: name("a.yaml") },
            ),
            (format!("{whole}{A}  c.yaml\n"), ManifestError::Gone { name: name("c.yaml") }),
            (format!("{whole}{A}  a.yaml\n"), ManifestError::Line { line: 3 }),
            (format!("{whole}\n"), ManifestError::Line { line: 3 }),
            (format!("{A}\ta.yaml\n"), ManifestError::Line { line: 1 }),
            ("abc  a.yaml\n".to_owned(), ManifestError::Line { line: 1 }),
        ] {
            assert_eq!(check_manifest(&set(&manifest)), Err(error), "{manifest}");
        }
        assert_eq!(check_manifest(&Sources { manifest: None, ..set("") }), Ok(()));
    }
}
