//! `coaming explain --manifest`: what policy would do with the containers of a manifest.

use serde_json::Value;
use tempfile::tempdir;

use super::{Said, coaming, policy, write};

const MANIFEST: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    spec:
      initContainers:
        - {name: first, image: registry.example/init:1, securityContext: {capabilities: {add: [SYS_TIME]}}}
      containers:
        - name: app
          image: registry.example/app:1
          securityContext: {runAsUser: 1000}
---
apiVersion: v1
kind: Service
metadata: {name: web}
";

/// Runs `explain` over a manifest, under a policy with this spec.
fn explain(manifest: &str, spec: &str, more: &[&str]) -> Said {
    let folder = tempdir().unwrap();
    let policy = write(folder.path(), "p.yaml", &policy(spec));
    let manifest = write(folder.path(), "web.yaml", manifest);
    let mut arguments = vec!["explain", "--manifest", &manifest, "--policy", &policy];
    arguments.extend(more);
    coaming(&arguments)
}

fn report<'a>(answer: &'a Value, container: &str) -> &'a Value {
    let reports = answer["containers"].as_array().unwrap();
    let named = reports.iter().find(|report| report["container"] == container);
    named.unwrap_or_else(|| panic!("no {container} in {answer:#}"))
}

#[test]
fn every_container_is_judged_as_the_node_would() {
    let spec = "  match: {namespaces: [shop], containers: [app]}\n  readOnlyRootFilesystem: true";
    let said = explain(MANIFEST, spec, &["--output", "json"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    let fields = |container: &str| -> Vec<String> {
        let changes = report(&answer, container)["changes"].as_array().unwrap();
        changes.iter().map(|change| change["field"].as_str().unwrap().to_owned()).collect()
    };
    assert!(fields("app").contains(&"root.readonly".to_owned()), "{:?}", fields("app"));
    assert!(!fields("first").contains(&"root.readonly".to_owned()));
    assert!(fields("first").contains(&"process.capabilities.bounding".to_owned()));
    assert_eq!(report(&answer, "first")["role"], "init");
    assert_eq!(report(&answer, "POD")["facts"]["containerType"], "sandbox");
    assert_eq!(report(&answer, "app")["facts"]["pod"]["value"], "web-0000000000-00000");
    assert!(answer["passedOver"][0].as_str().unwrap().contains("Service web"));
    assert!(report(&answer, "app").get("bundle").is_none());
}

#[test]
fn what_is_only_approximated_is_said() {
    let said = explain(MANIFEST, "  noNewPrivileges: true", &["--only", "first"]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(said.out.contains("Deployment web: init container first\n"), "{}", said.out);
    assert!(!said.out.contains("container app"), "{}", said.out);
    assert!(said.out.contains("Approximated:") && said.out.contains("the user is the image's"));
    let named = explain(MANIFEST, "  privileged: false", &["--image-user", "1000"]);
    assert!(!named.out.contains("the user is the image's"), "{}", named.out);
}

#[test]
fn a_refusal_is_an_exit_code_and_the_hosts_namespaces_are_known() {
    let manifest = MANIFEST.replace("      containers:", "      hostPID: true\n      containers:");
    let said = explain(&manifest, "  privileged: false", &[]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    assert!(said.out.contains("spec.hostNamespaces) refuses linux.namespaces"), "{}", said.out);
    assert!(said.out.contains("web.yaml: 3 containers, 3 refused"), "{}", said.out);
}

#[test]
fn the_namespace_of_objects_without_one_is_an_option() {
    let manifest = MANIFEST.replace(", namespace: shop", "");
    let spec = "  match: {namespaces: [pay], containers: [app]}\n  user: {runAsNonRoot: true}\n  \
                actions: {readOnlyRootFilesystem: refuse}\n  readOnlyRootFilesystem: true";
    assert_eq!(explain(&manifest, spec, &[]).code, Some(0));
    assert_eq!(explain(&manifest, spec, &["--namespace", "pay"]).code, Some(1));
}

#[test]
fn what_is_no_manifest_is_told_with_its_place() {
    for (manifest, words) in [
        ("a: [\n", "web.yaml:"),
        (
            "kind: Pod\napiVersion: v1\nmetadata: {name: p}\nspec: {hostPID: 1}\n",
            "Pod p: spec.hostPID: expected true or false, found 1",
        ),
    ] {
        let said = explain(manifest, "  privileged: false", &[]);
        assert_eq!(said.code, Some(2));
        assert!(said.err.contains(words), "{}", said.err);
    }
    let said = explain(MANIFEST, "  privileged: false", &["--only", "nobody"]);
    assert!(said.code == Some(2) && said.err.contains("is named \"nobody\""), "{}", said.err);
    assert_eq!(coaming(&["explain", "--manifest", "/no/such"]).code, Some(2));
    assert_eq!(coaming(&["explain", "--manifest", "x", "--bundle", "y"]).code, Some(2));
}

#[test]
fn names_cannot_steer_a_terminal() {
    let manifest = MANIFEST.replace("name: app", "name: \"app\\x1b[2J\"");
    let said = explain(&manifest, "  privileged: false", &[]);
    assert!(said.out.contains("app\\u{1b}[2J") && !said.out.contains('\u{1b}'), "{}", said.out);
}
