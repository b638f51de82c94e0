//! Objects of Kubernetes, as files and `kubectl get` give them.

use std::path::Path;

use coaming_policy::document::{DocumentError, parse_strict};
use serde_json::Value;

/// An object, and what is needed of every one.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) value: Value,
}

/// Reads a file of objects; lists are taken apart.
pub(super) fn read(path: &Path, bytes: Vec<u8>) -> Result<Vec<Object>, DocumentError> {
    let file = path.display().to_string();
    let text = String::from_utf8(bytes).map_err(|error| DocumentError::Untrusted {
        path: file.clone(),
        problem: format!("not UTF-8: {error}"),
    })?;
    let mut objects = Vec::new();
    for value in parse_strict::<Value>(&file, &text)? {
        match value.get("items").and_then(Value::as_array) {
            Some(items) if text_of(&value, "/kind").ends_with("List") => {
                objects.extend(items.iter().cloned().map(Object::of));
            }
            _ if value.is_null() => {}
            _ => objects.push(Object::of(value)),
        }
    }
    Ok(objects)
}

impl Object {
    fn of(value: Value) -> Object {
        let namespace = value.pointer("/metadata/namespace").and_then(Value::as_str);
        Object {
            api_version: text_of(&value, "/apiVersion").to_owned(),
            kind: text_of(&value, "/kind").to_owned(),
            name: text_of(&value, "/metadata/name").to_owned(),
            namespace: namespace.map(str::to_owned),
            value,
        }
    }

    /// `SeccompProfile demo/web`.
    pub(super) fn title(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} {namespace}/{}", self.kind, self.name),
            None => format!("{} {}", self.kind, self.name),
        }
    }
}

fn text_of<'a>(value: &'a Value, place: &str) -> &'a str {
    value.pointer(place).and_then(Value::as_str).unwrap_or_default()
}
