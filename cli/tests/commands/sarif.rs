//! `coaming check --output sarif`: what code hosts need of it.

use serde_json::Value;
use tempfile::tempdir;

use super::{coaming, policy, write};

/// What SARIF 2.1.0 requires of the objects that are written, and what code hosts require besides: places
/// that count from 1, and results that name a rule of the run.
fn log(directory: &str) -> (Option<i32>, Value) {
    let said = coaming(&["check", "--output", "sarif", directory]);
    let log: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
    let [run] = log["runs"].as_array().unwrap().as_slice() else { panic!("{log}") };
    let driver = &run["tool"]["driver"];
    assert_eq!(driver["name"], "coaming");
    let rules = driver["rules"].as_array().unwrap();
    let unique: std::collections::BTreeSet<&str> =
        rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    assert_eq!(unique.len(), rules.len());
    for rule in rules {
        assert!(!rule["shortDescription"]["text"].as_str().unwrap().is_empty());
    }
    for result in run["results"].as_array().unwrap() {
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(["error", "warning"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(!uri.contains(' ') && !uri.starts_with('/'), "{uri}");
        for number in ["startLine", "startColumn"] {
            assert!(place["region"].get(number).is_none_or(|number| number.as_u64() > Some(0)));
        }
    }
    (said.code, run["results"].clone())
}

#[test]
fn findings_have_rules_and_places() {
    let folder = tempdir().unwrap();
    let directory = folder.path().display().to_string();
    write(folder.path(), "a.yaml", &policy("  privilegd: false"));
    write(folder.path(), "b b.yaml", &policy("  noNewPrivileges: false"));
    write(folder.path(), "c.txt", "");
    let (code, results) = log(&directory);
    assert_eq!(code, Some(1));
    let of = |id: &str| {
        let found = results.as_array().unwrap().iter().find(|result| result["ruleId"] == id);
        found.unwrap_or_else(|| panic!("no {id}: {results:#}")).clone()
    };
    let invalid = of("document-invalid");
    let place = &invalid["locations"][0]["physicalLocation"];
    assert_eq!(
        (&place["region"]["startLine"], &place["region"]["startColumn"]),
        (&5.into(), &3.into())
    );
    let idle = of("demands-nothing");
    let uri = idle["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap();
    assert!(uri.ends_with("/b%20b.yaml") && idle["level"] == "warning", "{idle:#}");
}

#[test]
fn policies_together_and_files_beside_them_have_rules_of_their_own() {
    let folder = tempdir().unwrap();
    let directory = folder.path().display().to_string();
    let named = |name: &str, spec: &str| policy(spec).replace("name: x", &format!("name: {name}"));
    write(folder.path(), "a.yaml", &named("a", "  rlimits: {RLIMIT_CORE: 5}"));
    write(folder.path(), "b.yaml", &named("b", "  rlimits: {RLIMIT_CORE: 0}"));
    write(folder.path(), "c.txt", "");
    let (code, results) = log(&directory);
    assert_eq!(code, Some(0));
    let ids: Vec<&str> = results
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["ruleId"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&"file-not-read") && ids.contains(&"rule-shadowed"), "{ids:?}");
}

#[test]
fn no_findings_are_an_empty_list() {
    let folder = tempdir().unwrap();
    write(folder.path(), "a.yaml", &policy("  privileged: false"));
    let (code, results) = log(&folder.path().display().to_string());
    assert_eq!((code, results), (Some(0), Value::Array(Vec::new())));
}
