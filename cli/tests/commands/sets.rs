//! The sets of policies that are installed to begin with: nothing to be said against them, and their tests hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::tempdir;

use super::coaming;

const SETS: [&str; 5] =
    ["ci-build-farm", "gpu-node", "multi-tenant-saas", "node-agents", "pci-payments"];

fn sets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/examples/sets")
}

#[test]
fn each_set_is_clean_and_does_what_its_tests_say() {
    let mut found: Vec<String> = fs::read_dir(sets())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, SETS);
    // Where others cannot write, whatever the checkout's modes.
    let folder = tempdir().unwrap();
    let copied = Command::new("cp").arg("-r").arg(sets()).arg(folder.path()).status().unwrap();
    let modes = Command::new("chmod").args(["-R", "go-w"]).arg(folder.path()).status().unwrap();
    assert!(copied.success() && modes.success());
    for set in SETS {
        let path = folder.path().join("sets").join(set).display().to_string();
        let checked = coaming(&["check", "--strict", &path]);
        assert_eq!(checked.code, Some(0), "{}{}", checked.out, checked.err);
        let tested = coaming(&["test", &path]);
        assert_eq!(tested.code, Some(0), "{}{}", tested.out, tested.err);
    }
}

/// A set that does less is noticed: each file of policies is taken away once.
#[test]
fn their_tests_fail_without_the_policies() {
    for set in SETS {
        let folder = tempdir().unwrap();
        let tests = sets().join(set).join("tests");
        let copied = Command::new("cp").arg("-r").arg(tests).arg(folder.path()).status().unwrap();
        assert!(copied.success());
        let path = folder.path().display().to_string();
        assert_eq!(coaming(&["test", &path]).code, Some(1), "{set}");
    }
}
