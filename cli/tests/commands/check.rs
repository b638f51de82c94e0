//! `coaming check`: what is wrong, where, and what was probably meant.

use serde_json::Value;
use tempfile::tempdir;

use super::{coaming, policy, write};

/// The first line that `check` prints for a policy with this spec, without the file.
fn finding(spec: &str) -> String {
    let folder = tempdir().unwrap();
    let file = write(folder.path(), "p.yaml", &policy(spec));
    let said = coaming(&["check", &file]);
    let line = said.out.lines().next().unwrap_or_default().to_owned();
    line.strip_prefix(&format!("{file}:")).unwrap_or(&line).to_owned()
}

#[test]
fn errors_have_a_place_and_a_suggestion() {
    for (spec, place, message) in [
        (
            "  capabilites: {}",
            "5:3: ",
            r#"unknown field "capabilites"; did you mean "capabilities"?"#,
        ),
        (
            "  capabilities:\n    alow: []",
            "6:5: ",
            r#"unknown field "alow"; did you mean "allow"?"#,
        ),
        ("  privileged: false\n  privileged: true", "6:3: ", r#"duplicate field "privileged"; "#),
        ("  capabilities:\n    allow: KILL", "6:12: ", "expected a list"),
        ("  capabilities: [KILL]", "5:17: ", "expected a mapping"),
        ("  noNewPrivileges: 3", "5:20: ", "expected true or false"),
        ("  landlock:\n    bind: [80, http]", "6:16: ", "expected a whole number from 0 to 65535"),
        ("  landlock:\n    bind: [80, 65536]", "6:16: ", "expected a whole number from 0 to 65535"),
        (
            "  capabilities:\n    allow: [KILL, NET_ADMN]",
            "6:19: ",
            r#"unknown capability "NET_ADMN"; did you mean "NET_ADMIN"?"#,
        ),
        ("  capabilities: {allow: [CAP_SYS_ADMN]}", "5:26: ", r#"did you mean "SYS_ADMIN"?"#),
        ("  seccomp: {denySyscalls: [opne]}", "5:28: ", "names are those of syscalls(2)"),
        ("  runAsUser: 3", "5:3: ", "`coaming schema` prints"),
        ("  match: {namespaces: [*-dev]}", "5:24: ", "must stand in quotes"),
        (
            "  landlock:\n    rights:\n      - {path: /tmp, access: [READ_FIL]}",
            "7:31: ",
            r#"unknown Landlock right "READ_FIL"; did you mean "READ_FILE"?"#,
        ),
        (
            "  landlock:\n    scopes: [signals]",
            "6:14: ",
            r#"unknown value "signals"; did you mean "signal"? (known: abstractUnixSocket, signal)"#,
        ),
        (
            "  seccomp: {denySyscalls: [keyctrl]}",
            "5:28: ",
            r#"unknown system call "keyctrl"; did you mean "keyctl"?"#,
        ),
        ("  seccomp: {denySocketFamilies: [AF_AGL]}", "5:34: ", r#"did you mean "AF_ALG"?"#),
        ("  seccomp: {architectures: [SCMP_ARCH_X68]}", "5:", "unknown architecture"),
        ("  actions: {capabilites: refuse}", "5:", r#"did you mean "capabilities"?"#),
        ("  actions: {capabilities: refse}", "5:27: ", r#"did you mean "refuse"?"#),
        ("  bestEffort: [landlok]", "5:", r#"did you mean "landlock"?"#),
    ] {
        let found = finding(spec);
        assert!(found.starts_with(place), "{spec}: {found}");
        assert!(found.contains(message), "{spec}: {found}");
        // The place is given in front, once.
        assert!(!found.contains(" line "), "{found}");
    }
}

#[test]
fn a_profile_that_is_missing_is_told_with_the_line_that_names_it() {
    let folder = tempdir().unwrap();
    write(folder.path(), "a.yaml", &policy("  seccomp: {floor: none.json}"));
    let said = coaming(&["check", &folder.path().display().to_string()]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.out.contains("none.json: ") && said.out.contains("a.yaml:5 names"),
        "{}",
        said.out
    );
}

#[test]
fn every_file_of_a_directory_is_checked_and_the_exit_code_says_so() {
    let folder = tempdir().unwrap();
    write(folder.path(), "a.yaml", &policy("  privilegd: false"));
    write(folder.path(), "b.json", r#"{"apiVersion": "coaming.dev/v1alpha1", "kind": "Polcy"}"#);
    write(folder.path(), "c.yaml", &policy("  privileged: false"));
    let directory = folder.path().display().to_string();
    let said = coaming(&["check", &directory]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.out.contains("a.yaml:5:3: ") && said.out.contains("b.json:1:"), "{}", said.out);
    assert!(said.out.ends_with("1 policy, 2 errors\n"), "{}", said.out);

    let said = coaming(&["check", "--output", "json", &directory]);
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &json["errors"][0]["line"]), (Some(1), &Value::from(5)));
    assert_eq!(json["policies"][0]["name"], "x");
}

#[test]
fn two_policies_of_one_name_are_an_error_of_the_directory() {
    let folder = tempdir().unwrap();
    write(folder.path(), "a.yaml", &policy("  privileged: false"));
    write(folder.path(), "b.yaml", &policy("  privileged: false"));
    let said = coaming(&["check", &folder.path().display().to_string()]);
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains("b.yaml:3:") && said.out.contains("already"), "{}", said.out);
}

#[test]
fn what_is_fine_is_said_to_be() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/examples/payments.yaml");
    let said = coaming(&["check", "--strict", example]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "1 policy, no errors\n"));
}

#[test]
fn the_first_policy_of_the_readme_is_the_example() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap();
    let readme = read("README.md");
    let after = readme.split_once("```yaml\n").unwrap().1;
    let shown = after.split_once("```").unwrap().0;
    let example = read("packaging/examples/payments.yaml");
    let stated: Vec<&str> = example.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(shown.lines().collect::<Vec<_>>(), stated);
}

#[test]
fn what_cannot_be_looked_at_is_told_from_findings() {
    let said = coaming(&["check", "/nonexistent/policy.yaml"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("/nonexistent/policy.yaml"), "{}", said.err);
}

#[test]
fn what_is_legal_and_rarely_meant_is_a_warning() {
    let landlock = |rules: &str| format!("  landlock: {{{rules}}}");
    for (spec, message) in [
        ("  match: {}".to_owned(), "demands nothing: no control"),
        ("  privileged: true".to_owned(), "demands nothing: no control"),
        (
            "  privileged: false\n  noNewPrivileges: false".to_owned(),
            "spec.noNewPrivileges demands nothing as it stands",
        ),
        ("  match: {images: []}\n  privileged: false".to_owned(), "spec.match.images is empty"),
        (
            "  match: {podUIDs: [], annotations: {team: []}}\n  privileged: false".to_owned(),
            "spec.match.podUIDs, spec.match.annotations[\"team\"] is empty",
        ),
        (
            "  match: {namespaces: [kube-system], exceptNamespaces: [kube-*]}\n  privileged: false"
                .to_owned(),
            "spec.match.exceptNamespaces exempts all that it names",
        ),
        (
            "  match: {namespaces: [\"a[b\"]}\n  privileged: false".to_owned(),
            "spec.match.namespaces has \"a[b\", which matches that very text alone",
        ),
        (
            "  match: {namespaces: [a*], exceptNamespaces: [\"a?\"]}\n  privileged: false"
                .to_owned(),
            "spec.match.exceptNamespaces has \"a?\"",
        ),
        (
            "  match: {annotations: {team: [ledger]}}\n  privileged: false".to_owned(),
            "is avoided by whoever writes a pod, since what annotations goes by is chosen there",
        ),
        (
            "  match: {exceptImages: [reg/*]}\n  privileged: false".to_owned(),
            "what exceptImages goes by",
        ),
        (
            "  match: {expression: \"!('team' in annotations)\"}\n  privileged: false".to_owned(),
            "what annotations goes by",
        ),
        (
            "  match: {labels: {app: [ledger]}}\n  privileged: false".to_owned(),
            "goes by labels, which no container outside Kubernetes has: it applies to all of those",
        ),
        (
            "  match: {namespaces: [a], labels: {app: [ledger]}}\n  privileged: false".to_owned(),
            "what labels goes by is chosen there",
        ),
        (
            "  match: {doors: [exec]}\n  noNewPrivileges: true\n  sysctls: {allow: []}".to_owned(),
            "spec.sysctls says nothing through the doors",
        ),
        ("  refuse: []\n  privileged: false".to_owned(), "spec.refuse demands nothing"),
        ("  privileged: false\n  bestEffort: [landlock]".to_owned(), "bestEffort names landlock"),
        ("  privileged: false\n  actions: {devices: refuse}".to_owned(), "actions names devices"),
        (landlock("execute: [/usr/bin]"), "no folder of the dynamic loader"),
        (landlock("execute: [/lib, /app], read: [/lib, /dev]"), "lists /app, not below any path"),
        (landlock("write: [/tmp]"), "landlock.write has neither /dev nor /dev/null"),
        (
            format!("  match: {{containerTypes: [sandbox]}}\n{}", landlock("bind: [80]")),
            "applies to the pod's sandbox too",
        ),
        (
            "  seccomp: {denySyscalls: [acct]}\n  capabilities: {allow: [SYS_PACCT]}".to_owned(),
            "allows SYS_PACCT, and spec.seccomp denies every call",
        ),
        (
            "  maskedPaths: [/proc/kcore]\n  capabilities: {allow: [SYS_ADMIN]}".to_owned(),
            "spec.maskedPaths does not hold against SYS_ADMIN",
        ),
    ] {
        let folder = tempdir().unwrap();
        let file = write(folder.path(), "p.yaml", &policy(&spec));
        let said = coaming(&["check", &file]);
        assert_eq!(said.code, Some(0), "{spec}: {}", said.out);
        let warning = said.out.lines().find(|line| line.contains(message));
        let warning = warning.unwrap_or_else(|| panic!("{spec}: {}", said.out));
        assert!(warning.starts_with(&format!("{file}:")) && warning.contains(": warning: "));
        assert_eq!(coaming(&["check", "--strict", &file]).code, Some(1), "{spec}");
    }
}

#[test]
fn what_is_sound_gets_no_warning() {
    for spec in [
        "  privileged: false",
        "  landlock: {execute: [/], read: [/], write: [/dev, /tmp]}",
        "  landlock: {execute: [/app, /lib64/ld-linux-x86-64.so.2]}",
        "  maskedPaths: [/proc/kcore]\n  capabilities: {allow: [KILL]}",
        "  maskedPaths: [/proc/kcore]\n  capabilities: {allow: [SYS_ADMIN]}\n  seccomp: {denySyscalls: [mount, umount2]}",
        "  seccomp: {floor: runtime-default}\n  capabilities: {allow: [SYS_CHROOT, BPF]}",
    ] {
        let folder = tempdir().unwrap();
        let file = write(folder.path(), "p.yaml", &policy(spec));
        assert_eq!(coaming(&["check", &file]).out, "1 policy, no errors\n", "{spec}");
    }
}

#[test]
fn files_that_are_not_read_are_named() {
    let folder = tempdir().unwrap();
    write(folder.path(), "a.yaml", &policy("  privileged: false"));
    write(folder.path(), "empty.yaml", "# nothing yet\n");
    for name in ["b.yaml.disabled", ".c.yaml", ".gitkeep"] {
        write(folder.path(), name, "");
    }
    let said = coaming(&["check", &folder.path().display().to_string()]);
    assert!(said.out.contains("b.yaml.disabled: warning: not read"), "{}", said.out);
    assert!(said.out.contains(".c.yaml: warning: not read"), "{}", said.out);
    assert!(said.out.contains("empty.yaml: warning: holds no policy"), "{}", said.out);
    assert!(said.out.ends_with("1 policy, no errors, 3 warnings\n"), "{}", said.out);
}

/// A waiver named `w` for one container, with these lines of its `spec` besides.
fn waiver(lines: &str) -> String {
    format!(
        "apiVersion: coaming.dev/v1alpha1\nkind: Waiver\nmetadata: {{name: w}}\nspec:\n  \
         match: {{namespaces: [a], containers: [c]}}\n  owner: team\n  reason: because\n{lines}"
    )
}

#[test]
fn waivers_that_end_or_waive_nothing_are_warned_of() {
    let of_policies = "  waives: [privileged]\n";
    for (lines, words) in [
        (format!("{of_policies}  expires: 2020-01-01\n"), "ended at 2020-01-02T00:00:00Z"),
        (
            format!("{of_policies}  starts: 2020-01-01T00:00:00Z\n  duration: 36500days\n"),
            "more than a year",
        ),
        ("  waives: [hooks]\n  expires: 2020-01-01\n".to_owned(), "waives hooks, which no policy"),
        (
            format!("{of_policies}  policies: [y]\n  expires: 2020-01-01\n"),
            "there is no such policy",
        ),
    ] {
        let folder = tempdir().unwrap();
        let text = format!("{}---\n{}", policy("  privileged: false"), waiver(&lines));
        let file = write(folder.path(), "p.yaml", &text);
        let said = coaming(&["check", &file]);
        assert_eq!(said.code, Some(0), "{}", said.out);
        assert!(said.out.contains(&format!("{file}:9: warning: waiver w: ")), "{}", said.out);
        assert!(said.out.contains(words), "{words}: {}", said.out);
        assert!(said.out.contains("1 policy, 1 waiver, no errors"), "{}", said.out);
    }
}

#[test]
fn waivers_without_owner_end_or_namespace_are_errors() {
    for (text, words) in [
        (waiver("  waives: [hooks]\n"), "spec.expires"),
        (waiver("  waives: [hook]\n  expires: 2030-01-01\n"), r#"did you mean "hooks"?"#),
        (waiver("  waives: [hooks]\n  expires: 1.1.2030\n"), "2027-03-31"),
        (
            waiver("  waives: [hooks]\n  expires: 2030-01-01\n").replace("[a]", "[\"*\"]"),
            "without * in front",
        ),
        (
            waiver("  waives: [hooks]\n  expires: 2030-01-01\n").replace("team", "\"\""),
            "spec.owner is empty",
        ),
    ] {
        let folder = tempdir().unwrap();
        let file = write(folder.path(), "w.yaml", &text);
        let said = coaming(&["check", &file]);
        assert_eq!(said.code, Some(1), "{}", said.out);
        assert!(
            said.out.starts_with(&format!("{file}:")) && said.out.contains(words),
            "{}",
            said.out
        );
    }
}

#[test]
fn modes_are_checked() {
    assert_eq!(
        finding("  rollout: {percentage: 101}\n  privileged: false"),
        "5:1: spec.rollout.percentage is above 100; write 0 to 100"
    );
    assert!(
        finding("  mode: audit\n  rollout: {percentage: 10}\n  privileged: false")
            .contains("leave one")
    );
    assert!(finding("  audit: [hook]\n  privileged: false").contains(r#"did you mean "hooks"?"#));
    assert!(finding("  audit: [hooks]\n  privileged: false").contains("does not state"));
}
