//! The launcher and the hook under real runc and crun, placed as the wrapper places them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test")]

#[path = "../support/mod.rs"]
mod support;

mod bundle;

use bundle::{Bundle, RUNTIMES, USERS, User};
use coaming_hooks::plan::{Filter, Instruction, Layer, PathRule, Plan};

/// Ends a test that cannot run here.
macro_rules! needs_runtimes {
    () => {
        if !support::can_run(&["busybox", "crun", "mount", "runc", "setpriv", "umount", "unshare"])
        {
            return;
        }
    };
}

/// Files are written below /tmp only, and mkdir(2) answers EADDRNOTAVAIL.
fn plan() -> Plan {
    let instruction = |code, jt, jf, k| Instruction { code, jt, jf, k };
    let write = (1 << 1) | (1 << 8);
    let rule = |path: &str| PathRule { access: write, path: path.as_bytes().to_vec() };
    Plan {
        layers: vec![Layer {
            handled_fs: write,
            paths: vec![rule("/tmp"), rule("/nosuch/place")],
            ..Layer::default()
        }],
        filters: vec![Filter {
            flags: 0,
            instructions: vec![
                instruction(0x20, 0, 0, 0),
                instruction(0x15, 0, 1, 83),
                instruction(0x06, 0, 0, 0x0005_0000 | 99),
                instruction(0x06, 0, 0, 0x7fff_0000),
            ],
        }],
        ..Plan::default()
    }
}

/// What a process of the container tries, and says.
const TRY: &str = "echo $0 is $(id -u) kept=$KEPT; \
    echo x > /tmp/$0 && echo wrote; \
    echo x > /dev/null || echo no-null; \
    echo x > /dev/.coaming/plan || echo no-plan; echo x > /dev/.coaming/init || echo no-init; \
    mkdir /tmp/dir-$0 2>&1; \
    grep -E 'Seccomp:|NoNewPrivs' /proc/self/status | tr '\\n\\t' '  '; echo";

const TRIED: &str = "SELF is UID kept=yes\nwrote\nno-null\nno-plan\nno-init\n\
    mkdir: can't create directory '/tmp/dir-SELF': Cannot assign requested address\n\
    NoNewPrivs: 1 Seccomp: 2 \n";

#[test]
fn init_and_exec_are_restricted_and_themselves() {
    needs_runtimes!();
    for (runtime, user) in all() {
        for read_only in [true, false] {
            let wait = "echo $(tr '\\0' '_' < /proc/1/cmdline | grep -c '^sh_-c_echo'); \
                until test -e /tmp/stop; do sleep 0.05; done";
            let main = format!("{TRY}; {wait}");
            let mut bundle = Bundle::new(user, &plan(), &["sh", "-c", &main, "init"]);
            bundle.spec["root"]["readonly"] = read_only.into();
            let bundle = bundle.with_launcher();
            bundle.exec("tries", &["sh", "-c", TRY, "exec"]);
            bundle.exec("missing", &["nosuch"]);
            bundle.exec("stops", &["sh", "-c", "echo > /tmp/stop"]);
            let ended = bundle.shell(
                runtime,
                "$RT run --detach $ID > init.out 2> init.err < /dev/null || cat init.err >&2
                $RT exec --process tries $ID > exec.out 2> exec.err < /dev/null || cat exec.err >&2
                $RT exec --process missing $ID; echo code $?
                $RT exec --process stops $ID
                wait_until \"$RT state $ID | grep -q stopped\"
                cat init.out exec.out",
            );
            let uid = if user == User::Thousand { "1000" } else { "0" };
            let expected = |name: &str| TRIED.replace("SELF", name).replace("UID", uid);
            assert_eq!(
                ended.out,
                format!("code 127\n{}1\n{}", expected("init"), expected("exec")),
                "{runtime} {user:?} read-only {read_only}: {}",
                ended.err
            );
            let words = "coaming-init: exec: \"nosuch\": executable file not found in $PATH";
            assert!(ended.err.contains(words), "{runtime}: {}", ended.err);
        }
    }
}

