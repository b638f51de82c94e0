//! Policies that include built-in ones, and the command that shows those.

use std::fs;

use serde_json::{Value, json};
use tempfile::tempdir;

use super::{coaming, policy, write};

/// The warnings and errors of one file, without its name; and the exit code.
fn check(text: &str) -> (Vec<String>, Option<i32>) {
    let folder = tempdir().unwrap();
    let file = write(folder.path(), "p.yaml", text);
    let said = coaming(&["check", &file]);
    assert!(said.err.is_empty(), "{}", said.err);
    let mut lines: Vec<String> =
        said.out.lines().map(|line| line.replace(&file, "p.yaml")).collect();
    lines.pop();
    (lines, said.code)
}

const BOTH: &str = "  match: {containerTypes: [sandbox, container]}\n";

#[test]
fn every_built_in_is_sound_by_itself() {
    for name in ["pss/baseline", "pss/restricted", "default", "cis", "nsa-hardening"] {
        let (lines, code) = check(&policy(&format!("{BOTH}  include: [{name}]")));
        assert_eq!((lines, code), (vec![], Some(0)), "{name}");
    }
}

#[test]
fn an_include_that_adds_nothing_and_one_without_its_sandbox_are_warnings() {
    for (spec, message) in [
        (
            format!("{BOTH}  include:\n    - pss/restricted\n    - pss/baseline"),
            "p.yaml:8: warning: policy x: spec.include names pss/baseline, which demands nothing",
        ),
        (
            "  include: [default]\n  noNewPrivileges: true".to_owned(),
            "p.yaml:6: warning: policy x: spec.noNewPrivileges demands nothing that policy x (p.yaml:5, include \
             default, spec.noNewPrivileges) does not",
        ),
        (
            "  match: {namespaces: [a]}\n  include: [pss/baseline]".to_owned(),
            "p.yaml:6: warning: policy x: spec.include names pss/baseline, some of whose rules are for the pod's \
             sandbox too",
        ),
        (
            "  include: [default]\n  actions: {user: refuse}".to_owned(),
            "p.yaml:6: warning: policy x: spec.actions names user, which this policy does not state",
        ),
    ] {
        let (lines, code) = check(&policy(&spec));
        assert_eq!(lines.len(), 1, "{spec}: {lines:#?}");
        assert!(lines[0].starts_with(message) && code == Some(0), "{lines:#?}");
    }
    // What is included says it of containers alone, the policy of the sandbox too.
    let (lines, _) =
        check(&policy(&format!("{BOTH}  include: [default]\n  noNewPrivileges: true")));
    assert_eq!(lines, Vec::<String>::new());
    // What is said of pods with a container or an image of some name can be said of no sandbox.
    let (lines, _) = check(&policy("  match: {images: [a]}\n  include: [pss/baseline]"));
    assert_eq!(lines, Vec::<String>::new());
}

#[test]
fn of_two_policies_the_second_is_the_one_too_many() {
    let head = |name: &str, spec: &str| {
        format!(
            "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: {name}}}\nspec:\n{spec}---\n"
        )
    };
    let same = format!("{BOTH}  include: [cis]\n");
    let (lines, _) = check(&format!("{}{}", head("a", &same), head("b", &same)));
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(
        lines[0].starts_with("p.yaml:13: warning: policy b: spec.include names cis"),
        "{lines:#?}"
    );
    let narrow =
        "  match: {containerTypes: [sandbox, container], namespaces: [a]}\n  include: [cis]\n";
    let (lines, _) = check(&format!("{}{}", head("a", narrow), head("b", &same)));
    assert!(
        lines.len() == 1 && lines[0].contains("policy a: spec.include names cis"),
        "{lines:#?}"
    );
    // One that is only tried out demands nothing.
    let tried = format!("  mode: audit\n{same}");
    let (lines, _) = check(&format!("{}{}", head("a", &tried), head("b", &same)));
    assert!(lines.iter().all(|line| !line.contains("policy b")), "{lines:#?}");
}

#[test]
fn what_no_container_can_be_within_names_the_include() {
    let (lines, code) = check(&policy(
        "  include: [cis]\n  match: {images: [a]}\n  user: {runAsUser: {ranges: [{min: 0, max: 0}]}}",
    ));
    assert_eq!(code, Some(1), "{lines:#?}");
    let told = lines.iter().find(|line| line.contains("no user id is allowed"));
    assert!(told.unwrap().contains("include cis"), "{lines:#?}");
}

