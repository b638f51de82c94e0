//! `coaming diff`: tighter, looser, for which containers; and what becomes of single ones.

use std::fs;

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use super::{Said, coaming, policy, write};

/// Two files with policies of these specs.
fn pair(old: &str, new: &str) -> (TempDir, String, String) {
    let folder = tempdir().unwrap();
    let old = write(folder.path(), "old.yaml", &policy(old));
    let new = write(folder.path(), "new.yaml", &policy(new));
    (folder, old, new)
}

fn diff(old: &str, new: &str, more: &[&str]) -> Said {
    let (_folder, old, new) = pair(old, new);
    let mut arguments = vec!["diff", &old, &new];
    arguments.extend(more);
    coaming(&arguments)
}

const KILL: &str = "  match: {namespaces: ['pay-*']}\n  capabilities: {allow: [KILL]}";
const MORE: &str = "  match: {namespaces: ['pay-*']}\n  capabilities: {allow: [KILL, NET_ADMIN]}";

#[test]
fn what_loosens_is_named_with_place_and_containers() {
    let said = diff(KILL, MORE, &[]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    for words in [
        "looser: policy x, spec.capabilities: allow adds NET_ADMIN\n",
        "  for containers of namespace pay-*\n",
        "  before: allow: [KILL]  (",
        "old.yaml:6)",
        "  after : allow: [KILL, NET_ADMIN]  (",
        "1 looser, 0 tighter\n",
    ] {
        assert!(said.out.contains(words), "{words:?}: {}", said.out);
    }
    let said = diff(MORE, KILL, &[]);
    assert_eq!(said.code, Some(0), "{}", said.out);
    assert!(said.out.ends_with("nothing looser, 1 tighter\n"), "{}", said.out);
    let said = diff(KILL, &format!("# a comment\n{KILL}"), &[]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "equal: the sets demand the same\n"));
}

#[test]
fn the_answer_is_data_too() {
    let said = diff(KILL, MORE, &["--output", "json"]);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &report["loosens"]), (Some(1), &json!(true)));
    let difference = &report["differences"][0];
    assert_eq!(difference["direction"], "looser");
    assert_eq!(difference["field"], "spec.capabilities");
    assert_eq!(difference["controls"], json!(["capabilities"]));
    assert_eq!(difference["new"]["line"], 6);
}

#[test]
fn directories_are_sets_and_a_missing_one_is_a_slip() {
    let folder = tempdir().unwrap();
    for (name, spec) in [("old", KILL), ("new", MORE)] {
        let inner = folder.path().join(name);
        fs::create_dir(&inner).unwrap();
        write(&inner, "p.yaml", &policy(spec));
    }
    let at = |name: &str| folder.path().join(name).display().to_string();
    assert_eq!(coaming(&["diff", &at("old"), &at("new")]).code, Some(1));
    let said = coaming(&["diff", &at("old"), &at("nwe")]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("nwe"), "{}", said.err);
    write(&folder.path().join("new"), "q.yaml", &policy("  privilegd: false"));
    let said = coaming(&["diff", &at("old"), &at("new")]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("q.yaml:5:3: "), "{}", said.err);
    let said = coaming(&["diff", &at("old")]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("--node"), "{}", said.err);
    assert_eq!(coaming(&["diff", "--node", &at("old"), &at("new")]).code, Some(2));
}

#[test]
fn containers_are_decided_of_under_both_sets() {
    let refuse = format!("  actions: {{capabilities: refuse}}\n{KILL}");
    let (folder, old, new) = pair(MORE, &refuse);
    let manifest = write(
        folder.path(),
        "pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: pay-eu}\nspec:\n  containers:\n  - name: app\n    \
         image: x\n    securityContext: {capabilities: {drop: [ALL], add: [KILL, NET_ADMIN]}}\n",
    );
    let bundle = folder.path().join("bundle");
    fs::create_dir(&bundle).unwrap();
    let spec = json!({
        "ociVersion": "1.0.2", "root": {"path": "rootfs"},
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "mount"}]},
    });
    write(&bundle, "config.json", &spec.to_string());
    let bundle = bundle.display().to_string();
    let arguments = ["diff", &old, &new, "--floor", "node", "--containers", &manifest, &bundle];
    let said = coaming(&arguments);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(
        said.out.contains("container Pod pay-eu/web: app: was admitted, is refused\n"),
        "{}",
        said.out
    );
    assert!(said.out.contains("  + refused: process.capabilities."), "{}", said.out);
    assert!(said.out.contains("web: POD: admitted, as before\n"), "{}", said.out);
    assert!(said.out.contains("/bundle: admitted, as before\n"), "{}", said.out);
}

#[test]
fn colours_are_for_terminals() {
    // What is captured is no terminal; and what is told to be in colour is not, where NO_COLOR is set.
    assert!(!diff(KILL, MORE, &[]).out.contains('\u{1b}'));
    let (_folder, old, new) = pair(KILL, MORE);
    let run = |variables: &[(&str, &str)]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_coaming"));
        command.args(["diff", &old, &new]).env_remove("NO_COLOR").envs(variables.iter().copied());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert!(run(&[("CLICOLOR_FORCE", "1")]).contains("\u{1b}["));
    assert!(!run(&[("NO_COLOR", "1")]).contains('\u{1b}'));
}
