//! A JSON Schema as Kubernetes takes it for its own objects: structural.
//!
//! Of a schema of the types, references are put in place, alternatives of constants become lists of values, and
//! what the API server refuses in a definition (`uniqueItems`, `additionalProperties: false`, lists of types) is
//! said in the ways that it knows. Defaults are left out: an object stays as it was written, and so does what is
//! rendered of it and signed. See "Specifying a structural schema" in Kubernetes' documentation of
//! CustomResourceDefinitions.

// Of a JSON value what is not there is `null`; what is written to are the objects of our own schema, all of them made by each test.
#![allow(clippy::indexing_slicing)]

use serde_json::{Map, Value, json};

use crate::error::CommandError;

/// How deep a schema may be: one that contains itself cannot be structural.
const DEEPEST: usize = 32;
/// The most elements of lists and maps: an estimate of what rules over them cost needs one.
const MOST: u64 = 4096;

/// The structural form of a part of a schema.
pub(super) fn of(root: &Value, part: &Value) -> Result<Value, CommandError> {
    structural(root, part, 0)
}

fn structural(root: &Value, part: &Value, depth: usize) -> Result<Value, CommandError> {
    if depth > DEEPEST {
        return Err(unknown("it contains itself"));
    }
    let within = |part: &Value| structural(root, part, depth + 1);
    let Some(keywords) = part.as_object() else {
        return Err(unknown(&part.to_string()));
    };
    let mut made = Map::new();
    let mut is_list_of_scalars = false;
    for (keyword, operand) in keywords {
        match (keyword.as_str(), operand) {
            ("$ref", Value::String(place)) => {
                let target =
                    root.pointer(place.trim_start_matches('#')).ok_or_else(|| unknown(place))?;
                // The words of the field stand before those of its type.
                for (key, value) in take_object(within(target)?)? {
                    made.entry(key).or_insert(value);
                }
            }
            ("oneOf" | "anyOf", Value::Array(options)) => {
                for (key, value) in alternatives(options, &within)? {
                    made.entry(key).or_insert(value);
                }
            }
            ("type", Value::Array(types)) => {
                let mut types = types.iter().filter(|name| *name != "null");
                let (Some(only), None) = (types.next(), types.next()) else {
                    return Err(unknown(&operand.to_string()));
                };
                made.insert("type".to_owned(), only.clone());
            }
            ("const", value) => drop(made.insert("enum".to_owned(), json!([value]))),
            ("description", value) => drop(made.insert("description".to_owned(), value.clone())),
            ("properties", Value::Object(properties)) => {
                let mut fields = Map::new();
                for (name, field) in properties {
                    fields.insert(name.clone(), within(field)?);
                }
                made.insert("properties".to_owned(), Value::Object(fields));
            }
            // What is not known is not thrown away by the API server: the node says which field it is. A
            // rule that was mistyped would be a rule that is not there.
            ("additionalProperties", Value::Bool(false)) => {
                made.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
            }
            ("additionalProperties", values) => {
                made.insert("additionalProperties".to_owned(), within(values)?);
                made.insert("maxProperties".to_owned(), json!(MOST));
            }
            ("items", items) => {
                let items = within(items)?;
                let most =
                    items.get("enum").and_then(Value::as_array).map(|values| values.len() as u64);
                is_list_of_scalars =
                    !matches!(items["type"].as_str(), Some("array" | "object") | None);
                made.insert("items".to_owned(), items);
                made.entry("maxItems").or_insert(json!(most.unwrap_or(MOST)));
            }
            // `default`: see above. Formats that are not Kubernetes' own are bounds, below.
            ("title" | "$schema" | "default" | "uniqueItems", _) => {}
            ("format", Value::String(format)) => {
                let bound = match format.as_str() {
                    "uint8" => Some(u32::from(u8::MAX)),
                    "uint16" => Some(u32::from(u16::MAX)),
                    "uint32" => Some(u32::MAX),
                    // The API server reads bounds as floating point, in which that of int64 is beyond int64.
                    "uint64" => None,
                    other => return Err(unknown(other)),
                };
                if let Some(bound) = bound {
                    made.entry("maximum").or_insert(json!(bound));
                }
                made.insert("format".to_owned(), json!("int64"));
            }
            (
                "type" | "required" | "minLength" | "maxLength" | "minimum" | "minItems"
                | "pattern" | "enum",
                value,
            ) => {
                made.insert(keyword.clone(), value.clone());
            }
            ("maximum", value) => drop(made.insert("maximum".to_owned(), value.clone())),
            (other, _) => return Err(unknown(other)),
        }
    }
    // Such a list may name a thing once; lists of objects are left to the node.
    if is_list_of_scalars && keywords.get("uniqueItems") == Some(&json!(true)) {
        made.insert("x-kubernetes-list-type".to_owned(), json!("set"));
    }
    Ok(Value::Object(made))
}

