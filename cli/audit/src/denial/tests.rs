//! Records as kernels write them: those of seccomp and Landlock are from Linux 6.18, those of AppArmor and SELinux from 7.2,
//! where `integration/tests/kernels/denials.rs` makes them anew.

use super::*;
use crate::event::Assembler;
use crate::line::{from_file, from_kmsg, from_netlink};

fn denials(lines: &[(u16, &str)]) -> Vec<Denial> {
    let mut assembler = Assembler::default();
    let mut found = Vec::new();
    for (kind, text) in lines {
        let event = assembler.push(from_netlink(*kind, text.as_bytes()).unwrap());
        found.extend(event.iter().flat_map(Event::denials));
    }
    found.extend(assembler.rest().iter().flat_map(Event::denials));
    found
}

#[test]
fn a_call() {
    let text = "audit(1795371955.700:23959): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=12577 comm=\"sh\" \
                exe=\"/bin/busybox\" sig=0 arch=c000003e syscall=62 compat=0 ip=0x7f3d code=0x50000";
    let [denial] = denials(&[(1326, text)]).try_into().unwrap();
    assert_eq!((denial.pid, denial.comm.as_deref()), (Some(12577), Some("sh")));
    assert_eq!(
        denial.subject,
        Subject::Seccomp { arch: 0xc000_003e, syscall: 62, answer: Answer::Errno }
    );
    // An answer that no filter gives, and a number that no call has.
    assert!(denials(&[(1326, &text.replace("0x50000", "0x50001"))]).is_empty());
    assert!(denials(&[(1326, &text.replace("syscall=62", "syscall=-1"))]).is_empty());
}

#[test]
fn records_of_one_event_are_put_together_by_its_number() {
    let found = denials(&[
        (
            1423,
            "audit(1.000:7): domain=195ba459b blockers=fs.read_file path=\"/etc/shadow\" dev=\"vda\" ino=351",
        ),
        (1326, "audit(1.000:8): pid=9 comm=\"b\" sig=0 arch=c000003e syscall=62 code=0x50000"),
        (
            1424,
            "audit(1.000:7): domain=195ba459b status=allocated mode=enforcing pid=300 uid=0 exe=\"/i\" comm=\"i\"",
        ),
        (
            1300,
            "audit(1.000:7): arch=c000003e syscall=257 success=no exit=-13 ppid=1 pid=301 comm=\"cat\" exe=\"/bin/cat\"",
        ),
        (1320, "audit(1.000:7): "),
    ]);
    assert_eq!(found.len(), 2);
    let landlock = &found[0];
    assert_eq!((landlock.pid, landlock.comm.as_deref()), (Some(301), Some("cat")));
    assert_eq!((landlock.parent, found[1].parent), (Some(1), None));
    let Subject::Landlock { domain, blockers, path, port } = &landlock.subject else { panic!() };
    assert_eq!((*domain, path.as_deref(), *port), (0x1_95ba_459b, Some("/etc/shadow"), None));
    assert_eq!(blockers, &["fs.read_file"]);
    assert_eq!(found[1].pid, Some(9));
}

#[test]
fn ports_are_those_of_the_blocker() {
    let port = |text: &str| match &denials(&[(1423, text)])[0].subject {
        Subject::Landlock { port, .. } => *port,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        port("audit(1.000:7): domain=1 blockers=net.connect_tcp daddr=127.0.0.1 dest=80"),
        Some(80)
    );
    assert_eq!(
        port("audit(1.000:7): domain=1 blockers=net.bind_tcp saddr=127.0.0.1 src=8080"),
        Some(8080)
    );
    assert!(
        denials(&[(1423, "audit(1.000:7): domain=1 blockers=fs.read,X path=\"/\"")]).is_empty()
    );
}

#[test]
fn app_armor() {
    let line = "type=AVC msg=audit(1763836647.123:45): apparmor=\"DENIED\" operation=\"open\" class=\"file\" \
                profile=\"docker-default\" name=\"/etc/shadow\" pid=12 comm=\"cat\" requested_mask=\"r\" \
                denied_mask=\"r\" fsuid=0 ouid=0";
    let event = Event {
        stamp: from_file(line.as_bytes()).unwrap().stamp,
        records: vec![from_file(line.as_bytes()).unwrap()],
    };
    let [denial] = event.denials().try_into().unwrap();
    let Subject::AppArmor { profile, operation, name, denied } = denial.subject else { panic!() };
    assert_eq!((profile.as_deref(), operation.as_str()), (Some("docker-default"), "open"));
    assert_eq!((name.as_deref(), denied.as_deref()), (Some("/etc/shadow"), Some("r")));
    let allowed = line.replace("DENIED", "ALLOWED");
    let record = from_file(allowed.as_bytes()).unwrap();
    assert!(Event { stamp: record.stamp, records: vec![record] }.denials().is_empty());
}

