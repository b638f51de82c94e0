//! Containers that begin.

use std::collections::BTreeMap;

use coaming_integration::Error;
use coaming_integration::residue::list;
use coaming_integration::task_api::RootMount;
use serde_json::json;

use super::{Scenario, scenario};
use crate::stage::Stage;

pub(super) const ALL: &[Scenario] = &[
    scenario("true", |stage| ends_by_itself(stage, &["true"])),
    scenario("exit-7", |stage| ends_by_itself(stage, &["sh", "-c", "exit 7"])),
    scenario("exit-255", |stage| ends_by_itself(stage, &["sh", "-c", "exit 255"])),
    scenario("dies-of-a-signal", dies_of_a_signal),
    scenario("fast-exits-one-by-one", fast_exits_one_by_one),
    scenario("fast-exits-at-once", fast_exits_at_once),
    scenario("an-id-again", an_id_again),
    scenario("created-and-deleted", created_and_deleted),
    scenario("start-twice", start_twice),
    scenario("start-after-its-end", start_after_its_end),
    scenario("duplicate-id", duplicate_id),
    scenario("what-a-bundle-holds", what_a_bundle_holds),
    scenario("states", states),
    scenario("bound-root", bound_root),
    scenario("layered-root", layered_root),
    scenario("a-state-folder-of-its-own", a_state_folder_of_its_own),
];

fn ends_by_itself(stage: &Stage<'_>, args: &[&str]) -> Result<(), Error> {
    stage.run("a", &stage.plan("a", args)?)?;
    stage.finish("a", "")
}

/// In the node's own PID namespace: the first of another is spared its own signals (pid_namespaces(7)).
fn dies_of_a_signal(stage: &Stage<'_>) -> Result<(), Error> {
    let mut plan = stage.plan("a", &["sh", "-c", "kill -SEGV $$"])?;
    if let Some(namespaces) = plan.spec["linux"]["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != json!("pid"));
    }
    stage.run("a", &plan)?;
    stage.finish("a", "")
}

/// An exit must not come before its start, however soon it is.
fn fast_exits_one_by_one(stage: &Stage<'_>) -> Result<(), Error> {
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        stage.run(name, &stage.plan(name, &["true"])?)?;
        stage.finish(name, "")?;
    }
    Ok(())
}

fn fast_exits_at_once(stage: &Stage<'_>) -> Result<(), Error> {
    let names = ["a", "b", "c", "d"];
    for name in names {
        stage.create(name, &stage.plan(name, &["true"])?)?;
    }
    let started = std::thread::scope(|scope| {
        let handles = names.map(|name| {
            let (tasks, id) = (stage.tasks.again(), stage.id(name));
            scope.spawn(move || tasks?.start(&id, ""))
        });
        handles.map(|handle| handle.join().unwrap_or_else(|_| panic!("a start panicked")))
    });
    for (name, pid) in names.into_iter().zip(started) {
        stage.is_started(name, "", pid?);
        stage.finish(name, "")?;
    }
    Ok(())
}

fn an_id_again(stage: &Stage<'_>) -> Result<(), Error> {
    for _ in 0..3 {
        stage.run("a", &stage.plan("a", &["true"])?)?;
        stage.finish("a", "")?;
    }
    Ok(())
}

fn created_and_deleted(stage: &Stage<'_>) -> Result<(), Error> {
    stage.create("a", &stage.plan("a", &["sleep", "1000"])?)?;
    stage.get("a", "")?;
    stage.delete("a", "").map(drop)
}

fn start_twice(stage: &Stage<'_>) -> Result<(), Error> {
    stage.sleeper("a")?;
    stage.start("a", "")?;
    stage.get("a", "")?;
    stage.end("a")
}

fn start_after_its_end(stage: &Stage<'_>) -> Result<(), Error> {
    stage.run("a", &stage.plan("a", &["true"])?)?;
    stage.wait("a", "")?;
    stage.start("a", "")?;
    stage.delete("a", "").map(drop)
}

fn duplicate_id(stage: &Stage<'_>) -> Result<(), Error> {
    stage.sleeper("a")?;
    stage.create("a", &stage.plan("a", &["true"])?)?;
    stage.get("a", "")?;
    stage.end("a")
}

