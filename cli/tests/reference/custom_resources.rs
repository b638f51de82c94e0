//! The definitions for Kubernetes: what is committed is what the types say, every policy that the project ships fits them, and what a
//! file's reader refuses they refuse too, or leave to the node knowingly.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use coaming_policy::document::parse_documents;
use serde_json::{Value, json};

use super::{accepts, is_current};

fn printed() -> String {
    said(&["schema", "custom-resources"])
}

fn said(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_coaming")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn definitions() -> Vec<Value> {
    serde_saphyr::from_multiple(&printed()).unwrap()
}

fn schema(kind: &str) -> Value {
    let all = definitions();
    let found = all.iter().find(|definition| definition["spec"]["names"]["kind"] == kind).unwrap();
    found["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn the_committed_definitions_are_those_of_the_types() {
    let documents = said(&["admission-policy", "--documents"]);
    for (file, text) in [("crds.yaml", &printed()), ("admission-documents.yaml", &documents)] {
        is_current(&format!("packaging/kubernetes/{file}"), text);
    }
    is_current("packaging/kubernetes/chart/crds/crds.yaml", &printed());
    is_current("packaging/kubernetes/chart/templates/admission-documents.yaml", &documents);
}

/// "Specifying a structural schema", Kubernetes' documentation of CustomResourceDefinitions, and what apiextensions/v1 forbids besides.
#[test]
fn every_schema_is_structural() {
    const KNOWN: [&str; 21] = [
        "additionalProperties",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "pattern",
        "properties",
        "required",
        "type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
        "nullable",
    ];
    fn walk(schema: &Value, at: &str) {
        let keywords = schema.as_object().unwrap();
        for (keyword, value) in keywords {
            assert!(KNOWN.contains(&keyword.as_str()), "{at}: {keyword}");
            assert!(
                keyword != "description" || value.as_str().is_some_and(|text| !text.is_empty()),
                "{at}"
            );
        }
        let of = schema["type"].as_str();
        let preserves = schema["x-kubernetes-preserve-unknown-fields"] == true;
        assert!(of.is_some() || preserves, "{at} has no type");
        assert!(
            !(keywords.contains_key("properties") && keywords.contains_key("additionalProperties")),
            "{at}"
        );
        assert!(
            schema["additionalProperties"].is_null() || schema["additionalProperties"].is_object(),
            "{at}"
        );
        assert_eq!(of == Some("array"), keywords.contains_key("items"), "{at}");
        if schema["x-kubernetes-list-type"] == "set" {
            assert!(
                !matches!(schema["items"]["type"].as_str(), Some("array" | "object") | None),
                "{at}"
            );
        }
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            assert!(rule["rule"].is_string() && rule["message"].is_string(), "{at}");
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            walk(field, &format!("{at}.{name}"));
        }
        for (part, below) in [("items", "[]"), ("additionalProperties", "{}")] {
            if !schema[part].is_null() {
                walk(&schema[part], &format!("{at}{below}"));
            }
        }
    }
    for definition in definitions() {
        let version = &definition["spec"]["versions"][0];
        let schema = &version["schema"]["openAPIV3Schema"];
        assert_eq!(schema["type"], "object");
        walk(schema, definition["spec"]["names"]["kind"].as_str().unwrap());
        for column in version["additionalPrinterColumns"].as_array().unwrap() {
            let place = column["jsonPath"].as_str().unwrap();
            if place.starts_with(".metadata") {
                continue;
            }
            let pointer = place
                .replace("[0]", ".items")
                .replace('.', "/properties/")
                .replace("/properties/items", "/items");
            assert!(schema.pointer(&pointer).is_some(), "no {place}");
        }
    }
}

fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            yaml_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
}

#[test]
fn every_policy_that_is_shipped_fits() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    yaml_files(&root.join("packaging/examples"), &mut files);
    yaml_files(&root.join("policy/src/builtin"), &mut files);
    let (policy, waiver) = (schema("Policy"), schema("Waiver"));
    let mut counts = [0, 0];
    for file in &files {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(&fs::read_to_string(file).unwrap()).unwrap();
        for document in
            documents.iter().filter(|document| document["apiVersion"] == "coaming.dev/v1alpha1")
        {
            let (at, schema) = match document["kind"].as_str().unwrap() {
                "Policy" => (0, &policy),
                "Waiver" => (1, &waiver),
                _ => continue,
            };
            counts[at] += 1;
            accepts::check(schema, document)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
    }
    assert!(counts[0] >= 10 && counts[1] >= 1, "{counts:?} in {files:?}");
}

/// What the reader of files says of a spec, and what the schema does.
fn both(kind: &str, schema: &Value, spec: &Value) -> (bool, bool) {
    let document = json!({"apiVersion": "coaming.dev/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": spec});
    (parse_documents("x", &document.to_string()).is_ok(), accepts::check(schema, &document).is_ok())
}

