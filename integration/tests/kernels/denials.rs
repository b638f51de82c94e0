//! Denials of AppArmor and SELinux as these kernels write them down, by `coaming denials`: whose they were, and by which line of
//! policy.

use std::process::{Command, Stdio};

use coaming_integration::{Bundle, Error, Guest, Runtime, Suite, World};
use serde_json::{Value, json};

use crate::setup::{Bench, is_in, pod, says};

/// What `coaming denials` says in the machine's own pid namespace, as on a node.
fn denials(world: &World, words: &[&str]) -> Value {
    let said = Command::new("nsenter")
        .args(["--mount", "--target", &world.pid().to_string(), "--"])
        .args(["unshare", "--mount", "sh", "-c", "mount -t proc proc /proc && exec \"$@\"", "sh"])
        .args(["/usr/libexec/coaming/coaming", "denials", "--output", "json"])
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// The denials of one module in one container.
fn of<'a>(report: &'a Value, id: &str, by: &str) -> Vec<&'a Value> {
    let all = report["denials"].as_array().unwrap().iter();
    all.filter(|denial| denial["container"]["id"] == id && denial["denied"]["by"] == by).collect()
}

/// Ids as containerd makes them: short ones are people's, and not unique to a node.
const WATCHED: &str = "3a1f0c5be2d94768a0b1c2d3e4f5061728394a5b6c7d8e9f00112233445566aa";
const FREE: &str = "4b2f0c5be2d94768a0b1c2d3e4f5061728394a5b6c7d8e9f00112233445566bb";

const PROFILE: &str = "abi <abi/3.0>,
profile watched flags=(attach_disconnected,mediate_deleted) {
  file,
  signal,
  capability,
  audit deny capability sys_admin,
  audit deny mount,
  audit deny ptrace,
  audit deny network inet,
  audit deny /etc/passwd r,
  audit deny /etc/new* w,
  audit deny \"/etc/with space\" r,
  audit deny /bin/ls x,
}
";

/// Done by the shell itself: of a process that has ended nothing can be told.
const SCRIPT: &str = "sleep 1; read x </etc/passwd; echo x >/etc/new; read x <'/etc/with space'; (exec /bin/ls); \
    for attempt in mount ptrace; do probe $attempt; done; probe connect 127.0.0.1 1; probe sethostname; exec sleep 1000";

#[test]
#[ignore = "runs in uml-apparmor"]
fn apparmor_is_told_with_pod_and_line() -> Result<(), Error> {
    is_in(&[Guest::UmlAppArmor]);
    let bench = Bench::new(Runtime::Runc(Suite::Sid), "node")?;
    bench.world.write("/run/watched", PROFILE, 0o644)?;
    bench.world.run(["apparmor_parser", "-rK", "/run/watched"])?.ok("apparmor_parser")?;
    bench.policy("payments", "match: {namespaces: [payments]}\nappArmor: {default: watched}")?;
    let free = pod(&bench, "elsewhere", FREE, &["sh", "-c", SCRIPT])?;
    bench.gated.start(&free)?.ok("start")?;
    let bundle = bench.bundle(WATCHED, &["sh", "-c", SCRIPT], |spec| {
        spec["annotations"] = json!({
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.sandbox-namespace": "payments",
            "io.kubernetes.cri.sandbox-name": "ledger-0",
            "io.kubernetes.cri.container-name": "ledger",
        });
        for set in ["bounding", "effective", "permitted"] {
            spec["process"]["capabilities"][set]
                .as_array_mut()
                .unwrap()
                .push("CAP_SYS_ADMIN".into());
        }
    })?;
    let file = bundle.path().join("rootfs/etc/with space");
    bench.world.write(file, "x", 0o644)?;
    bench.gated.start(&bundle)?.ok("start")?;
    settled(&bench, &bundle)?;
    let report = denials(&bench.world, &["--all"]);
    assert_eq!(of(&report, FREE, "appArmor"), Vec::<&Value>::new());
    let told = of(&report, WATCHED, "appArmor");
    for (operation, name, denied) in
        [("open", "/etc/passwd", "r"), ("open", "/etc/with space", "r"), ("mknod", "/etc/new", "c")]
    {
        let found = told.iter().find(|denial| {
            denial["denied"]["operation"] == operation && denial["denied"]["name"] == name
        });
        let found = found.unwrap_or_else(|| panic!("no {operation} of {name} in {told:#?}"));
        assert_eq!(found["denied"]["denied"], denied, "{found:#}");
        assert_eq!(found["denied"]["profile"], "watched");
        assert_eq!(found["container"]["pod"], "ledger-0");
        assert_eq!(found["container"]["namespace"], "payments");
        let line = &found["cause"]["policies"][0];
        assert_eq!((&line["policy"], &line["line"]), (&json!("payments"), &json!(6)), "{found:#}");
    }
    // Of children, which have ended: read, with what was denied.
    let operations: Vec<&str> = report["denials"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|denial| denial["denied"]["operation"].as_str())
        .collect();
    for operation in ["exec", "mount", "ptrace", "create", "capable"] {
        assert!(operations.contains(&operation), "no {operation} in {operations:?}");
    }
    bench.gated.delete(&bundle)?;
    bench.gated.delete(&free)
}

