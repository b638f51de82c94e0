//! `coaming status`: containers from their records.

use serde_json::Value;
use tempfile::tempdir;

use super::coaming;
use super::explain::Node;

#[test]
fn containers_are_shown_with_what_policy_demands_of_them_since() {
    let node = Node::new();
    node.record(node.runc.path(), "abc1", "  noNewPrivileges: true");
    let said = node.status(&[]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    // No process is there; the built-in floor is of today and was not when this was recorded.
    assert!(said.out.contains("abc1") && said.out.contains("not running"), "{}", said.out);
    assert!(said.out.contains("outdated (baseline)"), "{}", said.out);
    assert!(
        said.out.ends_with("1 container, 1 created before the policy of today\n"),
        "{}",
        said.out
    );
    assert_eq!(node.status(&["--outdated"]).code, Some(1));

    let said = node.status(&["--output", "json"]);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["containers"][0]["outdated"], serde_json::json!(["baseline"]));
    assert_eq!(report["containers"][0]["kernel"]["state"], "unknown");
}

#[test]
fn a_record_that_is_not_understood_is_named() {
    let node = Node::new();
    node.record(node.runc.path(), "abc1", "  noNewPrivileges: true");
    node.spoil("abc1");
    let said = node.status(&[]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(
        said.out.contains("0 containers") && said.out.contains("not understood"),
        "{}",
        said.out
    );
}

#[test]
fn a_node_without_records_has_no_containers() {
    let state = tempdir().unwrap();
    let said = coaming(&["status", "--state", &state.path().display().to_string()]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "0 containers\n"), "{}", said.err);
}
