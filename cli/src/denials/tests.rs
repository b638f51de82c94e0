//! Ties over a /proc of our own making, and causes over floors.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use coaming_audit::{Answer, Denial, Event, Stamp, Subject, from_netlink};
use coaming_policy::document::parse_policies;
use coaming_policy::floor::Floor;
use coaming_shim::record::Record;
use proptest::prelude::*;
use serde_json::json;

use super::cause::{Cause, Causes};
use super::process::Processes;
use super::report::{Found, Report};
use super::tie::{Tie, Ties};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
/// Hundredths of a second after the node started.
const START: u64 = 1000;

struct Node {
    folder: tempfile::TempDir,
}

impl Node {
    fn new() -> Node {
        let node = Node { folder: tempfile::tempdir().unwrap() };
        fs::create_dir_all(node.proc().join("1/ns")).unwrap();
        symlink("pid:[4026531836]", node.proc().join("1/ns/pid")).unwrap();
        node
    }

    fn proc(&self) -> std::path::PathBuf {
        self.folder.path().join("proc")
    }

    fn process(&self, pid: u32, start: u64, cgroup: &str) {
        let folder = self.proc().join(pid.to_string());
        fs::create_dir_all(&folder).unwrap();
        let zeros = "0 ".repeat(18);
        // A name that tries to be more.
        fs::write(folder.join("stat"), format!("{pid} (a) Z 1 (b) S {zeros}{start} 0 0\n"))
            .unwrap();
        fs::write(folder.join("cgroup"), cgroup).unwrap();
    }

    fn end(&self, pid: u32) {
        fs::remove_dir_all(self.proc().join(pid.to_string())).unwrap();
    }

    fn ties(&self) -> Ties {
        Ties::over(Processes::at(&self.proc()))
    }

    /// So many hundredths of a second after the node started.
    fn at(&self, ticks: u64) -> Stamp {
        Stamp { millis: Processes::at(&self.proc()).began(ticks), serial: ticks }
    }

    fn container(&self, id: &str, first: u32, start: u64, floor: Floor) -> Record {
        let root = self.folder.path().join("runc");
        fs::create_dir_all(root.join(id)).unwrap();
        let state = json!({"init_process_pid": first, "init_process_start": start});
        fs::write(root.join(id).join("state.json"), state.to_string()).unwrap();
        record(id, &root, floor)
    }
}

fn record(id: &str, root: &Path, floor: Floor) -> Record {
    let fact = |value: &str| json!({"value": value, "assertedBy": "client"});
    serde_json::from_value(json!({
        "version": 1, "id": id, "runtime": "/usr/bin/runc", "runtimeRoot": root, "bundle": "/b",
        "createdAt": 0, "changes": [], "degraded": [], "notes": [], "process": {}, "seccomp": null,
        "bounding": [], "plan": null, "floor": floor,
        "facts": {"id": id, "namespace": fact("payments"), "pod": fact("ledger-0"), "podUid": null,
            "container": fact("ledger"), "image": null, "containerType": "container", "userNamespace": false},
    }))
    .unwrap()
}

fn floor(spec: &str) -> Floor {
    let text = format!(
        "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n{spec}"
    );
    let policy = parse_policies("p.yaml", &text).unwrap().remove(0);
    policy.floor("p.yaml", &mut |_| panic!("no profiles")).unwrap()
}

fn call(pid: u32, stamp: Stamp, number: u32) -> Denial {
    let subject = Subject::Seccomp { arch: 0xc000_003e, syscall: number, answer: Answer::Errno };
    Denial { stamp, pid: Some(pid), parent: None, comm: Some("sh".to_owned()), exe: None, subject }
}

fn of(ties: &mut Ties, pid: u32, stamp: Stamp, records: &[Record]) -> Tie {
    ties.of(&call(pid, stamp, 62), records)
}

#[track_caller]
fn unknown(tie: &Tie, words: &str) {
    let Tie::Unknown(why) = tie else { panic!("{tie:?}") };
    assert!(why.contains(words), "{why}");
}

