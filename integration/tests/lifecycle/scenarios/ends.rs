//! Signals, ends and deletions.

use coaming_integration::Error;
use serde_json::json;

use super::{Scenario, scenario};
use crate::stage::Stage;

const TERM: u32 = 15;
const KILL: u32 = 9;

pub(super) const ALL: &[Scenario] = &[
    scenario("kill-9", |stage| {
        stage.sleeper("a")?;
        stage.end("a")
    }),
    scenario("term-is-handled", |stage| {
        term(stage, "trap 'exit 5' TERM; READY; while :; do sleep 0.05; done")
    }),
    scenario("term-ends-it", |stage| {
        // A first process without a handler ignores it: a shell in between does not.
        term(stage, "trap 'trap - TERM; exit 143' TERM; READY; while :; do sleep 0.05; done")
    }),
    scenario("stop-with-grace", stop_with_grace),
    scenario("kill-before-start", kill_before_start),
    scenario("kill-twice", kill_twice),
    scenario("kill-after-its-end", kill_after_its_end),
    scenario("kill-with-no-signal", |stage| odd_signal(stage, 0)),
    scenario("kill-with-an-unknown-signal", |stage| odd_signal(stage, 99)),
    scenario("kill-all", kill_all),
    scenario("delete-while-running", delete_while_running),
    scenario("delete-twice", delete_twice),
    scenario("two-wait", two_wait),
    scenario("children-are-killed-with-it", children_are_killed_with_it),
    scenario("its-program-dies-on-the-node", its_program_dies_on_the_node),
    scenario("processes-of-the-node", processes_of_the_node),
];

fn term(stage: &Stage<'_>, script: &str) -> Result<(), Error> {
    stage.run("a", &stage.script("a", script)?)?;
    stage.ready("a")?;
    stage.kill("a", "", TERM)?;
    stage.finish("a", "")
}

/// As the kubelet does: it is asked, given time, and killed.
fn stop_with_grace(stage: &Stage<'_>) -> Result<(), Error> {
    stage.run("a", &stage.script("a", "trap '' TERM; READY; while :; do sleep 0.05; done")?)?;
    stage.ready("a")?;
    stage.kill("a", "", TERM)?;
    std::thread::sleep(std::time::Duration::from_millis(300));
    stage.get("a", "")?;
    stage.end("a")
}

fn kill_before_start(stage: &Stage<'_>) -> Result<(), Error> {
    stage.create("a", &stage.plan("a", &["sleep", "1000"])?)?;
    stage.kill("a", "", KILL)?;
    stage.wait("a", "")?;
    stage.get("a", "")?;
    stage.delete("a", "").map(drop)
}

fn kill_twice(stage: &Stage<'_>) -> Result<(), Error> {
    stage.run("a", &stage.script("a", "trap '' USR1; READY; while :; do sleep 0.05; done")?)?;
    stage.ready("a")?;
    stage.kill("a", "", 10)?;
    stage.kill("a", "", 10)?;
    stage.end("a")
}

fn kill_after_its_end(stage: &Stage<'_>) -> Result<(), Error> {
    stage.run("a", &stage.plan("a", &["true"])?)?;
    stage.wait("a", "")?;
    stage.kill("a", "", TERM)?;
    stage.delete("a", "")?;
    stage.kill("a", "", TERM).map(drop)
}

fn odd_signal(stage: &Stage<'_>, signal: u32) -> Result<(), Error> {
    stage.sleeper("a")?;
    stage.kill("a", "", signal)?;
    stage.get("a", "")?;
    stage.end("a")
}

fn kill_all(stage: &Stage<'_>) -> Result<(), Error> {
    stage.sleeper("a")?;
    stage.exec("a", "x", &["sleep", "1001"])?;
    let answer = stage.tasks.kill(&stage.id("a"), "", KILL, true);
    stage.said("kill all", answer)?;
    stage.wait("a", "x")?;
    stage.wait("a", "")?;
    stage.delete("a", "x")?;
    stage.delete("a", "").map(drop)
}

fn delete_while_running(stage: &Stage<'_>) -> Result<(), Error> {
    stage.sleeper("a")?;
    stage.delete("a", "")?;
    stage.get("a", "")?;
    stage.end("a")
}

fn delete_twice(stage: &Stage<'_>) -> Result<(), Error> {
    stage.run("a", &stage.plan("a", &["true"])?)?;
    stage.finish("a", "")?;
    stage.delete("a", "").map(drop)
}

fn two_wait(stage: &Stage<'_>) -> Result<(), Error> {
    stage.run("a", &stage.script("a", "READY; sleep 0.5; exit 6")?)?;
    stage.ready("a")?;
    let waiting = || {
        let (tasks, id) = (stage.tasks.again(), stage.id("a"));
        move || tasks?.wait(&id, "")
    };
    let [first, second] = std::thread::scope(|scope| {
        [waiting(), waiting()]
            .map(|wait| scope.spawn(wait))
            .map(|handle| handle.join().unwrap_or_else(|_| panic!("a wait panicked")))
    });
    stage.told("first", first, |exit| exit.status.to_string())?;
    stage.told("second", second, |exit| exit.status.to_string())?;
    stage.delete("a", "").map(drop)
}

/// The kernel ends a PID namespace with its first process.
fn children_are_killed_with_it(stage: &Stage<'_>) -> Result<(), Error> {
    let script = "(trap '' TERM; while :; do sleep 0.05; done) & READY; wait";
    stage.run("a", &stage.script("a", script)?)?;
    stage.ready("a")?;
    stage.end("a")
}

fn its_program_dies_on_the_node(stage: &Stage<'_>) -> Result<(), Error> {
    stage.sleeper("a")?;
    let pid = stage.tasks.get(&stage.id("a"), "")?.pid.to_string();
    stage.tasks.node().world().run(["kill", "-KILL", &pid])?.ok("kill")?;
    stage.finish("a", "")
}

/// In the node's own PID namespace the kernel ends nothing: the shim has to.
fn processes_of_the_node(stage: &Stage<'_>) -> Result<(), Error> {
    let script = "(trap '' TERM; exec sleep 1000) & READY; while :; do sleep 0.05; done";
    let mut plan = stage.script("a", script)?;
    if let Some(namespaces) = plan.spec["linux"]["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != json!("pid"));
    }
    stage.run("a", &plan)?;
    stage.ready("a")?;
    stage.exec("a", "x", &["sleep", "1001"])?;
    stage.kill("a", "", KILL)?;
    stage.wait("a", "")?;
    stage.wait("a", "x")?;
    stage.delete("a", "x")?;
    stage.delete("a", "").map(drop)
}
