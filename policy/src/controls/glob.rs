//! A pattern for names: `*` stands for any run of characters, everything else for itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

/// A pattern for names. `*` stands for any run of characters, none included; every other character
/// stands for itself. A pattern without `*` matches exactly its own text, and one that ends in `*`
/// is a prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Glob(#[schemars(length(min = 1))] String);

impl Glob {
    /// Whether the pattern matches the whole of `text`.
    pub fn matches(&self, text: &str) -> bool {
        matches(&self.0, text)
    }

    /// Whether it does when letters are compared without regard to case.
    pub fn matches_ignoring_case(&self, text: &str) -> bool {
        matches(&self.0.to_lowercase(), &text.to_lowercase())
    }

    /// Whether the pattern stands for itself alone.
    pub fn is_literal(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether the pattern is known to match all that the other matches.
    pub fn covers(&self, other: &Glob) -> bool {
        // The stars of the other are matched as characters, which only a star of this one can do; and
        // what stands for a star stands for anything in its place.
        self.matches(&other.0)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether `pattern` matches the whole of `text`: the pieces between the stars are taken from left
/// to right, each at the first place where it stands, which leaves the most room for the rest.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    let Some(mut rest) = rest.strip_suffix(last) else {
        return false;
    };
    for piece in pieces {
        let Some((_, after)) = rest.split_once(piece) else {
            return false;
        };
        rest = after;
    }
    true
}

impl FromStr for Glob {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err("an empty pattern matches nothing; write a name, or * for every one");
        }
        Ok(Glob(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_stand_for_any_run() {
        for (pattern, text) in [
            ("a", "a"),
            ("*", ""),
            ("a*", "a"),
            ("*.b", "a.b"),
            ("a*b*c", "a-b-b-c"),
            ("a**b", "ab"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("a", "ab"), ("a*a", "a"), ("*.b", "b"), ("a*b*c", "acb"), ("a*", "b")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        let covers = |wide: &str, narrow: &str| Glob(wide.into()).covers(&Glob(narrow.into()));
        assert!(
            covers("a*", "ab*") && covers("*", "a*b") && covers("a*c", "ab*c") && covers("a", "a")
        );
        assert!(!covers("ab*", "a*") && !covers("a", "*") && !covers("a*c", "a*"));
        assert!("Run.OCI.*".parse::<Glob>().unwrap().matches_ignoring_case("run.oci.x"));
        assert!("".parse::<Glob>().is_err());
    }

    /// The definition, tried every way.
    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, left) => left.is_none(),
            (Some((b'*', rest)), _) => (0..=text.len()).any(|skip| slow(rest, &text[skip..])),
            (Some((want, rest)), Some((have, after))) => want == have && slow(rest, after),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*]{0,6}", text in "[ab]{0,6}") {
            prop_assert_eq!(matches(&pattern, &text), slow(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn what_is_covered_matches_too(wide in "[ab*]{1,5}", narrow in "[ab*]{1,5}", text in "[ab]{0,6}") {
            let (wide, narrow) = (Glob(wide), Glob(narrow));
            prop_assert!(!wide.covers(&narrow) || !narrow.matches(&text) || wide.matches(&text));
        }
    }
}
