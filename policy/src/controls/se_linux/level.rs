//! Levels of SELinux contexts: what they mean, and not how they are written.
//!
//! A level is a sensitivity and a set of categories (`s0:c1,c5.c7`); a context has a range of two, low
//! and high, written as one where they are equal (libsepol, `mls.c`). A level dominates another where its
//! sensitivity is no lower and it has all its categories. What a process may touch goes by its high level,
//! so that a range from `s0` to all categories is not narrow for its low end.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Categories that a policy may have: Linux distributions' have `c0` to `c1023`.
pub const CATEGORIES: u16 = 1024;
/// Longer than any range in its shortest form, in bytes.
const MAX_TEXT: usize = 16 * 1024;

/// Why a text is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no SELinux level: levels are written s0, s0:c1,c2 or s0-s0:c0.c1023, the higher one last, with categories up to c1023"
)]
pub struct LevelError(String);

/// A sensitivity and categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level {
    sensitivity: u16,
    categories: [u64; 16],
}

impl Level {
    /// A level of two categories at the lowest sensitivity, as each pod has one; `None` for one category
    /// twice, or where there is no such category.
    pub fn pair(one: u16, other: u16) -> Option<Level> {
        let mut level = Level { sensitivity: 0, categories: [0; 16] };
        level.add(one)?;
        level.add(other)?;
        (one != other).then_some(level)
    }

    /// Whether it is at least as high and has all categories of the other.
    pub fn dominates(&self, other: &Level) -> bool {
        self.meet(other) == *other
    }

    /// The categories, ascending.
    pub fn categories(&self) -> Vec<u16> {
        (0..CATEGORIES).filter(|category| self.has(*category)).collect()
    }

    fn has(&self, category: u16) -> bool {
        let word = self.categories.get(usize::from(category / 64)).copied().unwrap_or(0);
        word >> (category % 64) & 1 == 1
    }

    fn add(&mut self, category: u16) -> Option<()> {
        *self.categories.get_mut(usize::from(category / 64))? |= 1 << (category % 64);
        Some(())
    }

    /// The highest level that both dominate.
    fn meet(&self, other: &Level) -> Level {
        self.with(other, self.sensitivity.min(other.sensitivity), |ours, theirs| ours & theirs)
    }

    /// The lowest level that dominates both.
    fn join(&self, other: &Level) -> Level {
        self.with(other, self.sensitivity.max(other.sensitivity), |ours, theirs| ours | theirs)
    }

    fn with(&self, other: &Level, sensitivity: u16, word: fn(u64, u64) -> u64) -> Level {
        let mut categories = self.categories;
        for (ours, theirs) in categories.iter_mut().zip(other.categories) {
            *ours = word(*ours, theirs);
        }
        Level { sensitivity, categories }
    }
}

impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        parse(text).ok_or_else(|| LevelError(shortened(text)))
    }
}

fn parse(text: &str) -> Option<Level> {
    let (sensitivity, categories) = match text.split_once(':') {
        Some((sensitivity, categories)) => (sensitivity, Some(categories)),
        None => (text, None),
    };
    let mut level = Level { sensitivity: number(sensitivity, 's')?, categories: [0; 16] };
    for part in categories.into_iter().flat_map(|list| list.split(',')) {
        let (first, last) = part.split_once('.').unwrap_or((part, part));
        let (first, last) = (number(first, 'c')?, number(last, 'c')?);
        if first > last || last >= CATEGORIES {
            return None;
        }
        (first..=last).try_for_each(|category| level.add(category))?;
    }
    Some(level)
}

/// `c12` as 12. Neither signs nor needless zeros, which the kernel's policy has no such names for.
fn number(text: &str, letter: char) -> Option<u16> {
    let digits = text.strip_prefix(letter)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    (plain && (digits == "0" || !digits.starts_with('0'))).then(|| digits.parse().ok())?
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

impl fmt::Display for Level {
    /// As the kernel writes it: runs of two as `c1,c2`, longer ones as `c1.c3`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "s{}", self.sensitivity)?;
        let mut separator = ':';
        let mut categories = self.categories().into_iter().peekable();
        while let Some(first) = categories.next() {
            let mut last = first;
            while let Some(next) = categories.next_if_eq(&(last + 1)) {
                last = next;
            }
            write!(formatter, "{separator}c{first}")?;
            separator = ',';
            if last > first {
                let joined = if last == first + 1 { ',' } else { '.' };
                write!(formatter, "{joined}c{last}")?;
            }
        }
        Ok(())
    }
}

/// A range of levels: as a context's, the levels that a process has; as a rule's, the bounds within which
/// a context's range must lie. The high level dominates the low one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range {
    low: Level,
    high: Level,
}

