//! What was put into an image, for people and as a document.

use std::io::Write;

use serde::Serialize;

use super::plan::number;
use crate::error::CommandError;
use crate::install;
use crate::output::{BAD, CAREFUL, GOOD, count, printable, styled};

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) root: String,
    /// Whether it was only looked at.
    pub(super) checked: bool,
    pub(super) version: &'static str,
    pub(super) policies: usize,
    pub(super) waivers: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signed_by: Option<String>,
    /// How many files of filters.
    pub(super) filters: usize,
    pub(super) changes: Vec<String>,
    pub(super) refused: Vec<String>,
    pub(super) notes: Vec<String>,
    /// What became of the managers of containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) managers: Option<install::Report>,
    /// Why none was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unmanaged: Option<String>,
}

impl Report {
    /// Whether the root is as it was asked to be.
    pub(super) fn is_fine(&self) -> bool {
        self.refused.is_empty()
            && self.unmanaged.is_none()
            && (!self.checked || self.changes.is_empty())
            && self.managers.as_ref().is_none_or(install::Report::is_fine)
    }

    pub(super) fn show(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        let state = if !self.refused.is_empty() {
            styled(BAD, "REFUSED, and nothing was written")
        } else if self.changes.is_empty() {
            styled(GOOD, "baked and current; nothing was changed")
        } else if self.checked {
            styled(CAREFUL, &format!("NOT as asked: {}", number(&self.changes)))
        } else {
            styled(GOOD, &format!("baked: {}", number(&self.changes)))
        };
        writeln!(out, "{}: {state}", self.root)?;
        for why in &self.refused {
            writeln!(out, "  {}", printable(why))?;
        }
        if self.refused.is_empty() {
            writeln!(
                out,
                "  coaming {}, {} and {}, {} compiled ahead",
                self.version,
                count(self.policies, "policy", "policies"),
                count(self.waivers, "waiver", "waivers"),
                count(self.filters, "filter or answer", "filters and answers"),
            )?;
            if let Some(key) = &self.signed_by {
                writeln!(out, "  signed by {key}")?;
            }
        }
        for change in &self.changes {
            writeln!(out, "  {}", printable(change))?;
        }
        for note in &self.notes {
            writeln!(out, "  note: {}", printable(note))?;
        }
        if let Some(why) = &self.unmanaged {
            writeln!(
                out,
                "managers of containers: {}: {}; --no-managers leaves them as they are",
                styled(BAD, "REFUSED"),
                printable(why)
            )?;
        }
        match &self.managers {
            Some(managers) => managers.show(out),
            None => Ok(()),
        }
    }
}
