//! Reading the JSON tree: what is absent, null or of another type reads as absent, as it does for
//! the runtimes (Go leaves the zero value; a wrong type makes runc and crun refuse the document).

use serde_json::Value;

/// The value at a place such as `process.user.uid`; `None` where it is absent or null.
pub fn at<'a>(tree: &'a Value, field: &str) -> Option<&'a Value> {
    field.split('.').try_fold(tree, |value, key| value.get(key)).filter(|value| !value.is_null())
}

pub(crate) fn at_mut<'a>(tree: &'a mut Value, field: &str) -> Option<&'a mut Value> {
    field.split('.').try_fold(tree, |value, key| value.get_mut(key))
}

/// The boolean at a place; absent is `false`, the OCI default of every boolean that is floored.
pub fn flag(tree: &Value, field: &str) -> bool {
    at(tree, field).and_then(Value::as_bool).unwrap_or(false)
}

/// The string at a place; absent and empty are `None`, which is how the runtimes take them.
pub fn text<'a>(tree: &'a Value, field: &str) -> Option<&'a str> {
    at(tree, field).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// The elements of the array at a place; none where it is absent.
pub fn items<'a>(tree: &'a Value, field: &str) -> &'a [Value] {
    at(tree, field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The strings in the array at a place.
pub fn strings<'a>(tree: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    items(tree, field).iter().filter_map(Value::as_str)
}

/// The entries of the object at a place; none where it is absent.
pub fn entries<'a>(tree: &'a Value, field: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    at(tree, field)
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|object| object.iter().map(|(key, value)| (key.as_str(), value)))
}
