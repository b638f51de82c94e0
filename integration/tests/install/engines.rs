//! Docker and Podman: what they make of it, and a container by it.

use coaming_integration::{
    Brand, By, ENGINES, Engine, EngineConfig, Error, World, can_run, configuration, images,
};

use crate::tree::{files, state};

fn engine(brand: Brand, index: usize) -> EngineConfig {
    let config = ENGINES[index];
    assert_eq!(config.brand, brand);
    config
}

/// Puts an engine's programs where `coaming install` finds them.
fn place(world: &World, config: EngineConfig, names: &[&str]) -> Result<(), Error> {
    let programs = config.suite.programs();
    let cache = programs.ancestors().nth(2).unwrap();
    let path = cache.join("engines").join(config.suite.to_string()).join("bin");
    for name in names {
        let line = format!("ln -sf {}/{name} /usr/bin/{name}", path.display());
        world.run(["sh", "-c", &line])?.ok("ln")?;
    }
    Ok(())
}

/// Installed before the engine starts; a container goes through it; taken away, all is as it was.
fn all(config: EngineConfig, flags: &[&str], programs: &[&str]) -> Result<(), Error> {
    let mut before = String::new();
    let engine = Engine::start_with(config, "baseline", |world| {
        place(world, config, programs)?;
        before = files(world)?;
        let done = state(world, flags, 0, "installed")?;
        let is_asked = config != ENGINES[0];
        assert_eq!(done["validatedBy"].is_string(), is_asked, "{config}: {done:#}");
        let once = files(world)?;
        state(world, flags, 0, "unchanged")?;
        assert_eq!(files(world)?, once, "{config}");
        Ok(())
    })?;
    let world = engine.world();
    // Of an admitted container the record is there while it runs.
    engine
        .run(By::Name("coaming"), "one", images::PROBE, &["--detach"], &["sleep", "1000"])?
        .ok("run")?;
    let records = world.run(["sh", "-c", "ls /run/coaming/containers | wc -l"])?.stdout;
    assert_eq!(records.trim(), "1", "{config}");
    engine.remove("one")?;
    state(world, &["--uninstall"], 0, "removed")?;
    let ours = |text: &str| -> Vec<String> {
        let is_ours = |line: &&str| {
            // dockerd 20.10 makes itself a key.
            !line.contains("/etc/docker/key.json")
                && ["/etc/docker", "/etc/containers", "install"]
                    .iter()
                    .any(|part| line.contains(part))
        };
        text.lines().filter(is_ours).map(str::to_owned).collect()
    };
    assert_eq!(ours(&files(world)?), ours(&before), "{config}");
    Ok(())
}

#[test]
fn docker_of_bookworm_cannot_be_asked() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    all(engine(Brand::Docker, 0), &["--for", "docker", "--replace"], &["dockerd", "docker-proxy"])
}

#[test]
fn docker_of_sid_takes_it() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    all(engine(Brand::Docker, 6), &["--for", "docker", "--replace"], &["dockerd", "docker-proxy"])
}

#[test]
fn podman_of_sid_takes_it() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    all(engine(Brand::Podman, 3), &["--for", "podman"], &["podman"])
}

#[test]
fn what_dockerd_does_not_take_is_not_replaced() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let world = World::new()?;
    world.install_coaming()?;
    crate::tree::clear(&world)?;
    let config = engine(Brand::Docker, 6);
    place(&world, config, &["dockerd", "docker-proxy"])?;
    world.write("/etc/coaming/config.toml", configuration(config.runtime, "baseline"), 0o644)?;
    let file = "/etc/docker/daemon.json";
    // Two spaces, as its author has them, and an order of his own.
    world.write(file, "{\n  \"live-restore\": true,\n  \"debug\": false\n}", 0o600)?;
    let before = files(&world)?;
    let refused = state(&world, &["--for", "docker"], 1, "refused")?;
    let why = refused["reasons"][0].as_str().unwrap();
    let expected = "{\n  \"live-restore\": true,\n  \"debug\": false,\n  \"runtimes\": {\n    \"coaming\": {\n      \"path\": \"/usr/libexec/coaming/coaming-runc\"\n    }\n  }\n}\n";
    assert!(why.ends_with(expected), "{why}");
    assert_eq!(files(&world)?, before);
    state(&world, &["--for", "docker", "--replace"], 0, "installed")?;
    assert_eq!(world.read(file)?, expected);
    state(&world, &["--uninstall"], 0, "removed")?;
    assert_eq!(files(&world)?, before);
    // Wrong already, and wrong by what is asked.
    world.write(file, "{\"debug\": \"yes\"}", 0o644)?;
    let before = files(&world)?;
    let refused = state(&world, &["--for", "docker", "--replace"], 1, "refused")?;
    assert!(
        refused["reasons"].to_string().contains("does not take its configuration as it is"),
        "{refused:#}"
    );
    assert_eq!(files(&world)?, before);
    Ok(())
}
