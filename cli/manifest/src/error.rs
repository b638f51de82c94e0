//! Why a manifest is not understood.

/// Why a manifest is not understood.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ManifestError {
    /// Larger than [`crate::MAX_BYTES`].
    #[error(
        "{file}: {bytes} bytes of manifests, more than the {} that are read; split it",
        crate::MAX_BYTES
    )]
    TooLarge {
        /// The file.
        file: String,
        /// Its size.
        bytes: usize,
    },
    /// More pods than [`crate::MAX_PODS`].
    #[error("{file}: more than the {} pods that are read from one file; split it", crate::MAX_PODS)]
    TooMany {
        /// The file.
        file: String,
    },
    /// Neither YAML nor JSON.
    #[error("{file}:{line}:{column}: {message}")]
    Syntax {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// The column, from 1.
        column: u64,
        /// What is wrong.
        message: String,
    },
    /// A field is not what Kubernetes takes there.
    #[error("{place}: {message}")]
    Wrong {
        /// The field, with the file and the object before it where they are known.
        place: String,
        /// What is wrong.
        message: String,
    },
}

impl ManifestError {
    /// The same, with what it is about before its place.
    pub(crate) fn within(self, what: &str) -> ManifestError {
        match self {
            ManifestError::Wrong { place, message } => {
                let place =
                    if place.is_empty() { what.to_owned() } else { format!("{what}: {place}") };
                ManifestError::Wrong { place, message }
            }
            other => other,
        }
    }
}
