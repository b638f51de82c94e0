//! coaming beside another wrapper of the runtime's, such as nvidia-container-runtime, which adds a hook and a mount to
//! each container: before it, and after it.

use coaming_integration::{Brand, By, Engine, EngineConfig, Error, World, can_run};
use serde_json::{Value, json};

use crate::setup::{BOUNDING, engines, has_sys_admin, nothing_is_left, once, records, says};

const OTHER: &str = "/usr/bin/other-runtime";
const HOOKED: &str = "/run/other-hooked";
const HOOK: &str = "#!/bin/sh\ncat >/dev/null\ntouch /run/other-hooked\n";

/// The other judges nothing and comes last: what it adds is not seen before the container runs.
#[test]
fn what_comes_after_coaming_is_not_judged_by_it() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in engines() {
        eprintln!("{config}");
        let engine = Engine::start_with(config, "baseline", |world| {
            install(world, &config.runtime.path().display().to_string())?;
            let behind = coaming_integration::configuration(config.runtime, "baseline");
            let path = format!("{:?}", config.runtime.path());
            world.write(
                "/etc/coaming/config.toml",
                behind.replace(&path, &format!("{OTHER:?}")),
                0o644,
            )
        })?;
        // What coaming takes stays taken, and its own hooks stay beside the other's.
        let held = once(&engine, By::Coaming, &["--cap-add", "SYS_ADMIN"], BOUNDING)?;
        assert!(!has_sys_admin(&held), "{held:?}");
        assert!(engine.world().path(HOOKED).exists(), "{config}: the other's hook did not run");
        let mounted = once(&engine, By::Coaming, &[], &["test", "-e", "/other"])?;
        assert_eq!(mounted.code, 0, "{config}: {mounted:?}");
        // No client can choose what coaming hands over to.
        nothing_is_left(&engine)?;

        // Only root's programs are handed over to.
        engine.world().run(["chmod", "o+w", OTHER])?.ok("chmod")?;
        let refused = once(&engine, By::Coaming, &[], &["true"])?;
        assert!(!refused.success(), "{refused:?}");
        says(&refused.stderr, &[OTHER, "root alone can change"]);
    }
    Ok(())
}

/// coaming comes last: the recommended order.
#[test]
fn what_comes_before_coaming_is_judged() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in engines() {
        eprintln!("{config}");
        let engine = Engine::start_with(config, "baseline", |world| {
            install(world, &config.runtime.wrapper_path().display().to_string())?;
            engine_knows(world, config, "other", OTHER)
        })?;
        // Alone, it does what it wants; see the other test. The mount is refused by the floor beneath.
        let refused = once(&engine, By::Name("other"), &[], &["true"])?;
        assert!(!refused.success(), "{refused:?}");
        says(&refused.stderr, &["coaming refused to create container", "/etc/hostname"]);
        engine.call(["rm", "--force", "once"])?;

        // A floor that takes the mount: the hook stays, since it is the node's own to allow, and all else is held.
        let world = engine.world();
        takes_its_mount(world, config)?;
        let held = once(&engine, By::Name("other"), &["--cap-add", "SYS_ADMIN"], BOUNDING)?;
        assert!(!has_sys_admin(&held), "{held:?}");
        assert!(world.path(HOOKED).exists(), "{config}: an allowed hook did not run");

        world.run(["rm", HOOKED])?.ok("rm")?;
        crate::setup::policy(world, "none", "hooks: {allow: []}")?;
        let without = once(&engine, By::Name("other"), &[], &["test", "-e", "/other"])?;
        assert!(!world.path(HOOKED).exists(), "{config}: {without:?}");
        engine.call(["rm", "--force", "once"])?;
        assert_eq!(records(world, "/run/coaming")?, "", "{config}");
        nothing_is_left(&engine)?;
    }
    Ok(())
}