impl Range {
    /// The lower end.
    pub fn low(&self) -> &Level {
        &self.low
    }

    /// The upper end, by which a process may touch what it does.
    pub fn high(&self) -> &Level {
        &self.high
    }

    /// Whether this range lies within the other.
    pub fn is_within(&self, bounds: &Range) -> bool {
        self.low.dominates(&bounds.low) && bounds.high.dominates(&self.high)
    }

    /// What lies in both; `None` where nothing does.
    pub fn meet(&self, other: &Range) -> Option<Range> {
        let range = Range { low: self.low.join(&other.low), high: self.high.meet(&other.high) };
        range.high.dominates(&range.low).then_some(range)
    }

    /// Whether it is one level of just two categories. Of two pairs neither dominates the other, as a
    /// single category, all of them, or none would.
    pub fn is_pair(&self) -> bool {
        self.low == self.high
            && self.low.categories.iter().map(|word| word.count_ones()).sum::<u32>() == 2
    }
}

/// The pairs that lie within bounds, numbered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairs {
    sensitivity: u16,
    /// Categories that each has, at most two.
    fixed: Vec<u16>,
    /// Of which the rest is.
    free: Vec<u16>,
}

impl Pairs {
    /// Those of a policy that names no bounds: of any two categories, at `s0`.
    pub fn all() -> Pairs {
        Pairs { sensitivity: 0, fixed: Vec::new(), free: (0..CATEGORIES).collect() }
    }

    /// None at all.
    pub fn none() -> Pairs {
        Pairs { sensitivity: 0, fixed: Vec::new(), free: Vec::new() }
    }

    /// Those within bounds, of the lowest sensitivity that these allow.
    pub fn within(bounds: &Range) -> Pairs {
        let fixed = bounds.low.categories();
        let free = bounds.high.categories().into_iter().filter(|free| !fixed.contains(free));
        Pairs { sensitivity: bounds.low.sensitivity, free: free.collect(), fixed }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        let free = self.free.len();
        match self.fixed.len() {
            0 => free * free.saturating_sub(1) / 2,
            1 => free,
            2 => 1,
            _ => 0,
        }
    }

    /// The pair of a number below [`Pairs::count`].
    pub fn get(&self, number: usize) -> Option<Level> {
        let free = |index: usize| self.free.get(index).copied();
        let (one, other) = match *self.fixed.as_slice() {
            // Row by row of a triangle: 0 with 1; 0 and 1 with 2; ...
            [] => {
                let (mut column, mut row) = (number, 1);
                while column >= row {
                    column -= row;
                    row += 1;
                }
                (free(column)?, free(row)?)
            }
            [one] => (one, free(number)?),
            [one, other] if number == 0 => (one, other),
            _ => return None,
        };
        Some(Level { sensitivity: self.sensitivity, ..Level::pair(one, other)? })
    }
}

impl From<Level> for Range {
    fn from(level: Level) -> Range {
        Range { low: level, high: level }
    }
}

