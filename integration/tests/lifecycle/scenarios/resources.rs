//! Limits, numbers and checkpoints.

use coaming_integration::{Error, wait_for};
use serde_json::json;

use super::{Scenario, scenario};
use crate::stage::Stage;

const MIB: i64 = 1 << 20;

pub(super) const ALL: &[Scenario] = &[
    scenario("out-of-memory", |stage| out_of_memory(stage, false)),
    scenario("an-exec-out-of-memory", |stage| out_of_memory(stage, true)),
    scenario("update", update),
    scenario("update-with-nonsense", |stage| {
        stage.sleeper("a")?;
        let wrong = json!({"memory": {"limit": "much"}});
        stage.said("update", stage.tasks.update(&stage.id("a"), &wrong))?;
        let tight = json!({"memory": {"limit": -7}});
        stage.said("update", stage.tasks.update(&stage.id("a"), &tight))?;
        stage.end("a")
    }),
    scenario("update-after-the-end", |stage| {
        stage.run("a", &stage.plan("a", &["true"])?)?;
        stage.wait("a", "")?;
        let limit = json!({"memory": {"limit": 64 * MIB}});
        stage.said("update", stage.tasks.update(&stage.id("a"), &limit))?;
        stage.delete("a", "").map(drop)
    }),
    scenario("metrics", metrics),
    scenario("checkpoint", |stage| {
        stage.sleeper("a")?;
        stage.said("checkpoint", stage.tasks.checkpoint(&stage.id("a")))?;
        stage.get("a", "")?;
        stage.end("a")
    }),
    scenario("a-cgroup-for-the-shim", a_cgroup_for_the_shim),
    scenario("a-cgroup-for-the-shim-that-is-not-there", |stage| {
        let mut plan = stage.plan("a", &["true"])?;
        plan.shim.cgroup = format!("/no-shims-{}", stage.namespace());
        stage.create("a", &plan).map(drop)
    }),
];

/// It is said before the exit.
fn out_of_memory(stage: &Stage<'_>, in_exec: bool) -> Result<(), Error> {
    let limit = |plan: &mut crate::stage::Plan| {
        plan.spec["linux"]["resources"]["memory"] = json!({"limit": 24 * MIB, "swap": 24 * MIB});
    };
    if !in_exec {
        let mut plan = stage.plan("a", &["tail", "/dev/zero"])?;
        limit(&mut plan);
        stage.run("a", &plan)?;
        return stage.finish("a", "");
    }
    let mut plan = stage.plan("a", &["sleep", "1000"])?;
    limit(&mut plan);
    stage.run("a", &plan)?;
    stage.exec("a", "x", &["tail", "/dev/zero"])?;
    stage.finish("a", "x")?;
    stage.end("a")
}

fn update(stage: &Stage<'_>) -> Result<(), Error> {
    stage.sleeper("a")?;
    let resources =
        json!({"memory": {"limit": 64 * MIB}, "cpu": {"shares": 512}, "pids": {"limit": 30}});
    stage.said("update", stage.tasks.update(&stage.id("a"), &resources))?;
    for file in [
        "memory/NAME/memory.limit_in_bytes",
        "cpu,cpuacct/NAME/cpu.shares",
        "cpu/NAME/cpu.shares",
        "pids/NAME/pids.max",
        "NAME/memory.max",
        "NAME/pids.max",
    ] {
        let group = format!("{}/{}", stage.namespace(), stage.id("a"));
        let path = format!("/sys/fs/cgroup/{}", file.replace("NAME", &group));
        if let Ok(value) = stage.tasks.node().world().read(path) {
            stage.note(file, value.trim());
        }
    }
    stage.end("a")
}

fn metrics(stage: &Stage<'_>) -> Result<(), Error> {
    let show = |what: &str| {
        let answer = stage.tasks.metrics(&stage.id("a"));
        stage.told(what, answer, |metrics| {
            metrics
                .iter()
                .map(|(kind, value)| format!("{kind} {}", fields(value)))
                .collect::<Vec<_>>()
                .join(", ")
        })
    };
    stage.create("a", &stage.plan("a", &["sleep", "1000"])?)?;
    show("metrics of what is created")?;
    stage.start("a", "")?;
    show("metrics of what runs")?;
    stage.kill("a", "", 9)?;
    stage.wait("a", "")?;
    show("metrics of what has ended")?;
    stage.delete("a", "").map(drop)
}

/// Which parts a metric has: the numbers of its message's fields.
fn fields(mut message: &[u8]) -> String {
    let mut numbers = std::collections::BTreeSet::new();
    while let Ok((number, kind)) = prost::encoding::decode_key(&mut message) {
        numbers.insert(number);
        let context = prost::encoding::DecodeContext::default();
        if prost::encoding::skip_field(kind, number, &mut message, context).is_err() {
            break;
        }
    }
    format!("{numbers:?}")
}

/// The shim is in it, and nothing of the workload; once the shim has gone, nothing keeps it.
fn a_cgroup_for_the_shim(stage: &Stage<'_>) -> Result<(), Error> {
    const EACH: &str = "if [ -e /sys/fs/cgroup/cgroup.procs ]; then set -- /sys/fs/cgroup; else set -- /sys/fs/cgroup/*; fi
        for hierarchy; do group=$hierarchy/NAME; DO; done";
    // cgroup v1: a new cpuset is empty and takes no process.
    const MAKE: &str = "mkdir $group && case $hierarchy in */*cpuset*)
        cat $hierarchy/cpuset.cpus >$group/cpuset.cpus && cat $hierarchy/cpuset.mems >$group/cpuset.mems ;; esac || exit 1";
    let world = stage.tasks.node().world();
    let name = format!("shims-{}", stage.namespace());
    let each = |what: &str| {
        let script = EACH.replace("DO", what).replace("NAME", &name);
        world.run(["sh", "-c", &script])
    };
    each(MAKE)?.ok("make the shim's cgroups")?;

    let mut plan = stage.plan("a", &["sleep", "1000"])?;
    plan.shim.cgroup = format!("/{name}");
    stage.run("a", &plan)?;
    stage.exec("a", "x", &["sleep", "1000"])?;
    let shims = coaming_integration::residue::shims(world, stage.namespace(), &stage.id("a"));
    stage.note("shims", shims.len());
    let shims: Vec<&str> = shims.iter().filter_map(|shim| shim.split(' ').nth(1)).collect();
    let members = each("echo ${hierarchy##*/}: $(cat $group/cgroup.procs)")?.stdout;
    for shim in shims {
        // By what they are, as PIDs differ.
        let (hierarchies, others): (Vec<&str>, Vec<&str>) =
            members.lines().partition(|line| line.ends_with(&format!(": {shim}")));
        stage.note("hierarchies with the shim alone", hierarchies.len());
        stage.note("other hierarchies", format!("{others:?}"));
    }
    stage.end("a")?;
    wait_for("the shim's cgroups to be empty", || {
        Ok(each("test ! -e $group || rmdir $group || exit 1")?.success().then_some(()))
    })
}
