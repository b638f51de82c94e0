//! The shim is killed: containerd finds out by itself, tells of the end, and cleans up.

use coaming_integration::{Error, residue, wait_for};

use super::{Scenario, scenario};
use crate::stage::Stage;

pub(super) const ALL: &[Scenario] = &[
    scenario("shim-killed", |stage| struck(stage, "KILL", false)),
    scenario("shim-killed-with-an-exec", |stage| struck(stage, "KILL", true)),
    scenario("shim-terminated", |stage| struck(stage, "TERM", false)),
];

fn struck(stage: &Stage<'_>, signal: &str, with_exec: bool) -> Result<(), Error> {
    stage.leaves_something_if_stock();
    stage.sleeper("a")?;
    if with_exec {
        stage.exec("a", "x", &["sleep", "1001"])?;
        // containerd knows of containers alone.
        stage.expect_nothing_of("a", "x");
    }
    let world = stage.tasks.node().world();
    let shims = residue::shims(world, stage.namespace(), &stage.id("a"));
    stage.note("shims", shims.len());
    for shim in shims {
        let pid = shim.split(' ').nth(1).unwrap_or_default();
        world.kill(signal, [pid])?.ok("kill")?;
    }
    let id = stage.id("a");
    wait_for("the task to be gone", || {
        let answer = stage.tasks.get(&id, "");
        Ok(matches!(answer, Err(Error::Containerd { code, .. }) if code == "NotFound")
            .then_some(()))
    })?;
    stage.get("a", "")?;
    // Until containerd has cleaned up, the answer may also be that the connection is closed.
    wait_for("the task to be forgotten", || {
        let answer = stage.tasks.delete(&id, "");
        Ok(matches!(answer, Err(Error::Containerd { code, .. }) if code == "NotFound")
            .then_some(()))
    })
}
