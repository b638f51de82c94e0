//! Edits of the JSON tree, named by the field's place (`process.capabilities.bounding`).

use serde_json::{Map, Value};

/// One change to the tree. Array elements are never edited in place: a control that filters an
/// array sets the whole array, so that no edit depends on another's indices.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Sets the field, creating the objects that hold it.
    Set(String, Value),
    /// Removes the field; nothing happens where it is absent.
    Remove(String),
}

impl Edit {
    /// The field that the edit changes.
    pub fn field(&self) -> &str {
        match self {
            Edit::Set(field, _) | Edit::Remove(field) => field,
        }
    }

    /// Applies the edit. A value on the way that is not an object is replaced by one: the tree was
    /// malformed there, and what the floor asks for takes its place.
    pub fn apply(self, tree: &mut Value) {
        match self {
            Edit::Set(field, value) => set(tree, &field, value),
            Edit::Remove(field) => remove(tree, &field),
        }
    }
}

fn set(tree: &mut Value, field: &str, value: Value) {
    let mut at = tree;
    let mut keys = field.split('.').peekable();
    while let Some(key) = keys.next() {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let Value::Object(object) = at else { return };
        if keys.peek().is_none() {
            object.insert(key.to_owned(), value);
            return;
        }
        at = object.entry(key).or_insert_with(|| Value::Object(Map::new()));
    }
}

fn remove(tree: &mut Value, field: &str) {
    let (parent, key) = match field.rsplit_once('.') {
        Some((parent, key)) => (super::view::at_mut(tree, parent), key),
        None => (Some(tree), field),
    };
    if let Some(Value::Object(object)) = parent {
        // shift_remove: the order of what stays is the author's.
        object.shift_remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sets_and_removes_in_place() {
        let mut tree = json!({"z": 1, "process": {"args": ["a"], "cwd": "/"}, "b": 2});
        Edit::Set("process.capabilities.bounding".into(), json!([])).apply(&mut tree);
        Edit::Remove("z".into()).apply(&mut tree);
        Edit::Remove("process.args".into()).apply(&mut tree);
        Edit::Remove("linux.seccomp".into()).apply(&mut tree);
        assert_eq!(
            tree.to_string(),
            r#"{"process":{"cwd":"/","capabilities":{"bounding":[]}},"b":2}"#
        );
    }
}
