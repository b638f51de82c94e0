//! dockerd ends and comes back while containers run.

use coaming_integration::{Brand, By, Engine, EngineConfig, Error, World, can_run, wait_for};
use serde_json::Value;

use crate::setup::{
    BOUNDING, engines, has_sys_admin, nothing_is_left, policy, record, records, stays,
};

fn dockers() -> impl Iterator<Item = EngineConfig> {
    engines().into_iter().filter(|config| config.brand == Brand::Docker)
}

/// With `live-restore` containers outlive their daemon, and coaming's record of them with them.
#[test]
fn containers_that_outlive_the_daemon_are_held_as_before() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in dockers() {
        eprintln!("{config}");
        let engine = Engine::start_with(config, "baseline", |world| {
            policy(world, "landlock", "landlock: {write: [/tmp, /dev]}")?;
            with_live_restore(world)
        })?;
        stays(&engine, By::Coaming, "lives", &[])?;
        let before = record(engine.world(), "/run/coaming")?;
        for signal in ["TERM", "KILL"] {
            engine.restart(signal)?;
            let format = ["inspect", "--format", "{{.State.Status}}", "lives"];
            assert_eq!(engine.call(format)?.stdout, "running\n", "{config} {signal}");
            let exec = engine.exec("lives", &["--privileged"], BOUNDING)?;
            assert!(!has_sys_admin(&exec), "{config} {signal}: {exec:?}");
            let denied = engine.exec("lives", &[], &["touch", "/etc/x"])?;
            assert!(!denied.success(), "{config} {signal}: Landlock held no more: {denied:?}");
            assert_eq!(record(engine.world(), "/run/coaming")?, before, "{config} {signal}");
        }
        engine.remove("lives")?;
        nothing_is_left(&engine)?;
    }
    Ok(())
}

/// Without it they end with the daemon, and those that are to be restarted go through coaming again.
#[test]
fn containers_that_come_back_with_the_daemon_come_through_coaming() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in dockers() {
        eprintln!("{config}");
        let engine = Engine::start(config, "baseline")?;
        stays(&engine, By::Coaming, "back", &["--restart", "always", "--cap-add", "SYS_ADMIN"])?;
        stays(&engine, By::Coaming, "gone", &["--stop-signal", "KILL"])?;
        policy(engine.world(), "later", "noNewPrivileges: true")?;
        engine.restart("TERM")?;
        let held = wait_for("the container's second start", || {
            let output = engine.exec("back", &[], BOUNDING)?;
            Ok(output.success().then_some(output))
        })?;
        assert!(!has_sys_admin(&held), "{config}: {held:?}");
        // The policy came between the two starts.
        let status = engine.exec("back", &[], &["grep", "NoNewPrivs", "/proc/1/status"])?;
        assert_eq!(status.stdout, "NoNewPrivs:\t1\n", "{config}");
        assert_eq!(records(engine.world(), "/run/coaming")?.matches("record.json").count(), 1);
        engine.remove("back")?;
        engine.remove("gone")?;
        nothing_is_left(&engine)?;
    }
    Ok(())
}

fn with_live_restore(world: &World) -> Result<(), Error> {
    const FILE: &str = "/etc/docker/daemon.json";
    let mut daemon: Value = serde_json::from_str(&world.read(FILE)?).unwrap();
    daemon["live-restore"] = true.into();
    world.write(FILE, daemon.to_string(), 0o644)
}
