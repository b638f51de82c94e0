//! `coaming explain --output json`, told in as many columns as a page has.

use coaming_integration::Error;
use serde_json::Value;

/// The answer of `coaming explain` over a container.
pub(crate) struct Explained(Value);

/// A field that was brought within policy: field, asked, enforced, policies with their lines.
type Row = [String; 4];

impl Explained {
    pub(crate) fn read(text: &str) -> Result<Explained, Error> {
        serde_json::from_str(text).map(Explained).map_err(|error| Error::Malformed {
            what: "the answer of `coaming explain`".to_owned(),
            detail: format!("{error}: {text:?}"),
        })
    }

    /// One row a field, in the order of the record: what was asked first and what is enforced last.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for change in items(self.0.get("changes")) {
            let field = subject(text(change, "field"));
            let asked = change.get("asked").unwrap_or(&Value::Null);
            let enforced = change.get("enforced").unwrap_or(&Value::Null);
            let field = match asked.get("destination").and_then(Value::as_str) {
                Some(destination) => format!("{field} ({destination})"),
                None => field.to_owned(),
            };
            let policies = items(change.get("policies"));
            match rows.iter_mut().find(|[known, ..]| *known == field) {
                Some([_, _, is, by]) => {
                    *is = cell(of_mount(asked, enforced));
                    *by = join(by, policies);
                }
                None => rows.push([
                    field,
                    cell(asked),
                    cell(of_mount(asked, enforced)),
                    join("", policies),
                ]),
            }
        }
        rows
    }

    /// What the kernel itself says of the first process: the controls that hold, and what does not.
    pub(crate) fn kernel(&self) -> (Vec<&str>, Vec<String>) {
        let controls = items(self.0.pointer("/kernel/controls"));
        let with = |outcome| controls.iter().filter(move |held| text(held, "outcome") == outcome);
        (
            with("held").map(|held| text(held, "control")).collect(),
            with("mismatch").map(ToString::to_string).collect(),
        )
    }

    pub(crate) fn degraded(&self) -> Vec<&str> {
        items(self.0.get("degraded")).iter().map(|degraded| text(degraded, "lost")).collect()
    }
}

/// The sets of capabilities are told as one.
fn subject(field: &str) -> &str {
    match field.split_once("process.capabilities.") {
        Some(_) => "process.capabilities",
        None => field,
    }
}

/// Of all mounts, the one that was asked for.
fn of_mount<'a>(asked: &Value, enforced: &'a Value) -> &'a Value {
    let destination = |mount: &'a Value| mount.get("destination");
    match asked.get("destination") {
        Some(asked) => items(Some(enforced))
            .iter()
            .find(|mount| destination(mount) == Some(asked))
            .unwrap_or(enforced),
        None => enforced,
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => list(items),
        Value::Object(object) => {
            if let Some(set) = object.get("bounding") {
                return cell(set);
            }
            if let Some(action) = object.get("defaultAction").and_then(Value::as_str) {
                return format!(
                    "a filter, else {}",
                    action.trim_start_matches("SCMP_ACT_").to_lowercase()
                );
            }
            match object.get("options") {
                Some(options) => items(Some(options))
                    .iter()
                    .filter_map(Value::as_str)
                    .rfind(|option| ["ro", "rw"].contains(option))
                    .unwrap_or("rw")
                    .to_owned(),
                None => value.to_string(),
            }
        }
        other => other.to_string(),
    }
}

fn list(list: &[Value]) -> String {
    match list {
        [] => "none".to_owned(),
        [Value::String(only)] => only.clone(),
        [rule] if rule.get("access").is_some() => {
            let allow = rule.get("allow") == Some(&Value::Bool(true));
            if allow { "all" } else { "the default ones" }.to_owned()
        }
        [Value::String(first), ..] if first.starts_with("CAP_") => {
            format!("{} capabilities", list.len())
        }
        [Value::String(first), ..] if first.starts_with('/') => format!("{} paths", list.len()),
        [first, ..] if first.get("path").is_some() => format!("{} of the node's", list.len()),
        list => format!("{} entries", list.len()),
    }
}

/// `baseline:17,24 payments:10`.
fn join(known: &str, more: &[Value]) -> String {
    let mut all: Vec<(String, Vec<String>)> = known
        .split_whitespace()
        .filter_map(|policy| policy.split_once(':'))
        .map(|(name, lines)| (name.to_owned(), lines.split(',').map(str::to_owned).collect()))
        .collect();
    for source in more {
        let name = text(source, "policy");
        let line = source.get("line").and_then(Value::as_u64).unwrap_or(0).to_string();
        match all.iter_mut().find(|(known, _)| known == name) {
            Some((_, lines)) if lines.contains(&line) => {}
            Some((_, lines)) => lines.push(line),
            None => all.push((name.to_owned(), vec![line])),
        }
    }
    let all: Vec<String> =
        all.into_iter().map(|(name, lines)| format!("{name}:{}", lines.join(","))).collect();
    all.join(" ")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changes_of_one_field_are_one_row_from_the_first_ask_to_the_last_word() {
        let by = |policy: &str, line: u32| json!({"policy": policy, "file": "x", "line": line});
        let explained = Explained(json!({"changes": [
            {"field": "process.capabilities", "asked": {"bounding": ["CAP_A", "CAP_B", "CAP_C"]},
             "enforced": {"bounding": ["CAP_A", "CAP_B"]}, "policies": [by("baseline", 1)]},
            {"field": "process.capabilities.bounding", "asked": ["CAP_A", "CAP_B"],
             "enforced": ["CAP_A"], "policies": [by("baseline", 1), by("baseline", 4), by("p", 2)]},
            {"field": "mounts", "asked": {"destination": "/sys", "options": ["rw"]},
             "enforced": [{"destination": "/sys", "options": ["rw", "ro"]}], "policies": [by("p", 3)]},
        ]}));
        assert_eq!(
            explained.rows(),
            [
                ["process.capabilities", "3 capabilities", "CAP_A", "baseline:1,4 p:2"],
                ["mounts (/sys)", "rw", "ro", "p:3"],
            ]
        );
    }
}
