//! Which containers a `match` selects, and whether another selects all of them.
//!
//! It goes by the form in which a selector is written down, field by field. Of the lists of globs and of
//! container types it is known what they say; a field that is not known here compares by equality alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::controls::glob::Glob;
use crate::document::Match;

/// The fields of a selector that are lists of globs: absent, everything is selected; present, a container
/// is selected where some of what is said of it matches some entry.
const LISTS: [(&str, &str); 4] = [
    ("namespaces", "namespace"),
    ("pods", "pod"),
    ("containers", "container"),
    ("images", "image"),
];
const TYPES: &str = "containerTypes";

/// The most combinations of single entries into which a selector is taken apart. Beyond it the selector
/// is compared whole, and a selector that is divided among several policies is not recognised.
const MOST_PARTS: usize = 1024;

/// The containers that a selector selects.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scope {
    lists: BTreeMap<&'static str, Vec<Glob>>,
    /// `None`: all of them.
    types: Option<BTreeSet<String>>,
    /// What is not known here.
    other: BTreeMap<String, Value>,
}

impl Scope {
    /// Every container.
    pub(super) fn everything() -> Scope {
        Scope { lists: BTreeMap::new(), types: None, other: BTreeMap::new() }
    }

    pub(super) fn of(selector: &Match) -> Scope {
        let mut scope = Scope::everything();
        let written = match serde_json::to_value(selector) {
            Ok(Value::Object(fields)) => fields,
            // It is not comparable with anything then, itself included.
            other => [("match".to_owned(), other.unwrap_or(Value::Null))].into_iter().collect(),
        };
        for (field, value) in written {
            let known = LISTS.iter().find(|(list, _)| *list == field);
            let read = |value: &Value| serde_json::from_value::<Vec<Glob>>(value.clone()).ok();
            match (known, &value) {
                (_, Value::Null) => {}
                (Some((list, _)), value) if read(value).is_some() => {
                    scope.lists.insert(list, read(value).unwrap_or_default());
                }
                (None, Value::Array(types)) if field == TYPES => {
                    let types = types.iter().filter_map(Value::as_str).map(str::to_owned);
                    scope.types = Some(types.collect());
                }
                _ => {
                    scope.other.insert(field, value);
                }
            }
        }
        scope
    }