#[test]
fn what_app_armor_writes_of_each_operation() {
    // Linux 7.2, under a profile of apparmor_parser 3.0.
    let lines = [
        (
            r#"operation="mknod" class="file" profile="watched" name="/etc/new" pid=915 comm="sh" requested_mask="c" denied_mask="c" fsuid=0 ouid=0"#,
            ("mknod", Some("/etc/new"), Some("c")),
        ),
        (
            r#"operation="open" class="file" profile="watched" name=2F6574632F77697468207370616365 pid=915 comm="sh" requested_mask="r" denied_mask="r" fsuid=0 ouid=0"#,
            ("open", Some("/etc/with space"), Some("r")),
        ),
        (
            r#"operation="mount" class="mount" info="failed mntpnt match" error=-13 profile="watched" name="/proc/8/" pid=933 comm="probe" fstype="tmpfs" srcname="tmpfs""#,
            ("mount", Some("/proc/8/"), None),
        ),
        (
            r#"operation="ptrace" class="ptrace" profile="watched" pid=935 comm="probe" requested_mask="tracedby" denied_mask="tracedby" peer="watched""#,
            ("ptrace", Some("watched"), Some("tracedby")),
        ),
        (
            r#"operation="create" class="net" info="failed af match" error=-13 profile="watched" pid=938 comm="probe" family="inet" sock_type="stream" protocol=0 requested_mask="create" denied_mask="create""#,
            ("create", Some("inet stream"), Some("create")),
        ),
        (
            r#"operation="capable" class="cap" profile="watched" pid=940 comm="probe" capability=21  capname="sys_admin""#,
            ("capable", None, Some("sys_admin")),
        ),
    ];
    for (text, expected) in lines {
        let line = format!(
            "5,900,5870000,-;audit: type=1400 audit(1795391505.141:3): apparmor=\"DENIED\" {text}\n"
        );
        let record = from_kmsg(line.as_bytes()).unwrap();
        let [denial] =
            Event { stamp: record.stamp, records: vec![record] }.denials().try_into().unwrap();
        assert!(denial.pid.is_some(), "{text}");
        let Subject::AppArmor { profile, operation, name, denied } = denial.subject else {
            panic!("{text}")
        };
        assert_eq!(profile.as_deref(), Some("watched"));
        assert_eq!((operation.as_str(), name.as_deref(), denied.as_deref()), expected);
    }
}

#[test]
fn what_se_linux_writes_of_a_name_that_is_no_word() {
    let line = "5,901,5530000,-;audit: type=1400 audit(1795391505.074:7): avc:  denied  { read } for  pid=888 comm=\"sh\" \
                name=77697468207370616365 dev=\"tmpfs\" ino=28 scontext=system_u:system_r:container_t:s0:c1,c2 \
                tcontext=system_u:object_r:other_t:s0 tclass=file permissive=0\n";
    let record = from_kmsg(line.as_bytes()).unwrap();
    let [denial] =
        Event { stamp: record.stamp, records: vec![record] }.denials().try_into().unwrap();
    let Subject::SeLinux { target, permissions, path, .. } = denial.subject else { panic!() };
    assert_eq!(
        (target.as_str(), path.as_deref()),
        ("system_u:object_r:other_t:s0", Some("with space"))
    );
    assert_eq!(permissions, ["read"]);
}

#[test]
fn se_linux() {
    let line = "5,1,1,-;audit: type=1400 audit(1763836647.123:45): avc:  denied  { read open } for  pid=12 comm=\"cat\" \
                name=\"shadow\" dev=\"sda1\" ino=9 scontext=system_u:system_r:container_t:s0:c1,c2 \
                tcontext=system_u:object_r:shadow_t:s0 tclass=file permissive=0";
    let record = from_kmsg(line.as_bytes()).unwrap();
    let [denial] =
        Event { stamp: record.stamp, records: vec![record] }.denials().try_into().unwrap();
    let Subject::SeLinux { source, class, permissions, path, .. } = denial.subject else {
        panic!()
    };
    assert_eq!(source, "system_u:system_r:container_t:s0:c1,c2");
    assert_eq!((class.as_str(), path.as_deref()), ("file", Some("shadow")));
    assert_eq!((permissions, denial.pid), (vec!["read".to_owned(), "open".to_owned()], Some(12)));
    for other in
        ["granted  { read }", "denied  { read } for permissive=1 scontext=a tcontext=b tclass=c"]
    {
        let record =
            from_kmsg(format!("5,1,1,-;audit: type=1400 audit(1.000:1): avc:  {other}").as_bytes());
        let record = record.unwrap();
        assert!(
            Event { stamp: record.stamp, records: vec![record] }.denials().is_empty(),
            "{other}"
        );
    }
}
