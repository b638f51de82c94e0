//! A waiver as a snapshot keeps it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::demands::Granted;
use crate::document::{
    ApiVersion, At, Match, Metadata, Moment, Span, WaiverDocument, WaiverKind, WaiverSpec,
};

/// The same as the document says, without the lines that nobody asks for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Kept {
    file: String,
    line: u64,
    name: String,
    selector: Match,
    waives: BTreeSet<String>,
    policies: Option<BTreeSet<String>>,
    owner: String,
    reason: String,
    expires: Option<u64>,
    starts: Option<u64>,
    duration: Option<u64>,
}

impl Kept {
    pub(super) fn of(file: &str, waiver: &WaiverDocument) -> Kept {
        let WaiverSpec { selector, waives, policies, owner, reason, expires, starts, duration } =
            waiver.spec.clone();
        Kept {
            file: file.to_owned(),
            line: waiver.metadata.line,
            name: waiver.metadata.value.name.clone(),
            selector: selector.value,
            waives: waives.value,
            policies,
            owner: owner.value,
            reason: reason.value,
            expires: expires.map(|at| at.value.0),
            starts: starts.map(|at| at.value.0),
            duration: duration.map(|at| at.value.0),
        }
    }

    pub(super) fn granted(self) -> Granted {
        let line = self.line;
        Granted {
            file: self.file,
            waiver: WaiverDocument {
                api_version: ApiVersion::V1Alpha1,
                kind: WaiverKind::Waiver,
                metadata: At { value: Metadata { name: self.name }, line },
                spec: WaiverSpec {
                    selector: unplaced(self.selector),
                    waives: unplaced(self.waives),
                    policies: self.policies,
                    owner: unplaced(self.owner),
                    reason: unplaced(self.reason),
                    expires: self.expires.map(|at| unplaced(Moment(at))),
                    starts: self.starts.map(|at| unplaced(Moment(at))),
                    duration: self.duration.map(|span| unplaced(Span(span))),
                },
            },
            break_glass: None,
        }
    }
}

fn unplaced<T>(value: T) -> At<T> {
    At { value, line: 0 }
}
