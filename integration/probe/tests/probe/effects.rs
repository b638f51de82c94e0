//! Attempts with an object: files, ports, processes, mounts. What they do is undone.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{PROBE, assert_outcome, judge, outcome, root};

fn landlock() -> bool {
    let here = crate::run("under-landlock ids").status.success();
    if !here {
        eprintln!("left out: this kernel has no Landlock");
    }
    here
}

#[test]
fn files_are_left_as_they_were() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    fs::write(&file, "content").expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("a mode");
    let (file, new) = (file.display(), dir.path().join("new"));
    let new = new.display();
    let attempts = [
        format!("write {file}"),
        format!("create {new}"),
        format!("mkdir {new}"),
        format!("unlink {file}"),
        format!("truncate {file}"),
    ];
    for attempt in &attempts {
        assert_outcome(attempt, "allowed");
        assert_eq!(fs::read_to_string(file.to_string()).expect("still there"), "content");
        let mode = fs::metadata(file.to_string()).expect("still there").permissions().mode();
        assert_eq!(mode & 0o7777, 0o640, "{attempt}");
        assert!(!Path::new(&new.to_string()).exists(), "{attempt}");
        if landlock() {
            let verdict = judge(&format!("under-landlock {attempt}"));
            assert_eq!(verdict["outcome"], "denied", "{verdict}");
            assert_eq!(verdict["errno"], "EACCES", "{verdict}");
        }
    }
    assert_outcome(&format!("read {file}"), "allowed");
    assert_outcome(&format!("read {new}"), "unsupported");
    assert_outcome(&format!("create {file}"), "inconclusive");
}

#[test]
fn a_mask_is_an_empty_file_or_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let masked = dir.path().display();
    assert_outcome(&format!("read-masked {masked}"), "denied");
    assert_outcome("read-masked /dev/null", "denied");
    fs::write(dir.path().join("entry"), "x").expect("a file");
    assert_outcome(&format!("read-masked {masked}"), "allowed");
    assert_outcome(&format!("read-masked {masked}/entry"), "allowed");
    assert_outcome(&format!("read-masked {masked}/none"), "unsupported");
}

/// By another process: a descriptor for writing that a fork of another test inherits would make execve say ETXTBSY.
fn copy_probe(to: &Path) {
    let status = Command::new("cp").arg(PROBE).arg(to).status().expect("cp starts");
    assert!(status.success(), "cp to {}", to.display());
}

#[test]
fn a_program_runs_or_is_refused_with_the_kernels_word() {
    let dir = tempfile::tempdir().expect("a directory");
    let copy = dir.path().join("probe");
    copy_probe(&copy);
    let copy_name = copy.display();
    let verdict = judge(&format!("exec {copy_name} ids"));
    assert_eq!(verdict["outcome"], "allowed", "{verdict}");
    assert!(verdict["detail"].as_str().expect("text").contains("euid"), "{verdict}");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).expect("a mode");
    let verdict = judge(&format!("exec {copy_name} ids"));
    assert_eq!((&verdict["outcome"], &verdict["errno"]), (&"denied".into(), &"EACCES".into()));
    assert_outcome(&format!("exec {copy_name}-none"), "unsupported");
}

#[test]
fn a_set_user_id_file_gains_until_no_new_privs() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    let copy = dir.path().join("probe-suid");
    copy_probe(&copy);
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o4755)).expect("a mode");
    let copy = copy.display();
    assert_outcome(&format!("setuid-gain {copy}"), "allowed");
    assert_outcome(&format!("under-nnp setuid-gain {copy}"), "denied");
    fs::set_permissions(copy.to_string(), fs::Permissions::from_mode(0o755)).expect("a mode");
    assert_outcome(&format!("setuid-gain {copy}"), "denied");
}

#[test]
fn tcp_is_refused_by_policy_or_by_the_peer_and_the_two_differ() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let attempts = ["connect", "connect-mptcp", "sendto-fastopen"];
    for attempt in attempts {
        let open = outcome(&format!("{attempt} 127.0.0.1 {port}"));
        assert!(open == "allowed" || open == "unsupported", "{attempt}: {open}");
    }
    if landlock() {
        assert_outcome(&format!("under-landlock connect 127.0.0.1 {port}"), "denied");
        assert_outcome("under-landlock bind 0", "denied");
    }
    drop(listener);
    for attempt in attempts {
        let verdict = judge(&format!("{attempt} 127.0.0.1 {port}"));
        assert_eq!(verdict["errno"], "ECONNREFUSED", "{verdict}");
        assert_eq!(verdict["outcome"], "inconclusive", "{verdict}");
    }
    assert_outcome("bind 0", "allowed");
    assert_outcome(&format!("send-udp 127.0.0.1 {port}"), "allowed");
}

