//! Further processes of a container.

use coaming_integration::task_api::Streams;
use coaming_integration::{Error, wait_for};
use serde_json::json;

use super::{Scenario, scenario};
use crate::fifos::Reader;
use crate::stage::Stage;

pub(super) const ALL: &[Scenario] = &[
    scenario("exec", |stage| {
        around(stage, |stage| {
            stage.exec("a", "x", &["sh", "-c", "exit 3"])?;
            stage.finish("a", "x")
        })
    }),
    scenario("exec-states", exec_states),
    scenario("exec-storm", exec_storm),
    scenario("execs-at-once", execs_at_once),
    scenario("exec-id-again", |stage| {
        around(stage, |stage| {
            for _ in 0..2 {
                stage.exec("a", "x", &["true"])?;
                stage.finish("a", "x")?;
            }
            Ok(())
        })
    }),
    scenario("exec-id-taken", |stage| {
        around(stage, |stage| {
            stage.exec("a", "x", &["sleep", "1001"])?;
            stage.exec("a", "x", &["true"])?;
            stage.get("a", "x")?;
            stage.kill("a", "x", 9)?;
            stage.finish("a", "x")
        })
    }),
    scenario("exec-started-twice", |stage| {
        around(stage, |stage| {
            stage.exec("a", "x", &["sleep", "1001"])?;
            stage.leaves_something_if_stock();
            stage.start("a", "x")?;
            stage.kill("a", "x", 9)?;
            stage.finish("a", "x")
        })
    }),
    scenario("exec-never-started", |stage| {
        around(stage, |stage| {
            stage.add("a", "x", &stage.process(&["true"])?, &Streams::default())?;
            stage.get("a", "x")?;
            stage.kill("a", "x", 9)?;
            stage.delete("a", "x").map(drop)
        })
    }),
    scenario("exec-killed", |stage| {
        around(stage, |stage| {
            stage.exec("a", "x", &["sleep", "1001"])?;
            stage.kill("a", "x", 9)?;
            stage.wait("a", "x")?;
            stage.kill("a", "x", 9)?;
            stage.get("a", "x")?;
            stage.delete("a", "x").map(drop)
        })
    }),
    scenario("exec-deleted-while-running", |stage| {
        around(stage, |stage| {
            stage.exec("a", "x", &["sleep", "1001"])?;
            stage.delete("a", "x")?;
            stage.get("a", "x")?;
            stage.kill("a", "x", 9)?;
            stage.finish("a", "x")
        })
    }),
    scenario("exec-before-start", exec_before_start),
    scenario("exec-after-the-end", exec_after_the_end),
    scenario("execs-outlive-nobody", execs_outlive_nobody),
    scenario("exec-ends-with-its-container-deleted", |stage| {
        stage.sleeper("a")?;
        stage.exec("a", "x", &["sleep", "1001"])?;
        stage.end("a")?;
        stage.get("a", "x")
    }),
    scenario("exec-in-a-folder", |stage| in_folder(stage, "/tmp")),
    scenario("exec-in-a-missing-folder", |stage| in_folder(stage, "/nowhere/at/all")),
    scenario("exec-of-a-missing-program", |stage| {
        around(stage, |stage| {
            stage.exec("a", "x", &["/bin/absent"])?;
            stage.get("a", "x")?;
            stage.delete("a", "x").map(drop)
        })
    }),
    scenario("exec-of-a-file-that-is-no-program", |stage| {
        around(stage, |stage| {
            stage.exec("a", "x", &["/etc/passwd"])?;
            stage.delete("a", "x").map(drop)
        })
    }),
    scenario("exec-of-nothing", |stage| {
        around(stage, |stage| {
            let mut process = stage.process(&["true"])?;
            process["args"] = json!([]);
            stage.exec_with("a", "x", &process, &Streams::default())?;
            stage.delete("a", "x").map(drop)
        })
    }),
    scenario("exec-as-another-user", |stage| {
        around(stage, |stage| {
            let mut process = stage.process(&["sh", "-c", "test $(id -u) = 1000"])?;
            process["user"] = json!({"uid": 1000, "gid": 1000});
            stage.exec_with("a", "x", &process, &Streams::default())?;
            stage.finish("a", "x")
        })
    }),
    scenario("exec-leaves-a-child-with-its-output", exec_leaves_a_child_with_its_output),
    scenario("exec-leaves-orphans", exec_leaves_orphans),
    scenario("pids-with-execs", pids_with_execs),
];

