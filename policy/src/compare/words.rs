//! Rules in words: what one says, and what differs between two.

use std::any::Any;

use serde_json::Value;

use super::landlock;
use super::order::{Order, as_seccomp, seccomp_in_brief};
use crate::controls::Rule;

/// The most characters of a rule that are shown.
const LONGEST: usize = 400;

/// What a rule says: `allow: [KILL, NET_ADMIN]`.
pub(super) fn rule<R: Order>(rule: &R) -> String {
    if *rule == R::top() {
        return "nothing is demanded".to_owned();
    }
    cut(value(&written(rule)))
}

/// What differs, with an example of what is allowed and was not, where there is one.
pub(super) fn change<R: Order>(old: &R, new: &R) -> String {
    let mut changes = Vec::new();
    changed(&written(old), &written(new), "", &mut changes);
    let mut words = changes.join("; ");
    if let Some(example) = new.example_beyond(old) {
        words = format!("{words}; allowed now, for example: {example}");
    }
    cut(words)
}

fn written<R: Rule + Any>(rule: &R) -> Value {
    let of: &dyn Any = rule;
    match (as_seccomp(rule), of.downcast_ref()) {
        (Some(seccomp), _) => seccomp_in_brief(seccomp),
        (None, Some(landlock)) => landlock::in_brief(landlock),
        (None, None) => serde_json::to_value(rule).unwrap_or(Value::Null),
    }
}

/// A text that is not too long for a line.
pub(super) fn cut(text: String) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Lists that must all allow are kept as a list of lists; of one alone nobody wants to know.
fn unwrapped(value: &Value) -> &Value {
    match value {
        Value::Array(items) => match items.as_slice() {
            [list @ Value::Array(_)] => list,
            _ => value,
        },
        _ => value,
    }
}

fn value(of: &Value) -> String {
    match unwrapped(of) {
        Value::Null => "nothing said".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(value).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let said = fields.iter().filter(|(_, field)| !field.is_null());
            let said: Vec<String> =
                said.map(|(name, field)| format!("{name}: {}", value(field))).collect();
            said.join(", ")
        }
        other => other.to_string(),
    }
}

fn changed(old: &Value, new: &Value, place: &str, changes: &mut Vec<String>) {
    let (old, new) = (unwrapped(old), unwrapped(new));
    if old == new {
        return;
    }
    let at = |words: String| match place {
        "" => words,
        place => format!("{place} {words}"),
    };
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let names: Vec<&String> = before
                .keys()
                .chain(after.keys().filter(|name| !before.contains_key(*name)))
                .collect();
            for name in names {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                let part = |of: &serde_json::Map<String, Value>| of.get(name).cloned();
                changed(
                    &part(before).unwrap_or_default(),
                    &part(after).unwrap_or_default(),
                    &place,
                    changes,
                );
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            let beyond = |some: &[Value], others: &[Value]| {
                let some: Vec<String> =
                    some.iter().filter(|item| !others.contains(item)).map(value).collect();
                (!some.is_empty()).then(|| some.join(", "))
            };
            let words = match (beyond(after, before), beyond(before, after)) {
                (Some(added), Some(dropped)) => format!("adds {added} and drops {dropped}"),
                (Some(added), None) => format!("adds {added}"),
                (None, Some(dropped)) => format!("drops {dropped}"),
                (None, None) => "is in another order".to_owned(),
            };
            changes.push(at(words));
        }
        (Value::Null, new) => changes.push(at(format!("is now {}", value(new)))),
        (old, Value::Null) => changes.push(at(format!("was {} and is left out", value(old)))),
        (old, new) => changes.push(at(format!("was {} and is now {}", value(old), value(new)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::capabilities::Capabilities;
    use crate::controls::no_new_privileges::NoNewPrivileges;
    use serde_json::json;

    #[test]
    fn rules_and_changes_are_told_in_their_own_terms() {
        let of = |names: Value| -> Capabilities {
            serde_json::from_value(json!({"allow": names})).unwrap()
        };
        let (few, more) = (of(json!(["KILL"])), of(json!(["KILL", "NET_ADMIN"])));
        assert_eq!(rule(&few), "allow: [KILL]");
        assert_eq!(change(&few, &more), "allow adds NET_ADMIN");
        assert_eq!(change(&more, &few), "allow drops NET_ADMIN");
        assert_eq!(rule(&Capabilities::top()), "nothing is demanded");
        assert_eq!(change(&few, &Capabilities::top()), "allow was [KILL] and is left out");
        assert_eq!(
            change(&NoNewPrivileges(true), &NoNewPrivileges(false)),
            "was true and is now false"
        );
    }
}
