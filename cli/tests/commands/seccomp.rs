//! `coaming seccomp`: combined, compared and checked as a policy would.

use serde_json::{Value, json};
use tempfile::tempdir;

use super::{Said, coaming, policy, write};

const ALLOW: &str = "SCMP_ACT_ALLOW";

/// A profile that answers EPERM to `socket` of this family alone.
fn without_family(family: u64) -> String {
    json!({"defaultAction": ALLOW, "syscalls": [{"names": ["socket"], "action": "SCMP_ACT_ERRNO",
        "args": [{"index": 0, "value": family, "op": "SCMP_CMP_EQ"}]}]})
    .to_string()
}

const OBJECT: &str = "apiVersion: security-profiles-operator.x-k8s.io/v1beta1
kind: SeccompProfile
metadata: {name: no-keyctl}
spec:
  defaultAction: SCMP_ACT_ALLOW
  syscalls:
    - {names: [keyctl], action: SCMP_ACT_ERRNO, errnoRet: 38}
";

fn json_of(said: &Said) -> Value {
    serde_json::from_str(&said.out)
        .unwrap_or_else(|error| panic!("{error}: {} {}", said.out, said.err))
}

/// The answer of a written section to a call: the rules there exclude each other, each argument masked.
fn answer(section: &Value, name: &str, args: [u64; 6]) -> String {
    let empty = Vec::new();
    let holds = |c: &Value| {
        assert_eq!(c["op"], "SCMP_CMP_MASKED_EQ");
        let index = usize::try_from(c["index"].as_u64().unwrap()).unwrap();
        args[index] & c["value"].as_u64().unwrap() == c["valueTwo"].as_u64().unwrap_or(0)
    };
    let rules = section["syscalls"].as_array().unwrap_or(&empty);
    let applies = |rule: &&Value| {
        rule["names"].as_array().unwrap().iter().any(|n| n == name)
            && rule["args"].as_array().unwrap_or(&empty).iter().all(holds)
    };
    let found: Vec<&Value> = rules.iter().filter(applies).collect();
    assert!(found.len() <= 1, "{found:?}");
    let action = found.first().map_or(&section["defaultAction"], |rule| &rule["action"]);
    action.as_str().unwrap().to_owned()
}

#[test]
fn meet_and_join_print_sections_that_say_what_both_and_what_either_allows() {
    let folder = tempdir().unwrap();
    let a = write(folder.path(), "a.json", &without_family(38));
    let b = write(folder.path(), "b.json", &without_family(40));
    let object = write(folder.path(), "c.yaml", OBJECT);
    let at = |section: &Value, family| answer(section, "socket", [family, 0, 0, 0, 0, 0]);

    let said = coaming(&["seccomp", "meet", &a, &b]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
    let meet = json_of(&said);
    assert_eq!(at(&meet, 38), "SCMP_ACT_ERRNO");
    assert_eq!(at(&meet, 40), "SCMP_ACT_ERRNO");
    assert_eq!(at(&meet, 2), ALLOW);

    let join = json_of(&coaming(&["seccomp", "join", &a, &b]));
    assert_eq!([38, 40, 2].map(|family| at(&join, family)), [ALLOW; 3]);

    let meet = json_of(&coaming(&["seccomp", "meet", &a, &object]));
    assert_eq!(at(&meet, 38), "SCMP_ACT_ERRNO");
    assert_eq!(answer(&meet, "keyctl", [0; 6]), "SCMP_ACT_ERRNO");
}

#[test]
fn capabilities_and_kernel_resolve_a_conditional_profile() {
    let folder = tempdir().unwrap();
    let all = write(folder.path(), "all.json", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    let with = |more: &[&str]| {
        let arguments = [&["seccomp", "meet", "runtime-default", &all], more].concat();
        answer(&json_of(&coaming(&arguments)), "mount", [0; 6])
    };
    assert_eq!(with(&[]), "SCMP_ACT_ERRNO");
    assert_eq!(with(&["--capability", "SYS_ADMIN"]), ALLOW);
    assert_eq!(with(&["--capability", "all"]), ALLOW);
    let said = coaming(&["seccomp", "meet", "runtime-default", &all, "--capability", "SYS_ADMN"]);
    assert!(said.code == Some(2) && said.err.contains("SYS_ADMIN"), "{}", said.err);

    let since = write(
        folder.path(),
        "since.json",
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["ptrace"], "action": "SCMP_ACT_ALLOW",
            "includes": {"minKernel": "4.8"}}]}"#,
    );
    let none = coaming(&["seccomp", "check", &since, "--kernel", "4.4", "--within", &since]);
    assert_eq!(none.code, Some(0), "{}", none.out);
    let old = coaming(&["seccomp", "meet", &since, &all, "--kernel", "4.4"]);
    assert!(!old.out.contains("ptrace"), "{}", old.out);
    assert!(coaming(&["seccomp", "meet", &since, &all, "--kernel", "4.8"]).out.contains("ptrace"));
}

