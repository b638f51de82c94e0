//! `coaming test`: cases as expected and not, in every form, and tests that are broken.

use std::fs;

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use super::{Said, coaming, policy, write};

/// A policy, and a test of it in a folder below, with these cases.
fn tested(spec: &str, head: &str, cases: &str) -> TempDir {
    let folder = tempdir().unwrap();
    write(folder.path(), "p.yaml", &policy(spec));
    let tests = folder.path().join("tests");
    fs::create_dir(&tests).unwrap();
    write(&tests, "x.test.yaml", &document(head, cases));
    write(&tests, "pod.yaml", POD);
    folder
}

/// A test; the cases begin on line 6 where nothing stands before them.
fn document(head: &str, cases: &str) -> String {
    format!(
        "apiVersion: coaming.dev/v1alpha1\nkind: PolicyTest\nmetadata: {{name: of-x}}\nspec:\n{head}  \
         cases:\n{cases}"
    )
}

fn run(folder: &TempDir, more: &[&str]) -> Said {
    let path = folder.path().display().to_string();
    let mut arguments = vec!["test", &path];
    arguments.extend(more);
    coaming(&arguments)
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: pay}\nspec:\n  containers:\n  \
                   - name: app\n    image: reg/app\n    securityContext: {capabilities: {add: [NET_ADMIN]}}\n";

const NNP: &str = "  noNewPrivileges: true\n  capabilities: {allow: [KILL]}";

#[test]
fn what_is_as_expected_is_said_to_be() {
    let cases = "  - name: a pod of a file is tightened
    manifest: pod.yaml
    expect:
      verdict: admit
      changes: [{field: process.noNewPrivileges, policy: x}, {field: process.capabilities.bounding}]
      audit: []
      waived: []
      seccomp: {denies: [keyctl, init_module], allows: [read]}
  - name: so is its sandbox, which no policy selects
    manifest: pod.yaml
    container: POD
    expect: {verdict: admit}
  - name: a pod that is written here
    manifest:
      metadata: {name: web}
      spec: {hostNetwork: true, containers: [{name: app, image: x}]}
    expect: {verdict: refuse, refusedBy: [hostNamespaces]}
  - name: a spec
    spec: {ociVersion: 1.0.2, process: {args: [sh]}, root: {path: rootfs}}
    expect: {verdict: refuse}
";
    let said = run(&tested(NNP, "", cases), &[]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(said.out.contains("ok      of-x: a pod of a file is tightened  ("), "{}", said.out);
    assert!(said.out.ends_with("4 cases, all as expected\n"), "{}", said.out);
}

const WRONG: &str = "  - name: <wrong>
    manifest: pod.yaml
    expect:
      verdict: refuse
      refusedBy: [capabilities]
      changes: [{field: root.readonly}]
      audit: [landlock]
      waived: [w]
      seccomp: {denies: [read]}
  - name: right
    manifest: pod.yaml
    expect: {verdict: admit}
";

#[test]
fn what_is_not_as_expected_is_told_in_every_form() {
    let folder = tested(NNP, "", WRONG);
    let said = run(&folder, &[]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    for words in [
        "FAILED  of-x: <wrong>  (",
        "x.test.yaml:6)\n",
        "verdict: expected refuse, got admit\n",
        "refusedBy: expected capabilities, got none\n",
        "changes: expected root.readonly, got ",
        "audit: expected landlock, got none\n",
        "waived: expected w, got none\n",
        "seccomp.denies: expected read, got ",
        "2 cases, 1 failed\n",
    ] {
        assert!(said.out.contains(words), "{words:?}: {}", said.out);
    }
    let said = run(&folder, &["--output", "json"]);
    let ran: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &ran[0]["line"]), (Some(1), &6.into()));
    assert_eq!(ran[0]["wrong"].as_array().unwrap().len(), 6, "{ran:#}");
    let said = run(&folder, &["--output", "junit"]);
    assert_eq!(said.code, Some(1));
    assert!(said.out.starts_with("<?xml version=\"1.0\"") && said.out.contains("failures=\"1\""));
    assert!(said.out.contains("name=\"&lt;wrong&gt;\" classname=\"of-x\""), "{}", said.out);
    let said = run(&folder, &["--output", "tap"]);
    assert!(
        said.out.starts_with("TAP version 14\n1..2\nnot ok 1 - of-x: <wrong>\n"),
        "{}",
        said.out
    );
    assert!(said.out.ends_with("ok 2 - of-x: right\n"), "{}", said.out);
}