#[test]
fn a_program_that_cannot_run_fails_the_create_in_the_runtimes_words() {
    needs_runtimes!();
    let cases = [
        ("nosuch", "exec: \"nosuch\": executable file not found in $PATH"),
        ("/nosuch", "exec: \"/nosuch\": stat /nosuch: no such file or directory"),
        ("/etc/plain", "exec: \"/etc/plain\": permission denied"),
        ("/bin", "exec: \"/bin\": is a directory"),
    ];
    for (runtime, user) in all() {
        for (name, words) in cases {
            let make = || {
                let mut bundle = Bundle::new(user, &plan(), &[name]);
                std::fs::write(bundle.rootfs().join("etc/plain"), "").unwrap();
                // crun sends a hook's stderr to nowhere without it; runc shows it in its own error.
                bundle.spec["annotations"] =
                    serde_json::json!({ "run.oci.hooks.stderr": "/dev/stderr" });
                bundle
            };
            // Through a pipe: crun opens stderr anew, and would write over a file's beginning.
            let create = "{ $RT create $ID < /dev/null 2>&1 > /dev/null; echo $? > code; } \
                | cat >&2; cat code";
            let with = make().with_launcher().shell(runtime, create);
            assert_ne!(with.out, "0\n", "{runtime} {user:?} {name}");
            let plain = with.err.replace('\\', "");
            assert!(plain.contains(words), "{runtime} {user:?} {name}: {plain}");
            // The very words that runc has for it, which is how the hook came to them.
            if runtime == "runc" && name != "/bin" {
                let without = make().shell(runtime, create);
                let plain = without.err.replace('\\', "");
                assert!(plain.contains(words), "{user:?} {name}: {plain}");
            }
        }
    }
}

#[test]
fn the_hook_judges_as_the_containers_user() {
    needs_runtimes!();
    use std::os::unix::fs::{PermissionsExt, chown};
    let cases: [(User, &[u32], &str); 4] = [
        (User::Root, &[], "0"),
        (User::Thousand, &[], "1"),
        (User::Thousand, &[2001], "1"),
        (User::Thousand, &[2001, 2000], "0"),
    ];
    for (user, groups, code) in cases {
        for runtime in RUNTIMES {
            let mut bundle = Bundle::new(user, &plan(), &["/etc/tool"]);
            bundle.add_groups(groups);
            let tool = bundle.rootfs().join("etc/tool");
            std::fs::copy("/bin/busybox", &tool).unwrap();
            chown(&tool, Some(0), Some(2000)).unwrap();
            std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o750)).unwrap();
            let bundle = bundle.with_launcher();
            let ended = bundle.shell(runtime, "$RT create $ID < /dev/null > /dev/null; echo $?");
            assert_eq!(ended.out.trim(), code, "{runtime} {user:?} {groups:?}: {}", ended.err);
        }
    }
}

#[test]
fn rule_paths_that_are_not_there_are_reported_where_that_can_be_written() {
    needs_runtimes!();
    for (runtime, user) in all() {
        let bundle = Bundle::new(user, &plan(), &["true"]).with_launcher();
        let ended = bundle.shell(
            runtime,
            "$RT create $ID < /dev/null > /dev/null && echo created; cat $RECORD/hook.json",
        );
        let report = r#"{"missingRulePaths":["/nosuch/place"]}"#;
        let expected = match user {
            // The hook runs in the container's user namespace.
            User::Mapped => "created\n".to_owned(),
            _ => format!("created\n{report}"),
        };
        assert_eq!(ended.out, expected, "{runtime} {user:?}: {}", ended.err);
    }
}

#[test]
fn nothing_is_left_after_delete() {
    needs_runtimes!();
    for (runtime, user) in all() {
        let bundle = Bundle::new(user, &plan(), &["true"]).with_launcher();
        let ended = bundle.shell(
            runtime,
            "mkdir -p /run/coaming/launch/other
            $RT run $ID < /dev/null && echo ran
            $RT delete --force $ID > /dev/null 2>&1
            ls /run/coaming/containers /run/coaming/launch",
        );
        let expected = "ran\n/run/coaming/containers:\n\n/run/coaming/launch:\nother\n";
        assert_eq!(ended.out, expected, "{runtime} {user:?}: {}", ended.err);
    }
}

/// What the hook's search for the root file system rests on.
#[test]
fn the_runtimes_tell_a_hook_where_the_root_is_each_in_its_way() {
    needs_runtimes!();
    for runtime in RUNTIMES {
        let mut bundle = Bundle::new(User::Root, &plan(), &["true"]);
        bundle.spec["hooks"] = serde_json::json!({"createContainer": [{
            "path": "/bin/sh", "args": ["sh", "-c", "pwd > /run/cwd; cat > /run/state"],
        }]});
        let ended = bundle
            .shell(runtime, "$RT create $ID < /dev/null > /dev/null; cat /run/cwd /run/state");
        let (cwd, state) = ended.out.split_once('\n').expect("a working directory and a state");
        let state: serde_json::Value = serde_json::from_str(state).unwrap();
        let rootfs = bundle.rootfs();
        let in_cwd = std::path::Path::new(cwd) == rootfs;
        let in_state = state["root"].as_str().is_some_and(|root| rootfs == *root);
        assert!(in_cwd || in_state, "{runtime}: {cwd} {state}");
    }
}

fn all() -> impl Iterator<Item = (&'static str, User)> {
    RUNTIMES.into_iter().flat_map(|runtime| USERS.map(|user| (runtime, user)))
}
