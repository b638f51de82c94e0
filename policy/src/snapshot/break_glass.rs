//! Break-glass: a signed waiver for one pod, honoured at once and not for long.

use super::{Keys, SignatureError, Signed};
use crate::controls::glob::Glob;
use crate::demands::Granted;
use crate::document::{Document, DocumentError, Moment, WaiverDocument, parse_documents};

/// How far a signer's clock may be ahead of the node's, in seconds.
const TOLERANCE: u64 = 5 * 60;
const HOUR: u64 = 60 * 60;

/// Why a break-glass waiver is not honoured.
#[derive(Debug, thiserror::Error)]
pub enum BreakGlassError {
    /// It cannot be read.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Its signature does not count.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// It is not a waiver for one pod.
    #[error("{0}")]
    TooWide(String),
    /// It was signed in the future.
    #[error(
        "it was signed at {signed}, which is after this node's time ({now}); set the clocks right"
    )]
    Future {
        /// The signature's time.
        signed: String,
        /// The node's.
        now: String,
    },
    /// It lasts too long.
    #[error(
        "it ends at {end}, more than {hours} hours after it was signed ({signed}); break_glass_hours \
         allows no more: let it end sooner"
    )]
    TooLong {
        /// Its end.
        end: String,
        /// The most that is allowed.
        hours: u64,
        /// The signature's time.
        signed: String,
    },
    /// It has ended.
    #[error("it ended at {0}; remove the file, or sign another that ends later")]
    Ended(String),
}

/// A waiver, and whether it is honoured.
pub type Answered = (WaiverDocument, Result<Granted, BreakGlassError>);

/// The waivers of a file, each with why it is not honoured where that is so.
///
/// # Errors
/// The file cannot be read at all.
pub fn break_glass(
    file: &str,
    text: &[u8],
    signature: Option<&[u8]>,
    keys: &Keys,
    hours: u64,
    now: Moment,
) -> Result<Vec<Answered>, BreakGlassError> {
    let utf8 = std::str::from_utf8(text)
        .map_err(|_| BreakGlassError::TooWide("it is not UTF-8; save it as UTF-8".to_owned()))?;
    let signed = match signature {
        Some(signature) => keys.verify(text, signature),
        None => Err(SignatureError::Missing(
            format!("{file}.minisig"),
            format!("minisign -S -m {file}"),
        )),
    };
    let mut waivers = Vec::new();
    for document in parse_documents(file, utf8)? {
        let Document::Waiver(waiver) = document else {
            return Err(BreakGlassError::TooWide(
                "a policy; only waivers may stand in the folder for emergencies".to_owned(),
            ));
        };
        let granted = signed.clone().map_err(BreakGlassError::from).and_then(|signed| {
            check(&waiver, &signed, hours, now)?;
            let (file, waiver) = (file.to_owned(), (*waiver).clone());
            Ok(Granted { file, waiver, break_glass: Some(signed.key) })
        });
        waivers.push((*waiver, granted));
    }
    Ok(waivers)
}

pub(super) fn check(
    waiver: &WaiverDocument,
    signed: &Signed,
    hours: u64,
    now: Moment,
) -> Result<(), BreakGlassError> {
    let selector = &waiver.spec.selector.value;
    for (field, globs) in [("namespaces", &selector.namespaces), ("pods", &selector.pods)] {
        let one = matches!(globs.as_deref(), Some([glob]) if Glob::is_literal(glob));
        if !one {
            return Err(BreakGlassError::TooWide(format!(
                "spec.match.{field} must name exactly one, without *: in an emergency one pod is \
                 freed, and no more"
            )));
        }
    }
    let (end, time) = (waiver.end(), Moment(signed.timestamp));
    if time.0 > now.0.saturating_add(TOLERANCE) {
        let (signed, now) = (time.to_string(), now.to_string());
        return Err(BreakGlassError::Future { signed, now });
    }
    if end <= now {
        return Err(BreakGlassError::Ended(end.to_string()));
    }
    if end.0 > time.0.saturating_add(hours.saturating_mul(HOUR)) {
        let (end, signed) = (end.to_string(), time.to_string());
        return Err(BreakGlassError::TooLong { end, hours, signed });
    }
    Ok(())
}
