//! Ranges of user and group ids, in a form in which equal sets are equal values.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// Ranges of ids. A list of ranges in any order; those that touch are one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdRanges {
    /// The ranges, bounds included. An empty list holds no id.
    ranges: Vec<IdRange>,
}

/// A range of ids, bounds included.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdRange {
    /// The lowest id of the range.
    pub min: u32,
    /// The highest id of the range.
    pub max: u32,
}

impl IdRanges {
    /// The ids of all these ranges.
    pub fn of(ranges: impl IntoIterator<Item = IdRange>) -> Self {
        let mut ranges: Vec<IdRange> =
            ranges.into_iter().filter(|range| range.min <= range.max).collect();
        ranges.sort();
        let mut merged: Vec<IdRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.min <= last.max.saturating_add(1) => {
                    last.max = last.max.max(range.max);
                }
                _ => merged.push(range),
            }
        }
        IdRanges { ranges: merged }
    }

    /// Whether an id is in one of the ranges.
    pub fn contain(&self, id: u32) -> bool {
        self.ranges.iter().any(|range| (range.min..=range.max).contains(&id))
    }

    /// Whether some id is in a range and not below `least`.
    pub fn has_any(&self, least: u32) -> bool {
        self.ranges.iter().any(|range| range.max >= least)
    }

    /// The ids that both have.
    pub fn meet(&self, other: &Self) -> Self {
        IdRanges::of(self.ranges.iter().flat_map(|ours| {
            other.ranges.iter().map(|theirs| IdRange {
                min: ours.min.max(theirs.min),
                max: ours.max.min(theirs.max),
            })
        }))
    }
}

impl<'de> Deserialize<'de> for IdRanges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Written {
            ranges: Vec<IdRange>,
        }
        let Written { ranges } = Written::deserialize(deserializer)?;
        match ranges.iter().find(|range| range.min > range.max) {
            Some(IdRange { min, max }) => Err(de::Error::custom(format!(
                "the range from {min} to {max} is empty; min comes before max"
            ))),
            None => Ok(IdRanges::of(ranges)),
        }
    }
}

impl fmt::Display for IdRanges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ranges.is_empty() {
            return formatter.write_str("no id");
        }
        let ranges: Vec<String> = self
            .ranges
            .iter()
            .map(|range| match range.min == range.max {
                true => range.min.to_string(),
                false => format!("{} to {}", range.min, range.max),
            })
            .collect();
        formatter.write_str(&ranges.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_are_equal_values() {
        let range = |min, max| IdRange { min, max };
        let split = IdRanges::of([range(5, 9), range(1, 4), range(3, 3), range(20, 10)]);
        assert_eq!(split, IdRanges::of([range(1, 9)]));
        assert_eq!(
            split.meet(&IdRanges::of([range(0, 2), range(8, 30)])).to_string(),
            "1 to 2, 8 to 9"
        );
        assert!(IdRanges::of([range(0, u32::MAX), range(7, 7)]).contain(u32::MAX));
        assert!(serde_json::from_str::<IdRanges>(r#"{"ranges":[{"min":2,"max":1}]}"#).is_err());
    }
}
