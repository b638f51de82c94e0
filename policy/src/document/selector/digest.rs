//! The digest of an image.

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::facts::is_sha256;

/// `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Digest(#[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))] String);

impl Digest {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.strip_prefix("sha256:").is_some_and(is_sha256) {
            return Ok(Digest(text));
        }
        Err(de::Error::custom(format!(
            "{text:?} is not the digest of an image: sha256: and 64 lower-case hexadecimal digits"
        )))
    }
}
