//! Freezing and thawing.

use coaming_integration::Error;

use super::{Scenario, scenario};
use crate::stage::Stage;

pub(super) const ALL: &[Scenario] = &[
    scenario("pause", |stage| {
        paused(stage, |stage| {
            stage.get("a", "")?;
            resume(stage)?;
            stage.get("a", "")
        })
    }),
    scenario("pause-twice", |stage| {
        paused(stage, |stage| {
            pause(stage)?;
            resume(stage)
        })
    }),
    scenario("resume-what-runs", |stage| {
        stage.sleeper("a")?;
        resume(stage)?;
        stage.end("a")
    }),
    scenario("pause-before-start", |stage| {
        stage.create("a", &stage.plan("a", &["sleep", "1000"])?)?;
        pause(stage)?;
        resume(stage)?;
        stage.end("a")
    }),
    scenario("pause-after-the-end", |stage| {
        stage.run("a", &stage.plan("a", &["true"])?)?;
        stage.wait("a", "")?;
        pause(stage)?;
        resume(stage)?;
        stage.delete("a", "").map(drop)
    }),
    scenario("exec-while-paused", |stage| {
        paused(stage, |stage| {
            if stage.exec("a", "x", &["true"])? {
                resume(stage)?;
                stage.wait("a", "x")?;
            } else {
                resume(stage)?;
            }
            stage.delete("a", "x").map(drop)
        })
    }),
    scenario("start-while-paused", |stage| {
        paused(stage, |stage| {
            stage.start("a", "")?;
            resume(stage)
        })
    }),
    scenario("kill-while-paused", |stage| {
        stage.sleeper("a")?;
        pause(stage)?;
        stage.kill("a", "", 9)?;
        // Where the freezer holds a killed process, it ends when it is thawed.
        let _ = stage.tasks.resume(&stage.id("a"));
        stage.finish("a", "")
    }),
    scenario("delete-while-paused", |stage| {
        paused(stage, |stage| {
            stage.delete("a", "")?;
            resume(stage)
        })
    }),
    scenario("an-exec-is-paused-too", |stage| {
        stage.sleeper("a")?;
        stage.exec("a", "x", &["sleep", "1001"])?;
        pause(stage)?;
        stage.get("a", "x")?;
        resume(stage)?;
        stage.get("a", "x")?;
        stage.kill("a", "x", 9)?;
        stage.finish("a", "x")?;
        stage.end("a")
    }),
];

fn paused(
    stage: &Stage<'_>,
    play: impl FnOnce(&Stage<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    stage.sleeper("a")?;
    pause(stage)?;
    play(stage)?;
    stage.end("a")
}

fn pause(stage: &Stage<'_>) -> Result<(), Error> {
    stage.said("pause", stage.tasks.pause(&stage.id("a"))).map(drop)
}

fn resume(stage: &Stage<'_>) -> Result<(), Error> {
    stage.said("resume", stage.tasks.resume(&stage.id("a"))).map(drop)
}
