//! The list of parts (SBOM) that is inside each package and beside it, held against cargo's own answer.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use coaming_integration::{Error, can_run};
use serde_json::Value;

use crate::made::{made, repository, run};

#[test]
#[ignore = "by `make test-packages`: it needs what makes packages"]
fn the_list_of_parts_is_cargos() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let text = fs::read_to_string(made().file(".cdx.json")).unwrap();
    let bom: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(bom["bomFormat"], "CycloneDX");
    assert_eq!(bom["metadata"]["component"]["name"], "coaming");
    // Neither chance, nor this machine, nor the time of day.
    if std::env::var_os("COAMING_PACKAGES").is_none() {
        assert_eq!(bom["metadata"]["timestamp"], "2026-09-21T14:13:20Z");
    }
    assert!(bom.get("serialNumber").is_none());
    assert!(!text.contains("/tmp") && !text.contains("file://"), "it names places of this machine");

    let components = bom["components"].as_array().unwrap();
    let mut listed = BTreeSet::new();
    for component in components {
        let text = |key: &str| component[key].as_str().unwrap_or_default().to_owned();
        let is_crate = text("purl").starts_with("pkg:cargo/");
        assert!(is_crate || text("purl").starts_with("pkg:deb/debian/lib"), "{component}");
        assert!(component["licenses"].is_array(), "no licence: {component}");
        assert!(
            listed.insert(format!("{} {}", text("name"), text("version"))),
            "twice: {component}"
        );
    }
    for library in ["libc6-dev ", "libseccomp-dev "] {
        assert!(listed.iter().any(|part| part.starts_with(library)), "no {library}");
    }
    // It may name more: cargo-cyclonedx asks `cargo metadata`, which follows optional dependencies that nothing switches on.
    let linked = cargos()?;
    let missing: Vec<_> = linked.difference(&listed).collect();
    assert!(missing.is_empty(), "not listed: {missing:?}");
    let more = listed.difference(&linked).count();
    assert!(more < 10, "{more} parts are listed that no program is linked from");
    // Of the tests alone.
    assert!(
        !listed
            .iter()
            .any(|part| part.starts_with("proptest ") || part.starts_with("coaming-integration"))
    );
    // Each edge ends at a part that is there.
    let known: BTreeSet<&str> = components
        .iter()
        .chain([&bom["metadata"]["component"]])
        .filter_map(|part| part["bom-ref"].as_str())
        .collect();
    for edge in bom["dependencies"].as_array().unwrap() {
        for end in edge["dependsOn"].as_array().into_iter().flatten().chain([&edge["ref"]]) {
            assert!(known.contains(end.as_str().unwrap_or_default()), "{end} is no part");
        }
    }
    Ok(())
}

/// What the programs are linked from, names with versions.
fn cargos() -> Result<BTreeSet<String>, Error> {
    let mut found = BTreeSet::new();
    for (packages, target) in [
        (["coaming-cli", "coaming-shim"].as_slice(), "x86_64-unknown-linux-gnu"),
        (
            ["containerd-shim-coaming", "coaming-labels", "coaming-hooks", "coaming-hook-harness"]
                .as_slice(),
            "x86_64-unknown-linux-musl",
        ),
    ] {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args([
            "tree", "--locked", "--edges", "normal", "--prefix", "none", "--target", target,
        ]);
        command.args(packages.iter().flat_map(|package| ["--package", package]));
        for line in run(command.current_dir(repository()))?.lines().filter(|line| !line.is_empty())
        {
            let mut words = line.split(' ');
            let (name, version) =
                (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            found.insert(format!("{name} {}", version.trim_start_matches('v')));
        }
    }
    Ok(found)
}