#[test]
fn a_process_is_tied_by_its_cgroup_however_that_is_named() {
    let node = Node::new();
    let records = [
        node.container(A, 100, START, Floor::default()),
        node.container(B, 200, START, Floor::default()),
    ];
    let mut ties = node.ties();
    for path in [
        format!("/kubepods/besteffort/pod1/{B}"),
        format!("/kubepods.slice/kubepods-pod1.slice/cri-containerd-{B}.scope"),
        format!("/system.slice/docker-{B}.scope"),
        format!("/kubepods.slice/crio-{B}.scope/container"),
        format!("/machine.slice/libpod-{B}.scope/init.scope"),
    ] {
        node.process(200, START, &format!("0::{path}\n"));
        // Later ones are below, and one of them names another container.
        node.process(201, START + 5, &format!("0::{path}/{A}\n"));
        for pid in [200, 201] {
            assert_eq!(
                of(&mut ties, pid, node.at(START + 100), &records),
                Tie::Container(1),
                "{path}"
            );
        }
        node.process(100, START, "0::/x\n");
        let mut ties = node.ties();
        assert_eq!(of(&mut ties, 100, node.at(START + 100), &records), Tie::Outside, "{path}");
    }
}

#[test]
fn a_name_alone_proves_nothing() {
    let node = Node::new();
    // Chosen by a client, so that it is a part of others' paths.
    let records = [node.container("user.slice", 100, START, Floor::default())];
    node.process(100, START, "0::/default/user.slice\n");
    node.process(300, START, "0::/user.slice/user-0.slice\n");
    let stamp = node.at(START + 1);
    unknown(&of(&mut node.ties(), 300, stamp, &records), "first process is not there");
    assert_eq!(of(&mut node.ties(), 100, stamp, &records), Tie::Container(0));
    // Where its first process has ended, there is nothing to hold the name against.
    node.end(100);
    unknown(&of(&mut node.ties(), 300, stamp, &records), "first process is not there");
    // Two hierarchies that disagree are of nobody.
    let two =
        [node.container(A, 1, 1, Floor::default()), node.container(B, 2, 1, Floor::default())];
    node.process(301, START, &format!("2:cpu:/{A}\n1:pids:/{B}\n"));
    unknown(&of(&mut node.ties(), 301, stamp, &two), "several containers");
}

#[test]
fn a_pid_that_was_given_anew_is_not_taken_for_the_one_before() {
    let node = Node::new();
    let records = [node.container(A, 100, START, Floor::default())];
    node.process(100, START, &format!("0::/{A}\n"));
    node.process(101, START, &format!("0::/{A}\n"));
    let mut ties = node.ties();
    assert!(ties.see(101, node.at(START + 1), &records));
    node.process(101, START + 500, "0::/system.slice/sshd.service\n");
    assert_eq!(of(&mut ties, 101, node.at(START + 600), &records), Tie::Outside);
    // A record from before: what was seen of the first is what is known.
    let mut ties = node.ties();
    node.process(101, START, &format!("0::/{A}\n"));
    ties.see(101, node.at(START + 1), &records);
    node.end(101);
    assert_eq!(of(&mut ties, 101, node.at(START + 2), &records), Tie::Container(0), "remembered");
    node.process(101, START + 500, "0::/system.slice/sshd.service\n");
    assert_eq!(of(&mut ties, 101, node.at(START + 2), &records), Tie::Container(0));
    unknown(&of(&mut node.ties(), 101, node.at(START + 2), &records), "had ended");
}

#[test]
fn a_first_process_that_ended_is_known_by_its_runtime() {
    let node = Node::new();
    let records = [node.container(A, 100, START, Floor::default())];
    assert_eq!(of(&mut node.ties(), 100, node.at(START + 1), &records), Tie::Container(0));
    unknown(&of(&mut node.ties(), 100, node.at(START - 100), &records), "had ended");
    unknown(&of(&mut node.ties(), 102, node.at(START + 1), &records), "had ended");
}

#[test]
fn a_child_that_ended_is_where_its_parent_is() {
    let node = Node::new();
    let records = [node.container(A, 100, START, Floor::default())];
    node.process(100, START, &format!("0::/{A}\n"));
    node.process(7, START, "0::/system.slice/containerd.service\n");
    let child = |parent| Denial { parent: Some(parent), ..call(102, node.at(START + 1), 62) };
    assert_eq!(node.ties().of(&child(100), &records), Tie::Container(0));
    // Who starts an exec is in no container, and what it started is.
    unknown(&node.ties().of(&child(7), &records), "had ended");
    unknown(&node.ties().of(&child(103), &records), "had ended");
}

#[test]
fn pids_of_another_namespace_are_not_looked_up() {
    let node = Node::new();
    let records = [node.container(A, 100, START, Floor::default())];
    node.process(100, START, &format!("0::/{A}\n"));
    fs::remove_file(node.proc().join("1/ns/pid")).unwrap();
    symlink("pid:[4026532000]", node.proc().join("1/ns/pid")).unwrap();
    unknown(&of(&mut node.ties(), 100, node.at(START + 1), &records), "pid namespace");
}

