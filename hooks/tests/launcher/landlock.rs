//! Landlock layers do what the plan says on this kernel, or nothing starts.

use coaming_hooks::plan::{Layer, PathRule, Plan, PortRule};
use landlock::{AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};

use crate::needs_root;
use crate::root::Root;

const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const MAKE_REG: u64 = 1 << 8;
const REFER: u64 = 1 << 13;
const BIND: u64 = 1;
const CONNECT: u64 = 2;
const SCOPE_SIGNAL: u64 = 1 << 1;

fn rule(access: u64, path: &str) -> PathRule {
    PathRule { access, path: path.as_bytes().to_vec() }
}

fn files(handled_fs: u64, paths: Vec<PathRule>) -> Layer {
    Layer { handled_fs, paths, ..Layer::default() }
}

fn plan(layers: Vec<Layer>) -> Plan {
    Plan { layers, ..Plan::default() }
}

/// Exit code and stderr of a shell command under these layers, and its exit code without them.
fn under(layers: Vec<Layer>, command: &str) -> (i32, String, i32) {
    let root = Root::new(&plan(layers));
    root.file("data/file", "secret\n", 0o644);
    let with = root.run(&["sh", "-c", command]).end();
    let without = root.direct(&["/bin/sh", "-c", command]).end();
    (with.code, with.err, without.code)
}

#[test]
fn each_right_is_denied_outside_its_rules_and_given_within() {
    needs_root!();
    let write = || files(WRITE_FILE | MAKE_REG, vec![rule(WRITE_FILE | MAKE_REG, "/tmp")]);
    let read = || files(READ_FILE, vec![rule(READ_FILE, "/bin"), rule(READ_FILE, "/etc")]);
    let list = || files(READ_DIR, vec![rule(READ_DIR, "/tmp")]);
    let execute = || files(EXECUTE, vec![rule(EXECUTE, "/bin")]);
    let cases = [
        (write(), "echo x > /tmp/new", true),
        (write(), "echo x > /other/new", false),
        (write(), "echo x > /data/file", false),
        (read(), "cat /bin/busybox > /dev/null", true),
        (read(), "cat /data/file", false),
        (list(), "ls /tmp", true),
        (list(), "ls /other", false),
        (execute(), "/bin/true", true),
        (execute(), "cat /bin/busybox > /tmp/true; chmod 755 /tmp/true; /tmp/true", false),
    ];
    for (layer, command, allowed) in cases {
        let command = command.replace("chmod", "/bin/busybox chmod");
        let (code, err, without) = under(vec![layer], &command);
        assert_eq!(without, 0, "{command} works without");
        assert_eq!(code == 0, allowed, "{command}: {err}");
        assert!(allowed || err.contains("ermission denied"), "{command}: {err}");
    }
}

#[test]
fn all_layers_apply() {
    needs_root!();
    let layer = |path| files(WRITE_FILE, vec![rule(WRITE_FILE, path)]);
    let both =
        || vec![layer("/tmp"), layer("/data"), files(WRITE_FILE, vec![rule(WRITE_FILE, "/")])];
    for path in ["/tmp", "/data/file"] {
        let command = format!("echo x >> {path}/f || echo x >> {path}");
        assert_ne!(under(both(), &command).0, 0, "{path}");
    }
    assert_eq!(under(vec![layer("/data"), layer("/")], "echo x >> /data/file").0, 0);
    let most = vec![layer("/"); coaming_hooks::plan::MAX_LAYERS];
    assert_eq!(under(most, "echo x >> /data/file").0, 0);
}

#[test]
fn a_rule_on_a_file_keeps_what_a_file_can_have() {
    needs_root!();
    let rights = READ_FILE | READ_DIR | MAKE_REG | REFER;
    let rules = || {
        vec![
            rule(rights, "/bin/busybox"),
            rule(rights, "/data/file"),
            // Nothing is left of this one.
            rule(READ_DIR, "/etc/only-a-file"),
        ]
    };
    let root = Root::new(&plan(vec![files(rights, rules())]));
    root.file("data/file", "", 0o644);
    root.file("data/other", "", 0o644);
    root.file("etc/only-a-file", "", 0o644);
    assert_eq!(root.run(&["cat", "/data/file"]).end().code, 0);
    assert_eq!(root.run(&["cat", "/data/other"]).end().code, 1);
    assert_eq!(root.run(&["ls", "/data"]).end().code, 1);
}

