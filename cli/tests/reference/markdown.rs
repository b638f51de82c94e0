//! The reference of every field, as Markdown, from a JSON Schema.

use serde_json::{Map, Value};

/// The reference of a policy: one table for what stands around the controls, one section for each.
pub(crate) fn policy(schema: &Value) -> String {
    let root = Root(schema);
    let mut around = Vec::new();
    let mut sections = String::new();
    for (name, field) in properties(schema) {
        if name != "spec" {
            root.rows(name, field, is_required(schema, name), &mut around);
            continue;
        }
        for (name, field) in properties(root.resolve(field)) {
            let path = format!("spec.{name}");
            if matches!(
                name.as_str(),
                "match" | "include" | "actions" | "mode" | "audit" | "rollout" | "bestEffort"
            ) {
                root.rows(&path, field, false, &mut around);
            } else {
                sections.push_str(&root.section(&path, field));
            }
        }
    }
    format!("### Name, selection and actions\n\n{}{sections}", table(&around))
}

/// The reference of a small document: one table.
pub(crate) fn document(schema: &Value) -> String {
    let mut rows = Vec::new();
    for (name, field) in properties(schema) {
        Root(schema).rows(name, field, is_required(schema, name), &mut rows);
    }
    table(&rows)
}

struct Row {
    path: String,
    kind: String,
    default: String,
    description: String,
}

struct Root<'a>(&'a Value);

impl<'a> Root<'a> {
    fn section(&self, path: &str, field: &'a Value) -> String {
        let schema = self.resolve(field);
        let mut text = format!("### `{path}`\n\n{}\n\n", description(field));
        if description(schema) != description(field) && !description(schema).is_empty() {
            text.push_str(&format!("{}\n\n", description(schema)));
        }
        let mut rows = Vec::new();
        self.rows(path, field, false, &mut rows);
        match rows.split_first() {
            Some((own, [])) => text.push_str(&format!("Type: {}.\n\n", own.kind)),
            Some((_, below)) => text.push_str(&table(below)),
            None => {}
        }
        text
    }

    /// The row of a field and of those in it.
    fn rows(&self, path: &str, field: &'a Value, required: bool, rows: &mut Vec<Row>) {
        let schema = self.resolve(field);
        let mut text = description(field).to_owned();
        if text.is_empty() {
            text = description(schema).to_owned();
        }
        let words = self.words(schema);
        if !words.is_empty() {
            text = format!("{text} {words}");
        }
        let default = match field.get("default") {
            _ if required => "required".to_owned(),
            Some(Value::Null) | None => String::new(),
            Some(Value::Array(items)) => match items.iter().map(code).collect::<Vec<_>>() {
                items if items.is_empty() => "`[]`".to_owned(),
                items => items.join(", "),
            },
            Some(default) => code(default),
        };
        rows.push(Row {
            path: path.to_owned(),
            kind: self.kind(schema),
            default,
            description: text,
        });
        let (path, inner) = match (schema.get("items"), schema.get("additionalProperties")) {
            (Some(items), _) => (format!("{path}[]"), self.resolve(items)),
            (None, Some(values @ Value::Object(_))) => (format!("{path}.*"), self.resolve(values)),
            _ => (path.to_owned(), schema),
        };
        for (name, field) in properties(inner) {
            self.rows(&format!("{path}.{name}"), field, is_required(inner, name), rows);
        }
    }

    /// What a field holds, in words.
    fn kind(&self, schema: &'a Value) -> String {
        if let Some(constants) = constants(schema) {
            let names: Vec<String> =
                constants.iter().map(|(name, _)| format!("`{name}`")).collect();
            return match names.as_slice() {
                [one] => one.clone(),
                names => format!("one of {}", names.join(", ")),
            };
        }
        match type_of(schema) {
            Some("array") => match schema.get("items").map(|items| self.resolve(items)) {
                Some(items) => format!("list of {}", self.many(items)),
                None => "list".to_owned(),
            },
            Some("object") => match schema.get("additionalProperties") {
                Some(values @ Value::Object(_)) => {
                    format!("map from names to {}", self.many(self.resolve(values)))
                }
                _ => "fields".to_owned(),
            },
            Some("integer") => match schema.get("maximum").and_then(Value::as_u64) {
                Some(highest) => format!("number up to {highest}"),
                None => "number".to_owned(),
            },
            Some("boolean") => "`true` or `false`".to_owned(),
            Some("string") => "string".to_owned(),
            other => other.unwrap_or("anything").to_owned(),
        }
    }

    fn many(&self, schema: &'a Value) -> String {
        match type_of(schema) {
            _ if constants(schema).is_some() => self.kind(schema),
            Some("integer") => self.kind(schema).replacen("number", "numbers", 1),
            Some("string") => "strings".to_owned(),
            _ => self.kind(schema),
        }
    }

    /// What the names mean that a field, or a list of it, may hold.
    fn words(&self, schema: &'a Value) -> String {
        let schema = schema.get("items").map_or(schema, |items| self.resolve(items));
        let Some(constants) = constants(schema).filter(|constants| constants.len() > 1) else {
            return String::new();
        };
        let words: Vec<String> = constants
            .iter()
            .filter(|(_, words)| !words.is_empty())
            .map(|(name, words)| format!("`{name}`: {words}"))
            .collect();
        words.join(" ")
    }

    /// The schema behind references and behind `null`.
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix("#/$defs/")) {
            return self.resolve(&self.0["$defs"][name]);
        }
        let not_null = |schema: &&Value| schema["type"] != "null";
        match schema["anyOf"].as_array().and_then(|any| any.iter().find(not_null)) {
            Some(schema) => self.resolve(schema),
            None => schema,
        }
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flat_map(Map::iter)
}

fn is_required(schema: &Value, name: &str) -> bool {
    schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
}

fn constants(schema: &Value) -> Option<Vec<(String, String)>> {
    let plain = |name: &Value| Some((name.as_str()?.to_owned(), String::new()));
    if let Some(names) = schema["enum"].as_array() {
        return names.iter().map(plain).collect();
    }
    let one_of = schema["oneOf"].as_array()?;
    let mut constants = Vec::new();
    for schema in one_of {
        match schema["const"].as_str() {
            Some(name) => constants.push((name.to_owned(), description(schema).to_owned())),
            None => constants.extend(schema["enum"].as_array()?.iter().filter_map(plain)),
        }
    }
    Some(constants)
}

fn type_of(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::String(one) => Some(one),
        Value::Array(several) => {
            several.iter().filter_map(Value::as_str).find(|one| *one != "null")
        }
        _ => None,
    }
}

fn description(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

fn code(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = "| Field | Type | Default | |\n|---|---|---|---|\n".to_owned();
    for Row { path, kind, default, description } in rows {
        let words =
            description.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        text.push_str(&format!("| `{path}` | {kind} | {default} | {words} |\n"));
    }
    text.push('\n');
    text
}
