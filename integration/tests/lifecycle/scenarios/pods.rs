//! Containers that share a shim, and a PID namespace.

use coaming_integration::Error;
use coaming_integration::residue::shims;
use serde_json::json;

use super::{Scenario, scenario};
use crate::stage::{Plan, Stage};

pub(super) const ALL: &[Scenario] = &[
    scenario("pod", |stage| pod(stage, "io.kubernetes.cri.sandbox-id")),
    scenario("group", |stage| pod(stage, "io.containerd.runc.v2.group")),
    scenario("pod-whose-first-ends-first", pod_whose_first_ends_first),
    scenario("pod-with-a-container-that-fails", pod_with_a_container_that_fails),
    scenario("pod-at-once", pod_at_once),
    scenario("pod-sharing-processes", pod_sharing_processes),
];

/// A container that belongs to the pod of the container `a`.
fn member(stage: &Stage<'_>, name: &str, annotation: &str, args: &[&str]) -> Result<Plan, Error> {
    let mut plan = stage.plan(name, args)?;
    plan.spec["annotations"] = json!({annotation: stage.id("a")});
    Ok(plan)
}

const SANDBOX: &str = "io.kubernetes.cri.sandbox-id";
const SLEEP: &[&str] = &["sleep", "1000"];

fn count_shims(stage: &Stage<'_>, names: &[&str]) {
    let world = stage.tasks.node().world();
    let all = names.iter().flat_map(|name| shims(world, stage.namespace(), &stage.id(name)));
    stage.note("shims", all.count());
}

fn pod(stage: &Stage<'_>, annotation: &str) -> Result<(), Error> {
    for name in ["a", "b", "c"] {
        stage.run(name, &member(stage, name, annotation, SLEEP)?)?;
    }
    count_shims(stage, &["a", "b", "c"]);
    stage.exec("b", "x", &["sh", "-c", "exit 3"])?;
    stage.finish("b", "x")?;
    stage.end("b")?;
    stage.get("c", "")?;
    stage.get("b", "")?;
    stage.run("b", &member(stage, "b", annotation, SLEEP)?)?;
    stage.end("c")?;
    stage.end("b")?;
    stage.end("a")
}

fn pod_whose_first_ends_first(stage: &Stage<'_>) -> Result<(), Error> {
    for name in ["a", "b"] {
        stage.run(name, &member(stage, name, SANDBOX, SLEEP)?)?;
    }
    stage.end("a")?;
    stage.get("b", "")?;
    stage.exec("b", "x", &["true"])?;
    stage.finish("b", "x")?;
    stage.end("b")
}

fn pod_with_a_container_that_fails(stage: &Stage<'_>) -> Result<(), Error> {
    stage.run("a", &member(stage, "a", SANDBOX, SLEEP)?)?;
    stage.create("b", &member(stage, "b", SANDBOX, &["/bin/absent"])?)?;
    stage.get("a", "")?;
    stage.run("c", &member(stage, "c", SANDBOX, &["true"])?)?;
    stage.finish("c", "")?;
    count_shims(stage, &["a", "b", "c"]);
    stage.end("a")
}

fn pod_at_once(stage: &Stage<'_>) -> Result<(), Error> {
    stage.run("a", &member(stage, "a", SANDBOX, SLEEP)?)?;
    let names = ["b", "c", "d", "e"];
    for name in names {
        stage.create(name, &member(stage, name, SANDBOX, &["sh", "-c", "exit 9"])?)?;
    }
    let pids = std::thread::scope(|scope| {
        let handles = names.map(|name| {
            let (tasks, id) = (stage.tasks.again(), stage.id(name));
            scope.spawn(move || tasks?.start(&id, ""))
        });
        handles.map(|handle| handle.join().unwrap_or_else(|_| panic!("a start panicked")))
    });
    for (name, pid) in names.into_iter().zip(pids) {
        stage.is_started(name, "", pid?);
    }
    for name in names {
        stage.finish(name, "")?;
    }
    stage.end("a")
}

/// `shareProcessNamespace`: the kernel ends none of a container's processes with its first one.
fn pod_sharing_processes(stage: &Stage<'_>) -> Result<(), Error> {
    stage.run("a", &member(stage, "a", SANDBOX, SLEEP)?)?;
    let pid = stage.tasks.get(&stage.id("a"), "")?.pid;
    let script = format!(
        "(trap '' TERM HUP; exec sleep 1000) & touch /tmp/{}; while :; do sleep 0.05; done",
        stage.id("b")
    );
    let mut plan = member(stage, "b", SANDBOX, &["sh", "-c", &script])?;
    for namespace in plan.spec["linux"]["namespaces"].as_array_mut().into_iter().flatten() {
        if namespace["type"] == json!("pid") {
            namespace["path"] = json!(format!("/proc/{pid}/ns/pid"));
        }
    }
    stage.run("b", &plan)?;
    stage.ready("b")?;
    stage.exec("b", "x", &["sleep", "1001"])?;
    stage.kill("b", "", 9)?;
    stage.wait("b", "")?;
    stage.wait("b", "x")?;
    stage.delete("b", "x")?;
    stage.delete("b", "")?;
    stage.get("a", "")?;
    stage.end("a")
}