/// What other programs read of a running container's bundle, and what it hands on to a restarted containerd.
fn what_a_bundle_holds(stage: &Stage<'_>) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    stage.sleeper("a")?;
    let world = stage.tasks.node().world();
    let bundle = format!(
        "/run/containerd/io.containerd.runtime.v2.task/{}/{}",
        stage.namespace(),
        stage.id("a")
    );
    let modes: BTreeMap<String, String> = list(&world.path(&bundle))
        .into_iter()
        .map(|name| {
            let mode = world.path(format!("{bundle}/{name}")).symlink_metadata();
            let mode = mode.map_or(0, |found| found.permissions().mode());
            (name, format!("{mode:o}"))
        })
        .collect();
    for (name, mode) in modes {
        stage.note(&format!("bundle holds {name}"), mode);
    }
    let pid = world.read(format!("{bundle}/init.pid")).unwrap_or_default();
    stage.note("init.pid", stage.who(pid.trim().parse().unwrap_or_default()));
    stage.end("a")
}

fn states(stage: &Stage<'_>) -> Result<(), Error> {
    stage.create("a", &stage.plan("a", &["sleep", "1000"])?)?;
    stage.get("a", "")?;
    stage.start("a", "")?;
    stage.get("a", "")?;
    let pids = stage.tasks.pids(&stage.id("a"));
    stage.told("pids", pids, |pids| {
        pids.iter().map(|(pid, exec)| format!("{}/{exec}", stage.who(*pid))).collect::<String>()
    })?;
    stage.kill("a", "", 9)?;
    stage.wait("a", "")?;
    stage.get("a", "")?;
    stage.wait("a", "")?;
    stage.delete("a", "")?;
    stage.get("a", "")
}

fn bound_root(stage: &Stage<'_>) -> Result<(), Error> {
    let mut plan = stage.plan("a", &["sh", "-c", "test -x /bin/probe"])?;
    plan.spec["root"]["path"] = json!("rootfs");
    plan.mounts = vec![RootMount {
        kind: "bind".to_owned(),
        source: stage.rootfs.clone(),
        options: vec!["rbind".to_owned(), "rw".to_owned()],
    }];
    stage.run("a", &plan)?;
    stage.finish("a", "")
}

fn layered_root(stage: &Stage<'_>) -> Result<(), Error> {
    let mut plan = stage.plan("a", &["sh", "-c", "echo new >/tmp/file; sleep 1000"])?;
    plan.spec["root"]["path"] = json!("rootfs");
    let world = stage.tasks.node().world();
    for folder in ["upper", "work"] {
        let path = world.path(stage.path(folder)?);
        std::fs::create_dir_all(&path)
            .map_err(|error| Error::Unavailable(format!("make {}: {error}", path.display())))?;
    }
    let option = |key: &str, path: &str| format!("{key}={path}");
    plan.mounts = vec![RootMount {
        kind: "overlay".to_owned(),
        source: "overlay".to_owned(),
        options: vec![
            option("lowerdir", &stage.rootfs),
            option("upperdir", &stage.path("upper")?),
            option("workdir", &stage.path("work")?),
        ],
    }];
    stage.run("a", &plan)?;
    let file = world.path(stage.path("upper/tmp/file")?);
    coaming_integration::wait_for("the upper layer", || Ok(file.exists().then_some(())))?;
    stage.note("lower layer is untouched", !stage.inside("/tmp/file").exists());
    stage.end("a")
}

fn a_state_folder_of_its_own(stage: &Stage<'_>) -> Result<(), Error> {
    let mut plan = stage.plan("a", &["sleep", "1000"])?;
    plan.shim.root = stage.path("state")?;
    stage.run("a", &plan)?;
    let world = stage.tasks.node().world();
    let there = || {
        world.path(format!("{}/{}", plan.shim.root, stage.namespace())).join(stage.id("a")).exists()
    };
    stage.note("state folder is used", there());
    stage.exec("a", "x", &["true"])?;
    stage.finish("a", "x")?;
    stage.end("a")?;
    stage.note("state folder is left", there());
    Ok(())
}
