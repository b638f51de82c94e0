//! The proof: containers that are made wider after the decision are killed by it, containers that are not
//! run on, and nothing of it stays behind.

use std::time::Duration;

use coaming_integration::{Bundle, Error, Runtime, can_run, wait_for};
use serde_json::{Value, json};

use crate::journal::journal;
use crate::setup::{Bench, FREELY, forget, parsed, policy, runtimes, says};

const STRICT: &str = "
capabilities: {allow: [CHOWN, NET_BIND_SERVICE]}
noNewPrivileges: true
readOnlyRootFilesystem: true
maskedPaths: [/proc/keys]
seccomp: {floor: runtime-default}
";
const LANDLOCKED: &str = "landlock: {read: [/], write: [/witness, /dev], execute: [/bin]}";
/// What the workload leaves where it has run.
const WITNESS: &str = "/var/lib/kubelet/pods/witness";

/// A way to make a container wider than it was decided, as an edit of its enforced config.json.
struct Tampering {
    control: &'static str,
    sed: &'static str,
    /// Whether it needs a launcher.
    launcher: bool,
}

const TAMPERINGS: [Tampering; 6] = [
    Tampering {
        control: "capabilities",
        sed: r#"s/"bounding":\[/"bounding":["CAP_SYS_ADMIN",/"#,
        launcher: false,
    },
    Tampering {
        control: "noNewPrivileges",
        sed: r#"s/"noNewPrivileges":true/"noNewPrivileges":false/"#,
        launcher: false,
    },
    Tampering {
        control: "maskedPaths",
        sed: r#"s/"maskedPaths":\[[^]]*\]/"maskedPaths":[]/"#,
        launcher: false,
    },
    Tampering {
        control: "readOnlyRootFilesystem",
        sed: r#"s/"readonly":true/"readonly":false/"#,
        launcher: false,
    },
    Tampering { control: "seccomp", sed: r#"s/"seccomp":{/"xseccomp":{/"#, launcher: false },
    Tampering {
        control: "seccomp",
        sed: r#"s#"args":\["/dev/.coaming/init","plan",#"args":[#"#,
        launcher: true,
    },
];

/// A runtime that widens what it is given before it does what it is told.
fn fake(bench: &Bench) -> Result<(), Error> {
    let real = bench.runtime.path();
    let script = format!(
        r#"#!/bin/sh
for word; do
    case $word in
    --bundle=*) sed -i -f /run/widen "${{word#--bundle=}}/config.json" ;;
    --process=*) sed -f /run/widen <"${{word#--process=}}" >/run/process.json; process=$word ;;
    esac
done
if [ -n "$process" ]; then
    count=$#
    while [ $count -gt 0 ]; do
        word=$1; shift; count=$((count - 1))
        if [ "$word" = "$process" ]; then word=--process=/run/process.json; fi
        set -- "$@" "$word"
    done
fi
exec {} "$@"
"#,
        real.display()
    );
    let name = fake_path(bench);
    bench.world.write(&name, script, 0o755)?;
    widen(bench, "")?;
    let wrapper = bench.runtime.wrapper_name();
    let text = format!(
        "floor = \"baseline\"\n[runtimes.{wrapper}]\npath = {name:?}\n[shim]\ndefault_runtime = {wrapper:?}\n{FREELY}\n"
    );
    bench.world.write("/etc/coaming/config.toml", text, 0o644)
}

fn fake_path(bench: &Bench) -> String {
    format!("/usr/libexec/fake-{}", if bench.is_runc() { "runc" } else { "crun" })
}

fn widen(bench: &Bench, sed: &str) -> Result<(), Error> {
    bench.world.write("/run/widen", format!("{sed}\n"), 0o644)
}

/// A container whose workload leaves a mark, and then sleeps.
fn marking<'a>(bench: &'a Bench, id: &str) -> Result<Bundle<'a>, Error> {
    bench.shell(&format!("rm -rf {WITNESS} && mkdir -p {WITNESS}"))?.ok("mkdir")?;
    bench.bundle(id, &["sh", "-c", "touch /witness/ran; exec sleep 1000"], |spec| {
        spec["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/witness", "type": "bind", "source": WITNESS,
            "options": ["rbind", "rw"],
        }));
    })
}

