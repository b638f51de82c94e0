//! Checkpoints taken by criu: a restored process has the filters and capabilities of its checkpoint, whatever the floor
//! says by then. Each restore is shown to work by the real runtime first.

use coaming_integration::{
    BareRuntime, Brand, Bundle, Engine, EngineConfig, Error, Runtime, Suite, World, can_run,
    configuration, criu, default_spec, images,
};
use serde_json::json;

use crate::setup::{nothing_is_left, records, says};

const IMAGE: &str = "/run/image";

/// runc executes the criu of PATH; the machine's own, where it has one, may be too old for its kernel.
fn with_criu(world: &World) -> Result<(), Error> {
    let overlay = "mkdir /run/upper /run/work-of-it && mount -t overlay \
                   -o lowerdir=/usr/sbin,upperdir=/run/upper,workdir=/run/work-of-it overlay /usr/sbin";
    world.run(["sh", "-c", overlay])?.ok("a place for criu")?;
    let line = format!("exec {} \"$@\"\n", criu().display());
    world.write("/usr/sbin/criu", format!("#!/bin/sh\n{line}"), 0o755)
}

/// What criu says in its own log.
fn errors(world: &World, below: &str) -> Result<String, Error> {
    let line = format!("find {below} -name dump.log | xargs grep -h Error");
    Ok(world.run(["sh", "-c", &line])?.stdout)
}

#[test]
fn runcs_checkpoint_is_restored_by_runc_and_refused_by_the_wrapper() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in [Suite::Bookworm, Suite::Sid].map(Runtime::Runc) {
        eprintln!("{runtime}");
        let world = World::new()?;
        world.install_coaming()?;
        world.write("/etc/coaming/config.toml", configuration(runtime, "baseline"), 0o644)?;
        with_criu(&world)?;
        let mut spec = default_spec("wide", ["sleep", "1000"])?;
        // criu does not take what it cannot bring back, and a filter is no part of this.
        spec["linux"]["seccomp"] = json!(null);
        for set in ["bounding", "effective", "permitted"] {
            spec["process"]["capabilities"][set] = json!(["CAP_SYS_ADMIN", "CAP_KILL"]);
        }
        let bundle = Bundle::new(&world, "wide", &spec)?;
        let stock = BareRuntime::new(runtime.path());
        // A file outside, such as that of an output, criu does not take.
        let run = format!(
            "{} --root /run/bare run --detach --bundle {} wide >/dev/null 2>&1 </dev/null",
            runtime.path().display(),
            bundle.path().display()
        );
        world.run(["sh", "-c", &run])?.ok("run")?;
        let checkpoint = ["checkpoint", "--image-path", IMAGE, "--work-path", "/run/work", "wide"];
        let kept = stock.call(&world, checkpoint)?;
        assert!(kept.success(), "{runtime}: {kept:?} {}", errors(&world, "/run/work")?);
        let path = bundle.path().display().to_string();
        let restore = |binary: &BareRuntime| {
            // Its output is a file: a process that was restored keeps what it is given.
            let line = format!(
                "{} --root /run/bare restore --detach --image-path {IMAGE} --work-path /run/work --bundle {path} \
                 --pid-file /run/restored.pid wide >/run/said 2>&1 </dev/null; code=$?; cat /run/said; exit $code",
                binary.path().display()
            );
            world.run(["sh", "-c", &line])
        };

        let back = restore(&stock)?;
        assert!(back.success(), "{runtime}: {back:?}");
        let pid = world.read("/run/restored.pid")?;
        let status = world.read(format!("/proc/{}/status", pid.trim()))?;
        says(&status, &["CapEff:\t0000000000200020", "Seccomp:\t0"]);
        stock.delete(&bundle)?;

        let refused = restore(&BareRuntime::new(runtime.wrapper_path()))?;
        assert_eq!(refused.code, 1, "{runtime}: {refused:?}");
        says(&refused.stdout, &["coaming refused to restore container", "wide"]);
        let left = stock.call(&world, ["list", "--quiet"])?.ok("list")?.stdout;
        assert_eq!(left, "", "{runtime}");
        assert_eq!(records(&world, "/run/coaming")?, "", "{runtime}");
    }
    Ok(())
}

#[test]
fn podmans_checkpoint_is_restored_by_runc_and_refused_by_the_wrapper() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for suite in [Suite::Bookworm, Suite::Sid] {
        let config = EngineConfig::new(Brand::Podman, suite, Runtime::Runc(suite));
        eprintln!("{config}");
        let engine = Engine::start_with(config, "baseline", with_criu)?;
        let container = |name: &str, verb: &str| engine.call(["container", verb, name]);
        for (by, name) in
            [(coaming_integration::By::Stock, "stock"), (coaming_integration::By::Coaming, "ours")]
        {
            let options = ["--detach", "--security-opt", "seccomp=unconfined"];
            engine.run(by, name, images::PROBE, &options, &["sleep", "1000"])?.ok("run")?;
            let kept = container(name, "checkpoint")?;
            let store = "/var/lib/containers/storage/overlay-containers";
            assert!(
                kept.success(),
                "{config}, {name}: {kept:?} {}",
                errors(engine.world(), store)?
            );
        }
        let back = container("stock", "restore")?;
        assert!(back.success(), "{config}: {back:?}");
        engine.exec("stock", &[], &["true"])?.ok("exec")?;
        let refused = container("ours", "restore")?;
        assert!(!refused.success(), "{config}: {refused:?}");
        says(refused.text(), &["coaming refused to restore container"]);
        engine.call(["rm", "--all", "--force", "--time", "0"])?.ok("rm")?;
        nothing_is_left(&engine)?;
    }
    Ok(())
}
