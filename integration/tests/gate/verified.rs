//! What the kernel says of the processes that run, held against the floor that their record names.

use std::path::Path;

use coaming_integration::{Bundle, Error, World, can_run};
use coaming_policy::controls::Rule;
use coaming_policy::floor::{Bound, Floor, Visitor};
use coaming_policy::proc::Seen;
use serde_json::{Value, json};

use crate::setup::{Bench, SETS, policy, runtimes};

const FULL: &str = "
privileged: false
hostNamespaces: {allow: [user, cgroup, time]}
capabilities: {allow: [CHOWN, NET_BIND_SERVICE]}
noNewPrivileges: true
user: {runAsNonRoot: true, runAsUser: {ranges: [{min: 1000, max: 2000}]}, runAsGroup: {ranges: [{min: 1000, max: 2000}]}, supplementalGroups: {ranges: [{min: 1, max: 99}]}}
rlimits: {RLIMIT_CORE: 0, RLIMIT_NOFILE: 512}
readOnlyRootFilesystem: true
maskedPaths: [/proc/keys, /proc/timer_list, /sys/firmware]
readonlyPaths: [/proc/sys, /proc/bus, /sys/kernel]
landlock: {read: [/], write: [/tmp, /dev], execute: [/bin], connect: [443]}
seccomp: {floor: runtime-default, denySyscalls: [keyctl]}
";

/// What of the masked and read-only paths of both floors every kernel has.
const LOOKED_FOR: [&str; 6] =
    ["/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/sys", "/proc/bus", "/sys/kernel"];

/// Asks for more than the full policy allows, in each control that the kernel tells of.
fn wide(spec: &mut Value) {
    let caps = ["CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_SYS_ADMIN", "CAP_NET_RAW"];
    for set in SETS {
        spec["process"]["capabilities"][set] = json!(caps);
    }
    spec["process"]["noNewPrivileges"] = json!(false);
    spec["process"]["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [7, 4000]});
    spec["process"]["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024},
        {"type": "RLIMIT_CORE", "soft": 4096, "hard": 4096},
    ]);
    spec["linux"]["maskedPaths"] = json!([]);
    spec["linux"]["readonlyPaths"] = json!([]);
    for mount in spec["mounts"].as_array_mut().unwrap() {
        if mount["type"] == "sysfs" {
            mount["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
        }
    }
    let without_ipc = |namespace: &Value| namespace["type"] != "ipc";
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(without_ipc);
    let mounts = spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["type"] != "mqueue");
}

#[test]
fn every_control_finds_its_rule_kept_by_the_process() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        eprintln!("{runtime}");
        let bench = Bench::new(runtime, "baseline")?;
        let [stock, gated] = bench.sleepers("baseline", |_| {})?;
        let floor = floor_of_the_record(&bench)?;
        assert_eq!(mismatches(&floor, &seen(&bench, &gated)?), [""; 0], "{runtime}: baseline");
        // Its floor asks for no more of an ordinary container than a filter and one capability less.
        let found = mismatches(&floor, &seen(&bench, &stock)?);
        assert!(found.iter().any(|found| found.starts_with("seccomp")), "{found:?}");
        assert!(found.iter().any(|found| found.starts_with("capabilities: CapBnd")), "{found:?}");
        bench.gated.delete(&gated)?;
        bench.stock.delete(&stock)?;

        policy(&bench.world, "full", FULL)?;
        let wide = |spec: &mut Value| {
            wide(spec);
            if spec["linux"]["cgroupsPath"].as_str().unwrap_or_default().contains("gated") {
                // The baseline refuses the host's.
                spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "ipc"}));
            }
        };
        let [stock, gated] = bench.sleepers("full", wide)?;
        let floor = floor_of_the_record(&bench)?;
        let found = mismatches(&floor, &seen(&bench, &gated)?);
        assert_eq!(found, [""; 0], "{runtime}: full");
        let found = mismatches(&floor, &seen(&bench, &stock)?);
        for control in [
            "capabilities",
            "hostNamespaces",
            "maskedPaths",
            "noNewPrivileges",
            "privileged",
            "readOnlyRootFilesystem",
            "readonlyPaths",
            "rlimits",
            "seccomp",
            "user",
        ] {
            assert!(
                found.iter().any(|found| found.starts_with(&format!("{control}: "))),
                "{runtime}: {control} is blind: {found:#?}"
            );
        }
    }
    Ok(())
}

fn floor_of_the_record(bench: &Bench) -> Result<Floor, Error> {
    Ok(serde_json::from_value(bench.record()?["floor"].take()).unwrap())
}

/// Every control's findings, each with the control's name before it.
fn mismatches(floor: &Floor, seen: &Seen) -> Vec<String> {
    struct Held<'a>(&'a Seen, Vec<String>);
    impl Visitor for Held<'_> {
        fn control<R: Rule>(&mut self, bound: &Bound<R>) {
            if !bound.is_empty() {
                let found = bound.met().verify(self.0);
                self.1.extend(found.into_iter().map(|found| {
                    format!(
                        "{}: {} is {}, allowed {}",
                        R::CONTROL,
                        found.what,
                        found.found,
                        found.allowed
                    )
                }));
            }
        }
    }
    let mut held = Held(seen, Vec::new());
    floor.visit(&mut held);
    held.1
}

/// Everything that the kernel tells of a bundle's first process.
fn seen(bench: &Bench, bundle: &Bundle<'_>) -> Result<Seen, Error> {
    let state = bench.stock.call(&bench.world, ["state", bundle.id()])?.ok("state")?.stdout;
    let state: Value = serde_json::from_str(&state).unwrap();
    let process = Path::new("/proc").join(state["pid"].to_string());
    let world: &World = &bench.world;
    let mut seen = Seen::default();
    seen.read_status(&world.read(process.join("status"))?);
    seen.read_mountinfo(&world.read(process.join("mountinfo"))?);
    seen.read_limits(&world.read(process.join("limits"))?);
    for path in LOOKED_FOR {
        let inside = process.join("root").join(path.trim_start_matches('/'));
        if world.path(inside).symlink_metadata().is_ok() {
            seen.present.insert(path.to_owned());
        }
    }
    let link = |process: &Path, kind: &str| {
        std::fs::read_link(world.path(process.join("ns").join(kind))).unwrap()
    };
    for (kind, name) in [
        ("pid", "pid"),
        ("net", "network"),
        ("ipc", "ipc"),
        ("uts", "uts"),
        ("user", "user"),
        ("cgroup", "cgroup"),
        ("mnt", "mount"),
    ] {
        if link(&process, kind) == link(Path::new("/proc/1"), kind) {
            seen.host_namespaces.push(name.to_owned());
        }
    }
    Ok(seen)
}