/// One of several: nothing or a thing, one of some words, or what no structural schema can tell apart.
fn alternatives(
    options: &[Value],
    within: &dyn Fn(&Value) -> Result<Value, CommandError>,
) -> Result<Map<String, Value>, CommandError> {
    let real: Vec<&Value> = options.iter().filter(|option| option["type"] != "null").collect();
    if let [only] = real.as_slice()
        && only.get("const").is_none()
    {
        return take_object(within(only)?);
    }
    let words: Option<Vec<&Value>> = real.iter().map(|option| option.get("const")).collect();
    if let Some(words) = words {
        let said: Vec<String> = real
            .iter()
            .filter_map(|option| {
                let words = option["description"].as_str()?;
                Some(format!("`{}`: {words}", option["const"].as_str()?))
            })
            .collect();
        let mut made = Map::new();
        made.insert("type".to_owned(), json!("string"));
        made.insert("enum".to_owned(), json!(words));
        made.insert("description".to_owned(), json!(said.join(" ")));
        return Ok(made);
    }
    // A string or an object: a structural schema names one type. The node tells.
    let mut made = Map::new();
    made.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
    Ok(made)
}

fn take_object(value: Value) -> Result<Map<String, Value>, CommandError> {
    match value {
        Value::Object(object) => Ok(object),
        other => Err(unknown(&other.to_string())),
    }
}

fn unknown(what: &str) -> CommandError {
    CommandError::Usage(format!(
        "cannot make a structural schema: {what} has no such form; teach it to cli/src/schema/structural.rs"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_becomes_one_that_the_api_server_takes() {
        let root = json!({"$defs": {
            "Word": {"oneOf": [{"type": "string", "const": "a", "description": "A."},
                {"type": "string", "const": "b", "description": "B."}], "description": "A word."},
            "Port": {"type": "integer", "format": "uint16", "minimum": 0},
        }});
        for (from, to) in [
            (
                json!({"anyOf": [{"$ref": "#/$defs/Word"}, {"type": "null"}], "description": "Mine."}),
                json!({"type": "string", "enum": ["a", "b"], "description": "Mine."}),
            ),
            (
                json!({"type": ["array", "null"], "uniqueItems": true, "items": {"$ref": "#/$defs/Word"}}),
                json!({"type": "array", "maxItems": 2, "x-kubernetes-list-type": "set",
                    "items": {"type": "string", "enum": ["a", "b"], "description": "A word."}}),
            ),
            (
                json!({"$ref": "#/$defs/Port", "default": 3}),
                json!({"type": "integer", "format": "int64", "minimum": 0, "maximum": 65535}),
            ),
            (
                json!({"type": "object", "additionalProperties": false, "properties": {"x": {"type": "boolean"}}}),
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"x": {"type": "boolean"}}}),
            ),
            (
                json!({"anyOf": [{"type": "string"}, {"type": "object"}]}),
                json!({"x-kubernetes-preserve-unknown-fields": true}),
            ),
        ] {
            assert_eq!(of(&root, &from).unwrap(), to, "{from}");
        }
    }

    #[test]
    fn what_it_does_not_know_it_does_not_drop() {
        let endless =
            json!({"$defs": {"A": {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}}}});
        assert!(of(&endless, &json!({"$ref": "#/$defs/A"})).is_err());
        for part in [
            json!({"if": {}}),
            json!({"type": ["string", "integer"]}),
            json!({"$ref": "#/no"}),
            json!(true),
        ] {
            assert!(of(&json!({}), &part).is_err(), "{part}");
        }
    }
}
