//! Containers that cannot be.

use coaming_integration::Error;
use coaming_integration::task_api::RootMount;
use serde_json::{Value, json};

use super::{Scenario, scenario};
use crate::stage::Stage;

pub(super) const ALL: &[Scenario] = &[
    scenario("missing-program", |stage| program(stage, "/bin/absent")),
    scenario("program-not-in-the-path", |stage| program(stage, "absent")),
    scenario("a-file-that-is-no-program", |stage| program(stage, "/etc/passwd")),
    scenario("a-folder-for-a-program", |stage| program(stage, "/etc")),
    scenario("missing-folder", |stage| {
        refused(stage, |spec| spec["process"]["cwd"] = json!("/nowhere/at/all"))
    }),
    scenario("missing-root", |stage| {
        refused(stage, |spec| spec["root"]["path"] = json!("/run/no-such-root"))
    }),
    scenario("missing-mount-source", |stage| {
        refused(stage, |spec| {
            let mount = json!({"destination": "/mnt", "type": "bind", "source": "/run/no-such-source", "options": ["rbind"]});
            if let Some(mounts) = spec["mounts"].as_array_mut() {
                mounts.push(mount);
            }
        })
    }),
    scenario("a-namespace-that-is-none", |stage| {
        refused(stage, |spec| {
            spec["linux"]["namespaces"] =
                json!([{"type": "mount"}, {"type": "network", "path": "/etc/passwd"}]);
        })
    }),
    scenario("no-arguments", |stage| refused(stage, |spec| spec["process"]["args"] = json!([]))),
    scenario("a-spec-that-is-none", |stage| {
        stage.leaves_something_if_stock();
        refused(stage, |spec| *spec = json!({"process": 7}))
    }),
    scenario("a-hook-that-fails", |stage| hook(stage, "createRuntime")),
    scenario("a-hook-that-fails-after-start", |stage| hook(stage, "poststart")),
    scenario("a-root-mount-that-fails", a_root_mount_that_fails),
    scenario("the-second-root-mount-fails", the_second_root_mount_fails),
    scenario("missing-runtime", |stage| runtime(stage, "/usr/libexec/coaming/absent")),
    scenario("a-runtime-that-fails", |stage| runtime(stage, "/bin/false")),
    scenario("an-id-is-free-after-its-failure", an_id_is_free_after_its_failure),
    scenario("create-from-a-checkpoint", create_from_a_checkpoint),
];

fn program(stage: &Stage<'_>, program: &str) -> Result<(), Error> {
    refused(stage, |spec| spec["process"]["args"] = json!([program]))
}

/// Goes as far as it goes.
fn refused(stage: &Stage<'_>, change: impl FnOnce(&mut Value)) -> Result<(), Error> {
    let mut plan = stage.plan("a", &["true"])?;
    change(&mut plan.spec);
    stage.attempt("a", &plan)
}

/// It reads its state: crun dies of SIGPIPE where a hook ends before it is written to.
fn hook(stage: &Stage<'_>, kind: &str) -> Result<(), Error> {
    refused(stage, |spec| {
        spec["process"]["args"] = json!(["sleep", "1"]);
        spec["hooks"] =
            json!({kind: [{"path": "/bin/sh", "args": ["sh", "-c", "cat >/dev/null; exit 9"]}]});
    })
}

fn a_root_mount_that_fails(stage: &Stage<'_>) -> Result<(), Error> {
    let mut plan = stage.plan("a", &["true"])?;
    plan.spec["root"]["path"] = json!("rootfs");
    plan.mounts = vec![bind("/run/no-such-source")];
    stage.create("a", &plan).map(drop)
}

/// The first is undone.
fn the_second_root_mount_fails(stage: &Stage<'_>) -> Result<(), Error> {
    let mut plan = stage.plan("a", &["true"])?;
    plan.spec["root"]["path"] = json!("rootfs");
    plan.mounts = vec![bind(&stage.rootfs), bind("/run/no-such-source")];
    stage.create("a", &plan).map(drop)
}

fn bind(source: &str) -> RootMount {
    let options = vec!["rbind".to_owned(), "rw".to_owned()];
    RootMount { kind: "bind".to_owned(), source: source.to_owned(), options }
}

fn runtime(stage: &Stage<'_>, binary: &str) -> Result<(), Error> {
    let mut plan = stage.plan("a", &["true"])?;
    plan.shim.binary = binary.to_owned();
    stage.create("a", &plan).map(drop)
}

fn an_id_is_free_after_its_failure(stage: &Stage<'_>) -> Result<(), Error> {
    let good = stage.plan("a", &["sh", "-c", "exit 2"])?;
    let mut bad = good.clone();
    bad.mounts = vec![bind("/run/no-such-source")];
    stage.create("a", &bad)?;
    stage.run("a", &good)?;
    stage.finish("a", "")
}

/// There is no such checkpoint; that is looked at first, or not at all.
fn create_from_a_checkpoint(stage: &Stage<'_>) -> Result<(), Error> {
    let plan = stage.plan("a", &["true"])?;
    stage.run("a", &plan)?;
    stage.finish("a", "")?;
    let digest = format!("sha256:{}", "0".repeat(64));
    let answer = stage.tasks.create_from(
        &stage.id("a"),
        &plan.shim,
        &plan.streams,
        &plan.mounts,
        Some(&digest),
    );
    stage.told("create from", answer, |_| "ok".to_owned()).map(drop)
}