fn ran(bench: &Bench) -> bool {
    bench.world.path(format!("{WITNESS}/ran")).exists()
}

/// `create` of a bundle by a wrapper or runtime, with its output in a file: the container keeps it open.
fn create(bench: &Bench, runtime: &str, bundle: &Bundle<'_>) -> Result<(), Error> {
    let line = format!(
        "exec {runtime} --root /run/bare create --bundle {0} --pid-file {0}/pid {1} >{0}/log 2>&1 </dev/null",
        bundle.path().display(),
        bundle.id()
    );
    let output = crate::setup::in_cgroups(&bench.world, ["sh", "-c", &line])?;
    let log = bench.world.read(bundle.path().join("log"))?;
    assert_eq!(output.code, 0, "{log}");
    Ok(())
}

fn wrapper(bench: &Bench) -> String {
    bench.runtime.wrapper_path().display().to_string()
}

/// The journal's proof of a container at a stage, once it is written.
fn proof(bench: &Bench, id: &str, stage: &str) -> Result<Value, Error> {
    wait_for(&format!("the proof of {id}, {stage}"), || {
        let lines = journal(bench)?;
        let own = |line: &&Value| {
            line["event"] == "proved" && line["container"]["id"] == id && line["stage"] == stage
        };
        Ok(lines.iter().rev().find(own).cloned())
    })
}

fn controls(proof: &Value) -> Vec<String> {
    let mismatches = proof["mismatches"].as_array().cloned().unwrap_or_default();
    mismatches.iter().map(|wider| wider["control"].as_str().unwrap().to_owned()).collect()
}

fn state(bench: &Bench, bundle: &Bundle<'_>) -> Result<String, Error> {
    let state = bench.stock.call(&bench.world, ["state", bundle.id()])?.ok("state")?.stdout;
    Ok(serde_json::from_str::<Value>(&state).unwrap()["status"].as_str().unwrap().to_owned())
}

/// No prover is left in the world, living or dead, and no pid file of ours.
pub(crate) fn nothing_stays(bench: &Bench) -> Result<(), Error> {
    wait_for("the end of the provers", || {
        let script = "cat /proc/[0-9]*/comm 2>/dev/null | grep -c coaming-prover; \
                      find /run/coaming -name '*.pid*'";
        let left = bench.shell(script)?.stdout;
        Ok((left == "0\n").then_some(()))
    })
}

/// No record is left. What the container sees at /dev/.coaming may be: crun 1.8 leaves the mounts of a
/// container with a user namespace on a host whose root is shared, with the proof and without.
fn no_record_stays(bench: &Bench) -> Result<(), Error> {
    wait_for("the end of the records", || {
        let left = bench.records()?;
        Ok((!left.contains("containers/")).then_some(()))
    })
}

/// Whether this is refused before the workload has run an instruction, or only found after it.
fn is_found_at_create(bench: &Bench, tampering: &Tampering) -> bool {
    match tampering.control {
        "seccomp" => bench.is_runc() && !tampering.launcher,
        _ => true,
    }
}

#[test]
fn a_container_that_was_made_wider_after_the_decision_is_killed() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        let bench = Bench::new(runtime, "baseline")?;
        fake(&bench)?;
        policy(&bench.world, "strict", STRICT)?;
        untouched(&bench)?;
        for (number, tampering) in TAMPERINGS.iter().enumerate() {
            eprintln!("{runtime}: {}", tampering.sed);
            if tampering.launcher {
                policy(&bench.world, "landlocked", LANDLOCKED)?;
            }
            tampered(&bench, number, tampering)?;
            without_the_proof(&bench, number, tampering)?;
        }
        forget(&bench.world, "landlocked")?;
        tampered_run(&bench)?;
        tampered_exec(&bench)?;
        nothing_stays(&bench)?;
        let chain = ["/usr/libexec/coaming/coaming", "journal", "--verify"];
        says(bench.world.run(chain)?.ok("verify")?.stdout, &["whole: 1 file"]);
        no_record_stays(&bench)?;
    }
    Ok(())
}