#[test]
fn a_landlock_domain_is_its_makers() {
    let node = Node::new();
    let records = [node.container(A, 100, START, Floor::default())];
    node.process(100, START, &format!("0::/{A}\n"));
    let seconds = |stamp: Stamp| {
        format!("audit({}.{:03}:{})", stamp.millis / 1000, stamp.millis % 1000, stamp.serial)
    };
    let event = |ticks: u64, lines: &[(u16, &str)]| {
        let stamp = node.at(ticks);
        let read = |(kind, text): &(u16, &str)| {
            from_netlink(*kind, format!("{}: {text}", seconds(stamp)).as_bytes()).unwrap()
        };
        Event { stamp, records: lines.iter().map(read).collect() }
    };
    let access = (1423, "domain=1f blockers=fs.read_file path=\"/etc/shadow\" dev=\"vda\" ino=3");
    let first = event(
        START + 1,
        &[access, (1424, "domain=1f status=allocated mode=enforcing pid=100 uid=0")],
    );
    let later = event(START + 9, &[access]);
    let mut ties = node.ties();
    unknown(&ties.of(&later.denials()[0], &records), "domain 1f");
    ties.learn(&first, &records);
    for event in [&first, &later] {
        assert_eq!(ties.of(&event.denials()[0], &records), Tie::Container(0));
    }
    // What is remembered stays with the container when others come and go.
    let now = [node.container(B, 7, 7, Floor::default()), records[0].clone()];
    ties.moved(&records, &now);
    assert_eq!(ties.of(&later.denials()[0], &now), Tie::Container(1));
    ties.moved(&now, &now[..1]);
    node.end(100);
    assert!(matches!(ties.of(&later.denials()[0], &now[..1]), Tie::Unknown(_)));
}

fn cause(spec: &str, subject: &Subject) -> Cause {
    Cause::of(subject, &record(A, Path::new("/run/runc"), floor(spec)))
}

fn seccomp(number: u32) -> Subject {
    Subject::Seccomp { arch: 0xc000_003e, syscall: number, answer: Answer::Errno }
}

fn landlock(blocker: &str, path: Option<&str>, port: Option<u16>) -> Subject {
    let path = path.map(str::to_owned);
    Subject::Landlock { domain: 1, blockers: vec![blocker.to_owned()], path, port }
}

#[test]
fn the_line_that_denied_a_call_is_named_with_what_it_should_say() {
    let spec = "  noNewPrivileges: true\n  seccomp: {denySyscalls: [kill, keyctl]}\n";
    let named = cause(spec, &seccomp(62));
    assert_eq!(named.policies.len(), 1);
    assert_eq!((named.policies[0].policy.as_str(), named.policies[0].line), ("p", 6));
    assert_eq!(named.changes.len(), 1);
    assert_eq!(named.changes[0].at, "p.yaml:6");
    assert_eq!(named.changes[0].fragment.as_deref(), Some("denySyscalls: [keyctl]"));
    assert_eq!(named.caution, None);
    // keyctl is 250.
    assert!(cause(spec, &seccomp(250)).caution.is_some());
    // What the policy allows was denied by something else.
    let other = cause(spec, &seccomp(63));
    assert!(other.policies.is_empty() && other.changes.is_empty());
    assert!(other.others[0].contains("a program loaded itself"), "{other:?}");
}

#[test]
fn what_no_line_allows_takes_a_waiver() {
    let default = cause("  seccomp: {floor: runtime-default}\n", &seccomp(250));
    assert!(
        default.changes[0].fragment.as_ref().unwrap().contains("waives: [seccomp]"),
        "{default:?}"
    );
    assert!(default.changes[0].fragment.as_ref().unwrap().contains("namespaces: [payments]"));
    // Implied by Landlock; mount is 165.
    let implied = cause("  landlock: {read: [/]}\n", &seccomp(165));
    assert!(
        implied.changes[0].fragment.as_ref().unwrap().contains("waives: [landlock]"),
        "{implied:?}"
    );
    assert!(implied.caution.unwrap().contains("mount"));
}

/// The fragment, put where it is said to be, allows it.
#[test]
fn what_is_said_to_allow_a_call_does() {
    let before = "  seccomp: {denySyscalls: [kill, keyctl]}\n";
    let change = cause(before, &seccomp(62)).changes.remove(0);
    let after = format!("  seccomp: {{{}}}\n", change.fragment.unwrap());
    assert!(cause(&after, &seccomp(62)).policies.is_empty());
    assert!(!cause(&after, &seccomp(250)).policies.is_empty());
}

