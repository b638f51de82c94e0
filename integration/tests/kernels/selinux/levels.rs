//! Levels of pods: each its own, shared by its containers, and kept by execs.

use std::collections::BTreeSet;

use coaming_integration::{Bundle, Error, Runtime, Suite};
use serde_json::{Value, json};

use super::{Bench, bench, bench_with, is_refused, says};

const POLICY: &str = "seLinux: {default: container_t, podLevel: allocate}";

/// With a volume of several pods, and in a pod.
fn in_pod(pod: &str) -> impl FnOnce(&mut Value) {
    let pod = pod.to_owned();
    move |spec| {
        spec["annotations"]["io.kubernetes.cri.sandbox-id"] = json!(pod);
        let volume = json!({"destination": "/volume", "type": "bind", "source": "/run/volume", "options": ["rbind", "rw"]});
        spec["mounts"].as_array_mut().unwrap().push(volume);
    }
}

fn with_level(level: &str) -> impl FnOnce(&mut Value) {
    let label = format!("system_u:system_r:container_t:{level}");
    move |spec| {
        in_pod("given")(spec);
        spec["process"]["selinuxLabel"] = json!(label);
        spec["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0");
    }
}

fn volume(bench: &Bench) -> Result<(), Error> {
    bench.world.run(["mkdir", "-m", "777", "/run/volume"])?.ok("mkdir")?;
    bench.label("container_file_t", "/run/volume")
}

/// Whether the container's processes may read the file that another wrote.
fn reads(bench: &Bench, bundle: &Bundle<'_>) -> Result<bool, Error> {
    let script = "if cat /volume/secret 2>/dev/null; then echo; else echo denied; fi";
    let said = bench.gated.exec(bundle, &[], &["sh", "-c", script])?.ok("exec")?.stdout;
    assert!(said.contains("mine") != said.contains("denied"), "{said}");
    Ok(said.contains("mine"))
}

#[test]
#[ignore = "runs in uml-selinux"]
fn each_pod_has_a_level_of_its_own_and_its_containers_share_it() -> Result<(), Error> {
    each_pod_has_its_own(Runtime::Runc(Suite::Sid))
}

#[test]
#[ignore = "runs in uml-selinux"]
fn each_pod_has_a_level_of_its_own_by_crun() -> Result<(), Error> {
    each_pod_has_its_own(Runtime::Crun(Suite::Sid))
}

fn each_pod_has_its_own(runtime: Runtime) -> Result<(), Error> {
    let (bench, _enforcing) = bench_with(runtime)?;
    bench.policy("mac", POLICY)?;
    volume(&bench)?;
    let start = |id: &str, pod: &str| -> Result<Bundle<'_>, Error> {
        let bundle = bench.labelled(id, "sleep 1000; true", in_pod(pod))?;
        bench.gated.start(&bundle)?.ok("start")?;
        Ok(bundle)
    };
    let (one, beside, other) = (start("one", "a")?, start("beside", "a")?, start("other", "b")?);
    let write =
        ["sh", "-c", "echo mine >/volume/secret && echo dev >/dev/shm/own && cat /dev/shm/own"];
    says(bench.gated.exec(&one, &[], &write)?.ok("write")?.stdout, &["dev"]);
    assert!(reads(&bench, &beside)?, "a container of the same pod");
    assert!(!reads(&bench, &other)?, "a container of another pod");
    let levels = |bench: &Bench| -> Result<BTreeSet<String>, Error> {
        Ok(bench.state("level.json")?.iter().map(|held| held["level"].to_string()).collect())
    };
    assert_eq!(levels(&bench)?.len(), 2);
    // By the poststop hook: what was taken is free when the last container is gone.
    for bundle in [&one, &beside] {
        assert_eq!(levels(&bench)?.len(), 2);
        bench.gated.delete(bundle)?;
    }
    assert_eq!(levels(&bench)?.len(), 1);
    bench.gated.delete(&other)
}

#[test]
#[ignore = "runs in uml-selinux"]
fn pods_with_one_level_share_and_what_was_allocated_is_not_given_to_who_asks_for_it()
-> Result<(), Error> {
    let (bench, _enforcing) = bench()?;
    bench.policy("mac", POLICY)?;
    volume(&bench)?;
    let one = bench.labelled(
        "one",
        "echo mine >/volume/secret; sleep 1000; true",
        with_level("s0:c7,c9"),
    )?;
    let same = bench.labelled("same", "sleep 1000; true", with_level("s0:c9,c7"))?;
    let differs = bench.labelled("differs", "sleep 1000; true", with_level("s0:c7,c10"))?;
    for bundle in [&one, &same, &differs] {
        bench.gated.start(bundle)?.ok("start")?;
    }
    assert!(reads(&bench, &same)? && !reads(&bench, &differs)?);

    let allocated = bench.labelled("allocated", "sleep 1000; true", in_pod("own"))?;
    bench.gated.start(&allocated)?.ok("start")?;
    let held = bench.state("level.json")?;
    let level = held.iter().find(|held| held["allocated"] == true).unwrap()["level"].clone();
    let after = bench.labelled("after", "sleep 1000; true", with_level(level.as_str().unwrap()))?;
    is_refused(
        &bench.gated.start(&after)?,
        &["sandbox own", "seLinuxOptions.level", level.as_str().unwrap()],
    );
    for bundle in [&one, &same, &differs, &allocated] {
        bench.gated.delete(bundle)?;
    }
    Ok(())
}

#[test]
#[ignore = "runs in uml-selinux"]
fn an_exec_has_its_containers_level_whatever_it_asks_for() -> Result<(), Error> {
    let (bench, _enforcing) = bench()?;
    bench.policy("mac", POLICY)?;
    volume(&bench)?;
    let one = bench.labelled("one", "sleep 1000; true", in_pod("a"))?;
    let other =
        bench.labelled("other", "echo mine >/volume/secret; sleep 1000; true", in_pod("b"))?;
    for bundle in [&one, &other] {
        bench.gated.start(bundle)?.ok("start")?;
    }
    let label = |bundle: &Bundle<'_>| -> Result<String, Error> {
        let said = bench.gated.exec(bundle, &[], &["cat", "/proc/1/attr/current"])?.ok("exec")?;
        Ok(said.stdout.trim_end_matches('\0').to_owned())
    };
    let (own, theirs) = (label(&one)?, label(&other)?);
    assert_ne!(own, theirs);
    for asked in
        [&theirs, "system_u:system_r:spc_t:s0", "system_u:system_r:container_t:s0-s0:c0.c1023"]
    {
        let script = "cat /proc/self/attr/current; cat /volume/secret || echo denied";
        let flag = format!("--process-label={asked}");
        let said = bench.gated.exec(&one, &[&flag], &["sh", "-c", script])?.ok("exec")?;
        says(&said.stdout, &[&own, "denied"]);
        // Without coaming it has the label, and reads.
        let said = bench.stock.exec(&one, &[&flag], &["sh", "-c", script])?.ok("exec")?;
        says(&said.stdout, &[asked, "mine"]);
    }
    bench.gated.delete(&one)?;
    bench.gated.delete(&other)
}