/// A helper of the probe's own, killed and reaped at the end.
struct Helper(Child);

impl Helper {
    /// Started, and past its first line.
    fn start(args: &[&str]) -> (Helper, String) {
        let child = Command::new(PROBE).args(args).stdout(Stdio::piped()).spawn();
        let mut helper = Helper(child.expect("the probe starts"));
        let mut line = String::new();
        let stdout = helper.0.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        (helper, line)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn other_processes_are_in_reach_until_a_scope_says_no() {
    let name = format!("coaming-probe-test-{}", std::process::id());
    let (helper, line) = Helper::start(&["serve-abstract", &name]);
    assert_eq!(line.trim_end(), format!("listening {name}"));
    let pid = helper.0.id();
    let mut attempts = vec![format!("kill {pid}"), format!("abstract-unix {name}")];
    if root() {
        attempts.extend([format!("ptrace-pid {pid}"), format!("process-vm-readv {pid}")]);
    }
    for attempt in &attempts {
        assert_outcome(attempt, "allowed");
        if landlock() {
            assert_outcome(&format!("under-landlock {attempt}"), "denied");
        }
    }
    assert_outcome("abstract-unix coaming-no-such-name", "unsupported");
    assert_outcome(&format!("kill {}", i32::MAX), "unsupported");
}

/// In a mount namespace of its own, as a shell line.
fn in_new_mounts(line: &str) -> String {
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-ec", line])
        .output()
        .expect("unshare starts");
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_mount_taken_away_is_put_back() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path().display();
    let prepare = format!("mount -t tmpfs -o ro none {dir}; ");
    let text = in_new_mounts(&format!(
        "{prepare} {PROBE} umount {dir}; grep -c ' {dir} ' /proc/self/mountinfo"
    ));
    assert!(
        text.contains("allowed") && text.contains("put back") && text.ends_with("\n1\n"),
        "{text}"
    );
    let text = in_new_mounts(&format!("{prepare} {PROBE} under-no-caps umount {dir}"));
    assert!(text.contains("denied"), "{text}");
    // A superblock that is read-only stays so whatever the mount says: bind first.
    let bind = format!("mount --bind {dir} {dir}; mount -o remount,bind,ro,nosuid {dir}; ");
    let text = in_new_mounts(&format!(
        "{bind} {PROBE} remount-rw {dir}; grep ' {dir} ' /proc/self/mountinfo"
    ));
    assert!(text.contains("allowed") && text.contains(" ro,nosuid"), "{text}");
    let text = in_new_mounts(&format!("{bind} {PROBE} under-no-caps remount-rw {dir}"));
    assert!(text.contains("denied"), "{text}");
    assert_eq!(crate::run(&format!("umount {dir}")).status.code(), Some(3), "no mount");
    assert_eq!(crate::run("umount /").status.code(), Some(2));
}

#[test]
fn nothing_that_all_does_stays() {
    if !root() {
        return;
    }
    // In a mount namespace of its own: others mount and unmount while this test looks.
    let state = "cat /proc/self/mountinfo /proc/sys/kernel/hostname /proc/sys/kernel/domainname \
                 /proc/sys/vm/swappiness /proc/sys/kernel/core_pattern";
    let text = in_new_mounts(&format!("{state}; echo ---; {PROBE} all >/dev/null; {state}"));
    let (before, after) = text.split_once("---\n").expect("two states");
    assert!(before.contains("/proc"), "{before}");
    assert_eq!(before, after);
    for dir in ["/tmp", "/", "/dev", "/run", "/var/tmp", "/dev/shm"] {
        let left = fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| {
            // Another test's device may be there at this instant: only nodes of ended processes count.
            let name = entry.file_name().to_string_lossy().into_owned();
            name.strip_prefix(".coaming-probe-").is_some_and(|pid| {
                !Path::new(&format!("/proc/{pid}")).exists() && entry.path().exists()
            })
        });
        assert!(!left, "a device is left in {dir}");
    }
}
