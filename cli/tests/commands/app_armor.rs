//! What `coaming check` says of AppArmor profiles that come with a policy.

use tempfile::tempdir;

use super::{coaming, policy, write};

/// The findings of a policy that brings this profile.
fn check(spec: &str, rules: &str) -> (Vec<String>, Option<i32>) {
    let folder = tempdir().unwrap();
    let profile =
        format!("profile own flags=(attach_disconnected,mediate_deleted) {{\n{rules}\n}}\n");
    write(folder.path(), "own.aa", &profile);
    let spec = format!("  appArmor: {{default: {{file: own.aa}}}}\n{spec}");
    write(folder.path(), "p.yaml", &policy(&spec));
    let said = coaming(&["check", &folder.path().display().to_string()]);
    assert!(said.err.is_empty(), "{}", said.err);
    let mut lines: Vec<String> = said.out.lines().map(str::to_owned).collect();
    lines.pop();
    (lines, said.code)
}

const ALL: &str =
    "file,\n capability,\n network,\n ptrace,\n mount,\n umount,\n pivot_root,\n signal,";

#[test]
fn what_a_profile_denies_of_what_the_policy_leaves_is_a_warning() {
    let calls = "  seccomp: {denySyscalls: [mount, umount2, pivot_root]}";
    for (spec, rules, words) in [
        (calls, "file,\n capability,\n network,", Some(["spec.seccomp leaves ptrace", "no rule"])),
        (
            calls,
            "file,\n capability,\n network,\n deny ptrace,",
            Some(["spec.seccomp leaves ptrace", "no rule"]),
        ),
        (calls, "file,\n capability,\n ptrace,", Some(["spec.seccomp leaves socket", "no rule"])),
        (
            "  seccomp: {denySyscalls: [ptrace]}",
            "file,\n capability,\n network,",
            Some(["mount, umount2, pivot_root", "no rule"]),
        ),
        (calls, ALL, None),
        ("  noNewPrivileges: true", "file,\n capability,", None),
        (
            "  capabilities: {allow: [CHOWN, KILL]}",
            "file,\n network,\n capability kill,",
            Some(["allows CHOWN", "does not give it"]),
        ),
        ("  capabilities: {allow: [KILL]}", "file,\n network,\n capability kill,", None),
        (
            "  capabilities: {allow: [KILL]}",
            "file,\n capability,\n deny capability kill,",
            Some(["allows KILL", "does not give it"]),
        ),
        (
            "  noNewPrivileges: true",
            "/etc/** r,\n capability,",
            Some(["lets nothing be executed", "can start no other"]),
        ),
    ] {
        let (lines, code) = check(spec, rules);
        let ours: Vec<&String> = lines
            .iter()
            .filter(|line| line.contains("the AppArmor profile coaming.own-"))
            .collect();
        match words {
            None => assert!(ours.is_empty(), "{spec}, {rules}: {lines:#?}"),
            Some(words) => {
                let [line] = ours.as_slice() else { panic!("{spec}, {rules}: {lines:#?}") };
                assert!(
                    line.contains("warning") && words.iter().all(|word| line.contains(word)),
                    "{line}"
                );
                assert_eq!(code, Some(0), "{lines:#?}");
            }
        }
    }
}

#[test]
fn what_keeps_the_launcher_from_starting_is_an_error() {
    let landlock = "  landlock: {read: [/], execute: [/]}";
    for (rules, word) in [
        (
            "/etc/** r,\n /dev/.coaming/* mr,\n capability,\n network,",
            "so that no container starts",
        ),
        ("/bin/** rix,\n capability,\n network,", "read its plan"),
    ] {
        let (lines, code) = check(landlock, rules);
        assert!(
            lines.iter().any(|line| !line.contains("warning") && line.contains(word)),
            "{rules}: {lines:#?}"
        );
        assert_eq!(code, Some(1), "{lines:#?}");
        // Of no concern without the launcher.
        let (lines, code) = check("  noNewPrivileges: true", rules);
        assert!(!lines.iter().any(|line| line.contains("launcher")), "{lines:#?}");
        assert_eq!(code, Some(0));
    }
    let (lines, code) =
        check(landlock, "/bin/** rix,\n /dev/.coaming/* mr,\n capability,\n network,");
    assert!(!lines.iter().any(|line| line.contains("AppArmor")) && code == Some(0), "{lines:#?}");
}
