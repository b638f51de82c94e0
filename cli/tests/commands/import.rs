//! `coaming import`: what a cluster has comes out as policies that `coaming check` takes, or is named.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::{TempDir, tempdir};

use super::{Said, coaming, write};

/// Imports one file into a folder, which `coaming check` must take.
fn import(name: &str, text: &str, more: &[&str]) -> (TempDir, Said) {
    let folder = tempdir().unwrap();
    let file = write(folder.path(), name, text);
    let policies = folder.path().join("policies");
    let target = policies.display().to_string();
    let mut arguments = vec!["import", &file, "--output-dir", &target];
    arguments.extend(more);
    let said = coaming(&arguments);
    if said.code == Some(0) {
        let checked = coaming(&["check", "--strict", &target]);
        assert_eq!(checked.code, Some(0), "{}{}", checked.out, checked.err);
    }
    (folder, said)
}

fn read(folder: &TempDir, name: &str) -> String {
    let path = folder.path().join("policies").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

const NAMESPACES: &str = "apiVersion: v1
kind: Namespace
metadata:
  name: pay
  labels:
    pod-security.kubernetes.io/enforce: baseline
    pod-security.kubernetes.io/enforce-version: v1.30
    pod-security.kubernetes.io/warn: restricted
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata: {name: shop, labels: {pod-security.kubernetes.io/enforce: baseline, pod-security.kubernetes.io/audit: baseline}}
- apiVersion: v1
  kind: Namespace
  metadata: {name: system, labels: {pod-security.kubernetes.io/enforce: privileged}}
- apiVersion: v1
  kind: Namespace
  metadata: {name: slip, labels: {pod-security.kubernetes.io/enforce: restrictd}}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: other, namespace: shop}
";

#[test]
fn pod_security_labels_become_policies_that_include_the_standards() {
    let (folder, said) = import("ns.yaml", NAMESPACES, &[]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let enforced = read(&folder, "pod-security-enforce-baseline.yaml");
    assert!(
        enforced.contains("namespaces: [\"pay\", \"shop\"]")
            && enforced.contains("default: refuse")
    );
    assert!(enforced.contains("include: [pss/baseline]"), "{enforced}");
    let tried = read(&folder, "pod-security-audit-restricted.yaml");
    assert!(tried.contains("namespaces: [\"pay\"]") && tried.contains("mode: audit"), "{tried}");
    assert_eq!(fs::read_dir(folder.path().join("policies")).unwrap().count(), 2);
    for words in [
        "# Namespace pay: enforce is pinned to v1.30",
        "# Namespace system: enforces privileged",
        "# Namespace slip: pod-security.kubernetes.io/enforce: restrictd is no level",
        "# ConfigMap shop/other: not looked at",
    ] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
}

/// What is imported refuses what the API server would.
#[test]
fn imported_levels_decide_as_admission_does() {
    let (folder, _) = import("ns.yaml", NAMESPACES, &[]);
    let policies = folder.path().join("policies").display().to_string();
    let pod = |name: &str, namespace: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: web, namespace: {namespace}}}\nspec:\n  containers:\n  \
             - name: app\n    image: x\n    securityContext: {{privileged: true}}\n"
        );
        let file = write(folder.path(), name, &text);
        coaming(&["explain", "--manifest", &file, "--policy", &policies, "--floor", "node"]).code
    };
    assert_eq!(pod("a.yaml", "pay"), Some(1));
    assert_eq!(pod("b.yaml", "system"), Some(0));
}

const OPERATOR: &str = "apiVersion: security-profiles-operator.x-k8s.io/v1beta1
kind: SeccompProfile
metadata: {name: web, namespace: demo, uid: 1-2-3, resourceVersion: '7'}
spec:
  defaultAction: SCMP_ACT_ALLOW
  syscalls: [{names: [keyctl, bpf], action: SCMP_ACT_ERRNO}]
status: {status: Installed}
---
apiVersion: security-profiles-operator.x-k8s.io/v1beta1
kind: SeccompProfile
metadata: {name: based, namespace: demo}
spec: {defaultAction: SCMP_ACT_ERRNO, baseProfileName: runc}
---
apiVersion: security-profiles-operator.x-k8s.io/v1alpha1
kind: ProfileBinding
metadata: {name: web, namespace: demo}
spec: {image: 'reg/web:1', profileRef: {kind: SeccompProfile, name: web}}
---
apiVersion: security-profiles-operator.x-k8s.io/v1alpha1
kind: ProfileBinding
metadata: {name: based, namespace: demo}
spec: {image: '*', profileRef: {kind: SeccompProfile, name: based}}
---
apiVersion: security-profiles-operator.x-k8s.io/v1alpha1
kind: ProfileBinding
metadata: {name: labels, namespace: demo}
spec: {image: '*', profileRef: {kind: SelinuxProfile, name: x}}
";