impl FromStr for Range {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Self, LevelError> {
        let wrong = || LevelError(shortened(text));
        if text.len() > MAX_TEXT {
            return Err(wrong());
        }
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let range = Range { low: low.parse()?, high: high.parse()? };
        if range.high.dominates(&range.low) { Ok(range) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Range {
    type Error = LevelError;

    fn try_from(text: String) -> Result<Self, LevelError> {
        text.parse()
    }
}

impl From<Range> for String {
    fn from(range: Range) -> String {
        range.to_string()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.low == self.high {
            true => write!(formatter, "{}", self.low),
            false => write!(formatter, "{}-{}", self.low, self.high),
        }
    }
}

impl schemars::JsonSchema for Range {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Level".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> Range {
        text.parse().unwrap()
    }

    #[test]
    fn levels_are_compared_by_what_they_mean() {
        assert_eq!(range("s0:c2,c1"), range("s0:c1.c2"));
        assert_eq!(range("s0:c1,c2-s0:c1.c2"), range("s0:c1,c2"));
        assert_eq!(range("s0:c0.c2,c3,c9-s1:c0.c1023").to_string(), "s0:c0.c3,c9-s1:c0.c1023");
        let bounds = range("s0-s0:c0.c511");
        assert!(range("s0:c1,c511").is_within(&bounds) && range("s0").is_within(&bounds));
        for wider in ["s0-s0:c0.c1023", "s0:c512", "s1", "s0-s1"] {
            assert!(!range(wider).is_within(&bounds), "{wider}");
        }
        // Pinned to one level: neither more nor fewer categories.
        let pinned = range("s0:c1,c2");
        assert!(!range("s0").is_within(&pinned) && !range("s0-s0:c1,c2").is_within(&pinned));
    }

    #[test]
    fn pairs_are_of_two_categories() {
        assert!(range("s0:c1,c2").is_pair() && range("s0:c0,c1023").is_pair());
        for text in ["s0", "s0:c1", "s0:c1.c3", "s0-s0:c1,c2", "s0-s0:c0.c1023"] {
            assert!(!range(text).is_pair(), "{text}");
        }
        assert_eq!(Level::pair(5, 5), None);
        assert_eq!(Level::pair(5, 1024), None);
    }

    #[test]
    fn what_is_no_level_is_not_taken_for_one() {
        let long = format!("s0:{}", "c1,".repeat(10_000));
        for text in [
            "",
            "s",
            "0",
            "s0:",
            "s0:c",
            "s0:c1,",
            "s0:c2.c1",
            "s0:c1024",
            "s0:c01",
            "s0:c+1",
            "s00",
            "s0:c1.c2.c3",
            "s1-s0",
            "s0:c1-s0:c2",
            "s0-s0-s0",
            " s0",
            "s0:c1, c2",
            "s99999",
            "low",
            &long,
        ] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
        assert!(long.parse::<Range>().unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn pairs_are_numbered_without_gaps_and_each_once() {
        let few = Pairs::within(&range("s0-s0:c3,c7,c1020.c1023"));
        let all: std::collections::BTreeSet<String> =
            (0..few.count()).map(|number| few.get(number).unwrap().to_string()).collect();
        assert_eq!((few.count(), all.len()), (15, 15));
        assert!(all.contains("s0:c3,c7") && all.contains("s0:c1022,c1023"), "{all:?}");
        assert_eq!(few.get(15), None);
        assert_eq!(Pairs::all().count(), 1024 * 1023 / 2);
        assert_eq!(Pairs::all().get(523_775).unwrap().to_string(), "s0:c1022,c1023");
        let half = Pairs::within(&range("s1:c5-s2:c4.c6"));
        assert_eq!((half.count(), half.get(1).unwrap().to_string()), (2, "s1:c5,c6".to_owned()));
        assert_eq!(Pairs::within(&range("s0:c1,c2-s0:c0.c9")).count(), 1);
        for none in ["s0", "s0:c1", "s0:c1.c3"] {
            assert_eq!(Pairs::within(&range(none)).count(), 0, "{none}");
            assert_eq!(Pairs::within(&range(none)).get(0), None, "{none}");
        }
    }

    fn level() -> impl Strategy<Value = Level> {
        // Few categories, at both ends, so that levels are often comparable.
        let some = proptest::sample::subsequence(vec![0u16, 1, 2, 63, 64, 1023], 0..=6);
        (0u16..3, some).prop_map(|(sensitivity, some)| {
            let mut level = Level { sensitivity, categories: [0; 16] };
            some.into_iter().for_each(|category| level.add(category).unwrap());
            level
        })
    }

    fn any_range() -> impl Strategy<Value = Range> {
        (level(), level())
            .prop_map(|(one, other)| Range { low: one.meet(&other), high: one.join(&other) })
    }

    proptest! {
        #[test]
        fn levels_are_a_lattice(a in level(), b in level(), c in level()) {
            prop_assert_eq!(a.meet(&b), b.meet(&a));
            prop_assert_eq!(a.join(&b), b.join(&a));
            prop_assert_eq!(a.meet(&b).meet(&c), a.meet(&b.meet(&c)));
            prop_assert_eq!(a.join(&b).join(&c), a.join(&b.join(&c)));
            prop_assert_eq!(a.meet(&a.join(&b)), a);
            prop_assert_eq!(a.join(&a.meet(&b)), a);
            prop_assert!(!(a.dominates(&b) && b.dominates(&a)) || a == b);
            prop_assert!(!(a.dominates(&b) && b.dominates(&c)) || a.dominates(&c));
        }

        #[test]
        fn ranges_meet_where_both_allow(a in any_range(), b in any_range(), c in any_range()) {
            prop_assert_eq!(a.meet(&b), b.meet(&a));
            let within_both = c.is_within(&a) && c.is_within(&b);
            prop_assert_eq!(a.meet(&b).is_some_and(|both| c.is_within(&both)), within_both);
            prop_assert_eq!(a.to_string().parse::<Range>().unwrap(), a);
            prop_assert!(!(a.is_pair() && b.is_pair() && a.high.dominates(&b.low)
                && a.high.sensitivity == b.high.sensitivity) || a == b);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[sc0-9.,:-]{0,24}") {
            if let Ok(range) = text.parse::<Range>() {
                prop_assert_eq!(range.to_string().parse::<Range>().unwrap(), range);
            }
        }
    }
}