#[test]
fn a_rule_whose_path_is_not_there_is_skipped() {
    needs_root!();
    let rules = vec![
        rule(READ_FILE, "/bin"),
        rule(READ_FILE, "/nosuch"),
        rule(READ_FILE, "/bin/busybox/below-a-file"),
        rule(READ_FILE, "/data/loop"),
        rule(READ_FILE, "/root/unreachable"),
    ];
    let root = Root::new(&plan(vec![files(READ_FILE, rules)]));
    root.file("data/file", "", 0o644);
    std::os::unix::fs::symlink("loop", root.path().join("data/loop")).unwrap();
    for user in [0, 1000] {
        let ended = root.run(&["true"]).user(user).end();
        assert_eq!(ended.code, 0, "{user}: {}", ended.err);
        assert_eq!(root.run(&["cat", "/data/file"]).user(user).end().code, 1, "{user}");
    }
}

#[test]
fn tcp_is_bound_and_connected_only_where_allowed() {
    needs_root!();
    let layer = || Layer {
        handled_net: BIND | CONNECT,
        ports: vec![PortRule { access: BIND, port: 8080 }, PortRule { access: CONNECT, port: 443 }],
        ..Layer::default()
    };
    let root = Root::new(&plan(vec![layer()]));
    let says = |arguments: &[&str]| root.run(arguments).end().err;
    // Nobody listens: an allowed connect is refused by the network, not by the kernel's policy.
    assert!(says(&["nc", "127.0.0.1", "443"]).contains("Connection refused"));
    assert!(says(&["nc", "127.0.0.1", "80"]).contains("Permission denied"));
    assert!(says(&["nc", "-l", "-p", "80"]).contains("Permission denied"));
    // Bound and listening, until it is told to stop. The shell gives a job in the background this stdin.
    root.file("dev/null", "", 0o666);
    let serve = "nc -l -p 8080 & \
        until grep -q :1F90 /proc/net/tcp /proc/net/tcp6 || ! kill -0 $! 2> /proc/self/fd/1; do :; done; kill $!";
    let ended = root.run(&["sh", "-c", serve]).end();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
}

#[test]
fn a_scope_is_enforced() {
    needs_root!();
    let layer = Layer { scoped: SCOPE_SIGNAL, ..Layer::default() };
    let (code, err, without) = under(vec![layer], "kill -0 $PPID");
    assert_eq!(without, 0);
    assert!(code != 0 && err.contains("not permitted"), "{code} {err}");
}

#[test]
fn a_denied_program_says_so() {
    needs_root!();
    let root = Root::new(&plan(vec![files(EXECUTE, vec![rule(EXECUTE, "/other")])]));
    let ended = root.run(&["true"]).end();
    assert_eq!(ended.code, 126);
    assert_eq!(
        ended.err,
        "coaming-init: exec: \"true\": permission denied (under this container's Landlock policy)\n"
    );
}

#[test]
fn a_right_that_cannot_be_enforced_starts_nothing() {
    needs_root!();
    let strange = 1 << 62;
    let layers = [
        files(READ_FILE | strange, vec![rule(READ_FILE, "/")]),
        Layer { handled_net: strange, ..Layer::default() },
        Layer { scoped: strange, ..Layer::default() },
    ];
    for layer in layers {
        let ended = Root::new(&plan(vec![layer])).run(&["echo", "started"]).end();
        assert_eq!((ended.code, ended.out.as_str()), (125, ""), "{}", ended.err);
        assert!(ended.err.contains("Landlock layer 0"), "{}", ended.err);
    }
    // The newest right the library knows (ABI 9): given by the kernel, or refused.
    let known = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::ResolveUnix)
        .is_ok();
    let newest = files(AccessFs::ResolveUnix as u64, vec![]);
    let ended = Root::new(&plan(vec![newest])).run(&["true"]).end();
    assert_eq!(ended.code, if known { 0 } else { 125 }, "{}", ended.err);
}
