//! What other versions wrote: records that an older one left for real (`recorded/`, by its commit), and what no version is known to write.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use coaming_integration::{Error, binaries, can_run};
use serde_json::{Value, json};

/// The records that `make test-upgrade` was told to keep (`COAMING_KEEP_RECORDS`).
fn recorded() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade/recorded");
    let folders = fs::read_dir(folder).unwrap().flatten();
    let files = folders.flat_map(|folder| fs::read_dir(folder.path()).unwrap().flatten());
    let mut found: Vec<PathBuf> = files.map(|file| file.path()).collect();
    found.sort();
    found
}

/// `coaming status` of a node's state with these records.
fn status(records: &[Value]) -> Result<Value, Error> {
    let state = tempfile::tempdir().unwrap();
    for (number, record) in records.iter().enumerate() {
        let folder = state.path().join("containers").join(number.to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("record.json"), record.to_string()).unwrap();
    }
    let said = Command::new(&binaries::binaries()?.cli)
        .args(["status", "--output", "json", "--state"])
        .arg(state.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    Ok(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {said:?}")))
}

#[test]
fn records_of_older_versions_are_read() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let files = recorded();
    assert!(files.len() >= 2, "{files:?}");
    let records: Vec<Value> = files
        .iter()
        .map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap())
        .collect();
    let said = status(&records)?;
    assert_eq!(said["unreadable"], json!([]), "{said:#}");
    let containers = said["containers"].as_array().unwrap();
    assert_eq!(containers.len(), records.len());
    for record in &records {
        let shown = containers.iter().find(|shown| shown["id"] == record["id"]);
        let shown = shown.unwrap_or_else(|| panic!("{} is not in {said:#}", record["id"]));
        assert_eq!(shown["runtime"], record["runtime"]);
        assert!(shown["facts"]["namespace"].to_string().contains("payments"), "{shown:#}");
    }
    Ok(())
}

#[test]
fn records_of_versions_to_come_are_not_read() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let text = fs::read_to_string(&recorded()[0]).unwrap();
    for (field, value) in [("version", json!(2)), ("pardoned", json!(true))] {
        let mut record: Value = serde_json::from_str(&text).unwrap();
        record[field] = value;
        let said = status(&[record])?;
        assert_eq!(said["containers"], json!([]), "{field}: {said:#}");
        assert_eq!(said["unreadable"].as_array().map(Vec::len), Some(1), "{field}: {said:#}");
    }
    Ok(())
}

/// A document of a version of the policy format that is not known is an error with its place, and never a policy that says nothing.
#[test]
fn policies_of_versions_to_come_are_errors() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for version in
        ["coaming.dev/v1alpha2", "coaming.dev/v1beta1", "coaming.dev/v1", "other.dev/v1alpha1"]
    {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("p.yaml");
        let text = format!(
            "apiVersion: {version}\nkind: Policy\nmetadata: {{name: p}}\nspec: {{noNewPrivileges: true}}\n"
        );
        fs::write(&file, text).unwrap();
        let said =
            Command::new(&binaries::binaries()?.cli).arg("check").arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout);
        assert_eq!(said.status.code(), Some(1), "{text}");
        assert!(
            text.contains("p.yaml:1:13") && text.contains("known: coaming.dev/v1alpha1"),
            "{text}"
        );
    }
    Ok(())
}
