//! What is published about the documents is what the types say.
//!
//! `COAMING_UPDATE_DOCS=1 cargo test -p coaming-cli --test reference` writes the files anew.
// A test may stop at the first surprise, in its helpers too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod accepts;
mod custom_resources;
mod markdown;

use std::path::{Path, PathBuf};

use coaming_config::Configuration;
use coaming_policy::builtin;
use coaming_policy::document::{PolicyDocument, WaiverDocument};
use schemars::schema_for;
use serde_json::Value;

const EXAMPLE: &str = include_str!("../../../packaging/examples/payments.yaml");

const WAIVER: &str = include_str!("../../../packaging/examples/waiver.yaml");

#[test]
fn the_published_schemas_are_those_of_the_types() {
    is_current("docs/schema/policy.v1alpha1.json", &pretty(&policy()));
    is_current("docs/schema/waiver.v1alpha1.json", &pretty(&waiver()));
    is_current("docs/schema/configuration.json", &pretty(&configuration()));
}

#[test]
fn the_published_reference_is_that_of_the_types() {
    let head = include_str!("../../../docs/policy.head.md");
    let mut text = head.to_owned();
    let parts = [
        ("{{example}}", EXAMPLE),
        ("{{baseline}}", builtin::BASELINE),
        ("{{node}}", builtin::NODE),
        ("{{reference}}", &markdown::policy(&policy())),
        ("{{waiver}}", &markdown::document(&waiver())),
        ("{{waiver example}}", WAIVER),
        ("{{node configuration}}", &markdown::document(&configuration())),
    ];
    for (place, part) in parts {
        assert!(text.contains(place), "docs/policy.head.md has no {place}");
        text = text.replace(place, part.trim_end());
    }
    text.push('\n');
    is_current("docs/policy.md", &text.replace("\n\n\n", "\n\n"));
}

#[test]
fn the_schema_accepts_what_the_types_accept() {
    for (name, text) in
        [("baseline", builtin::BASELINE), ("node", builtin::NODE), ("example", EXAMPLE)]
    {
        let document: Value = serde_saphyr::from_str(text).unwrap();
        accepts::check(&policy(), &document).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let document: Value = serde_saphyr::from_str(WAIVER).unwrap();
    assert_eq!(accepts::check(&waiver(), &document), Ok(()));
}

#[test]
fn the_schema_refuses_what_the_types_refuse() {
    let document = |spec: &str| -> Value {
        let head = "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {name: x}\nspec: ";
        serde_saphyr::from_str(&format!("{head}{spec}\n")).unwrap()
    };
    assert_eq!(accepts::check(&policy(), &document("{privileged: false}")), Ok(()));
    for spec in [
        "{capabilites: {}}",
        "{privileged: [false]}",
        "{hostNamespaces: {allow: [net]}}",
        "{landlock: {connect: [http]}}",
        "{landlock: {connect: [70000]}}",
        "{mounts: {hostPaths: {}}}",
        "{actions: {default: shrug}}",
    ] {
        assert!(accepts::check(&policy(), &document(spec)).is_err(), "{spec}");
    }
}

fn policy() -> Value {
    schema_for!(PolicyDocument).to_value()
}

fn waiver() -> Value {
    schema_for!(WaiverDocument).to_value()
}

fn configuration() -> Value {
    schema_for!(Configuration).to_value()
}

fn pretty(schema: &Value) -> String {
    serde_json::to_string_pretty(schema).unwrap() + "\n"
}

fn is_current(file: &str, text: &str) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    if std::env::var_os("COAMING_UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == text,
        "{file} is stale; write it anew with COAMING_UPDATE_DOCS=1 cargo test -p coaming-cli --test \
         reference"
    );
}