#[test]
fn audits_waivers_moments_and_execs_are_looked_at() {
    let spec = "  audit: [readOnlyRootFilesystem]\n  readOnlyRootFilesystem: true\n  \
                capabilities: {allow: [KILL]}\n  exec: {commands: [[ls, ...]], interactive: false}\n---\n\
                apiVersion: coaming.dev/v1alpha1\nkind: Waiver\nmetadata: {name: w}\nspec:\n  match: {namespaces: [pay]}\n  \
                waives: [capabilities]\n  owner: o\n  reason: r\n  expires: 2027-03-31\n";
    let cases = |waived: &str, changes: &str| {
        format!(
            "  - name: a waiver
    manifest: pod.yaml
    expect: {{verdict: admit, audit: [readOnlyRootFilesystem], waived: {waived}, changes: {changes}}}
  - name: another namespace
    manifest: pod.yaml
    facts: {{namespace: shop, podUID: u, image: i}}
    expect: {{verdict: admit, waived: [], changes: [{{field: process.capabilities.bounding}}]}}
  - name: a command
    manifest: pod.yaml
    exec: {{command: [ls, /]}}
    expect: {{verdict: admit}}
  - name: a shell
    manifest: pod.yaml
    exec: {{command: [sh], terminal: true, stdin: true}}
    expect: {{verdict: refuse, refusedBy: [exec]}}
"
        )
    };
    // The built-in floor has a ceiling of its own on capabilities.
    let head = |now: &str| format!("  floor: node\n  now: {now}\n");
    let during = tested(spec, &head("2027-03-30"), &cases("[w]", "[{field: linux.seccomp}]"));
    let said = run(&during, &[]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let bounding = "[{field: process.capabilities.bounding, policy: x}]";
    let after = tested(spec, &head("2027-04-02T00:00:00Z"), &cases("[]", bounding));
    assert_eq!(run(&after, &[]).code, Some(0), "{}", run(&after, &[]).out);
    let wrong = tested(spec, &head("2027-04-02T00:00:00Z"), &cases("[w]", bounding));
    assert_eq!(run(&wrong, &[]).code, Some(1));
}

#[test]
fn broken_tests_are_errors_with_their_place() {
    let one = |case: &str| format!("  - {{name: c, {case}}}\n");
    for (head, cases, words) in [
        (
            "",
            one("manifest: pod.yaml, expct: {}"),
            "6:35: unknown field \"expct\"; did you mean \"expect\"?",
        ),
        ("", one("manifest: pod.yaml, expect: {verdict: admits}"), "did you mean \"admit\"?"),
        ("", one("expect: {verdict: admit}"), "one of manifest, bundle and spec"),
        ("", one("manifest: none.yaml, expect: {verdict: admit}"), "none.yaml"),
        (
            "",
            one("manifest: pod.yaml, container: x, expect: {verdict: admit}"),
            "no such container",
        ),
        (
            "",
            one("manifest: pod.yaml, expect: {verdict: refuse, refusedBy: [capabilites]}"),
            "did you mean \"capabilities\"?",
        ),
        (
            "",
            one("manifest: pod.yaml, expect: {verdict: admit, seccomp: {denies: [opeen]}}"),
            "is no system call",
        ),
        ("  policies: ../q.yaml\n", one("manifest: pod.yaml, expect: {verdict: admit}"), "q.yaml"),
        (
            "  node: {kernel: six}\n",
            one("manifest: pod.yaml, expect: {verdict: admit}"),
            "spec.node.kernel",
        ),
        ("", "    []\n".to_owned(), "no cases"),
    ] {
        let said = run(&tested(NNP, head, &cases), &[]);
        assert_eq!(said.code, Some(2), "{cases}: {}", said.out);
        assert!(said.err.contains(words), "{words}: {}", said.err);
    }
    let nothing = tempdir().unwrap();
    let said = run(&nothing, &[]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains(".test.yaml"), "{}", said.err);
}

/// A node reads the files of its folder alone, and tests stand below.
#[test]
fn a_node_does_not_read_tests() {
    let folder = tested(NNP, "", WRONG);
    let said = coaming(&["check", &folder.path().display().to_string()]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "1 policy, no errors\n"));
}

#[test]
fn the_schema_names_every_field() {
    let said = coaming(&["schema", "policy-test"]);
    let schema: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(schema["title"], "PolicyTest");
    for field in ["cases", "refusedBy", "landlockABI", "podUID", "terminal"] {
        assert!(said.out.contains(&format!("\"{field}\"")), "{field}");
    }
}
