//! Allow-lists that combine exactly.
//!
//! The strictest of two lists of patterns is no list of patterns in general (what do `a*` and `*b`
//! have in common?). Keeping both and asking a value to match in each is exact, and the order in
//! which lists came together does not show. A list that has all entries of another demands nothing
//! beside it, and is not kept.

use std::collections::BTreeSet;
use std::fmt::Display;

use serde::{Deserialize, Serialize};

/// Lists of what is allowed: a value must match some entry of every list. No list allows all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent, bound(deserialize = "T: Ord + Deserialize<'de>"))]
pub struct AllowLists<T: Ord>(BTreeSet<BTreeSet<T>>);

impl<T: Ord + Clone> AllowLists<T> {
    /// No list: everything is allowed.
    pub fn all() -> Self {
        AllowLists(BTreeSet::new())
    }

    /// One list. An empty one allows nothing.
    pub fn of(entries: impl IntoIterator<Item = T>) -> Self {
        AllowLists([entries.into_iter().collect()].into())
    }

    /// The list of a document, in which a list left out allows all.
    pub fn from_document(entries: Option<BTreeSet<T>>) -> Self {
        AllowLists(entries.into_iter().collect())
    }

    /// Whether everything is allowed.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `matches` holds for some entry of every list.
    pub fn allow(&self, matches: impl Fn(&T) -> bool) -> bool {
        self.0.iter().all(|list| list.iter().any(&matches))
    }

    /// Whether it is known that no value matches in every list: one has only entries that stand for a
    /// value each (`value` tells which), and none of those is `allowed`.
    pub fn allow_none_of<'a>(
        &'a self,
        value: impl Fn(&'a T) -> Option<&'a str>,
        allowed: impl Fn(&str) -> bool,
    ) -> bool {
        self.0
            .iter()
            .any(|list| list.iter().all(|entry| value(entry).is_some_and(|value| !allowed(value))))
    }

    /// Allows what both allow.
    pub fn meet(&self, other: &Self) -> Self {
        let lists = &self.0 | &other.0;
        let implied = |list: &BTreeSet<T>| {
            lists.iter().any(|other| other.len() < list.len() && other.is_subset(list))
        };
        AllowLists(lists.iter().filter(|list| !implied(list)).cloned().collect())
    }
}

impl<T: Ord + Clone + Display> AllowLists<T> {
    /// What is allowed, in words.
    pub fn in_words(&self) -> String {
        let lists: Vec<String> = self
            .0
            .iter()
            .map(|list| match list.is_empty() {
                true => "none".to_owned(),
                false => list.iter().map(T::to_string).collect::<Vec<_>>().join(", "),
            })
            .collect();
        if lists.is_empty() { "any".to_owned() } else { lists.join("; and of these: ") }
    }
}

impl<T: Ord + Clone> Default for AllowLists<T> {
    fn default() -> Self {
        Self::all()
    }
}

/// The names that both lists have; a list left out has all.
pub(super) fn intersection<T: Ord + Clone>(
    ours: Option<&BTreeSet<T>>,
    theirs: Option<&BTreeSet<T>>,
) -> Option<BTreeSet<T>> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => Some(ours & theirs),
        (ours, theirs) => ours.or(theirs).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::glob::Glob;

    fn list(patterns: &[&str]) -> AllowLists<Glob> {
        AllowLists::of(patterns.iter().map(|pattern| pattern.parse().unwrap()))
    }

    #[test]
    fn what_both_allow_is_exact() {
        let both = list(&["a*"]).meet(&list(&["*b"]));
        assert!(both.allow(|glob| glob.matches("a-b")));
        assert!(!both.allow(|glob| glob.matches("a")));
        assert!(!list(&[]).allow(|glob| glob.matches("a")));
        assert!(AllowLists::<Glob>::all().allow(|glob| glob.matches("a")));
        assert_eq!(both, list(&["*b"]).meet(&list(&["a*"])));
        assert_eq!(both.in_words(), "*b; and of these: a*");
    }

    #[test]
    fn a_list_with_all_of_another_is_not_kept() {
        let few = list(&["a"]);
        assert_eq!(few.meet(&list(&["a", "b"])), few);
        assert_eq!(list(&["a", "b"]).meet(&few).meet(&list(&["b"])), few.meet(&list(&["b"])));
    }
}
