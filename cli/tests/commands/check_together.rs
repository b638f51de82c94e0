//! `coaming check` of a directory: what its policies come to together.

use tempfile::tempdir;

use super::{coaming, write};

/// What `check` says of a directory of policies `a`, `b`, ..., each its spec from line 5 on, without the
/// directory's name; and the exit code.
fn check(specs: &[&str]) -> (Vec<String>, Option<i32>) {
    let folder = tempdir().unwrap();
    let directory = folder.path().display().to_string();
    for (name, spec) in ["a", "b", "c", "d"].iter().zip(specs) {
        let text = format!(
            "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: {name}}}\nspec:\n{spec}\n"
        );
        write(folder.path(), &format!("{name}.yaml"), &text);
    }
    let said = coaming(&["check", &directory]);
    assert!(said.err.is_empty(), "{}", said.err);
    let lines = said.out.lines().map(|line| line.replace(&format!("{directory}/"), ""));
    let mut lines: Vec<String> = lines.collect();
    lines.pop();
    (lines, said.code)
}

const A_PAYMENTS: &str = "  match: {namespaces: [payments-*]}\n";

#[test]
fn policies_that_leave_nothing_are_an_error_that_names_both() {
    for (first, second, message) in [
        (
            "  user: {runAsUser: {ranges: [{min: 0, max: 9}]}}",
            "  user: {runAsUser: {ranges: [{min: 10, max: 20}]}}",
            "b.yaml:5: policy b: spec.user of policy a (a.yaml:5) and spec.user: no user id is allowed",
        ),
        (
            "  user: {runAsNonRoot: true}",
            "  user: {runAsUser: {ranges: [{min: 0, max: 0}]}}",
            "no user id is allowed",
        ),
        (
            "  appArmor: {allow: [unconfined]}",
            "  appArmor: {default: x, allow: [y]}",
            "b.yaml:5: policy b: spec.appArmor of policy a (a.yaml:5) and spec.appArmor: one list allows no \
             AppArmor profile that the others leave; no container",
        ),
        (
            "  seLinux: {types: [container_t]}",
            "  seLinux: {default: init_t}",
            "no SELinux type is allowed",
        ),
        (
            "  seccomp: {denySyscalls: [execve]}",
            "  privileged: false",
            "a.yaml:5: policy a: spec.seccomp denies execve: no container",
        ),
        ("  landlock: {execute: []}", "  privileged: false", "nothing can be executed"),
    ] {
        let (lines, code) = check(&[first, second]);
        let told = lines.iter().find(|line| line.contains(message));
        let told = told.unwrap_or_else(|| panic!("{first}, {second}: {lines:#?}"));
        assert!(!told.contains("warning"), "{told}");
        assert_eq!(code, Some(1), "{lines:#?}");
    }
}

#[test]
fn layers_count_after_they_are_combined() {
    let folder = tempdir().unwrap();
    let directory = folder.path().display().to_string();
    let policies = |rule: &dyn Fn(usize) -> String| {
        for n in 0..17 {
            let text = format!(
                "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: p{n}}}\nspec:\n  landlock: {{{}}}\n",
                rule(n)
            );
            write(folder.path(), &format!("p{n}.yaml"), &text);
        }
        coaming(&["check", &directory])
    };
    let apart = policies(&|n| format!("read: [/dev, /{n}]"));
    assert_eq!(apart.code, Some(1), "{}", apart.out);
    assert!(apart.out.contains("they need 17 Landlock layers"), "{}", apart.out);
    let together = policies(&|n| format!("bind: [80, {}]", 1000 + n));
    assert_eq!(together.code, Some(0), "{}", together.out);
}

#[test]
fn policies_that_may_never_meet_are_not_held_against_each_other() {
    let user = |from: u32, to: u32| {
        format!("  user: {{runAsUser: {{ranges: [{{min: {from}, max: {to}}}]}}}}")
    };
    let (low, high) = (user(0, 9), user(10, 20));
    for (first, second) in [
        ("  match: {namespaces: [shop]}\n", A_PAYMENTS),
        ("  match: {images: [reg/*]}\n", A_PAYMENTS),
        ("  match: {containerTypes: [sandbox]}\n", ""),
        ("  match: {namespaces: [pay*, x]}\n", "  match: {namespaces: [payments, y]}\n"),
        ("  match: {namespaces: []}\n", ""),
    ] {
        let (lines, code) = check(&[&format!("{first}{low}"), &format!("{second}{high}")]);
        assert_eq!(code, Some(0), "{first}{second}: {lines:#?}");
    }
    // What one selects the other does too.
    for (first, second) in [
        ("", A_PAYMENTS),
        ("  match: {namespaces: [pay*]}\n", A_PAYMENTS),
        ("  match: {containerTypes: [sandbox, container]}\n", ""),
    ] {
        let (lines, code) = check(&[&format!("{first}{low}"), &format!("{second}{high}")]);
        assert_eq!(code, Some(1), "{first}{second}: {lines:#?}");
    }
}