#[test]
fn the_rule_that_denied_a_file_or_port_is_named() {
    let spec = "  landlock: {read: [/usr, /etc/app], connect: [443]}\n";
    let read = cause(spec, &landlock("fs.read_file", Some("/etc/shadow"), None));
    assert_eq!((read.policies[0].line, read.changes[0].at.as_str()), (5, "p.yaml:5"));
    assert!(read.changes[0].fragment.as_ref().unwrap().contains("read: [/etc/shadow]"));
    let port = cause(spec, &landlock("net.connect_tcp", None, Some(80)));
    assert!(port.changes[0].fragment.as_ref().unwrap().contains("connect: [80]"));
    // By its words the policy allows it, and it names no file to be written: a link.
    let linked = cause(spec, &landlock("fs.read_file", Some("/etc/app/key"), None));
    assert!(linked.others[0].contains("leads elsewhere") && !linked.policies.is_empty());
    // A domain of the workload's own.
    let own = cause(spec, &landlock("fs.write_file", Some("/tmp/x"), None));
    assert!(own.policies.is_empty() && own.others[0].contains("a program made itself"));
    let scoped = cause("  landlock: {scopes: [signal]}\n", &landlock("scope.signal", None, None));
    assert!(scoped.changes[0].what.contains("take signal out"));
    let traced = cause(spec, &landlock("ptrace", None, None));
    assert!(traced.others[0].contains("no rule allows it") && traced.changes.is_empty());
    // A path that would not be one string in YAML.
    let odd = cause(spec, &landlock("fs.read_file", Some("/a: [b"), None));
    assert!(odd.changes[0].fragment.as_ref().unwrap().contains("read: [\"/a: [b\"]"));
}

#[test]
fn equal_denials_are_one_with_their_number() {
    let records = [record(A, Path::new("/run/runc"), floor("  seccomp: {denySyscalls: [kill]}\n"))];
    let mut report = Report::default();
    let mut causes = Causes::default();
    for (serial, pid) in [(1, 7), (2, 8), (3, 8)] {
        let stamp = Stamp { millis: serial * 1000, serial };
        report.add(Found::of(call(pid, stamp, 62), &Tie::Container(0), &records, &mut causes));
    }
    report.add(Found::of(
        call(9, Stamp { millis: 9000, serial: 4 }, 63),
        &Tie::Container(0),
        &records,
        &mut causes,
    ));
    let document = serde_json::to_value(&report).unwrap();
    assert_eq!(document["denials"].as_array().unwrap().len(), 2, "{document:#}");
    let kill = &document["denials"]
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["what"] == "kill denied")
        .unwrap();
    assert_eq!((&kill["times"], &kill["pid"]), (&json!(3), &json!(8)));
    assert_eq!(
        (&kill["first"], &kill["last"]),
        (&json!("1970-01-01T00:00:01Z"), &json!("1970-01-01T00:00:03Z"))
    );
    let mut text = Vec::new();
    report.show(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("payments/ledger-0/ledger/aaaa") && text.contains("3 times to sh (pid 8)"),
        "{text}"
    );
    assert!(
        text.contains("policy p (p.yaml:5, spec.seccomp)") && text.ends_with("4 denials\n"),
        "{text}"
    );
}

#[test]
fn times_are_read_in_both_forms() {
    assert_eq!(super::since("2027-03-31T12:00:00Z"), Ok(1_806_494_400_000));
    assert!(super::since("15m").unwrap() > 1_700_000_000_000);
    assert!(super::since("yesterday").is_err());
}

proptest! {
    /// Of whatever is below a container's own cgroup, nothing ties a process to another container.
    #[test]
    fn below_its_own_cgroup_a_container_names_no_other(below in "[a-b/.-]{0,40}", named in any::<bool>()) {
        let node = Node::new();
        let records = [node.container(A, 100, START, Floor::default()), node.container(B, 200, START, Floor::default())];
        let tail = if named { format!("{below}/{B}") } else { below };
        node.process(100, START, &format!("0::/pods/{A}\n"));
        node.process(200, START, &format!("0::/pods/{B}\n"));
        node.process(101, START, &format!("0::/pods/{A}/{tail}\n"));
        prop_assert_eq!(of(&mut node.ties(), 101, node.at(START + 1), &records), Tie::Container(0));
    }
}
