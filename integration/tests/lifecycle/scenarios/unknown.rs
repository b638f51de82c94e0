//! What is asked of containers and processes that are not there.

use coaming_integration::Error;
use coaming_integration::task_api::Streams;
use serde_json::json;

use super::{Scenario, scenario};
use crate::stage::Stage;

pub(super) const ALL: &[Scenario] = &[
    scenario("unknown-container", unknown_container),
    scenario("unknown-exec", unknown_exec),
    scenario("unknown-neighbour", unknown_neighbour),
];

fn unknown_container(stage: &Stage<'_>) -> Result<(), Error> {
    every_question(stage, "nobody", "")?;
    stage.delete("nobody", "").map(drop)
}

fn unknown_exec(stage: &Stage<'_>) -> Result<(), Error> {
    stage.sleeper("a")?;
    let id = stage.id("a");
    stage.get("a", "nobody")?;
    stage.start("a", "nobody")?;
    stage.kill("a", "nobody", 9)?;
    stage.wait("a", "nobody")?;
    stage.delete("a", "nobody")?;
    stage.said("resize", stage.tasks.resize(&id, "nobody", 10, 10))?;
    stage.said("close", stage.tasks.close_stdin(&id, "nobody"))?;
    stage.end("a")
}

/// A shim that runs, and does not know the name.
fn unknown_neighbour(stage: &Stage<'_>) -> Result<(), Error> {
    stage.sleeper("a")?;
    every_question(stage, "nobody", "")?;
    stage.end("a")
}

fn every_question(stage: &Stage<'_>, name: &str, exec: &str) -> Result<(), Error> {
    let id = stage.id(name);
    let tasks = &stage.tasks;
    stage.get(name, exec)?;
    stage.start(name, exec)?;
    stage.kill(name, exec, 9)?;
    stage.wait(name, exec)?;
    stage.said("exec", tasks.exec(&id, "x", &stage.process(&["true"])?, &Streams::default()))?;
    stage.told("pids", tasks.pids(&id), |pids| pids.len().to_string())?;
    stage.said("pause", tasks.pause(&id))?;
    stage.said("resume", tasks.resume(&id))?;
    stage.said("update", tasks.update(&id, &json!({})))?;
    stage.said("checkpoint", tasks.checkpoint(&id))?;
    stage.said("resize", tasks.resize(&id, exec, 10, 10))?;
    stage.said("close", tasks.close_stdin(&id, exec))?;
    stage.told("metrics", tasks.metrics(&id), |metrics| metrics.len().to_string()).map(drop)
}