#[test]
#[ignore = "runs in uml-selinux"]
fn selinux_is_told_with_pod_and_line() -> Result<(), Error> {
    is_in(&[Guest::UmlSeLinux]);
    let bench = Bench::new(Runtime::Runc(Suite::Sid), "node")?;
    bench.policy("payments", "match: {namespaces: [payments]}\nseLinux: {types: [container_t]}")?;
    let script = "sleep 1; read x </etc/passwd; read x <'/etc/with space'; read x </tmp/theirs; exec sleep 1000";
    let own = "system_u:object_r:container_file_t:s0:c1,c2";
    let bundle = bench.bundle(WATCHED, &["sh", "-c", script], |spec| {
        spec["annotations"] = json!({
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.sandbox-namespace": "payments",
            "io.kubernetes.cri.sandbox-name": "ledger-0",
            "io.kubernetes.cri.container-name": "ledger",
        });
        spec["process"]["selinuxLabel"] = "system_u:system_r:container_t:s0:c1,c2".into();
        spec["linux"]["mountLabel"] = own.into();
    })?;
    let root = bundle.path().join("rootfs");
    let label = format!(
        "cd {} && echo x >'etc/with space' && mkdir -p tmp && echo x >tmp/theirs && chcon -R {own} . && \
         chcon system_u:object_r:other_t:s0 etc/passwd 'etc/with space' && \
         chcon system_u:object_r:container_file_t:s0:c3,c4 tmp/theirs",
        root.display()
    );
    bench.world.run(["sh", "-c", &label])?.ok("chcon")?;
    bench.gated.start(&bundle)?.ok("start")?;
    settled(&bench, &bundle)?;
    let report = denials(&bench.world, &["--all"]);
    let told = of(&report, WATCHED, "seLinux");
    for (name, target) in [
        ("passwd", "other_t:s0"),
        ("with space", "other_t:s0"),
        ("theirs", "container_file_t:s0:c3,c4"),
    ] {
        let found = told.iter().find(|denial| denial["denied"]["path"] == name);
        let found = found.unwrap_or_else(|| panic!("no denial of {name} in {told:#?}"));
        assert_eq!(found["denied"]["source"], "system_u:system_r:container_t:s0:c1,c2");
        says(found["denied"]["target"].as_str().unwrap(), &[target]);
        assert_eq!(
            (&found["denied"]["class"], &found["denied"]["permissions"]),
            (&json!("file"), &json!(["read"]))
        );
        assert_eq!(found["container"]["pod"], "ledger-0");
        let line = &found["cause"]["policies"][0];
        assert_eq!((&line["policy"], &line["line"]), (&json!("payments"), &json!(6)), "{found:#}");
    }
    bench.gated.delete(&bundle)
}

#[test]
#[ignore = "runs in qemu-7"]
fn landlock_is_told_with_pod_and_line() -> Result<(), Error> {
    is_in(&[Guest::Qemu(Suite::Sid)]);
    let bench = Bench::new(Runtime::Crun(Suite::Sid), "node")?;
    bench.policy(
        "payments",
        "match: {namespaces: [payments]}\nlogDenials: [landlock]\nlandlock: {read: [/bin, /dev, /proc]}",
    )?;
    let script = "sleep 1; read x </etc/passwd; exec sleep 1000";
    let bundle = pod(&bench, "payments", WATCHED, &["sh", "-c", script])?;
    bench.gated.start(&bundle)?.ok("start")?;
    settled(&bench, &bundle)?;
    let report = denials(&bench.world, &["--all"]);
    let told = of(&report, WATCHED, "landlock");
    let found = told.iter().find(|denial| denial["denied"]["path"] == "/etc/passwd");
    let found = found.unwrap_or_else(|| panic!("no denial of /etc/passwd in {report:#}"));
    assert_eq!(found["denied"]["blockers"], json!(["fs.read_file"]));
    assert_eq!(found["container"]["pod"], "ledger-0");
    let line = &found["cause"]["policies"][0];
    assert_eq!((&line["policy"], &line["line"]), (&json!("payments"), &json!(7)), "{found:#}");
    bench.gated.delete(&bundle)
}

/// Until the script has come to its end.
fn settled(bench: &Bench, bundle: &Bundle<'_>) -> Result<(), Error> {
    let pid = bench.world.read(bundle.path().join("pid"))?;
    coaming_integration::wait_for("the script's end", || {
        let cmdline = bench.world.read(format!("/proc/{}/cmdline", pid.trim()))?;
        Ok(cmdline.starts_with("sleep").then_some(()))
    })
}