#[test]
fn what_a_file_may_not_say_an_object_may_not() {
    let schema = schema("Policy");
    for spec in [
        json!({"privileged": false, "landlock": {"read": ["/usr"], "connect": [443]}}),
        json!({"rollout": {"percentage": 25}, "actions": {"default": "refuse", "seccomp": "tighten"}}),
        json!({"appArmor": {"default": "coaming-default"}, "match": {"labels": {"app": ["x"]}}}),
        json!({"appArmor": {"default": {"generated": true}}}),
    ] {
        assert_eq!(both("Policy", &schema, &spec), (true, true), "{spec}");
    }
    for spec in [
        json!("x"),
        json!({"privileged": [false]}),
        json!({"noNewPrivileges": 1}),
        json!({"mode": "off"}),
        json!({"rollout": {"percentage": 101}}),
        json!({"rollout": {"percentage": -1}}),
        json!({"rollout": {}}),
        json!({"include": ["pss/none"]}),
        json!({"include": "pss/baseline"}),
        json!({"actions": {"default": "shrug"}}),
        json!({"audit": ["landlok"]}),
        json!({"bestEffort": ["user"]}),
        json!({"hostNamespaces": {"allow": ["net"]}}),
        json!({"capabilities": {"allow": "CHOWN"}}),
        json!({"landlock": {"connect": ["http"]}}),
        json!({"landlock": {"connect": [70000]}}),
        json!({"landlock": {"scopes": ["everything"]}}),
        json!({"mounts": {"hostPaths": {}}}),
        json!({"mounts": {"hostPaths": {"allow": ["relative"]}}}),
        json!({"devices": {"allow": [{"major": 1}]}}),
        json!({"user": {"runAsUser": {"ranges": [{"min": "a", "max": 2}]}}}),
        json!({"exec": {"commands": [[]]}}),
        json!({"refuse": [{"if": "true"}]}),
        json!({"match": {"namespaces": [""]}}),
        json!({"match": {"doors": ["window"]}}),
        json!({"match": {"imageDigests": ["sha256:abc"]}}),
        json!({"match": {"annotations": {"a": "b"}}}),
    ] {
        assert_eq!(both("Policy", &schema, &spec), (false, false), "{spec}");
    }
    // A file's reader takes a boolean or a number in quotes; an object's field has its type.
    for spec in [json!({"privileged": "false"}), json!({"rlimits": {"RLIMIT_CORE": "0"}})] {
        assert_eq!(both("Policy", &schema, &spec), (true, false), "{spec}");
    }
    // What no structural schema can say: unknown fields are kept, so that the node names them, and one field is a text or an object.
    for spec in [
        json!({"capabilites": {}}),
        json!({"landlock": {"reads": []}}),
        json!({"appArmor": {"default": 1}}),
        // By CEL, which this test does not evaluate.
        json!({"actions": {"landlok": "refuse"}}),
        json!({"mode": "audit", "rollout": {"percentage": 5}}),
        json!({"match": {"doors": ["exec"]}, "landlock": {"read": []}}),
    ] {
        assert_eq!(both("Policy", &schema, &spec), (false, true), "{spec}");
    }
}

#[test]
fn a_waiver_has_an_owner_a_reason_and_an_end_in_either() {
    let schema = schema("Waiver");
    let right = json!({"match": {"namespaces": ["pay-*"], "containers": ["ledger"]}, "waives": ["landlock"],
        "owner": "o", "reason": "r", "expires": "2027-03-31"});
    let with = |changes: Value| {
        let mut spec = right.clone();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(spec.as_object_mut().unwrap().remove(name)),
                value => spec[name] = value.clone(),
            }
        }
        both("Waiver", &schema, &spec)
    };
    assert_eq!(with(json!({})), (true, true));
    assert_eq!(with(json!({"expires": "2027-03-31T18:00:00Z"})), (true, true));
    assert_eq!(
        with(json!({"expires": null, "starts": "2027-01-15T03:10:00Z", "duration": "6h 30min"})),
        (true, true)
    );
    for changes in [
        json!({"owner": null}),
        json!({"owner": " "}),
        json!({"reason": null}),
        json!({"reason": ""}),
        json!({"waives": []}),
        json!({"waives": ["landlok"]}),
        json!({"waives": null}),
        json!({"match": {"containers": ["ledger"]}}),
        json!({"match": {"namespaces": []}}),
        json!({"match": {"namespaces": ["*"]}}),
        json!({"expires": "soon"}),
        json!({"expires": 20270331}),
        json!({"expires": "2027-3-31"}),
        json!({"expires": "2027-03-31T18:00:00+02:00"}),
        json!({"expires": null, "starts": "2027-01-15T03:10:00Z", "duration": "six hours"}),
    ] {
        assert_eq!(with(changes.clone()), (false, false), "{changes}");
    }
    for changes in [
        json!({"expires": null}),
        json!({"duration": "6h"}),
        json!({"expires": null, "starts": "2027-01-15T03:10:00Z"}),
    ] {
        assert_eq!(with(changes.clone()), (false, true), "by CEL: {changes}");
    }
}
