//! What may run as a hook: by path, digest and owner, with which environment, and for how long. Each attack is shown to
//! work without the rule.

use std::time::{Duration, Instant};

use coaming_integration::{Bundle, Error, can_run};
use serde_json::{Value, json};

use crate::preload;
use crate::setup::{Bench, FREELY, policy, runtimes, says};

/// A container that ends at once, with one hook.
fn hooked<'a>(bench: &'a Bench, id: &str, phase: &str, hook: &Value) -> Result<Bundle<'a>, Error> {
    bench.bundle(id, &["probe", "ids"], |spec| spec["hooks"] = json!({phase: [hook]}))
}

/// Whether a hook has left its trace; then it has not any more.
fn take(bench: &Bench, trace: &str) -> Result<bool, Error> {
    Ok(bench.shell(&format!("rm {trace}"))?.success())
}

/// It leaves a trace, and reads the state: crun fails where a hook ends before it has.
fn tee() -> Value {
    json!({"path": "/bin/tee", "args": ["tee", "/run/hook-ran"]})
}

/// CVE-2025-23266: a hook without an environment of its own, in the namespaces of a container whose image sets
/// `LD_PRELOAD` to a library of its own.
#[test]
fn an_images_library_is_not_loaded_into_a_hook() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let mut loaded = 0;
    for runtime in runtimes() {
        let bench = Bench::with(runtime, "node", FREELY)?;
        let attack = |id: &str| -> Result<Bundle<'_>, Error> {
            let bundle = bench.bundle(id, &["probe", "ids"], |spec| {
                spec["hooks"] = json!({"createContainer": [tee()]});
                // Relative to the hook's working directory, and by the place that the host has it at.
                let library = format!("./library.so:/run/bundles/{id}/rootfs/library.so");
                spec["process"]["env"] = json!(["PATH=/bin", format!("LD_PRELOAD={library}")]);
            })?;
            bench.world.install(
                preload::library(),
                bundle.path().join("rootfs/library.so"),
                0o755,
            )?;
            Ok(bundle)
        };
        bench.stock.run(&attack("stock")?, b"")?.ok("stock")?;
        assert!(take(&bench, "/run/hook-ran")?);
        let is_loaded = take(&bench, "/run/preloaded")?;
        eprintln!("{runtime}: an image's library is loaded into a hook: {is_loaded}");
        loaded += usize::from(is_loaded);

        policy(&bench.world, "hooks", "hooks:\n  allow: [{path: /bin/tee}]")?;
        bench.gated.run(&attack("gated")?, b"")?.ok("gated")?;
        assert!(take(&bench, "/run/hook-ran")?, "{runtime}: the hook may run");
        assert!(!take(&bench, "/run/preloaded")?, "{runtime}");
        let named = "hooks:\n  allow: [{path: /bin/tee, env: [LD_PRELOAD]}]";
        policy(&bench.world, "hooks", named)?;
        let mut hook = tee();
        hook["env"] = json!(["LD_PRELOAD=/run/bundles/named/rootfs/library.so"]);
        let bundle = hooked(&bench, "named", "createContainer", &hook)?;
        bench.world.install(preload::library(), bundle.path().join("rootfs/library.so"), 0o755)?;
        bench.gated.run(&bundle, b"")?.ok("a variable that its policy names")?;
        assert!(take(&bench, "/run/preloaded")?, "{runtime}: a policy that names it gets it");
    }
    assert!(loaded > 0);
    Ok(())
}

#[test]
fn what_is_not_on_the_list_is_dropped_or_refused() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        let bench = Bench::with(runtime, "node", FREELY)?;
        for phase in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
            let run = |name: &str| hooked(&bench, &format!("{name}-{phase}"), phase, &tee());
            bench.gated.run(&run("free")?, b"")?.ok("no rule")?;
            assert!(take(&bench, "/run/hook-ran")?, "{runtime}, {phase}");

            policy(&bench.world, "hooks", "hooks:\n  allow: [{path: /usr/bin/other}]")?;
            bench.gated.run(&run("dropped")?, b"")?.ok("dropped")?;
            assert!(!take(&bench, "/run/hook-ran")?, "{runtime}, {phase}");

            let refuse = "hooks:\n  allow: [{path: /usr/bin/other}]\nactions: {hooks: refuse}";
            policy(&bench.world, "hooks", refuse)?;
            let output = bench.gated.run(&run("refused")?, b"")?;
            assert_eq!(output.code, 1, "{output:?}");
            let field = format!("hooks.{phase}[0]");
            says(&output.stderr, &["hooks.yaml:6", &field, "/bin/tee", "/usr/bin/other"]);
            assert!(!take(&bench, "/run/hook-ran")?, "{runtime}, {phase}");
            bench.shell("rm /etc/coaming/policy.d/hooks.yaml")?.ok("rm")?;
        }
    }
    Ok(())
}

#[test]
fn a_hook_of_another_than_root_runs_only_where_its_owner_is_named() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let [runtime, ..] = runtimes();
    let bench = Bench::with(runtime, "node", FREELY)?;
    bench.world.write("/run/own/hook", "#!/bin/sh\n: >/run/hook-ran\n", 0o755)?;
    bench.shell("chown 1000 /run/own/hook")?.ok("chown")?;
    let hook = json!({"path": "/run/own/hook"});
    let runs = |id: &str, entry: &str| -> Result<bool, Error> {
        policy(
            &bench.world,
            "hooks",
            &format!("hooks:\n  allow: [{{path: /run/own/hook{entry}}}]"),
        )?;
        bench.gated.run(&hooked(&bench, id, "createRuntime", &hook)?, b"")?.ok("gated run")?;
        take(&bench, "/run/hook-ran")
    };
    assert!(!runs("roots", "")?);
    assert!(!runs("wrong", ", owner: 1001")?);
    assert!(runs("named", ", owner: 1000")?);
    // Whom a group may rewrite is nobody's.
    bench.shell("chmod 775 /run/own/hook")?.ok("chmod")?;
    assert!(!runs("group", ", owner: 1000")?);
    // Neither is what lies in a folder of a third.
    bench.shell("chmod 755 /run/own/hook; chown 1001 /run/own")?.ok("chown")?;
    assert!(!runs("folder", ", owner: 1000")?);
    Ok(())
}

#[test]
fn a_hook_that_hangs_is_ended() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        let bench = Bench::with(runtime, "node", FREELY)?;
        let hook = json!({"path": "/bin/sleep", "args": ["sleep", "6"]});
        let timed = |run: &dyn Fn() -> Result<bool, Error>| {
            let started = Instant::now();
            Ok::<_, Error>((run()?, started.elapsed()))
        };
        let bundle = hooked(&bench, "stock", "createRuntime", &hook)?;
        let (started, took) = timed(&|| Ok(bench.stock.run(&bundle, b"")?.success()))?;
        assert!(started && took >= Duration::from_secs(6), "{runtime}: {took:?}");

        policy(&bench.world, "hooks", "hooks: {maxTimeoutSeconds: 1}")?;
        let bundle = hooked(&bench, "gated", "createRuntime", &hook)?;
        let (started, took) = timed(&|| Ok(bench.gated.run(&bundle, b"")?.success()))?;
        assert!(!started && took < Duration::from_secs(5), "{runtime}: {took:?}");
    }
    Ok(())
}
