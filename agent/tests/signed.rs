//! From objects to a signed set in force: rendered where the key is, signed with minisign(1), delivered as an object, judged by a node that takes
//! nothing else.
// A test may stop at the first surprise, in its helpers too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use coaming_agent::directory::{Directory, Written};
use coaming_agent::objects::{Cluster, LABEL, SIGNATURE};
use coaming_agent::set;
use coaming_config::{Loosening, Policy, Signatures};
use coaming_shim::in_force::Keeper;
use serde_json::{Value, json};

const OBJECTS: &str = r#"
apiVersion: coaming.dev/v1alpha1
kind: Policy
metadata: {name: payments}
spec:
  match: {namespaces: ["payments-*"]}
  seccomp: {floor: profiles/pay.json}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: profiles, labels: {coaming.dev/part-of-policy: profiles}}
data:
  pay.json: '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["ptrace"], "action": "SCMP_ACT_ERRNO"}]}'
"#;

fn run(program: &str, folder: &Path, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap()
}

fn rendered(folder: &Path, name: &str, text: &str, more: &[&str]) -> Output {
    fs::write(folder.join("objects.yaml"), text).unwrap();
    let arguments = [&["render", "objects.yaml", "--into", name], more].concat();
    run(env!("CARGO_BIN_EXE_coaming-agent"), folder, &arguments)
}

fn cluster(text: &str) -> Cluster {
    let mut cluster = Cluster::default();
    for object in coaming_policy::document::parse_strict::<Value>("objects", text).unwrap() {
        cluster.take(&object).unwrap();
    }
    cluster
}

#[test]
fn what_is_rendered_is_what_agents_write() {
    let folder = tempfile::tempdir().unwrap();
    let said = rendered(folder.path(), "set", OBJECTS, &[]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let made = set::render(&cluster(OBJECTS)).unwrap();
    let read = |name: &str| fs::read(folder.path().join("set").join(name)).unwrap();
    assert_eq!(read("kubernetes.yaml"), made.documents);
    for (name, bytes) in &made.profiles {
        assert_eq!(read(name), *bytes);
    }
    // By the program that people have, too.
    let checked =
        run("sha256sum", &folder.path().join("set"), &["--check", "--strict", "SHA256SUMS"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));

    let there = rendered(folder.path(), "set", OBJECTS, &[]);
    assert_eq!(there.status.code(), Some(2), "a folder that is there is not written over");
    let odd = rendered(folder.path(), "odd", &OBJECTS.replace("seccomp:", "secomp:"), &[]);
    let said = String::from_utf8_lossy(&odd.stderr).into_owned();
    assert!(
        odd.status.code() == Some(2)
            && said.contains("Policy payments")
            && said.contains("seccomp"),
        "{said}"
    );
    assert!(!folder.path().join("odd").exists());
    let other = rendered(
        folder.path(),
        "other",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n",
        &[],
    );
    assert!(String::from_utf8_lossy(&other.stderr).contains("none of the agent's"));
}

#[test]
fn a_signed_set_is_taken_by_a_node_that_takes_no_other() {
    if Command::new("minisign").arg("-v").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "minisign is not installed");
        eprintln!("skipped: minisign is not installed");
        return;
    }
    let kept = tempfile::tempdir().unwrap();
    let folder = kept.path();
    let made = run("minisign", folder, &["-G", "-W", "-p", "key.pub", "-s", "key"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let key =
        fs::read_to_string(folder.join("key.pub")).unwrap().lines().nth(1).unwrap().to_owned();
    // A file that stands on every node is in the manifest too.
    let local = folder.join("local");
    fs::create_dir(&local).unwrap();
    fs::set_permissions(&local, fs::Permissions::from_mode(0o755)).unwrap();
    let own = "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {name: own}\nspec: {noNewPrivileges: true}\n";
    let put = |path: &Path| {
        fs::write(path, own).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    };
    put(&local.join("own.yaml"));
    let signed = |name: &str, text: &str| {
        let said = rendered(folder, name, text, &["--beside", "local"]);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let set = folder.join(name);
        let said = run(
            "minisign",
            folder,
            &["-S", "-W", "-s", "key", "-m", &format!("{name}/SHA256SUMS")],
        );
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let read = |name: &str| fs::read_to_string(set.join(name)).unwrap();
        let mut all = cluster(text);
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "signature", "labels": {LABEL: SIGNATURE}},
            "data": {"SHA256SUMS": read("SHA256SUMS"), "SHA256SUMS.minisig": read("SHA256SUMS.minisig")}});
        all.take(&map).unwrap();
        set::render(&all).unwrap()
    };
    let directory = folder.join("policy.d");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    put(&directory.join("own.yaml"));
    let rules = Policy {
        signatures: Signatures::Required,
        loosening: Loosening::Signed,
        trusted_keys: vec![key.clone()],
        ..Policy::default()
    };
    let agent = Directory::of(&directory, rules.clone());
    let keeper = Keeper::at(directory.clone(), rules, folder.join("kept"), folder.join("lock"));
    let first = signed("first", OBJECTS);
    assert_eq!(agent.write(&first).unwrap(), Written::Anew);
    let loaded = keeper.load(false).unwrap();
    assert!(loaded.in_force && loaded.policies == 2, "{loaded:?}");
    assert_eq!(loaded.signed_by, Some(key));

    // The same objects with another word, and the old signature: forged.
    let mut forged = set::render(&cluster(&OBJECTS.replace("payments-*", "none"))).unwrap();
    forged.signed.clone_from(&first.signed);
    assert!(matches!(agent.write(&forged).unwrap(), Written::Refused(_)));
    // Signed anew, it may loosen.
    let wider = signed("second", &OBJECTS.replace("ptrace", "bpf"));
    assert_eq!(agent.write(&wider).unwrap(), Written::Anew);
    let loaded = keeper.load(false).unwrap();
    assert!(loaded.in_force && !loaded.looser.is_empty(), "{loaded:?}");
}
