//! Whether a directory as it is now may take the place of the set in force.

use coaming_config::{Loosening, Signatures};
use serde::{Deserialize, Serialize};

use super::{Keys, SignatureError, Signed, check_manifest};
use crate::compare::compare;
use crate::document::{Directory, MANIFEST, Moment, SIGNATURE, Sources};

/// A directory that is to be taken.
#[derive(Debug)]
pub struct Offer<'a> {
    /// Its files.
    pub sources: &'a Sources,
    /// What they say.
    pub directory: &'a Directory,
    /// How changes that loosen are taken.
    pub loosening: Loosening,
    /// Whether a set must be signed.
    pub signatures: Signatures,
    /// The keys whose signatures count.
    pub keys: &'a Keys,
    /// The latest time of a signature under which a set was taken.
    pub latest_signature: Option<u64>,
    /// Whether somebody who may said that it may loosen.
    pub commanded: bool,
}

/// The set in force, to be compared with.
#[derive(Debug)]
pub struct SetInForce<'a> {
    /// What it says.
    pub directory: &'a Directory,
    /// The digest of its files.
    pub digest: [u8; 32],
}

/// What becomes of an offer.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is taken.
    Accepted {
        /// Who signed it, where its signature counts.
        signed: Option<Signed>,
        /// What it loosens.
        looser: Vec<String>,
    },
    /// It is not.
    Refused(Refusal),
}

/// Why a directory is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Refusal {
    /// What kind of reason it is.
    pub kind: Kept,
    /// The reason, in words, with what to do.
    pub why: String,
    /// What it would have loosened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looser: Vec<String>,
}

/// Why an earlier set is kept in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kept {
    /// The directory is unreadable, invalid, or not what its manifest says.
    Broken,
    /// It loosens, and nobody who may has said that it may.
    Loosens,
    /// Its signature is missing or wrong.
    Signature,
}

/// Judges an offer. Without a set in force there is nothing that could be loosened.
pub fn judge(offer: &Offer<'_>, in_force: Option<&SetInForce<'_>>) -> Verdict {
    if let Err(error) = check_manifest(offer.sources) {
        return refused(Kept::Broken, error.to_string());
    }
    let signed = signed(offer);
    if let (Signatures::Required, Err(error)) = (offer.signatures, &signed) {
        return refused(Kept::Signature, error.to_string());
    }
    let accepted =
        |looser: Vec<String>| Verdict::Accepted { signed: signed.as_ref().ok().cloned(), looser };
    let Some(in_force) = in_force.filter(|set| set.digest != offer.sources.digest()) else {
        return accepted(Vec::new());
    };
    let comparison = compare(in_force.directory, offer.directory);
    let looser: Vec<String> = comparison.looser().map(ToString::to_string).collect();
    let may = match offer.loosening {
        Loosening::Free => true,
        Loosening::Explicit => offer.commanded || signed.is_ok(),
        Loosening::Signed => signed.is_ok(),
    };
    if looser.is_empty() || may {
        return accepted(looser);
    }
    let mut why = match offer.loosening {
        Loosening::Signed => {
            "it loosens, and only a signed set may (policy.loosening); sign it".to_owned()
        },
        _ => "it loosens, and nobody has said that it may; look at it and run `coaming load --loosen`"
            .to_owned(),
    };
    match &signed {
        Err(SignatureError::Missing(..)) if offer.loosening != Loosening::Signed => {}
        Err(error) => why.push_str(&format!(" ({error})")),
        Ok(_) => {}
    }
    Verdict::Refused(Refusal { kind: Kept::Loosens, why, looser })
}

fn refused(kind: Kept, why: String) -> Verdict {
    Verdict::Refused(Refusal { kind, why, looser: Vec::new() })
}

/// Who signed the set, if that counts.
fn signed(offer: &Offer<'_>) -> Result<Signed, SignatureError> {
    let missing = |name: &str, command| SignatureError::Missing(name.to_owned(), command);
    let manifest = offer.sources.manifest.as_ref().ok_or_else(|| {
        let sums = format!("sha256sum *.yaml > {MANIFEST} && minisign -S -m {MANIFEST}");
        missing(MANIFEST, sums)
    })?;
    let signature = offer.sources.signature.as_ref();
    let signature =
        signature.ok_or_else(|| missing(SIGNATURE, format!("minisign -S -m {MANIFEST}")))?;
    let signed = offer.keys.verify(manifest, signature)?;
    match offer.latest_signature {
        Some(latest) if latest > signed.timestamp => Err(SignatureError::Older(
            Moment(signed.timestamp).to_string(),
            Moment(latest).to_string(),
        )),
        _ => Ok(signed),
    }
}
