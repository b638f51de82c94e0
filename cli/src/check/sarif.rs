//! Findings as SARIF (Static Analysis Results Interchange Format, OASIS, version 2.1.0), as much of it as
//! findings in files need.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;

use super::{Fault, Findings, INVALID, UNREADABLE, UNTRUSTED};
use crate::lint::Warning;

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json";

/// What each rule finds, by its id.
const RULES: [(&str, &str); 16] = [
    (INVALID, "A document that cannot be read: containers of the node do not start."),
    (UNTRUSTED, "A file that others than root can change, or that is none."),
    (UNREADABLE, "A file that cannot be read."),
    ("file-not-read", "A file beside policies whose name is not that of a policy."),
    ("file-empty", "A file of policies that holds none."),
    ("no-policies", "A node without policies of its own."),
    ("demands-nothing", "A policy or a control that demands nothing."),
    ("selects-nothing", "A policy that selects no container."),
    ("names-other-controls", "An action or a leave for a control that the policy does not state."),
    ("include", "A built-in policy that is included and adds nothing, or is not asked whole."),
    ("landlock", "Landlock rules under which ordinary programs do not start."),
    ("control-without-effect", "A control that another of the same policy makes useless."),
    ("policies-conflict", "Policies under which no container starts that all of them select."),
    ("rule-void", "A rule that another policy leaves no room for."),
    ("rule-shadowed", "A rule that another policy states already."),
    ("waiver", "A waiver that ends soon, has ended, or waives nothing."),
];

/// A log with one run.
#[derive(Debug, Serialize)]
pub(super) struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    column_kind: &'static str,
    results: Vec<SarifResult>,
}

#[derive(Debug, Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver {
    name: &'static str,
    semantic_version: &'static str,
    rules: Vec<Rule>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: &'static str,
    short_description: Message,
}

#[derive(Debug, Serialize)]
struct Message {
    text: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult {
    rule_id: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_index: Option<usize>,
    level: &'static str,
    message: Message,
    locations: [Location; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: PhysicalLocation,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Region>,
}

#[derive(Debug, Serialize)]
struct ArtifactLocation {
    uri: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_column: Option<u64>,
}

pub(super) fn log(findings: &Findings) -> Log {
    let ids: BTreeSet<&'static str> = findings
        .errors
        .iter()
        .map(|error| error.kind)
        .chain(findings.warnings.iter().map(|warning| warning.lint))
        .collect();
    let described = |id: &str| RULES.iter().find(|(known, _)| *known == id).map(|(_, text)| *text);
    let rules: Vec<Rule> = ids
        .into_iter()
        .map(|id| {
            let text = described(id).unwrap_or("What is legal and rarely meant.").to_owned();
            Rule { id, short_description: Message { text } }
        })
        .collect();
    let errors = findings.errors.iter().map(|error| of_error(error, &rules));
    let warnings = findings.warnings.iter().map(|warning| of_warning(warning, &rules));
    let results = errors.chain(warnings).collect();
    let driver = Driver { name: "coaming", semantic_version: env!("CARGO_PKG_VERSION"), rules };
    Log {
        schema: SCHEMA,
        version: "2.1.0",
        runs: [Run { tool: Tool { driver }, column_kind: "unicodeCodePoints", results }],
    }
}

fn of_error(error: &Fault, rules: &[Rule]) -> SarifResult {
    let region = error.line.map(|line| (line, error.column));
    result(error.kind, "error", error.message.clone(), (&error.file, region), rules)
}

fn of_warning(warning: &Warning, rules: &[Rule]) -> SarifResult {
    let message = match &warning.policy {
        Some(policy) => format!("policy {policy}: {}", warning.message),
        None => warning.message.clone(),
    };
    let region = warning.line.map(|line| (line, None));
    result(warning.lint, "warning", message, (&warning.file, region), rules)
}

fn result(
    rule_id: &'static str,
    level: &'static str,
    text: String,
    (file, region): (&str, Option<(u64, Option<u64>)>),
    rules: &[Rule],
) -> SarifResult {
    // A line that is not known is 0, and SARIF counts from 1.
    let region = region.filter(|(line, _)| *line > 0).map(|(start_line, column)| Region {
        start_line,
        start_column: column.filter(|column| *column > 0),
    });
    SarifResult {
        rule_id,
        rule_index: rules.iter().position(|rule| rule.id == rule_id),
        level,
        message: Message { text },
        locations: [Location {
            physical_location: PhysicalLocation {
                artifact_location: ArtifactLocation { uri: uri(file) },
                region,
            },
        }],
    }
}

/// The file as a reference of a URI (RFC 3986): relative to the working directory where it is below it,
/// which for a job of continuous integration is the repository.
fn uri(file: &str) -> String {
    let path = Path::new(file);
    let folder = std::env::current_dir().ok();
    let below = folder.as_deref().and_then(|folder| path.strip_prefix(folder).ok());
    let path = below.unwrap_or(path);
    let text = path.to_string_lossy();
    let relative = text.strip_prefix("./").unwrap_or(&text);
    let mut uri = match relative.starts_with('/') {
        true => "file://".to_owned(),
        false => String::new(),
    };
    for byte in relative.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                uri.push(char::from(byte));
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_references() {
        assert_eq!(uri("./a b/c.yaml"), "a%20b/c.yaml");
        assert_eq!(uri("/etc/coaming/ü.yaml"), "file:///etc/coaming/%C3%BC.yaml");
        let here = std::env::current_dir().unwrap();
        assert_eq!(uri(&here.join("p.yaml").display().to_string()), "p.yaml");
    }

    #[test]
    fn every_rule_is_described_once() {
        let ids: BTreeSet<&str> = RULES.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), RULES.len());
    }
}
