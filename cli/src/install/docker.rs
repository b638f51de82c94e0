//! Docker: /etc/docker/daemon.json, the one file that it has.

use serde_json::{Map, Value, json};

use super::ask::ask;
use super::plan::{Change, Check, Context, Obstacle, Planned};
use super::present::Present;
use super::tree::Tree;
use crate::doctor::handlers::{Found, Manager};

const FILE: &str = "/etc/docker/daemon.json";

/// # Errors
/// It is not here, or must not be done, with what to do.
pub(super) fn plan(context: &Context<'_>, node: &Found) -> Result<Planned, Obstacle> {
    let program = context.root.in_path("dockerd", &[]);
    let present = context.tree.read_own(FILE)?;
    if program.is_none() && present.is_none() && !context.tree.exists("/etc/docker") {
        return Err(Obstacle::Absent(
            "there is neither /etc/docker nor a program dockerd".to_owned(),
        ));
    }
    let mut planned = Planned::new(Manager::Docker, &["docker.service"]);
    let runtime = Present::of(context, node, Manager::Docker, FILE, "runc")?;
    runtime.check_default(context)?;
    let wrapper = Context::wrapper(&runtime.name);
    planned.notes.extend(context.check_wrapper(&wrapper)?);
    context.check_floor(&wrapper)?;
    let entry = context.kept.entry(FILE);
    match present {
        Some(seen)
            if entry.is_none_or(|entry| entry.original.is_some())
                && !seen.bytes.trim_ascii().is_empty() =>
        {
            let merged = merged(&seen.bytes, context.handler, &wrapper, context.default)?;
            if let Some(after) = merged {
                if !context.replace {
                    return Err(Obstacle::Refused(format!(
                        "{FILE} is there, Docker reads no other file, and coaming does not edit it. Put this in its \
                         place, or let --replace do it (--uninstall puts the original back):\n{after}"
                    )));
                }
                if let Some(entry) = entry
                    && super::kept::digest(&seen.bytes) != entry.sha256
                {
                    return Err(Obstacle::Refused(format!(
                        "{FILE} has been changed since coaming replaced it, and is left as it is; the file of before is \
                         {}",
                        entry
                            .original
                            .as_ref()
                            .map(super::kept::Original::path)
                            .unwrap_or_default()
                    )));
                }
                planned.changes.push(Change {
                    path: FILE.to_owned(),
                    before: Some(seen),
                    after: after.into_bytes(),
                });
            }
        }
        _ => {
            let mut document = Map::new();
            put(&mut document, context.handler, &wrapper, context.default);
            planned
                .changes
                .extend(context.own_file(FILE, pretty(&Value::Object(document), "  ")?)?);
        }
    }
    match program {
        Some(program) => {
            if !planned.changes.is_empty() {
                let is_there = context.tree.exists(FILE);
                asked(context.tree, &program, is_there).map_err(|problem| {
                    format!("dockerd does not take its configuration as it is: {problem}")
                })?;
            }
            planned.check = Some(Check::Docker { program });
        }
        None => planned.notes.push("no dockerd was found to ask what it makes of this".to_owned()),
    }
    Ok(planned)
}

/// The file with the runtime in it; none where it has it already.
fn merged(
    bytes: &[u8],
    handler: &str,
    wrapper: &str,
    default: bool,
) -> Result<Option<String>, Obstacle> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{FILE} is not UTF-8"))?;
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("{FILE} is not JSON: {error}"))?;
    let Value::Object(mut document) = value.clone() else {
        return Err(format!("{FILE} is not a JSON object").into());
    };
    if let Some(other) = document.get("runtimes").and_then(|runtimes| runtimes.get(handler))
        && other.get("path").and_then(Value::as_str) != Some(wrapper)
    {
        return Err(format!(
            "{FILE} has a runtime {handler} of another kind; choose another name (--handler)"
        )
        .into());
    }
    put(&mut document, handler, wrapper, default);
    let after = Value::Object(document);
    if after == value {
        return Ok(None);
    }
    // As its author has it.
    let second = text.lines().nth(1).unwrap_or_default();
    let indent = second.get(..second.len().saturating_sub(second.trim_start().len()));
    Ok(Some(pretty(&after, indent.filter(|indent| !indent.is_empty()).unwrap_or("  "))?))
}

fn put(document: &mut Map<String, Value>, handler: &str, wrapper: &str, default: bool) {
    if default {
        document.insert("default-runtime".to_owned(), handler.into());
    }
    let runtimes = document.entry("runtimes").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(runtimes) = runtimes {
        runtimes.entry(handler).or_insert_with(|| json!({"path": wrapper}));
    }
}

fn pretty(value: &Value, indent: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    serde::Serialize::serialize(value, &mut serializer).map_err(|error| error.to_string())?;
    bytes.push(b'\n');
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

/// Asks dockerd; none where it is one (before 23.0) that cannot be asked.
///
/// # Errors
/// It does not take the file.
pub(super) fn check(tree: &Tree, program: &str) -> Result<Option<String>, String> {
    asked(tree, program, true)
}

/// The same, of the file or of what dockerd has without one.
fn asked(tree: &Tree, program: &str, is_there: bool) -> Result<Option<String>, String> {
    let words: &[&str] =
        if is_there { &["--validate", "--config-file", FILE] } else { &["--validate"] };
    let said = ask(tree, program, words)?;
    if said.success {
        return Ok(Some(format!("{program} --validate")));
    }
    match said.err.contains("unknown flag: --validate") {
        true => Ok(None),
        false => Err(format!("{program} --validate says: {}", said.complaint())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(text: &str, default: bool) -> Option<String> {
        merged(text.as_bytes(), "coaming", "/w", default).unwrap()
    }

    #[test]
    fn a_runtime_joins_and_all_else_stays_in_its_order() {
        let text = "{\n    \"z\": [1],\n    \"a\": {\"b\": null}\n}\n";
        let expected = "{\n    \"z\": [\n        1\n    ],\n    \"a\": {\n        \"b\": null\n    },\n    \"runtimes\": {\n        \
            \"coaming\": {\n            \"path\": \"/w\"\n        }\n    }\n}\n";
        assert_eq!(joined(text, false).as_deref(), Some(expected));
        assert_eq!(joined(expected, false), None, "it has it");
        assert!(joined(expected, true).unwrap().contains("\"default-runtime\": \"coaming\""));
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        for text in ["[]", "{", "{\"runtimes\": {\"coaming\": {\"path\": \"/other\"}}}"] {
            assert!(merged(text.as_bytes(), "coaming", "/w", false).is_err(), "{text}");
        }
    }
}