/// The fake runtime by itself changes nothing.
fn untouched(bench: &Bench) -> Result<(), Error> {
    widen(bench, "")?;
    let bundle = marking(bench, "plain")?;
    create(bench, &wrapper(bench), &bundle)?;
    bench.gated.call(&bench.world, ["start", "plain"])?.ok("start")?;
    wait_for("the workload", || Ok(ran(bench).then_some(())))?;
    assert_eq!(proof(bench, "plain", "created")?["outcome"], "held");
    let started = proof(bench, "plain", "started")?;
    assert_eq!(
        (&started["outcome"], &started["by"]["capabilities"]),
        (&json!("held"), &json!("kernel"))
    );
    bench.gated.delete(&bundle)
}

fn tampered(bench: &Bench, number: usize, tampering: &Tampering) -> Result<(), Error> {
    let id = format!("tampered-{number}");
    widen(bench, tampering.sed)?;
    let bundle = marking(bench, &id)?;
    create(bench, &wrapper(bench), &bundle)?;
    let start = bench.gated.call(&bench.world, ["start", &id])?;
    if is_found_at_create(bench, tampering) {
        assert_ne!(start.code, 0, "{start:?}");
        says(&start.stderr, &["refused to start", &id, tampering.control, "wider"]);
        let proof = proof(bench, &id, "created")?;
        assert_eq!((&proof["outcome"], &proof["killed"]), (&json!("mismatch"), &json!(true)));
        assert!(controls(&proof).contains(&tampering.control.to_owned()), "{proof}");
        let lines = journal(bench)?;
        let refused =
            lines.iter().find(|line| line["event"] == "refused" && line["container"]["id"] == id);
        assert_eq!(refused.map(|line| &line["operation"]), Some(&json!("start")), "{lines:#?}");
        wait_for("its end", || Ok((state(bench, &bundle)? == "stopped").then_some(())))?;
        // Long enough for a workload that runs after all.
        std::thread::sleep(Duration::from_millis(100));
        assert!(!ran(bench), "the workload ran: {}", tampering.sed);
    } else {
        start.ok("start")?;
        let proof = proof(bench, &id, "started")?;
        assert_eq!(
            (&proof["outcome"], &proof["killed"]),
            (&json!("mismatch"), &json!(true)),
            "{proof}"
        );
        assert_eq!(controls(&proof), [tampering.control], "{proof}");
        wait_for("its end", || Ok((state(bench, &bundle)? == "stopped").then_some(())))?;
    }
    bench.gated.delete(&bundle)
}

/// The same, and it is the real runtime that is told to start it: it runs, wider than was decided.
fn without_the_proof(bench: &Bench, number: usize, tampering: &Tampering) -> Result<(), Error> {
    let id = format!("unproved-{number}");
    let bundle = marking(bench, &id)?;
    create(bench, &wrapper(bench), &bundle)?;
    bench.stock.call(&bench.world, ["start", &id])?.ok("start")?;
    wait_for("the workload", || Ok(ran(bench).then_some(())))?;
    assert_eq!(state(bench, &bundle)?, "running", "{}", tampering.sed);
    // Its drift is seen by who looks.
    let status = bench.world.run(["/usr/libexec/coaming/coaming", "status"])?;
    assert_eq!(status.code, 1, "{}: {status:?}", tampering.sed);
    says(&status.stdout, &["DRIFT", "unproven"]);
    bench.gated.delete(&bundle)
}

fn tampered_run(bench: &Bench) -> Result<(), Error> {
    for tampering in TAMPERINGS.iter().filter(|tampering| !tampering.launcher) {
        let id = format!("run-{}", tampering.control.to_lowercase());
        widen(bench, tampering.sed)?;
        let bundle = marking(bench, &id)?;
        let line = format!(
            "exec {} --root /run/bare run --detach --bundle {1} {id} >{1}/log 2>&1 </dev/null",
            wrapper(bench),
            bundle.path().display()
        );
        let output = crate::setup::in_cgroups(&bench.world, ["sh", "-c", &line])?;
        let log = bench.world.read(bundle.path().join("log"))?;
        assert_eq!(output.code, 0, "{log}");
        let proof = proof(bench, &id, "started")?;
        assert_eq!(
            (&proof["outcome"], &proof["killed"]),
            (&json!("mismatch"), &json!(true)),
            "{proof}"
        );
        assert!(controls(&proof).contains(&tampering.control.to_owned()), "{proof}");
        wait_for("its end", || Ok((state(bench, &bundle)? == "stopped").then_some(())))?;
        bench.gated.delete(&bundle)?;
    }
    Ok(())
}