/// NVIDIA's own, in its mode for devices that CDI files describe: without a GPU, since such a file needs none.
#[test]
#[ignore = "Debian has no nvidia-container-runtime: COAMING_NVIDIA names a folder that holds it"]
fn nvidias_own_runtime_stands_before_or_behind_coaming() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let folder = std::env::var_os("COAMING_NVIDIA").unwrap();
    let program = std::path::Path::new(&folder).join("nvidia-container-runtime");
    const GPU: &[&str] = &["--env", "NVIDIA_VISIBLE_DEVICES=0"];
    let only_runc = |config: &EngineConfig| config.runtime.wrapper_name() == "coaming-runc";
    for config in engines().into_iter().filter(only_runc) {
        let prepare = |world: &World, lower: &str| {
            world.install(&program, NVIDIA, 0o755)?;
            world.write("/usr/bin/other-hook", HOOK, 0o755)?;
            world.write("/etc/cdi/nvidia.yaml", CDI, 0o644)?;
            let text = format!(
                "[nvidia-container-runtime]\nmode = \"cdi\"\nruntimes = [{lower:?}]\n\
                 [nvidia-container-runtime.modes.cdi]\ndefault-kind = \"nvidia.com/gpu\"\nspec-dirs = [\"/etc/cdi\"]\n"
            );
            world.write("/etc/nvidia-container-runtime/config.toml", text, 0o644)
        };
        eprintln!("{config}, NVIDIA's before coaming");
        let ours = config.runtime.wrapper_path().display().to_string();
        let engine = Engine::start_with(config, "baseline", |world| {
            prepare(world, &ours)?;
            engine_knows(world, config, "nvidia", NVIDIA)
        })?;
        let refused = once(&engine, By::Name("nvidia"), GPU, &["true"])?;
        says(&refused.stderr, &["coaming refused to create container", "/etc/hostname"]);
        engine.call(["rm", "--force", "once"])?;
        let world = engine.world();
        takes_its_mount(world, config)?;
        let wide = [GPU, &["--cap-add", "SYS_ADMIN"]].concat();
        let look = ["sh", "-c", "grep CapBnd: /proc/self/status && test -e /gpu && echo $GPU"];
        let held = once(&engine, By::Name("nvidia"), &wide, &look)?;
        assert!(!has_sys_admin(&held) && held.stdout.contains("zero"), "{held:?}");
        assert!(world.path(HOOKED).exists(), "{config}: an allowed hook did not run");
        world.run(["rm", HOOKED])?.ok("rm")?;
        crate::setup::policy(world, "none", "hooks: {allow: []}")?;
        let without = once(&engine, By::Name("nvidia"), GPU, &["true"])?;
        assert!(!world.path(HOOKED).exists(), "{config}: {without:?}");
        engine.call(["rm", "--force", "once"])?;
        nothing_is_left(&engine)?;
        drop(engine);

        eprintln!("{config}, NVIDIA's behind coaming");
        let real = config.runtime.path().display().to_string();
        let engine = Engine::start_with(config, "baseline", |world| {
            prepare(world, &real)?;
            let behind = coaming_integration::configuration(config.runtime, "baseline");
            let behind = behind.replace(&format!("{real:?}"), &format!("{NVIDIA:?}"));
            world.write("/etc/coaming/config.toml", behind, 0o644)
        })?;
        let held = once(&engine, By::Coaming, &wide, &look)?;
        assert!(!has_sys_admin(&held) && held.stdout.contains("zero"), "{held:?}");
        assert!(engine.world().path(HOOKED).exists(), "{config}: its hook did not run");
        nothing_is_left(&engine)?;
    }
    Ok(())
}

const NVIDIA: &str = "/usr/bin/nvidia-container-runtime";
const CDI: &str = r#"{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [{"name": "0", "containerEdits": {
    "env": ["GPU=zero"],
    "mounts": [{"hostPath": "/etc/hostname", "containerPath": "/gpu", "options": ["ro", "bind"]}],
    "hooks": [{"hookName": "createRuntime", "path": "/usr/bin/other-hook", "args": ["other-hook"]}]}}]}
"#;

fn install(world: &World, lower: &str) -> Result<(), Error> {
    world.install(env!("CARGO_BIN_EXE_other-runtime"), OTHER, 0o755)?;
    world.write("/etc/other-runtime", lower, 0o644)?;
    world.write("/usr/bin/other-hook", HOOK, 0o755)
}

/// A floor that takes the mount, and a policy that allows the hook and no more capabilities than two.
fn takes_its_mount(world: &World, config: EngineConfig) -> Result<(), Error> {
    let node = coaming_integration::configuration(config.runtime, "node");
    world.write("/etc/coaming/config.toml", node, 0o644)?;
    let spec =
        "capabilities: {allow: [CHOWN, KILL]}, hooks: {allow: [{path: /usr/bin/other-hook}]}";
    crate::setup::policy(world, "chain", spec)
}

/// As an administrator adds it.
fn engine_knows(
    world: &World,
    config: EngineConfig,
    name: &str,
    program: &str,
) -> Result<(), Error> {
    match config.brand {
        Brand::Docker => {
            const FILE: &str = "/etc/docker/daemon.json";
            let mut daemon: Value = serde_json::from_str(&world.read(FILE)?).unwrap();
            daemon["runtimes"][name] = json!({"path": program});
            world.write(FILE, daemon.to_string(), 0o644)
        }
        Brand::Podman => {
            let text = format!(
                "[engine]\nruntime_supports_json = [{name:?}]\n[engine.runtimes]\n{name} = [{program:?}]\n"
            );
            world.write("/etc/containers/containers.conf.d/other.conf", text, 0o644)
        }
    }
}
