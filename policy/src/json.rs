//! Strict JSON: what we read is what the runtime will read.
//!
//! Go's `encoding/json` (runc) matches object keys without regard to case and lets a duplicate key
//! overwrite the first; serde matches exactly. A bundle with `"Process"` beside `"process"` would be
//! judged by one reading and run by the other, so such input is refused, not repaired.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::spec::table;

/// The largest OCI document read, in bytes. containerd writes about 8 kB; Docker up to 30 kB.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Why a document was not taken.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Larger than [`MAX_BYTES`].
    #[error("{bytes} bytes of JSON, more than the {MAX_BYTES} that are read")]
    TooLarge {
        /// The document's size.
        bytes: usize,
    },
    /// Not JSON, nested deeper than 128 levels, a duplicate key, or a case variant of a known key.
    #[error("{0}")]
    Malformed(#[from] serde_json::Error),
    /// JSON, but not an object.
    #[error("the document is not a JSON object")]
    NotAnObject,
}

/// Parses an OCI runtime configuration (`config.json`).
///
/// # Errors
/// See [`JsonError`]; the message carries the line and column.
pub fn parse_spec(bytes: &[u8]) -> Result<Value, JsonError> {
    parse(bytes, "")
}

/// Parses an OCI process document (`runc exec --process`).
///
/// # Errors
/// See [`JsonError`].
pub fn parse_process(bytes: &[u8]) -> Result<Value, JsonError> {
    parse(bytes, "process")
}

/// Parses the resources document of `runc update --resources`.
///
/// # Errors
/// See [`JsonError`].
pub fn parse_resources(bytes: &[u8]) -> Result<Value, JsonError> {
    parse(bytes, "linux.resources")
}

/// `at` is the place of the document's root in the spec's table: it says which keys are known.
fn parse(bytes: &[u8], at: &str) -> Result<Value, JsonError> {
    if bytes.len() > MAX_BYTES {
        return Err(JsonError::TooLarge { bytes: bytes.len() });
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { at: at.to_owned() }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    if value.is_object() { Ok(value) } else { Err(JsonError::NotAnObject) }
}

struct Strict {
    at: String,
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that JSON cannot carry"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let at = format!("{}[]", self.at);
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(Strict { at: at.clone() })? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let free_keys = table::has_free_keys(&self.at);
        let mut object = Map::new();
        let mut folded = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(de::Error::custom(format!("duplicate key {key:?}")));
            }
            let child = if free_keys {
                table::free_child(&self.at)
            } else {
                let fold = fold(&key);
                if !folded.insert(fold.clone()) {
                    return Err(de::Error::custom(format!(
                        "key {key:?} stands beside another that differs from it only in case; \
                         runtimes written in Go take them for the same: leave one out"
                    )));
                }
                let child = table::child(&self.at, &key);
                if let Some(known) = table::known_key(&self.at, &fold)
                    && known != key
                {
                    return Err(de::Error::custom(format!(
                        "key {key:?} differs from {known:?} only in case; \
                         runtimes written in Go take them for the same: write {known:?}"
                    )));
                }
                child
            };
            object.insert(key, entries.next_value_seed(Strict { at: child })?);
        }
        Ok(Value::Object(object))
    }
}

/// Folds a key as Go's decoder does when it looks for a struct field: simple case folding, in which
/// the long s (U+017F) and the Kelvin sign (U+212A) are `s` and `k` (encoding/json `foldName`).
pub(crate) fn fold(key: &str) -> String {
    key.chars()
        .flat_map(char::to_lowercase)
        .map(|character| match character {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse_spec(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn keeps_unknown_fields_and_their_order() {
        let text =
            r#"{"zebra":1,"process":{"new":{"Deep":[1,{"x":18446744073709551615}]}},"a":null}"#;
        assert_eq!(serde_json::to_string(&parse_spec(text.as_bytes()).unwrap()).unwrap(), text);
    }

    #[test]
    fn refuses_what_go_and_serde_read_differently() {
        assert!(error(r#"{"process":{},"process":{}}"#).contains("duplicate key"));
        assert!(error(r#"{"Process":{}}"#).contains("differs from \"process\" only in case"));
        assert!(error(r#"{"process":{"NONEWPRIVILEGES":false}}"#).contains("noNewPrivileges"));
        assert!(error("{\"proce\u{17f}s\":{}}").contains("only in case"));
        assert!(
            error("{\"lin\u{75}x\":{\"ma\u{17f}\u{212a}edPaths\":[]}}").contains("maskedPaths")
        );
        assert!(error(r#"{"mounts":[{"Destination":"/"}]}"#).contains("destination"));
        assert!(error(r#"{"newField":1,"NewField":2}"#).contains("only in case"));
    }

    #[test]
    fn annotation_and_sysctl_keys_are_data() {
        let text =
            r#"{"annotations":{"Process":"x","process":"y"},"linux":{"sysctl":{"Net.x":"1"}}}"#;
        assert!(parse_spec(text.as_bytes()).is_ok());
        assert!(error(r#"{"annotations":{"a":"x","a":"y"}}"#).contains("duplicate"));
    }

    #[test]
    fn process_documents_know_the_process_keys() {
        assert!(parse_process(br#"{"Capabilities":{}}"#).is_err());
        assert!(parse_process(br#"{"capabilities":{"Bounding":[]}}"#).is_err());
        assert!(parse_process(br#"{"capabilities":{"bounding":[]}}"#).is_ok());
    }

    #[test]
    fn refuses_the_truncated_the_deep_the_large_and_the_trailing() {
        assert!(error(r#"{"process":{"#).contains("EOF"));
        assert!(
            error(&format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200))).contains("recursion")
        );
        assert!(parse_spec(&vec![b' '; MAX_BYTES + 1]).is_err());
        assert!(error("{} {}").contains("trailing"));
        assert!(error("[]").contains("not a JSON object"));
    }
}