/// A runtime that gives a process more than it was told to.
fn tampered_exec(bench: &Bench) -> Result<(), Error> {
    widen(bench, "")?;
    let bundle = marking(bench, "execs")?;
    create(bench, &wrapper(bench), &bundle)?;
    bench.gated.call(&bench.world, ["start", "execs"])?.ok("start")?;
    let plain = bench.gated.exec(&bundle, &[], &["sh", "-c", "sleep 0.7; exit 3"])?;
    assert_eq!(plain.code, 3, "{plain:?}");
    assert_eq!(proof(bench, "execs", "executed")?["outcome"], "held");

    widen(bench, r#"s/"\([a-z]*\)":\["CAP_/"\1":["CAP_SYS_ADMIN","CAP_/g"#)?;
    let killed = bench.gated.exec(&bundle, &[], &["sleep", "100"])?;
    assert_eq!(killed.code, 137, "{killed:?}");
    let found = wait_for("its proof", || {
        let proof = proof(bench, "execs", "executed")?;
        Ok((proof["outcome"] == "mismatch").then_some(proof))
    })?;
    assert!(controls(&found).contains(&"capabilities".to_owned()), "{found}");
    // The container itself runs on.
    assert_eq!(state(bench, &bundle)?, "running");
    // The same process by the fake runtime alone.
    let process = bench.world.read("/run/process.json")?;
    let mut process: Value = serde_json::from_str(&process).unwrap();
    process["args"] = json!(["probe", "status"]);
    let wide = parsed(&bench.stock.exec_process(&bundle, &process)?);
    says(wide["capabilities"]["effective"].to_string(), &["CAP_SYS_ADMIN"]);
    widen(bench, "")?;
    bench.gated.delete(&bundle)
}

/// Containers and what they do that is their right.
#[test]
fn what_a_container_may_do_is_no_mismatch() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for (number, runtime) in runtimes().into_iter().enumerate() {
        // Each floor with each suite, and with runc and crun.
        let floor = ["baseline", "node"][(number + number / 2) % 2];
        let bench = Bench::with(runtime, floor, FREELY)?;
        ordinary(&bench, runtime, "plain")?;
        policy(&bench.world, "landlocked", "landlock: {read: [/], write: [/], execute: [/bin]}")?;
        ordinary(&bench, runtime, "landlocked")?;
        forget(&bench.world, "landlocked")?;
        if floor == "node" {
            privileged(&bench)?;
        }
        nothing_stays(&bench)?;
        let alarms: Vec<Value> = journal(&bench)?
            .into_iter()
            .filter(|line| line["event"] == "proved")
            .filter(|line| line["outcome"] != "held" && line["outcome"] != "ended")
            .collect();
        assert!(alarms.is_empty(), "{runtime}, {floor}: {alarms:#?}");
    }
    Ok(())
}