/// What containerd asks for, in its essentials.
fn bundle() -> tempfile::TempDir {
    let spec = json!({
        "ociVersion": "1.0.2",
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": ["CAP_CHOWN", "CAP_NET_RAW"]}},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [
            {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "mount"}, {"type": "uts"},
        ]},
    });
    let folder = tempdir().unwrap();
    write(folder.path(), "config.json", &spec.to_string());
    folder
}

fn explain(spec: &str, more: &[&str]) -> super::Said {
    let (folder, bundle) = (tempdir().unwrap(), bundle());
    let file = write(folder.path(), "p.yaml", &policy(spec));
    let bundle = bundle.path().display().to_string();
    let mut arguments = vec!["explain", "--bundle", &bundle, "--policy", &file, "--floor", "node"];
    arguments.extend(more);
    coaming(&arguments)
}

#[test]
fn explain_names_the_policy_and_the_built_in() {
    let said = explain("  include: [cis]", &[]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    assert!(
        said.out.contains("p.yaml:5, include cis, spec.user) refuses process.user.uid"),
        "{}",
        said.out
    );
    assert!(said.out.contains("p.yaml, include cis): privileged (refuse), "), "{}", said.out);
    let said = explain("  include: [default]", &[]);
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    let row = said.out.lines().find(|line| line.contains("process.noNewPrivileges")).unwrap();
    assert!(row.ends_with("p.yaml:5 (default)"), "{row}");
    let json = explain("  include: [cis]", &["--output", "json"]);
    let report: Value = serde_json::from_str(&json.out).unwrap();
    let of_user = |reason: &&Value| reason["control"] == "user";
    let reason = report["reasons"].as_array().unwrap().iter().find(of_user).unwrap();
    assert_eq!(reason["policy"]["include"], "cis");
}

#[test]
fn the_built_ins_are_listed_and_shown_as_they_were_reviewed() {
    let listed = coaming(&["policy", "list"]);
    assert_eq!(listed.code, Some(0));
    let names: Vec<&str> =
        listed.out.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    let all =
        ["baseline", "node", "pss/baseline", "pss/restricted", "default", "cis", "nsa-hardening"];
    assert_eq!(names, all);
    for name in all {
        let shown = coaming(&["policy", "show", name]);
        assert_eq!(shown.code, Some(0), "{}", shown.err);
        let path = format!("{}/../policy/src/builtin/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(shown.out, fs::read_to_string(path).unwrap());
    }
    let unknown = coaming(&["policy", "show", "pss/basline"]);
    assert!(unknown.code == Some(2) && unknown.err.contains("pss/baseline"), "{}", unknown.err);
}

#[test]
fn a_landlock_profile_is_a_file_below_the_policys_folder() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempdir().unwrap();
    let profiles = folder.path().join("landlock");
    fs::create_dir(&profiles).unwrap();
    fs::set_permissions(&profiles, fs::Permissions::from_mode(0o755)).unwrap();
    let file = write(folder.path(), "p.yaml", &policy("  landlock: {profile: landlock/web.yaml}"));
    let check = |profile: &str| {
        write(&profiles, "web.yaml", profile);
        let said = coaming(&["check", &file]);
        (said.out, said.code)
    };
    let (out, code) = check("read: [/]\nwrite: [/dev]\nexecute: [/usr, /lib]\n");
    assert_eq!((out.as_str(), code), ("1 policy, no errors\n", Some(0)));
    // What is said of a policy's own rules is said of its profile's.
    let (out, code) = check("read: [/usr]\nexecute: [/app]\n");
    for words in [
        "p.yaml:5: warning: policy x: landlock/web.yaml: read has neither /dev",
        "landlock/web.yaml: execute has no folder of the dynamic loader",
    ] {
        assert!(out.contains(words) && code == Some(0), "{out}");
    }
    let (out, code) = check("read: [/usr]\nexec: [/app]\n");
    assert!(
        out.contains("landlock/web.yaml:2:1: unknown field \"exec\"") && code == Some(1),
        "{out}"
    );
    for (named, words) in [
        ("../web.yaml", "without .."),
        ("landlock/none.yaml", "No such file"),
        ("landlock", "landlock"),
    ] {
        let file =
            write(folder.path(), "p.yaml", &policy(&format!("  landlock: {{profile: {named}}}")));
        let said = coaming(&["check", &file]);
        assert!(said.out.contains(words) && said.code == Some(1), "{named}: {}", said.out);
    }
}
