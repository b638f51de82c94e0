//! The workload is the file that runc would have started, and the errors are runc's.

use coaming_hooks::plan::Plan;

use crate::needs_root;
use crate::root::Root;

const NOT_FOUND: &str = "executable file not found in $PATH";
const DENIED: &str = "permission denied";

/// Where a `tool` that says its own name lies, with which mode.
fn place() -> Root {
    let root = Root::new(&Plan::default());
    let script = |name: &str| format!("#!/bin/sh\necho {name} \"$0\"\n");
    root.file("one/tool", &script("one"), 0o755);
    root.file("two/tool", &script("two"), 0o755);
    root.file("plain/tool", &script("plain"), 0o644);
    root.file("private/tool", &script("private"), 0o700);
    root.file("noexec/tool", &script("noexec"), 0o755);
    root.file("data/raw", "no magic\n", 0o755);
    root.file("data/orphan", "#!/nosuch/interpreter\n", 0o755);
    root.file("dir/tool/inside", "", 0o755);
    std::os::unix::fs::symlink("/one/tool", root.path().join("data/link")).unwrap();
    std::os::unix::fs::symlink("loop", root.path().join("data/loop")).unwrap();
    root
}

/// The noexec directory becomes what it says.
const MOUNTS: &str =
    "mount --bind \"$R/noexec\" \"$R/noexec\"; mount -o remount,bind,noexec \"$R/noexec\"";

#[test]
fn the_first_executable_in_path_runs() {
    needs_root!();
    let root = place();
    let cases = [
        ("PATH=/one:/two", 0, "one /one/tool"),
        ("PATH=/two:/one", 0, "two /two/tool"),
        ("PATH=/nosuch:/two", 0, "two /two/tool"),
        ("PATH=/plain:/two", 0, "two /two/tool"),
        ("PATH=/noexec:/two", 0, "two /two/tool"),
        ("PATH=/dir:/two", 0, "two /two/tool"),
        ("PATH=/data/../two//", 0, "two /two/tool"),
        ("PATH=/private:/two", 0, "private /private/tool"),
        ("PATH=/private:/two", 1000, "two /two/tool"),
    ];
    for (path, user, expected) in cases {
        let ended = root.run(&["tool"]).environment(&[path]).user(user).before(MOUNTS).end();
        assert_eq!((ended.code, ended.out.trim()), (0, expected), "{path} {user}: {}", ended.err);
    }
}

#[test]
fn what_is_not_there_is_127_and_what_is_no_program_126() {
    needs_root!();
    let root = place();
    let relative = "cannot run executable found relative to current directory";
    let cases: [(&str, &[&str], u32, i32, &str); 18] = [
        ("tool", &["PATH=/nosuch"], 0, 127, NOT_FOUND),
        ("tool", &["PATH=/plain:/dir:/noexec"], 0, 127, NOT_FOUND),
        ("tool", &["PATH=/private"], 1000, 127, NOT_FOUND),
        ("tool", &["PATH="], 0, 127, NOT_FOUND),
        ("tool", &[], 0, 127, NOT_FOUND),
        ("tool", &["XPATH=/one", "path=/one"], 0, 127, NOT_FOUND),
        ("", &["PATH=/one"], 0, 127, NOT_FOUND),
        ("tool", &["PATH=one:/two"], 0, 126, relative),
        ("/nosuch", &[], 0, 127, "stat /nosuch: no such file or directory"),
        ("/one/tool/x", &[], 0, 127, "stat /one/tool/x: not a directory"),
        ("/data/loop", &[], 0, 126, "stat /data/loop: too many levels of symbolic links"),
        ("/root/x", &[], 1000, 126, "stat /root/x: permission denied"),
        ("/one", &[], 0, 126, "is a directory"),
        ("/plain/tool", &[], 0, 126, DENIED),
        ("/noexec/tool", &[], 0, 126, DENIED),
        ("/private/tool", &[], 1000, 126, DENIED),
        ("/data/raw", &[], 0, 126, "exec format error"),
        ("/data/orphan", &[], 0, 127, "no such file or directory"),
    ];
    for (name, environment, user, code, words) in cases {
        let ended = root.run(&[name]).environment(environment).user(user).before(MOUNTS).end();
        let expected = format!("coaming-init: exec: {name:?}: {words}\n");
        assert_eq!(
            (ended.code, ended.out.as_str(), ended.err.as_str()),
            (code, "", expected.as_str()),
            "{name} {environment:?} {user}"
        );
    }
}

#[test]
fn a_name_with_a_slash_is_taken_as_it_is() {
    needs_root!();
    let root = place();
    for (name, expected) in [
        ("/one/tool", "one /one/tool"),
        ("./two/tool", "two ./two/tool"),
        ("one/tool", "one one/tool"),
        ("/data/link", "one /data/link"),
    ] {
        let ended = root.run(&[name]).environment(&["PATH=/nosuch"]).end();
        assert_eq!((ended.code, ended.out.trim()), (0, expected), "{}", ended.err);
    }
}

#[test]
fn one_line_whatever_the_name() {
    needs_root!();
    let root = place();
    let ended = root.run(&["/a\nb\x1b[31m\u{85}"]).end();
    assert_eq!(ended.code, 127);
    assert!(!ended.err.trim_end_matches('\n').chars().any(char::is_control), "{:?}", ended.err);
}
