//! `coaming doctor`: the trials that it makes of itself, and its answers.

use std::fs;

use serde_json::Value;
use tempfile::tempdir;

use super::coaming;

/// The answer over a tree with this configuration of containerd.
fn doctor(containerd: &str) -> (Option<i32>, Value, String) {
    let tree = tempdir().unwrap();
    fs::create_dir_all(tree.path().join("etc/containerd")).unwrap();
    fs::write(tree.path().join("etc/containerd/config.toml"), containerd).unwrap();
    let root = tree.path().display().to_string();
    let json = coaming(&["doctor", "--root", &root, "--output", "json"]);
    let text = coaming(&["doctor", "--root", &root]);
    assert_eq!(json.code, text.code, "{}{}", json.err, text.err);
    let report = serde_json::from_str(&json.out).unwrap_or_else(|error| {
        panic!("{error}: {}{}", json.out, json.err);
    });
    (json.code, report, text.out)
}

#[test]
fn a_way_around_is_a_finding_in_both_forms() {
    let section = "plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.fast";
    let text = format!(
        "version = 3\n[{section}]\nruntime_type = \"io.containerd.runc.v2\"\n[{section}.options]\nBinaryName = \"/opt/fast\"\n"
    );
    let (code, report, shown) = doctor(&text);
    assert_eq!(code, Some(1));
    let fast =
        report["handlers"].as_array().unwrap().iter().find(|handler| handler["name"] == "fast");
    let fast = fast.unwrap();
    assert_eq!((fast["ends"].as_str(), fast["place"]["line"].as_u64()), (Some("around"), Some(5)));
    assert!(report["problems"].to_string().contains("/etc/containerd/config.toml:5"), "{report}");
    assert!(shown.contains("AROUND COAMING") && shown.contains("config.toml:5"), "{shown}");
    assert!(
        shown.contains("to mend it: BinaryName = \"/usr/libexec/coaming/coaming-runc\""),
        "{shown}"
    );
}

#[test]
fn the_kernel_is_tried_and_every_control_has_a_state() {
    let (_, report, shown) = doctor("version = 3\n");
    let kernel = &report["kernel"];
    assert_eq!(kernel.get("untried"), None, "{kernel}");
    // Whatever runs these tests has filters: its own processes could not be confined otherwise.
    assert_eq!(kernel["trials"]["seccompFilter"], true, "{kernel}");
    assert_eq!(kernel["seccompKills"], true, "{kernel}");
    let listed = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap();
    for (action, known) in kernel["trials"]["seccompActions"].as_object().unwrap() {
        let name = action.to_lowercase();
        let expected = listed.split_whitespace().any(|listed| listed == name);
        assert_eq!(known.as_bool(), Some(expected), "{action}: {listed}");
    }
    let controls = report["controls"].as_array().unwrap();
    for name in ["seccomp", "landlock", "appArmor", "capabilities", "refuse", "annotations"] {
        let control = controls.iter().find(|control| control["control"] == name);
        let state = control.unwrap_or_else(|| panic!("{name}: {report}"))["state"].as_str();
        assert!(matches!(state, Some("enforced" | "degraded" | "impossible")), "{name}: {state:?}");
        assert!(shown.lines().any(|line| line.trim_start().starts_with(name)), "{name}: {shown}");
    }
    // An ABI comes with its rights.
    let trials = &kernel["trials"];
    if trials["landlockAbi"].as_u64() >= Some(6) {
        assert_eq!(trials["landlockRights"]["SIGNAL"], true);
        assert_eq!(trials["landlockEffect"], true);
    }
}

#[test]
fn a_dump_that_is_not_there_is_told() {
    let said = coaming(&["doctor", "--containerd-config", "/nonexistent", "--output", "json"]);
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains("/nonexistent: No such file"), "{}", said.out);
}
