//! Versions of runtimes, as they name themselves, and their order.

use std::cmp::Ordering;

/// A version: numbers, and a release candidate's number. What a distribution or a build adds
/// (`+ds1`, `+dev`, `-dirty`, a commit) is no part of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Without zeroes at the end: 1.28 is 1.28.0.
    numbers: Vec<u64>,
    /// The number of a release candidate; `None` for the release, which is later than all of them.
    candidate: Option<u64>,
}

/// More parts than any release has had.
const MOST_PARTS: usize = 8;

impl Version {
    /// Reads `1.1.5+ds1`, `1.0.0-rc93`, `1.2.0-rc.1`, `1.1.0~rc.1+ds1`, `0.12.2.1`, `v1.5.0`. `None` where it does
    /// not begin with a number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Version> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(text.len());
        let (numbers, rest) = text.split_at_checked(end)?;
        let mut numbers: Vec<u64> = numbers
            .split('.')
            .take(MOST_PARTS)
            .map(|number| number.parse().ok())
            .collect::<Option<_>>()?;
        while numbers.last() == Some(&0) && numbers.len() > 1 {
            numbers.pop();
        }
        Some(Version { numbers, candidate: candidate(rest) })
    }
}

/// The number of `-rc93`, `-rc.1`, `~rc1`. Without a number (`-rc`, which nobody has released) it is the first.
fn candidate(rest: &str) -> Option<u64> {
    let rest = rest.strip_prefix(['-', '~'])?.strip_prefix("rc")?;
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    let end = rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len());
    Some(rest.get(..end).and_then(|digits| digits.parse().ok()).unwrap_or(0))
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.candidate, other.candidate) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(ours), Some(theirs)) => ours.cmp(&theirs),
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn versions_are_in_the_order_in_which_they_were_released() {
        let order = [
            "0.1.1",
            "1.0.0-rc3",
            "1.0.0-rc9",
            "1.0.0-rc10",
            "1.0.0~rc93+ds1",
            "1.0.0",
            "1.0.3",
            "1.1.0-rc.1",
            "1.1.0",
            "1.1.5+ds1",
            "1.1.14",
            "1.2.0-rc.3",
            "1.2.0",
            "1.10.0",
        ];
        for pair in order.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        for same in [("1.28", "1.28.0"), ("v1.5.0", "1.5.0+dev"), ("1.8.1\n", "1.8.1-dirty")] {
            assert_eq!(version(same.0), version(same.1), "{same:?}");
        }
    }

    #[test]
    fn what_is_no_version_is_none() {
        for text in ["", "unknown", "-1", "1..2", ".", "1.", "99999999999999999999999.1"] {
            assert_eq!(Version::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_the_order_is_total(a in ".{0,24}", b in "[0-9.~+rc-]{0,16}") {
            let parsed = (Version::parse(&a), Version::parse(&b));
            if let (Some(a), Some(b)) = parsed {
                prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            }
        }
    }
}
