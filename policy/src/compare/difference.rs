//! What differs between two sets of policies, in words and as data.

use std::fmt;

use serde::Serialize;

/// Whether the new set demands more or less there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Direction {
    /// The new set demands less than the old one, or waives more.
    Looser,
    /// Each demands something that the other does not, or it could not be told. Counts as looser.
    Incomparable,
    /// The new set demands more than the old one, or waives less.
    Tighter,
    /// Nothing that is enforced differs.
    Neutral,
}

impl Direction {
    /// Whether something that is enforced may be less than before.
    pub fn loosens(self) -> bool {
        matches!(self, Direction::Looser | Direction::Incomparable)
    }

    /// The same, seen from the other set.
    pub(super) fn reversed(self) -> Direction {
        match self {
            Direction::Looser => Direction::Tighter,
            Direction::Tighter => Direction::Looser,
            other => other,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Direction::Looser => "looser",
            Direction::Incomparable => "not comparable",
            Direction::Tighter => "tighter",
            Direction::Neutral => "no effect",
        })
    }
}

/// A kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    /// A policy.
    Policy,
    /// A waiver.
    Waiver,
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The file; `built-in` for what is compiled in.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Whether the new set demands more or less.
    pub direction: Direction,
    /// A policy or a waiver.
    pub subject: Subject,
    /// Its name.
    pub name: String,
    /// The field that differs (`spec.capabilities`, `spec.match`); none where the whole document does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The controls that it concerns.
    pub controls: Vec<String>,
    /// What differs, in a few words.
    pub what: String,
    /// What the old set says, in words.
    pub before: String,
    /// What the new set says, in words.
    pub after: String,
    /// For which containers, in words.
    pub containers: String,
    /// Where the old set says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Place>,
    /// Where the new set says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Place>,
}

impl Difference {
    /// The same, seen from the other set.
    pub(super) fn reversed(self) -> Difference {
        Difference {
            direction: self.direction.reversed(),
            before: self.after,
            after: self.before,
            old: self.new,
            new: self.old,
            ..self
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file, self.line)
    }
}

/// On one line: `looser: policy payments, spec.capabilities (p.yaml:7): allow adds NET_ADMIN; for all
/// containers`.
impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = match self.subject {
            Subject::Policy => "policy",
            Subject::Waiver => "waiver",
        };
        write!(formatter, "{}: {subject} {}", self.direction, self.name)?;
        if let Some(field) = &self.field {
            write!(formatter, ", {field}")?;
        }
        match (&self.old, &self.new) {
            (Some(old), Some(new)) if old != new => write!(formatter, " ({old}, now {new})")?,
            (Some(place), _) | (None, Some(place)) => write!(formatter, " ({place})")?,
            (None, None) => {}
        }
        write!(formatter, ": {}; for {}", self.what, self.containers)
    }
}
