//! The packaged fragments of other programs' configuration: that they are well formed, and have keys that those know.

// All of this crate is tests, helpers included.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use toml::{Table, Value};

/// Where every fragment's paths lead.
const PROGRAMS: &str = "/usr/libexec/coaming";

fn packaged(file: &str) -> Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(file);
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

fn keys(table: &Table) -> Vec<&str> {
    table.keys().map(String::as_str).collect()
}

/// CRI-O, crio.conf.d(5), table `crio.runtime.runtimes`.
#[test]
fn crios_handlers_have_keys_that_it_knows() {
    let file = packaged("crio/10-coaming.conf");
    assert_eq!(keys(&file), ["crio"]);
    let handlers = file["crio"]["runtime"]["runtimes"].as_table().unwrap();
    assert_eq!(keys(handlers), ["coaming-crun", "coaming-runc"]);
    for (name, handler) in handlers {
        let handler = handler.as_table().unwrap();
        assert_eq!(keys(handler), ["runtime_path", "runtime_root", "runtime_type"]);
        assert_eq!(handler["runtime_path"].as_str(), Some(&*format!("{PROGRAMS}/{name}")));
        assert_eq!(handler["runtime_type"].as_str(), Some("oci"));
    }
}

/// Podman, containers.conf(5), table `engine`.
#[test]
fn podmans_runtimes_are_named_and_report_in_json() {
    let engine = &packaged("podman/coaming.conf")["engine"];
    let runtimes = engine["runtimes"].as_table().unwrap();
    let json = engine["runtime_supports_json"].as_array().unwrap();
    assert_eq!(keys(runtimes), ["coaming-crun", "coaming-runc"]);
    for (name, paths) in runtimes {
        assert_eq!(paths, &Value::from(vec![format!("{PROGRAMS}/{name}")]));
        // Else Podman does not show what a runtime says.
        assert!(json.contains(&Value::from(name.as_str())), "{name}");
    }
    let default = packaged("podman/coaming-default-runtime.conf");
    let default = default["engine"]["runtime"].as_str().unwrap().to_owned();
    assert!(runtimes.contains_key(&default), "{default}");
}
