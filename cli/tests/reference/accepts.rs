//! As much of JSON Schema as ours use; a keyword that is not known here fails.

use serde_json::Value;

/// Whether the schema accepts the value, and if not, where and why.
pub(crate) fn check(schema: &Value, value: &Value) -> Result<(), String> {
    accepts(schema, schema, value, "")
}

fn accepts(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let fail = |why: String| Err(format!("{at}: {why}"));
    let Some(keywords) = schema.as_object() else {
        return fail("no schema".to_owned());
    };
    for (keyword, operand) in keywords {
        match keyword.as_str() {
            // `format` is an annotation in this draft; schemars adds bounds to what needs them.
            "$schema" | "title" | "description" | "default" | "$defs" | "format" => {}
            "$ref" => {
                let pointer = operand.as_str().unwrap().trim_start_matches('#');
                accepts(root, root.pointer(pointer).unwrap(), value, at)?;
            }
            "anyOf" | "oneOf" => {
                let options = operand.as_array().unwrap();
                let taken = options
                    .iter()
                    .filter(|option| accepts(root, option, value, at).is_ok())
                    .count();
                if taken == 0 || keyword == "oneOf" && taken > 1 {
                    return fail(format!("{value} is accepted by {taken} of {}", options.len()));
                }
            }
            "const" if operand != value => return fail(format!("{value} is not {operand}")),
            "const" => {}
            "enum" if !operand.as_array().unwrap().contains(value) => {
                return fail(format!("{value} is not of {operand}"));
            }
            "enum" => {}
            "type" => {
                let types = operand.as_array().map_or(std::slice::from_ref(operand), Vec::as_slice);
                if !types.iter().any(|name| is_of_type(value, name.as_str().unwrap())) {
                    return fail(format!("{value} is not {operand}"));
                }
            }
            "minimum" | "maximum" => {
                let (Some(value), Some(bound)) = (value.as_u64(), operand.as_u64()) else {
                    continue;
                };
                if keyword == "minimum" && value < bound || keyword == "maximum" && value > bound {
                    return fail(format!("{value} is beyond {bound}"));
                }
            }
            "minLength" => {
                if value.as_str().is_some_and(|text| text.is_empty()) {
                    return fail("empty".to_owned());
                }
            }
            "pattern" => {
                assert_eq!(operand, "^/", "another pattern than is known here");
                if value.as_str().is_some_and(|text| !text.starts_with('/')) {
                    return fail(format!("{value} is not an absolute path"));
                }
            }
            "uniqueItems" => {
                let items = value.as_array().map_or(&[][..], Vec::as_slice);
                if items.iter().enumerate().any(|(index, item)| items[..index].contains(item)) {
                    return fail("an item twice".to_owned());
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    accepts(root, operand, item, &format!("{at}[{index}]"))?;
                }
            }
            "required" => {
                let missing = operand.as_array().unwrap().iter().find(|name| {
                    value.as_object().is_some_and(|o| !o.contains_key(name.as_str().unwrap()))
                });
                if let Some(name) = missing {
                    return fail(format!("no {name}"));
                }
            }
            "properties" | "additionalProperties" => {
                let known = keywords.get("properties").unwrap_or(&Value::Null);
                for (name, value) in value.as_object().into_iter().flatten() {
                    let place = format!("{at}.{name}");
                    match (known.get(name), operand) {
                        (Some(schema), _) if keyword == "properties" => {
                            accepts(root, schema, value, &place)?;
                        }
                        (None, Value::Bool(false)) if keyword != "properties" => {
                            return Err(format!("{place}: unknown"));
                        }
                        (None, schema) if keyword != "properties" => {
                            accepts(root, schema, value, &place)?;
                        }
                        _ => {}
                    }
                }
            }
            other => return fail(format!("the keyword {other} is not known here")),
        }
    }
    Ok(())
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the type {other} is not known here"),
    }
}
