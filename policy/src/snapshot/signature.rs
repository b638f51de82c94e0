//! Signatures as minisign(1) makes them: Ed25519, with a trusted comment that says when.

use minisign_verify::{PublicKey, Signature};
use serde::{Deserialize, Serialize};

/// The public keys that a node trusts.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<(String, PublicKey)>);

/// Who signed, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Signed {
    /// The public key, as it stands in the configuration.
    pub key: String,
    /// Seconds since 1970, as the signer's clock had it.
    pub timestamp: u64,
}

/// Why a signature does not count.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SignatureError {
    /// There is none.
    #[error("there is no signature ({0} is missing); write it with `{1}`")]
    Missing(String, String),
    /// It is not one.
    #[error("the signature is not one of minisign's: {0}; sign anew with `minisign -S -m FILE`")]
    Malformed(String),
    /// No trusted key made it.
    #[error(
        "no key under trusted_keys made this signature of this content; sign what is there now, with \
         a key that is listed"
    )]
    Untrusted,
    /// It does not say when it was made.
    #[error("the signature's trusted comment has no timestamp; sign without -t")]
    Timeless,
    /// An older set was put back.
    #[error(
        "the signature is older ({0}) than that of a set that was in force ({1}): an older set is not \
         taken back; sign it anew"
    )]
    Older(String, String),
    /// The configuration's keys are wrong.
    #[error("trusted_keys: {0:?} is no public key of minisign's (the second line of minisign.pub)")]
    Key(String),
}

impl Keys {
    /// Reads public keys.
    ///
    /// # Errors
    /// [`SignatureError::Key`].
    pub fn parse(keys: &[String]) -> Result<Keys, SignatureError> {
        let read = |key: &String| match PublicKey::from_base64(key) {
            Ok(public) => Ok((key.clone(), public)),
            Err(_) => Err(SignatureError::Key(key.clone())),
        };
        keys.iter().map(read).collect::<Result<_, _>>().map(Keys)
    }

    /// Whether no key is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who of the trusted signed a content, and when.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(&self, content: &[u8], signature: &[u8]) -> Result<Signed, SignatureError> {
        let text = std::str::from_utf8(signature)
            .map_err(|_| SignatureError::Malformed("it is not UTF-8".to_owned()))?;
        let signature = Signature::decode(text)
            .map_err(|error| SignatureError::Malformed(error.to_string()))?;
        // Prehashed, as minisign signs since 0.10, and the trusted comment with it.
        let by = |(_, key): &&(String, PublicKey)| key.verify(content, &signature, false).is_ok();
        let (key, _) = self.0.iter().find(by).ok_or(SignatureError::Untrusted)?;
        let field = |part: &str| part.strip_prefix("timestamp:").and_then(|time| time.parse().ok());
        let timestamp = signature.trusted_comment().split('\t').find_map(field);
        Ok(Signed { key: key.clone(), timestamp: timestamp.ok_or(SignatureError::Timeless)? })
    }
}