    /// Whether every container that `part` selects is selected here too.
    ///
    /// It holds for selection by any of contradicting annotations and for selection by all of them: each
    /// value that matches an entry of `part` matches one here.
    pub(super) fn includes(&self, part: &Scope) -> bool {
        let covered = |list: &str, wide: &[Glob]| {
            part.lists.get(list).is_some_and(|narrow| {
                narrow.iter().all(|glob| wide.iter().any(|wide| wide.covers(glob)))
            })
        };
        let types = match (&self.types, &part.types) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wide), Some(narrow)) => narrow.is_subset(wide),
        };
        types
            && self.other == part.other
            && self.lists.iter().all(|(list, wide)| covered(list, wide))
    }

    /// Whether it is known that no container is selected by both.
    pub(super) fn is_apart_from(&self, other: &Scope) -> bool {
        let lists = self.lists.iter().any(|(list, ours)| {
            other.lists.get(list).is_some_and(|theirs| {
                !ours.iter().any(|glob| theirs.iter().any(|other| have_common(glob, other)))
            })
        });
        let types = match (&self.types, &other.types) {
            (Some(ours), Some(theirs)) => ours.is_disjoint(theirs),
            _ => false,
        };
        lists || types
    }

    /// Selectors with one entry in each list, which together select what this one does: a container that
    /// an entry of every list selects is selected by the part with these entries. Nothing where the
    /// selector selects nothing.
    pub(super) fn parts(&self) -> Vec<Scope> {
        let lists = self.lists.values().map(Vec::len);
        let types = self.types.as_ref().map_or(1, BTreeSet::len);
        let count = lists.fold(types, usize::saturating_mul);
        if count == 0 {
            return Vec::new();
        }
        if count > MOST_PARTS {
            return vec![self.clone()];
        }
        let mut parts = vec![Scope { lists: BTreeMap::new(), ..self.clone() }];
        if let Some(types) = &self.types {
            parts = each(&parts, types, |part, name| {
                part.types = Some([name.clone()].into());
            });
        }
        for (list, globs) in &self.lists {
            parts = each(&parts, globs, |part, glob| {
                part.lists.insert(list, vec![glob.clone()]);
            });
        }
        parts
    }

    /// Parts of one selector as one again: entries of each list together. It may say more than the parts
    /// do, and is for people to read.
    pub(super) fn gathered(parts: &[Scope]) -> Scope {
        let mut parts = parts.iter();
        let Some(mut all) = parts.next().cloned() else { return Scope::everything() };
        for part in parts {
            all.lists.retain(|list, _| part.lists.contains_key(list));
            for (list, globs) in &mut all.lists {
                for glob in part.lists.get(list).into_iter().flatten() {
                    if !globs.contains(glob) {
                        globs.push(glob.clone());
                    }
                }
            }
            all.types = match (all.types, &part.types) {
                (Some(ours), Some(theirs)) => Some(&ours | theirs),
                _ => None,
            };
        }
        all
    }

    /// The containers, in words.
    pub(super) fn in_words(&self) -> String {
        let sandboxes = |types: &BTreeSet<String>| types.contains("sandbox");
        let kind = match &self.types {
            Some(types) if types.is_empty() => "no containers",
            Some(types) if types.len() == 1 && sandboxes(types) => "pod sandboxes",
            Some(types) if !sandboxes(types) => "containers",
            _ => "containers and pod sandboxes",
        };
        let mut words = Vec::new();
        for (list, singular) in LISTS {
            match self.lists.get(list).map(Vec::as_slice) {
                None => {}
                Some([]) => words.push(format!("of no {singular}")),
                Some([glob]) => words.push(format!("of {singular} {glob}")),
                Some(globs) => {
                    let names: Vec<&str> = globs.iter().map(Glob::as_str).collect();
                    words.push(format!("of {list} {}", names.join(", ")));
                }
            }
        }
        words.extend(self.other.iter().map(|(field, value)| format!("with {field} {value}")));
        match words.is_empty() {
            true if kind == "no containers" => kind.to_owned(),
            true => format!("all {kind}"),
            false => format!("{kind} {}", words.join(", ")),
        }
    }
}

fn each<T>(
    parts: &[Scope],
    entries: impl IntoIterator<Item = T> + Clone,
    set: impl Fn(&mut Scope, T),
) -> Vec<Scope> {
    let mut all = Vec::new();
    for part in parts {
        for entry in entries.clone() {
            let mut part = part.clone();
            set(&mut part, entry);
            all.push(part);
        }
    }
    all
}