fn ordinary(bench: &Bench, runtime: Runtime, round: &str) -> Result<(), Error> {
    let root = bench.bundle(&format!("root-{round}"), &["sleep", "1000"], |_| {})?;
    let user = bench.bundle(&format!("user-{round}"), &["sleep", "1000"], |spec| {
        spec["process"]["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [7]});
    })?;
    let mapped = bench.bundle(&format!("mapped-{round}"), &["sleep", "1000"], |spec| {
        let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        spec["linux"]["uidMappings"] = mapping.clone();
        spec["linux"]["gidMappings"] = mapping;
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "user"}));
    })?;
    bench.shell("chmod 755 /run /run/bundles /run/bundles/*; chown -R 100000:100000 /run/bundles/mapped-*/rootfs")?
        .ok("chown")?;
    // Drops what it has and goes through other programs, as entry points do.
    let drops = bench.bundle(
        &format!("drops-{round}"),
        &["sh", "-c", "exec su -s /bin/sh user -c 'exec sleep 1000'"],
        |_| {},
    )?;
    for bundle in [&root, &user, &mapped, &drops] {
        eprintln!("{runtime}: {}", bundle.id());
        create(bench, &wrapper(bench), bundle)?;
        bench.gated.call(&bench.world, ["start", bundle.id()])?.ok("start")?;
        let started = proof(bench, bundle.id(), "started")?;
        assert_eq!(started["outcome"], "held", "{started}");
        assert_eq!(state(bench, bundle)?, "running");
        let done = bench.gated.exec(bundle, &[], &["sh", "-c", "sleep 0.7; exit 4"])?;
        assert_eq!(done.code, 4, "{done:?}");
        let executed = proof(bench, bundle.id(), "executed")?;
        assert_eq!(executed["outcome"], "held", "{executed}");
        bench.gated.delete(bundle)?;
    }
    // Gone before anybody can look.
    for number in 0..5 {
        let short = bench.bundle(&format!("short-{round}-{number}"), &["true"], |_| {})?;
        let run = bench.gated.run(&short, b"")?;
        assert_eq!(run.code, 0, "{run:?}");
    }
    wait_for("the end of what was run", || {
        let lines = journal(bench)?;
        let proved = |number: usize| {
            let id = format!("short-{round}-{number}");
            lines.iter().any(|line| line["event"] == "proved" && line["container"]["id"] == *id)
        };
        Ok((0..5).all(proved).then_some(()))
    })?;
    no_record_stays(bench)?;
    Ok(())
}

/// A privileged container under the `node` floor, which mounts things at once, makes its root writable and
/// goes into namespaces of its own.
fn privileged(bench: &Bench) -> Result<(), Error> {
    let script = "mount -t tmpfs none /mnt; mount -t tmpfs none /proc/acpi; umount /proc/keys; cd /mnt; \
                  exec unshare -m -u -i sleep 1000";
    let bundle = bench.bundle("agent", &["sh", "-c", script], |spec| {
        let mut all: Vec<Value> = Vec::new();
        for name in [
            "CHOWN",
            "SYS_ADMIN",
            "SYS_CHROOT",
            "SETUID",
            "SETGID",
            "SYS_PTRACE",
            "MKNOD",
            "NET_ADMIN",
        ] {
            all.push(json!(format!("CAP_{name}")));
        }
        for set in ["bounding", "effective", "permitted"] {
            spec["process"]["capabilities"][set] = json!(all);
        }
        spec["process"]["noNewPrivileges"] = json!(false);
        spec["linux"]["maskedPaths"] = json!([]);
        spec["linux"]["readonlyPaths"] = json!([]);
    })?;
    create(bench, &wrapper(bench), &bundle)?;
    bench.gated.call(&bench.world, ["start", "agent"])?.ok("start")?;
    let started = proof(bench, "agent", "started")?;
    assert_eq!(started["outcome"], "held", "{started}");
    assert_eq!(state(bench, &bundle)?, "running");
    bench.gated.delete(&bundle)
}

/// An upgrade puts another launcher in the place of the one that running containers have.
#[test]
fn a_launcher_that_was_replaced_is_known_where_it_still_runs() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in [runtimes()[0], runtimes()[5]] {
        let bench = Bench::new(runtime, "node")?;
        // Much to do for the launcher, so that it is seen at it.
        let applets = bench.shell("busybox --list")?.ok("busybox --list")?.stdout;
        let paths: String = applets.lines().map(|applet| format!("\"/bin/{applet}\", ")).collect();
        policy(&bench.world, "long", &format!("landlock: {{read: [/], execute: [{paths}]}}"))?;
        let bundle = bench.bundle("older", &["sleep", "1000"], |_| {})?;
        bench.gated.start(&bundle)?.ok("start")?;
        let replace = "cd /usr/libexec/coaming && cp coaming-init new && mv new coaming-init";
        bench.shell(replace)?.ok("replace the launcher")?;
        for number in 0..25 {
            let exec = bench.gated.exec(&bundle, &[], &["sh", "-c", "sleep 0.2; exit 4"])?;
            assert_eq!(exec.code, 4, "{runtime}, exec {number}: {exec:?}");
        }
        assert_eq!(proof(&bench, "older", "executed")?["outcome"], "held");
        bench.gated.delete(&bundle)?;
        nothing_stays(&bench)?;
    }
    Ok(())
}
