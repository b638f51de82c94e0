//! `coaming explain`: bundles that would start or be refused, and containers that did.

use std::fs;
use std::path::Path;

use coaming_policy::document::parse_policies;
use coaming_policy::facts::Facts;
use coaming_policy::floor::Floor;
use coaming_policy::verdict::Audit;
use coaming_shim::record::Record;
use coaming_shim::state::State;
use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use super::{coaming, policy, write};

/// A bundle that asks for more than `baseline` allows.
fn bundle(spec: &Value) -> TempDir {
    let folder = tempdir().unwrap();
    write(folder.path(), "config.json", &spec.to_string());
    folder
}

fn greedy() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_ADMIN"]},
        },
        "root": {"path": "rootfs"},
        "annotations": {"io.kubernetes.cri.sandbox-namespace": "payments", "run.oci.handler": "krun"},
        "linux": {"namespaces": [
            {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "mount"}, {"type": "uts"},
        ]},
    })
}

/// Runs `explain` over a bundle, under a policy with this spec.
fn explain(bundle: &Path, spec: &str, more: &[&str]) -> super::Said {
    let folder = tempdir().unwrap();
    let file = write(folder.path(), "p.yaml", &policy(spec));
    let bundle = bundle.display().to_string();
    let mut arguments = vec!["explain", "--bundle", &bundle, "--policy", &file];
    arguments.extend(more);
    coaming(&arguments)
}