/// Whether some text matches both patterns.
fn have_common(a: &Glob, b: &Glob) -> bool {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.as_str().chars().collect(), b.as_str().chars().collect());
    // Row by row over the beginnings of `a`: which beginnings of `b` have a text in common with it.
    let extend = |row: &mut Vec<bool>| {
        for (index, character) in b.iter().enumerate() {
            if *character == '*' && row.get(index) == Some(&true) {
                row.get_mut(index + 1).into_iter().for_each(|reached| *reached = true);
            }
        }
    };
    let mut row: Vec<bool> = std::iter::once(true).chain(b.iter().map(|_| false)).collect();
    extend(&mut row);
    for ours in &a {
        let mut next = vec![false; row.len()];
        if *ours == '*' {
            // It stands for nothing, or for what the other says from wherever they were alike.
            let mut reached = false;
            for (before, after) in row.iter().zip(&mut next) {
                reached |= *before;
                *after = reached;
            }
        } else {
            for (index, theirs) in b.iter().enumerate() {
                let alike = row.get(index) == Some(&true) && (theirs == ours || *theirs == '*');
                // A star of the other stands for this character and may stand for more.
                let stay = *theirs == '*' && row.get(index + 1) == Some(&true);
                if alike || stay {
                    next.get_mut(index + 1).into_iter().for_each(|reached| *reached = true);
                }
            }
        }
        extend(&mut next);
        row = next;
    }
    row.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn scope(selector: Value) -> Scope {
        Scope::of(&serde_json::from_value(selector).unwrap())
    }

    #[test]
    fn lists_compare_by_what_they_say() {
        let wide = scope(json!({"namespaces": ["pay-*", "shop"]}));
        assert!(wide.includes(&scope(json!({"namespaces": ["pay-eu", "pay-a*"]}))));
        assert!(wide.includes(&scope(json!({"namespaces": ["shop"], "images": ["*"]}))));
        assert!(!wide.includes(&scope(json!({"namespaces": ["pay"]}))));
        assert!(!wide.includes(&scope(json!({}))), "a container outside Kubernetes");
        let both = scope(json!({"containerTypes": ["sandbox", "container"]}));
        assert!(both.includes(&wide) && !wide.includes(&both));
        assert!(Scope::everything().includes(&both) && !both.includes(&Scope::everything()));
    }

    #[test]
    fn a_field_that_is_not_known_compares_by_equality_alone() {
        let with = |value: Value| {
            let mut scope = scope(json!({"namespaces": ["a"]}));
            scope.other.insert("expression".to_owned(), value);
            scope
        };
        assert!(with(json!("x")).includes(&with(json!("x"))));
        assert!(!with(json!("x")).includes(&with(json!("y"))));
        let without = scope(json!({"namespaces": ["a"]}));
        assert!(!without.includes(&with(json!("x"))) && !with(json!("x")).includes(&without));
    }

    #[test]
    fn parts_are_the_whole() {
        let whole = scope(json!({"namespaces": ["a", "b"], "images": ["x", "y", "z"]}));
        assert_eq!(whole.parts().len(), 6);
        assert!(whole.parts().iter().all(|part| whole.includes(part)));
        assert_eq!(Scope::gathered(&whole.parts()), whole);
        assert!(scope(json!({"pods": []})).parts().is_empty());
        let many: Vec<String> = (0..40).map(|number| format!("n{number}")).collect();
        assert_eq!(scope(json!({"namespaces": many, "pods": many})).parts().len(), 1);
    }

    #[test]
    fn words_name_the_containers() {
        assert_eq!(scope(json!({})).in_words(), "all containers");
        assert_eq!(
            scope(
                json!({"namespaces": ["a", "b"], "images": ["i"], "containerTypes": ["sandbox"]})
            )
            .in_words(),
            "pod sandboxes of namespaces a, b, of image i"
        );
        assert_eq!(Scope::everything().in_words(), "all containers and pod sandboxes");
    }

    proptest! {
        #[test]
        fn patterns_without_a_common_text_are_told(a in "[ab*]{1,5}", b in "[ab*]{1,5}", text in "[ab]{0,6}") {
            let (a, b): (Glob, Glob) = (a.parse().unwrap(), b.parse().unwrap());
            prop_assert!(!(a.matches(&text) && b.matches(&text)) || have_common(&a, &b));
            prop_assert_eq!(have_common(&a, &b), have_common(&b, &a));
        }

        /// Short patterns have a short text in common, or none.
        #[test]
        fn patterns_with_a_common_text_have_one(a in "[ab*]{1,3}", b in "[ab*]{1,3}") {
            let (a, b): (Glob, Glob) = (a.parse().unwrap(), b.parse().unwrap());
            let mut texts = vec![String::new()];
            for _ in 0..6 {
                let longer = texts.iter().flat_map(|text| [format!("{text}a"), format!("{text}b")]);
                texts.extend(longer.collect::<Vec<_>>());
                texts.dedup();
            }
            let common = texts.iter().any(|text| a.matches(text) && b.matches(text));
            prop_assert_eq!(have_common(&a, &b), common);
        }
    }
}