/// In a container that sleeps and is ended afterwards.
fn around(
    stage: &Stage<'_>,
    play: impl FnOnce(&Stage<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    stage.sleeper("a")?;
    play(stage)?;
    stage.end("a")
}

fn exec_states(stage: &Stage<'_>) -> Result<(), Error> {
    around(stage, |stage| {
        stage.add("a", "x", &stage.process(&["sleep", "1001"])?, &Streams::default())?;
        stage.get("a", "x")?;
        stage.start("a", "x")?;
        stage.get("a", "x")?;
        stage.kill("a", "x", 9)?;
        stage.wait("a", "x")?;
        stage.get("a", "x")?;
        stage.delete("a", "x")?;
        stage.get("a", "x")?;
        stage.wait("a", "x")
    })
}

fn exec_storm(stage: &Stage<'_>) -> Result<(), Error> {
    around(stage, |stage| {
        for number in 0..20 {
            let name = format!("x{number}");
            stage.exec("a", &name, &["sh", "-c", &format!("exit {number}")])?;
            stage.finish("a", &name)?;
        }
        Ok(())
    })
}

fn execs_at_once(stage: &Stage<'_>) -> Result<(), Error> {
    around(stage, |stage| {
        let process = stage.process(&["sh", "-c", "exit 4"])?;
        let names = ["x0", "x1", "x2", "x3", "x4", "x5"];
        let pids = std::thread::scope(|scope| {
            let handles = names.map(|exec| {
                let (tasks, id, process) = (stage.tasks.again(), stage.id("a"), &process);
                scope.spawn(move || {
                    let tasks = tasks?;
                    tasks.exec(&id, exec, process, &Streams::default())?;
                    tasks.start(&id, exec)
                })
            });
            handles.map(|handle| handle.join().unwrap_or_else(|_| panic!("an exec panicked")))
        });
        for (exec, pid) in names.into_iter().zip(pids) {
            stage.is_started("a", exec, pid?);
            stage.finish("a", exec)?;
        }
        Ok(())
    })
}

fn exec_before_start(stage: &Stage<'_>) -> Result<(), Error> {
    stage.create("a", &stage.plan("a", &["sleep", "1000"])?)?;
    if stage.exec("a", "x", &["true"])? {
        stage.wait("a", "x")?;
    }
    stage.get("a", "x")?;
    stage.delete("a", "x")?;
    stage.start("a", "")?;
    stage.end("a")
}

fn exec_after_the_end(stage: &Stage<'_>) -> Result<(), Error> {
    stage.run("a", &stage.plan("a", &["true"])?)?;
    stage.wait("a", "")?;
    stage.exec("a", "x", &["true"])?;
    stage.delete("a", "x")?;
    stage.delete("a", "").map(drop)
}

/// The container's own exit is the last.
fn execs_outlive_nobody(stage: &Stage<'_>) -> Result<(), Error> {
    stage.sleeper("a")?;
    for exec in ["x", "y", "z"] {
        stage.exec("a", exec, &["sleep", "1001"])?;
    }
    stage.kill("a", "", 9)?;
    stage.wait("a", "")?;
    for exec in ["x", "y", "z"] {
        stage.finish("a", exec)?;
    }
    stage.delete("a", "").map(drop)
}

fn in_folder(stage: &Stage<'_>, folder: &str) -> Result<(), Error> {
    around(stage, |stage| {
        let mut process = stage.process(&["sh", "-c", &format!("test $(pwd) = {folder}")])?;
        process["cwd"] = json!(folder);
        if stage.exec_with("a", "x", &process, &Streams::default())? {
            stage.wait("a", "x")?;
        }
        stage.delete("a", "x").map(drop)
    })
}

/// The exec has ended; its output has not.
fn exec_leaves_a_child_with_its_output(stage: &Stage<'_>) -> Result<(), Error> {
    stage.sleeper("a")?;
    let output = Reader::open(stage, "stdout")?;
    let streams = output.streams();
    let process = stage.process(&["sh", "-c", "sleep 1 & echo said"])?;
    stage.exec_with("a", "x", &process, &streams)?;
    stage.finish("a", "x")?;
    stage.note("output", output.text()?);
    stage.end("a")
}

/// They become children of the container's first process or of the shim, which has to reap them.
fn exec_leaves_orphans(stage: &Stage<'_>) -> Result<(), Error> {
    let mut plan = stage.plan("a", &["sleep", "1000"])?;
    if let Some(namespaces) = plan.spec["linux"]["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != json!("pid"));
    }
    stage.run("a", &plan)?;
    let script = "for i in 1 2 3 4; do (sleep 0.01; exec sh -c : orphan-of-exec) & done";
    stage.exec("a", "x", &["sh", "-c", script])?;
    stage.finish("a", "x")?;
    let look = "grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | xargs -r grep -l 'NoNewPrivs:.1' | wc -l";
    let world = stage.tasks.node().world();
    wait_for("orphans to be reaped", || {
        let count = world.run(["sh", "-c", look])?.stdout;
        Ok((count.trim() == "0").then_some(()))
    })?;
    stage.end("a")
}

fn pids_with_execs(stage: &Stage<'_>) -> Result<(), Error> {
    around(stage, |stage| {
        stage.exec("a", "x", &["sleep", "1001"])?;
        let pids = stage.tasks.pids(&stage.id("a"));
        stage.told("pids", pids, |pids| {
            let mut all: Vec<_> =
                pids.iter().map(|(pid, exec)| format!("{} is {exec:?}", stage.who(*pid))).collect();
            all.sort();
            all.join(", ")
        })?;
        stage.kill("a", "x", 9)?;
        stage.finish("a", "x")
    })
}
