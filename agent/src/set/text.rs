//! An object as a document that says that object and nothing else: JSON, which is YAML, held against what its readers see.

use coaming_policy::document::parse_strict;
use serde_json::{Map, Value};

/// The text of a document: one line of JSON, its keys sorted below `spec`.
///
/// # Errors
/// A text that a reader of YAML would take for something else.
pub(super) fn document(head: &Value, spec: &Value) -> Result<String, String> {
    let mut whole = head.as_object().cloned().unwrap_or_default();
    whole.insert("spec".to_owned(), sorted(spec));
    let whole = Value::Object(whole);
    let text = escaped(&whole.to_string());
    says_only(&text, &whole).map(|()| text)
}

/// That a reader of YAML sees this one document and no other.
pub(super) fn says_only(text: &str, whole: &Value) -> Result<(), String> {
    match parse_strict::<Value>("object", text) {
        Ok(read) if read.len() == 1 && read.first() == Some(whole) => Ok(()),
        Ok(_) => Err("as a document it would say something else than the object does: it has keys or texts that YAML reads in \
                      another way; write them otherwise"
            .to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// With keys in one order, whatever order they came in.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields.keys().collect();
            keys.sort();
            let field = |key: &String| (key.clone(), fields.get(key).map_or(Value::Null, sorted));
            Value::Object(keys.into_iter().map(field).collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}

/// JSON lets characters stand that YAML takes for breaks or refuses (YAML 1.2, 5.1 and 5.4).
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            other => text.push(other),
        }
    }
    text
}
