//! Walks the specification's JSON schema (draft 4, in several files).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::Places;

/// Every place of `config-schema.json` of a folder.
pub(crate) fn places(folder: &Path) -> io::Result<Places> {
    let mut walk = Walk { files: BTreeMap::new(), places: Places::new() };
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            walk.files.insert(name, serde_json::from_str(&fs::read_to_string(&path)?)?);
        }
    }
    let root = "config-schema.json";
    let schema = walk.files.get(root).cloned().ok_or(io::ErrorKind::NotFound)?;
    walk.value(root, &schema, "", 0);
    Ok(walk.places)
}

struct Walk {
    files: BTreeMap<String, Value>,
    places: Places,
}

impl Walk {
    /// Notes what is at and below a place; whether anything is below it.
    fn value(&mut self, file: &str, schema: &Value, place: &str, depth: usize) -> bool {
        assert!(depth < 64, "a schema that holds itself at {place}");
        let mut holds = false;
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let (other, pointer) = reference.split_once('#').unwrap_or((reference, ""));
            let other = if other.is_empty() { file } else { other };
            let target = self.files.get(other).and_then(|schema| schema.pointer(pointer));
            let target =
                target.cloned().unwrap_or_else(|| panic!("{file}: {reference} leads nowhere"));
            holds |= self.value(other, &target, place, depth + 1);
        }
        for key in ["allOf", "anyOf", "oneOf"] {
            for part in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
                holds |= self.value(file, part, place, depth + 1);
            }
        }
        for (name, part) in
            schema.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            let below = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
            self.value(file, part, &below, depth + 1);
            self.places.insert(below);
            holds = true;
        }
        if let Some(items) = schema.get("items") {
            let below = format!("{place}[]");
            if self.value(file, items, &below, depth + 1) {
                self.places.insert(below);
                holds = true;
            }
        }
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        let values = patterns.into_iter().flat_map(|patterns| patterns.values());
        for part in values.chain(schema.get("additionalProperties").filter(|part| part.is_object()))
        {
            let below = format!("{place}{{}}");
            self.value(file, part, &below, depth + 1);
            self.places.insert(below);
            holds = true;
        }
        holds
    }
}