#[test]
fn what_is_void_or_said_already_is_a_warning_that_names_both() {
    for (first, second, message) in [
        (
            "  maskedPaths: [/proc/kcore]",
            "  capabilities: {allow: [SYS_ADMIN]}",
            "a.yaml:5: warning: policy a: spec.maskedPaths does not hold against SYS_ADMIN, which \
             spec.capabilities of policy b (b.yaml:5) allows",
        ),
        (
            "  readOnlyRootFilesystem: true",
            "  capabilities: {allow: [SYS_ADMIN]}",
            "a.yaml:5: warning: policy a: spec.readOnlyRootFilesystem does not hold against SYS_ADMIN",
        ),
        (
            "  seccomp: {denySyscalls: [acct]}",
            "  capabilities: {allow: [SYS_PACCT]}",
            "b.yaml:5: warning: policy b: spec.capabilities allows SYS_PACCT, and spec.seccomp of policy \
             a (a.yaml:5) denies every call",
        ),
        (
            "  landlock: {execute: [/lib, /app], read: [/], write: [/]}",
            "  landlock: {execute: [/opt, /usr/lib], read: [/], write: [/]}",
            "the lists under execute have nothing in common as they are spelled",
        ),
        (
            "  seccomp: {denySyscalls: [openat]}",
            "  noNewPrivileges: true",
            "a.yaml:5: warning: policy a: spec.seccomp denies openat: runc makes these calls",
        ),
        (
            "  seccomp: {denySyscalls: [capset]}",
            "  privileged: false",
            "a.yaml:5: warning: policy a: spec.seccomp denies capset: runc and crun make these calls",
        ),
        (
            "  capabilities: {allow: [KILL]}",
            "  match: {namespaces: [x]}\n  capabilities: {allow: [KILL, CHOWN]}",
            "b.yaml:6: warning: policy b: spec.capabilities demands nothing that policy a (a.yaml:5, \
             spec.capabilities) does not",
        ),
        (
            "  noNewPrivileges: true",
            "  noNewPrivileges: true",
            "b.yaml:5: warning: policy b: spec.noNewPrivileges demands nothing that policy a",
        ),
    ] {
        let (lines, code) = check(&[first, second]);
        let told = lines.iter().filter(|line| line.contains(message)).count();
        assert_eq!((told, code), (1, Some(0)), "{first}, {second}: {lines:#?}");
    }
}

#[test]
fn sound_sets_get_no_word() {
    for specs in [
        // The second is the narrower.
        [
            "  capabilities: {allow: [KILL, CHOWN]}",
            "  match: {namespaces: [x]}\n  capabilities: {allow: [KILL]}",
        ],
        // Said again, and to refuse.
        [
            "  noNewPrivileges: true",
            "  noNewPrivileges: true\n  actions: {noNewPrivileges: refuse}\n  match: {pods: [p]}",
        ],
        [
            "  maskedPaths: [/proc/kcore]",
            "  capabilities: {allow: [SYS_ADMIN]}\n  seccomp: {denySyscalls: [mount, umount2]}",
        ],
        [
            "  capabilities: {allow: [SYS_ADMIN, KILL]}\n  maskedPaths: [/proc/kcore]",
            "  capabilities: {allow: [KILL, CHOWN]}",
        ],
        ["  seccomp: {denySyscalls: [capset]}", "  noNewPrivileges: true"],
        ["  seccomp: {denySyscalls: [openat]}", "  landlock: {bind: [80]}"],
        ["  landlock: {execute: [/lib, /app]}", "  landlock: {execute: [/lib/x, /opt]}"],
        ["  appArmor: {allow: [a-*]}", "  appArmor: {allow: ['*-b']}"],
        ["  seccomp: {floor: runtime-default}", "  noNewPrivileges: true"],
        ["  seccomp: {floor: runtime-default}", "  privileged: false"],
        [
            "  user: {runAsUser: {ranges: [{min: 0, max: 9}]}}",
            "  user: {runAsUser: {ranges: [{min: 9, max: 20}]}}",
        ],
    ] {
        let (lines, code) = check(&specs);
        assert_eq!((lines, code), (vec![], Some(0)), "{specs:?}");
    }
}

#[test]
fn rules_of_a_profile_that_say_nothing_are_named() {
    let folder = tempdir().unwrap();
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["keyctl", "keyctl"], "action": "SCMP_ACT_ERRNO"},
        {"names": ["bpf"], "action": "SCMP_ACT_ALLOW"}]}"#;
    write(folder.path(), "p.json.profile", profile);
    let file = write(folder.path(), "p.yaml", &super::policy("  seccomp: {floor: p.json.profile}"));
    let said = coaming(&["check", &file]);
    assert_eq!(said.code, Some(0), "{}", said.out);
    for message in [
        ":5: warning: policy x: p.json.profile: syscalls[0] names keyctl twice",
        ":5: warning: policy x: p.json.profile: syscalls[1] allows bpf, as the defaultAction does",
    ] {
        assert!(said.out.contains(message), "{}", said.out);
    }
}
