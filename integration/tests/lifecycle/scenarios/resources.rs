//! Limits, numbers and checkpoints.

use coaming_integration::Error;
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

fn a_cgroup_for_the_shim(stage: &Stage<'_>) -> Result<(), Error> {
    let mut plan = stage.plan("a", &["sleep", "1000"])?;
    plan.shim.cgroup = format!("/shims-{}", stage.namespace());
    stage.run("a", &plan)?;
    let world = stage.tasks.node().world();
    let shims = coaming_integration::residue::shims(world, stage.namespace(), &stage.id("a"));
    stage.note("shims", shims.len());
    for shim in shims {
        let pid = shim.split(' ').nth(1).unwrap_or_default();
        let groups = world.read(format!("/proc/{pid}/cgroup"))?;
        let mut own: Vec<&str> = groups
            .lines()
            .filter(|line| line.ends_with(&plan.shim.cgroup))
            .filter_map(|line| line.split(':').nth(1))
            .collect();
        own.sort_unstable();
        stage.note("hierarchies", own.join(" "));
    }
    stage.end("a")?;
    let remove = format!(
        "find /sys/fs/cgroup -depth -type d -name 'shims-{}' -exec rmdir {{}} +",
        stage.namespace()
    );
    world.run(["sh", "-c", &remove]).map(drop)
}
