//! `coaming admission-policy`: what is said of manifests, and what is not.

use serde_json::Value;

use super::{coaming, policy, write};

fn objects(files: &[(&str, &str)], arguments: &[&str]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(folder.path(), name, text);
    }
    let path = folder.path().display().to_string();
    let said = coaming(&[&["admission-policy", &path], arguments].concat());
    assert_eq!(said.code, Some(0), "{}", said.err);
    serde_saphyr::from_multiple(&said.out).unwrap()
}

fn of<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found =
        objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name} in {objects:?}"))
}

fn checks(objects: &[Value], name: &str) -> String {
    of(objects, "ValidatingAdmissionPolicy", name)["spec"]["validations"].to_string()
}

#[test]
fn what_is_refused_is_denied_and_what_is_changed_is_warned_of() {
    let spec = "  actions: {privileged: refuse}\n  privileged: false\n  noNewPrivileges: true\n  user: {runAsNonRoot: true}\n  landlock: {read: [/]}";
    let made = objects(&[("x.yaml", &policy(spec))], &[]);
    let refused = checks(&made, "coaming.x.refused");
    assert!(
        refused.contains("securityContext.privileged") && refused.contains("runAsUser == 0"),
        "{refused}"
    );
    assert!(!refused.contains("allowPrivilegeEscalation"), "{refused}");
    assert!(checks(&made, "coaming.x.told").contains("allowPrivilegeEscalation"));
    let binding = |name: &str| {
        of(&made, "ValidatingAdmissionPolicyBinding", name)["spec"]["validationActions"].to_string()
    };
    assert_eq!(binding("coaming.x.refused"), r#"["Deny"]"#);
    assert_eq!(binding("coaming.x.told"), r#"["Warn","Audit"]"#);
    let said = of(&made, "ValidatingAdmissionPolicy", "coaming.x.told")["metadata"]["annotations"]
        .to_string();
    assert!(said.contains("landlock") && !said.contains("privileged"), "{said}");
}

#[test]
fn what_is_audited_or_rolled_out_denies_nothing() {
    for (mode, spec) in [
        ("mode", "  mode: audit\n  actions: {default: refuse}\n  privileged: false"),
        ("audit", "  audit: [privileged]\n  actions: {default: refuse}\n  privileged: false"),
        (
            "rollout",
            "  rollout: {percentage: 10}\n  actions: {default: refuse}\n  privileged: false",
        ),
    ] {
        let made = objects(&[("x.yaml", &policy(spec))], &[]);
        assert_eq!(made.len(), 2, "{mode}: {made:?}");
        assert!(checks(&made, "coaming.x.told").contains("privileged"), "{mode}");
    }
}

#[test]
fn whom_a_manifest_does_not_tell_nothing_is_said_of() {
    for selector in [
        "{expression: 'true'}",
        "{annotations: {a: [b]}}",
        "{labels: {a: [b]}}",
        "{pods: [a]}",
        "{runtimes: [coaming-runc]}",
        "{privileged: true}",
        "{containerTypes: [sandbox]}",
    ] {
        let spec = format!("  match: {selector}\n  privileged: false");
        assert_eq!(objects(&[("x.yaml", &policy(&spec))], &[]), [] as [Value; 0], "{selector}");
    }
    let spec = "  match: {namespaces: ['pay-*', a.b], exceptNamespaces: [pay-x], images: ['r/*']}\n  actions: {default: refuse}\n  privileged: false\n  mounts: {hostPaths: {allow: [/srv]}}";
    let made = objects(&[("x.yaml", &policy(spec))], &["--runtime-class", "coaming"]);
    let whole = of(&made, "ValidatingAdmissionPolicy", "coaming.x.refused")["spec"].to_string();
    for words in [
        r"^(pay-.*|a\\\\.b)$",
        r"!request.namespace.matches",
        r"c.image.matches",
        "runtimeClassName",
    ] {
        assert!(whole.contains(words), "{words}: {whole}");
    }
    // Volumes are the pod's, and the policy is not for all of its containers.
    assert!(!whole.contains("hostPath"), "{whole}");
}

#[test]
fn a_waiver_frees_its_namespaces_of_its_controls() {
    let waiver = "apiVersion: coaming.dev/v1alpha1\nkind: Waiver\nmetadata: {name: w}\nspec:\n  match: {namespaces: [old]}\n  waives: [privileged]\n  owner: o\n  reason: r\n  expires: 2099-01-01\n";
    let spec = "  actions: {default: refuse}\n  privileged: false\n  readOnlyRootFilesystem: true";
    let made = objects(&[("x.yaml", &policy(spec)), ("w.yaml", waiver)], &[]);
    let validations =
        of(&made, "ValidatingAdmissionPolicy", "coaming.x.refused")["spec"]["validations"].clone();
    let frees = |control: &str| {
        let check = validations
            .as_array()
            .unwrap()
            .iter()
            .find(|check| check["message"].as_str().unwrap().contains(control));
        check.unwrap()["expression"]
            .as_str()
            .unwrap()
            .starts_with("request.namespace.matches(\"^(old)$\")")
    };
    assert!(frees("spec.privileged") && !frees("spec.readOnlyRootFilesystem"));
}

#[test]
fn built_in_policies_are_said_too() {
    let made = objects(&[("x.yaml", &policy("  include: [pss/restricted]"))], &[]);
    let all: String = made.iter().map(Value::to_string).collect();
    for words in [
        "hostPID",
        "capabilities.add",
        "Unconfined",
        "allowPrivilegeEscalation",
        "hostPath",
        "sysctls",
    ] {
        assert!(all.contains(words), "{words}: {all}");
    }
}
