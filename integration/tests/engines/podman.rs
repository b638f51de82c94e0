//! What Podman alone has: pods, Kubernetes manifests, hooks, flags for the runtime, checkpoints.

use coaming_integration::{
    Brand, By, Engine, EngineConfig, Error, Runtime, can_run, images, wait_for,
};

use crate::setup::{BOUNDING, engines, has_sys_admin, nothing_is_left, once, records, says, stays};

/// The packaged default is crun, as Podman's own.
fn with_crun() -> impl Iterator<Item = EngineConfig> {
    podmans().map(|config| EngineConfig { runtime: Runtime::Crun(config.suite), ..config })
}

fn podmans() -> impl Iterator<Item = EngineConfig> {
    engines().into_iter().filter(|config| config.brand == Brand::Podman)
}

#[test]
fn pods_live_and_are_held() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in with_crun() {
        eprintln!("{config}");
        let engine = Engine::start(config.by_default(), "baseline")?;
        engine.import(images::PAUSE)?;
        let call = |words: &[&str]| engine.call(words)?.ok(words[0]);
        call(&[
            "pod",
            "create",
            "--name",
            "both",
            "--network",
            "none",
            "--infra-image",
            images::PAUSE,
            "--infra-command",
            "/pause",
        ])
        .map(drop)?;
        for name in ["first", "second"] {
            stays(&engine, By::Default, name, &["--pod", "both", "--cap-add", "SYS_ADMIN"])?;
            let held = engine.exec(name, &["--privileged"], BOUNDING)?;
            assert!(!has_sys_admin(&held), "{config}: {held:?}");
        }
        assert_eq!(records(engine.world(), "/run/coaming")?.matches("record.json").count(), 3);
        call(&["pod", "restart", "both"])?;
        assert!(engine.exec("first", &[], &["true"])?.success(), "{config}");
        call(&["pod", "rm", "--force", "both"])?;
        nothing_is_left(&engine)?;
    }
    Ok(())
}

const MANIFEST: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "played"}, "spec": {
    "restartPolicy": "Never", "hostNetwork": false,
    "containers": [{"name": "main", "image": "IMAGE", "imagePullPolicy": "Never",
        "command": ["sleep", "1000"], "securityContext": {"privileged": true}}]}}"#;

#[test]
fn manifests_that_are_played_are_held() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in with_crun() {
        eprintln!("{config}");
        for (config, is_held) in [(config, false), (config.by_default(), true)] {
            let engine = Engine::start(config, "baseline")?;
            let manifest = MANIFEST.replace("IMAGE", images::PROBE);
            engine.world().write("/run/pod.json", manifest, 0o644)?;
            // The verb was `play kube` before Podman 4.4.
            engine.call(["play", "kube", "--network", "none", "/run/pod.json"])?.ok("play kube")?;
            let seen = engine.exec("played-main", &[], BOUNDING)?;
            assert_eq!(has_sys_admin(&seen), !is_held, "{config}: {seen:?}");
            engine.call(["pod", "rm", "--force", "played"])?.ok("pod rm")?;
            nothing_is_left(&engine)?;
        }
    }
    Ok(())
}

/// Podman's own hooks, and a runtime's flags, reach the runtime by the wrapper or not at all.
#[test]
fn hooks_and_flags_of_a_clients_are_judged() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in podmans() {
        eprintln!("{config}");
        let engine = Engine::start(config, "baseline")?;
        let world = engine.world();
        world.write("/run/hooks.d/touch.json", HOOK, 0o644)?;
        let hooked = |by| -> Result<_, Error> {
            world.run(["rm", "-f", "/run/hooked"])?;
            let mut words = vec!["--hooks-dir".to_owned(), "/run/hooks.d".to_owned()];
            words.extend(engine.running(by, "run"));
            words.extend(["--rm", "--network", "none", images::PROBE, "true"].map(str::to_owned));
            let output = engine.call(words)?;
            Ok((output, world.path("/run/hooked").exists()))
        };
        let (stock, ran) = hooked(By::Stock)?;
        assert!(stock.success() && ran, "{config}: {stock:?}");
        let (ours, ran) = hooked(By::Coaming)?;
        assert!(!ran, "{config}: {ours:?}");

        // What the wrapper does not know, it does not pass on.
        let flagged = |flag: &str| {
            let mut words = vec![format!("--runtime-flag={flag}")];
            words.extend(engine.running(By::Coaming, "run"));
            words.extend(["--rm", "--network", "none", images::PROBE, "true"].map(str::to_owned));
            engine.call(words)
        };
        let unknown = flagged("unheard-of")?;
        assert!(!unknown.success(), "{config}: {unknown:?}");
        says(unknown.text(), &["unheard-of"]);
        engine.call(["rm", "--all", "--force"])?;
        nothing_is_left(&engine)?;
    }
    Ok(())
}

const HOOK: &str = r#"{"version": "1.0.0", "hook": {"path": "/bin/touch", "args": ["touch", "/run/hooked"]},
    "when": {"always": true}, "stages": ["prestart"]}"#;

/// A restored process has the filters and capabilities of its checkpoint.
#[test]
fn a_checkpoint_is_not_restored() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in podmans() {
        eprintln!("{config}");
        let engine = Engine::start(config, "baseline")?;
        stays(&engine, By::Coaming, "frozen", &[])?;
        let id = engine.call(["inspect", "--format", "{{.Id}}", "frozen"])?.stdout;
        // As Podman calls the runtime (libpod/oci_conmon_common.go): what its own checks of CRIU let through.
        let wrapper = config.runtime.wrapper_path();
        let restore = engine.world().run([
            wrapper.to_str().unwrap(),
            "restore",
            "--image-path",
            "/tmp",
            "--work-path",
            "/tmp",
            "--bundle",
            "/tmp",
            id.trim(),
        ])?;
        assert_eq!(restore.code, 1, "{restore:?}");
        says(&restore.stderr, &["coaming refused to restore container"]);
        engine.remove("frozen")?;
        nothing_is_left(&engine)?;
    }
    Ok(())
}

/// In a login's session Podman and crun hear of a runtime directory. crun would keep its state there, and what ends the
/// container may not hear of it.
#[test]
fn a_sessions_runtime_directory_changes_nothing() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in podmans() {
        eprintln!("{config}");
        let engine = Engine::start(config, "baseline")?;
        engine.world().run(["mkdir", "-p", "-m", "0700", "/run/user/0"])?.ok("mkdir")?;
        let session = ["XDG_RUNTIME_DIR=/run/user/0"];
        let mut words = engine.running(By::Coaming, "run");
        words.extend(["--detach", "--name", "session", "--network", "none"].map(str::to_owned));
        words.extend([images::PROBE, "sleep", "1000"].map(str::to_owned));
        engine.call_in(&session, words)?.ok("run")?;
        // The start of another sweeps what has no container.
        once(&engine, By::Coaming, &[], &["true"])?.ok("run")?;
        for environment in [&session[..], &[]] {
            let exec = engine.call_in(environment, ["exec", "session", "true"])?;
            assert!(exec.success(), "{config} {environment:?}: {exec:?}");
        }
        engine.remove("session")?;
        wait_for("the record's end", || {
            Ok(records(engine.world(), "/run/coaming")?.is_empty().then_some(()))
        })?;
    }
    Ok(())
}