/// The cells of the row of a field.
fn row<'a>(out: &'a str, field: &str) -> Vec<&'a str> {
    let line = out.lines().find(|line| line.trim_start().starts_with(field));
    let line = line.unwrap_or_else(|| panic!("no {field} in:\n{out}"));
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn what_was_asked_and_what_is_enforced_stand_side_by_side() {
    let bundle = bundle(&greedy());
    let before = fs::read(bundle.path().join("config.json")).unwrap();
    let said = explain(bundle.path(), "  noNewPrivileges: true", &[]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let capabilities = row(&said.out, "process.capabilities.bounding");
    assert_eq!(capabilities[1..3], ["2, with CAP_SYS_ADMIN", "1"]);
    assert!(capabilities[3].starts_with("baseline built-in:"), "{capabilities:?}");
    let ours = row(&said.out, "process.noNewPrivileges");
    assert_eq!(ours[1..3], ["-", "true"]);
    assert!(ours[3].starts_with("x /") && ours[3].ends_with("p.yaml:5"), "{ours:?}");
    assert!(said.out.contains("namespace     payments  (asserted by client)"), "{}", said.out);
    assert_eq!(fs::read(bundle.path().join("config.json")).unwrap(), before, "the bundle changed");
}

#[test]
fn a_refusal_names_policy_line_and_field_and_is_an_exit_code() {
    let bundle = bundle(&greedy());
    let said = explain(bundle.path(), "  user: {runAsNonRoot: true}", &["--floor", "node"]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    assert!(said.out.contains("Refused, for 1 reason:"), "{}", said.out);
    assert!(said.out.contains("p.yaml:5, spec.user) refuses process.user.uid"), "{}", said.out);
}

#[test]
fn the_json_answer_has_everything() {
    let bundle = bundle(&greedy());
    let said = explain(bundle.path(), "  privileged: false", &["--output", "json"]);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["verdict"], "admitted");
    assert_eq!(report["facts"]["namespace"]["assertedBy"], "client");
    let changes = report["changes"].as_array().unwrap();
    let change = changes.iter().find(|c| c["field"] == "process.capabilities.bounding").unwrap();
    assert_eq!(change["enforced"], json!(["CAP_CHOWN"]));
    assert_eq!(change["policies"][0]["policy"], "baseline");
    let names: Vec<&Value> =
        report["policies"].as_array().unwrap().iter().map(|policy| &policy["name"]).collect();
    assert_eq!(names, ["baseline", "x"]);
}

#[test]
fn what_is_no_bundle_is_told_from_a_refusal() {
    let empty = tempdir().unwrap();
    assert_eq!(explain(empty.path(), "  privileged: false", &[]).code, Some(2));
    let broken = tempdir().unwrap();
    write(broken.path(), "config.json", r#"{"process": {}, "process": {}}"#);
    let said = explain(broken.path(), "  privileged: false", &[]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("config.json") && said.err.contains("process"), "{}", said.err);
    let bundle = bundle(&greedy());
    let said = explain(bundle.path(), "  privilegd: false", &[]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("p.yaml:5:3: "), "{}", said.err);
}

#[test]
fn a_bundle_that_has_been_through_coaming_is_not_taken_for_a_request() {
    let mut spec = greedy();
    spec["mounts"] = json!([{"destination": "/dev/.coaming", "type": "bind", "source": "/x"}]);
    let said = explain(bundle(&spec).path(), "  privileged: false", &[]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("--container"), "{}", said.err);
}

/// A node with containers that were created through coaming.
pub(crate) struct Node {
    state: TempDir,
    pub(crate) runc: TempDir,
    crun: TempDir,
}

impl Node {
    pub(crate) fn new() -> Node {
        Node { state: tempdir().unwrap(), runc: tempdir().unwrap(), crun: tempdir().unwrap() }
    }

    /// Records a container under a policy with this spec.
    pub(crate) fn record(&self, root: &Path, id: &str, spec: &str) {
        let mut floor = Floor::default();
        for document in parse_policies("p.yaml", &policy(spec)).unwrap() {
            floor = floor.meet(&document.floor("p.yaml", &mut |_| panic!("no profiles")).unwrap());
        }
        let state = State::of(self.state.path(), root, id);
        state.reserve().unwrap();
        let record = Record {
            version: 1,
            id: id.to_owned(),
            wrapper: "coaming-runc".to_owned(),
            advisory: false,
            runtime: "/usr/bin/runc".to_owned(),
            runtime_root: root.display().to_string(),
            bundle: "/bundle".to_owned(),
            created_at: 0,
            facts: Facts::of(id, &json!({})),
            changes: Vec::new(),
            degraded: Vec::new(),
            waived: Vec::new(),
            audit: Audit::default(),
            notes: vec!["something to know".to_owned()],
            process: Value::Null,
            seccomp: None,
            bounding: Vec::new(),
            plan: None,
            launcher: None,
            filters: None,
            preserved: 0,
            first_process: None,
            floor,
            exec_floor: None,
            update_floor: None,
        };
        record.write(&state).unwrap();
    }

    /// Cuts a record short.
    pub(crate) fn spoil(&self, id: &str) {
        let state = State::of(self.state.path(), self.runc.path(), id);
        fs::write(state.private.join("record.json"), "{").unwrap();
    }

    pub(crate) fn status(&self, more: &[&str]) -> super::Said {
        let state = self.state.path().display().to_string();
        let mut arguments = vec!["status", "--state", &state];
        arguments.extend(more);
        coaming(&arguments)
    }

    fn explain(&self, id: &str, more: &[&str]) -> super::Said {
        let state = self.state.path().display().to_string();
        let mut arguments = vec!["explain", "--state", &state, "--container", id];
        arguments.extend(more);
        coaming(&arguments)
    }
}

#[test]
fn a_record_is_found_by_id_or_its_beginning_and_by_root() {
    let node = Node::new();
    node.record(node.runc.path(), "abc1", "  privileged: false");
    node.record(node.crun.path(), "abc1", "  privileged: false");
    node.record(node.runc.path(), "abd2", "  privileged: false");
    let said = node.explain("abd", &[]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.starts_with("Container abd2\n"), "{}", said.out);
    assert!(said.out.contains("1970-01-01T00:00:00Z") && said.out.contains("something to know"));
    assert!(said.out.contains("x (p.yaml): privileged"), "{}", said.out);

    let said = node.explain("abc1", &[]);
    let crun = node.crun.path().display().to_string();
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains(&format!("abc1  --root {crun}")), "{}", said.err);
    assert_eq!(node.explain("abc1", &["--root", &crun]).code, Some(0));

    let said = node.explain("xyz", &[]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("no container \"xyz\""), "{}", said.err);
}

#[test]
fn a_running_container_is_held_against_its_floor() {
    let node = Node::new();
    // This process stands for the container: it is in the host's namespaces, and its limits are below
    // the highest there is.
    node.record(
        node.runc.path(),
        "wide",
        "  hostNamespaces: {allow: [user]}\n  rlimits: {RLIMIT_CORE: 18446744073709551615}\n  \
         sysctls: {allow: []}",
    );
    let folder = node.runc.path().join("wide");
    assert!(node.explain("wide", &[]).out.contains("The kernel's view: none"));
    fs::create_dir(&folder).unwrap();
    write(&folder, "state.json", &json!({"init_process_pid": std::process::id()}).to_string());
    let said = node.explain("wide", &[]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    assert!(
        said.out.contains("MISMATCH  hostNamespaces: pid namespace is the host's"),
        "{}",
        said.out
    );
    assert!(said.out.contains("held      rlimits"), "{}", said.out);
    assert!(said.out.contains("not told by the kernel: sysctls"), "{}", said.out);

    write(&folder, "exec.fifo", "");
    let said = node.explain("wide", &["--output", "json"]);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &report["kernel"]["state"]), (Some(0), &json!("created")));
}
