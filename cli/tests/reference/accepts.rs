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
            // What Kubernetes says of a schema besides: rules are the API server's to evaluate.
            "x-kubernetes-preserve-unknown-fields" | "x-kubernetes-validations" => {}
            "x-kubernetes-list-type" => {
                let items = value.as_array().map_or(&[][..], Vec::as_slice);
                let twice = items.iter().enumerate().any(|(at, item)| items[..at].contains(item));
                if operand == "set" && twice {
                    return fail("an item twice".to_owned());
                }
            }
            "maxItems" | "maxProperties" => {
                let size =
                    value.as_array().map(Vec::len).or(value.as_object().map(serde_json::Map::len));
                if size.is_some_and(|size| size as u64 > operand.as_u64().unwrap()) {
                    return fail(format!("more than {operand}"));
                }
            }
            "maxLength" => {
                let length = value.as_str().map_or(0, |text| text.chars().count());
                if length as u64 > operand.as_u64().unwrap() {
                    return fail(format!("longer than {operand}"));
                }
            }
            "minItems" => {
                if value
                    .as_array()
                    .is_some_and(|items| (items.len() as u64) < operand.as_u64().unwrap())
                {
                    return fail(format!("fewer than {operand}"));
                }
            }
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
                let whole = |number: &Value| {
                    number.as_u64().map(i128::from).or_else(|| number.as_i64().map(i128::from))
                };
                let (Some(value), Some(bound)) = (whole(value), whole(operand)) else {
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
                let pattern = operand.as_str().unwrap();
                if value.as_str().is_some_and(|text| !matches_pattern(pattern, text)) {
                    return fail(format!("{value} is not as {pattern} has it"));
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

/// The patterns that ours use, by hand; another fails.
fn matches_pattern(pattern: &str, text: &str) -> bool {
    let digits = |text: &str, sizes: &[usize], between: char| {
        let parts: Vec<&str> = text.split(between).collect();
        parts.len() == sizes.len()
            && parts
                .iter()
                .zip(sizes)
                .all(|(part, size)| part.len() == *size && part.bytes().all(|c| c.is_ascii_digit()))
    };
    match pattern {
        "^/" => text.starts_with('/'),
        r"\S" => text.contains(|c: char| !c.is_whitespace()),
        "^[A-Za-z0-9]" => text.starts_with(|c: char| c.is_ascii_alphanumeric()),
        "^sha256:[0-9a-f]{64}$" => text.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
        }),
        r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z)?$" => {
            let (date, time) = text.split_at_checked(10).unwrap_or((text, ""));
            let time = time.strip_prefix('T').map(|time| time.strip_suffix('Z'));
            let is_time = |time: &str| {
                let time = time.split_once('.').map_or(time, |(time, _)| time);
                digits(time, &[2, 2, 2], ':')
            };
            digits(date, &[4, 2, 2], '-')
                && (text.len() == 10 || time.flatten().is_some_and(is_time))
        }
        "^([0-9]+ *[A-Za-z]+ *)+$" => {
            text.starts_with(|c: char| c.is_ascii_digit())
                && text.trim().ends_with(|c: char| c.is_ascii_alphabetic())
        }
        other => panic!("the pattern {other} is not known here"),
    }
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
