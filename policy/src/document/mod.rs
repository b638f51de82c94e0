//! Documents: what people write, in YAML or JSON.
//!
//! Every document is read strictly. An unknown field, a duplicate key, a wrong type or an unknown
//! name is an error with file, line and column, and the nearest known word where there is one.

mod any;
mod at;
mod directory;
mod error;
mod include;
mod mode;
mod policy;
mod selector;
mod sources;
mod waiver;

pub use any::{Document, parse_documents, parse_policies};
pub use at::At;
pub use coaming_config::{BuiltIn, DocumentError};
pub use directory::{Directory, read_directory};
pub use include::{Include, Part};
pub use mode::{Mode, Rollout, Terms};
pub use policy::{CONTROLS, MAY_BE_DEGRADED, Metadata, PolicyDocument, PolicySpec};
pub use selector::{Digest, Match};
pub use sources::{Listing, MANIFEST, MAX_FILES, SIGNATURE, Sources};
pub(crate) use waiver::Kind as WaiverKind;
pub use waiver::{Moment, SOON, Span, Waived, WaiverDocument, WaiverSpec};

/// The API version of every document.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
pub enum ApiVersion {
    /// The first published version; fields may still change before v1.
    #[serde(rename = "coaming.dev/v1alpha1")]
    V1Alpha1,
}

/// Reads documents of one type as strictly as those of policies; several are separated by `---`.
///
/// # Errors
/// [`DocumentError::Invalid`] with the place.
pub fn parse_strict<T: serde::de::DeserializeOwned>(
    file: &str,
    text: &str,
) -> Result<Vec<T>, DocumentError> {
    serde_saphyr::from_multiple_with_options(text, options())
        .map_err(|error| error::from_yaml(file, &error))
}

/// Reads a file that is one value of a type, as strictly as a document.
pub(crate) fn parse_strictly<T: serde::de::DeserializeOwned>(
    file: &str,
    bytes: &[u8],
) -> Result<T, DocumentError> {
    let text = std::str::from_utf8(bytes).map_err(|error| DocumentError::Untrusted {
        path: file.to_owned(),
        problem: format!("not UTF-8: {error}"),
    })?;
    serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| error::from_yaml(file, &error))
}

/// How documents are parsed: `yes` and `"true"` are no booleans, in whatever YAML they once were.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! { strict_booleans: true }
}