#[test]
fn differences_are_told_in_words_and_by_the_exit_code() {
    let folder = tempdir().unwrap();
    let a = write(folder.path(), "a.json", &without_family(38));
    let all = write(folder.path(), "all.json", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    let same = write(
        folder.path(),
        "same.json",
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
            "args": [{"index": 0, "value": 18446744073709551615, "valueTwo": 38, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#,
    );
    let said = coaming(&["seccomp", "diff", &a, &all]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    let expected =
        format!("socket(domain = 38) on {}: SCMP_ACT_ERRNO(1) | SCMP_ACT_ALLOW\n", native());
    assert_eq!(said.out, expected);
    let said = coaming(&["seccomp", "diff", &a, &same]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "no difference\n"));

    let diff = json_of(&coaming(&["seccomp", "diff", &a, &all, "--output", "json"]));
    assert_eq!(diff["syscalls"][0]["when"]["conditions"], json!(["domain = 38"]));
    assert_eq!(diff["default"], Value::Null);
}

#[test]
fn a_profile_is_checked_as_a_policy_would() {
    let folder = tempdir().unwrap();
    let profiles = folder.path().join("profiles");
    std::fs::create_dir(&profiles).unwrap();
    for (name, text, problem) in [
        (
            "typo",
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["unshar"], "action": "SCMP_ACT_ERRNO"}]}"#,
            "unshare",
        ),
        ("syntax", "{", "EOF"),
        ("base", &OBJECT.replace("spec:", "spec:\n  baseProfileName: runc"), "baseProfileName"),
        (
            "notify",
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_NOTIFY"}]}"#,
            "NOTIFY",
        ),
        (
            "ambiguous",
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["socket"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_NE"}, {"index": 0, "value": 2, "op": "SCMP_CMP_NE"}]}]}"#,
            "OR",
        ),
    ] {
        let file = write(&profiles, name, text);
        let said = coaming(&["seccomp", "check", &file]);
        assert_eq!(said.code, Some(1), "{name}: {} {}", said.out, said.err);
        assert!(
            said.out.starts_with(&format!("{file}: ")) && said.out.contains(problem),
            "{}",
            said.out
        );
        // The same problem, told to the policy that names the profile.
        let spec = format!("  seccomp: {{floor: profiles/{name}}}");
        let named = write(folder.path(), "p.yaml", &policy(&spec));
        let said = coaming(&["check", &named]);
        assert!(said.code == Some(1) && said.out.contains(problem), "{name}: {}", said.out);
    }
    let said = coaming(&["seccomp", "check", "runtime-default"]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "runtime-default: no problems\n"));
    let said = coaming(&["seccomp", "check", "/nonexistent/p.json"]);
    assert!(said.code == Some(2) && said.err.contains("/nonexistent/p.json"), "{}", said.err);
}

#[test]
fn a_policy_takes_an_operators_object() {
    let folder = tempdir().unwrap();
    std::fs::create_dir(folder.path().join("profiles")).unwrap();
    write(&folder.path().join("profiles"), "no-keyctl.yaml", OBJECT);
    let spec = "  seccomp: {floor: profiles/no-keyctl.yaml}";
    let file = write(folder.path(), "p.yaml", &policy(spec));
    let said = coaming(&["check", &file]);
    assert_eq!((said.code, said.out.as_str()), (Some(0), "1 policy, no errors\n"), "{}", said.err);
}

#[test]
fn what_is_wider_is_shown_by_a_call() {
    let folder = tempdir().unwrap();
    let a = write(folder.path(), "a.json", &without_family(38));
    let all = write(folder.path(), "all.json", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
    let said = coaming(&["seccomp", "check", &a, "--within", &all]);
    assert_eq!((said.code, said.out), (Some(0), format!("{a}: no problems, and within {all}\n")));
    let said = coaming(&["seccomp", "check", &all, "--within", &a]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    let call = "socket(0x26, 0x0, 0x0, 0x0, 0x0, 0x0)";
    let expected =
        format!("wider than {a}: {call} on {}: SCMP_ACT_ALLOW, not SCMP_ACT_ERRNO(1)\n", native());
    assert!(said.out.ends_with(&expected), "{}", said.out);
    let excess = json_of(&coaming(&["seccomp", "check", &all, "--within", &a, "--output", "json"]));
    assert_eq!(excess["exceeds"]["args"], json!([38, 0, 0, 0, 0, 0]));
    assert_eq!(excess["problems"], json!([]));
    // A capability opens more than another profile allows: found without naming it.
    let said = coaming(&["seccomp", "check", "runtime-default", "--within", "runtime-default"]);
    assert_eq!(said.code, Some(0), "{}", said.out);
}

fn native() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "SCMP_ARCH_X86_64",
        "aarch64" => "SCMP_ARCH_AARCH64",
        other => panic!("what is {other} to the OCI?"),
    }
}