#[test]
fn bound_profiles_become_policies_and_the_rest_is_named() {
    let (folder, said) = import("spo.yaml", OPERATOR, &[]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let policy = read(&folder, "binding-web.yaml");
    for words in
        ["namespaces: [\"demo\"]", "images: [\"reg/web:1\"]", "floor: profiles/demo-web.json"]
    {
        assert!(policy.contains(words), "{words}: {policy}");
    }
    assert!(read(&folder, "profiles/demo-web.json").contains("keyctl"));
    for words in [
        "# SeccompProfile demo/based: not carried over: ",
        "baseProfileName",
        "# ProfileBinding demo/based: not carried over: its SeccompProfile based",
        "# ProfileBinding demo/labels: not carried over: it binds a SelinuxProfile",
    ] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
}

const PROFILE: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "SCMP_ARCH_X86_64",
  "subArchitectures": []}], "syscalls": [{"names": ["bpf", "keyctl"], "action": "SCMP_ACT_ERRNO"}]}"#;

#[test]
fn a_profile_becomes_a_floor_of_the_namespaces_that_are_named() {
    let (folder, said) = import("My Profile.json", PROFILE, &["--namespace", "pay-*"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let policy = read(&folder, "seccomp-my-profile.yaml");
    assert!(policy.contains("namespaces: [\"pay-*\"]"), "{policy}");
    assert_eq!(read(&folder, "profiles/my-profile.json"), PROFILE);
    // Again: nothing is overwritten, and nothing written in part.
    let file = folder.path().join("My Profile.json").display().to_string();
    let target = folder.path().join("policies").display().to_string();
    fs::remove_file(folder.path().join("policies/profiles/my-profile.json")).unwrap();
    let said = coaming(&["import", &file, "--output-dir", &target]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("not overwritten"), "{}", said.err);
    assert!(!folder.path().join("policies/profiles/my-profile.json").exists());
    // Without a folder the policy is printed.
    let said = coaming(&["import", &file]);
    assert!(said.out.contains("name: seccomp-my-profile\n") && said.out.contains("--output-dir"));
}

#[test]
fn what_makes_no_policy_is_an_error() {
    for (name, text, words) in [
        (
            "a.yaml",
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n",
            "nothing in it makes a policy",
        ),
        ("a.yaml", "a: [", "a.yaml:"),
        ("a.json", r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#, "SCMP_ACT_NOTIFY"),
        ("a.json", r#"{"defaultAction": "SCMP_ACT_ALLOW", "sysCalls": []}"#, "sysCalls"),
    ] {
        let (folder, said) = import(name, text, &[]);
        assert_eq!(said.code, Some(2), "{}", said.out);
        assert!(said.err.contains(words), "{words}: {}", said.err);
        assert!(!folder.path().join("policies").exists());
    }
}

const TYPE: &str = "application/vnd.cncf.seccomp-profile.config.v1+json";

/// An OCI image layout with one artifact.
fn layout(folder: &Path, kind: &str, layers: &[&str]) {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let blob = |text: &str| {
        let hex: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(blobs.join(&hex), text).unwrap();
        json!({"mediaType": "application/json", "digest": format!("sha256:{hex}"), "size": text.len()})
    };
    let layers: Vec<Value> = layers.iter().map(|layer| blob(layer)).collect();
    let mut config = blob("{}");
    config["mediaType"] = json!(kind);
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string();
    let index = json!({"schemaVersion": 2, "manifests": [blob(&manifest)]});
    fs::write(folder.join("index.json"), index.to_string()).unwrap();
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
}

#[test]
fn an_artifact_is_taken_as_the_proposal_has_it_and_only_so() {
    let runtime = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["bpf"], "action": "SCMP_ACT_ERRNO"}]}"#;
    for (kind, layers, words) in [
        (TYPE, &[runtime][..], ""),
        ("application/vnd.unknown.config.v1+json", &[runtime][..], "an artifact of the type"),
        (TYPE, &[runtime, "{}"][..], "has 2 layers"),
        (TYPE, &["{\"defaultAction\": 3}"][..], "invalid type: integer `3`"),
    ] {
        let folder = tempdir().unwrap();
        let artifact = folder.path().join("artifact");
        layout(&artifact, kind, layers);
        let path = artifact.display().to_string();
        let target = folder.path().join("policies").display().to_string();
        let said = coaming(&["import", &path, "--output-dir", &target]);
        if words.is_empty() {
            assert_eq!(said.code, Some(0), "{}", said.err);
            assert_eq!(coaming(&["check", "--strict", &target]).code, Some(0));
            assert_eq!(
                fs::read_to_string(Path::new(&target).join("profiles/artifact.json")).unwrap(),
                runtime
            );
            // A blob that is not what its digest says.
            let blobs = fs::read_dir(artifact.join("blobs/sha256")).unwrap();
            for blob in blobs.map(|entry| entry.unwrap().path()) {
                fs::write(&blob, format!("{} ", fs::read_to_string(&blob).unwrap())).unwrap();
            }
            let said = coaming(&["import", &path]);
            assert!(said.code == Some(2) && said.err.contains("another digest"), "{}", said.err);
        } else {
            assert_eq!(said.code, Some(2), "{}", said.out);
            assert!(said.err.contains(words), "{words}: {}", said.err);
        }
    }
}
