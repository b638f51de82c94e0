//! Podman as it is, with the packaged files of hooks.d: no wrapper, and containers that are judged, proved and forgotten.

use coaming_integration::{Brand, By, Engine, EngineConfig, Error, can_run, images, wait_for};
use serde_json::Value;

use crate::setup::{engines, journal, nothing_is_left, place, record, records, says};

const CLI: &str = "/usr/libexec/coaming/coaming";
/// Where the runtime's own profile, met with the floor's, is put.
const PROFILE: &str = "/run/within.json";

fn podmans() -> impl Iterator<Item = EngineConfig> {
    engines().into_iter().filter(|config| config.brand == Brand::Podman)
}

/// A container that stays, by the stock runtime.
fn stays(engine: &Engine, name: &str, more: &[&str]) -> Result<coaming_integration::Output, Error> {
    let profile = format!("seccomp={PROFILE}");
    let options = [&["--detach", "--security-opt", &profile], more].concat();
    engine.run(By::Stock, name, images::PROBE, &options, &["sleep", "1000"])
}

/// The runtime loses the filter on the way: it is shown another config.json than the validator.
fn lose_the_filter(engine: &Engine) -> Result<(), Error> {
    let (world, config) = (engine.world(), engine.config());
    let real = config.runtime.path().display().to_string();
    let script = format!(
        r#"#!/bin/sh
for word; do
    case $before in --bundle | -b) bundle=$word ;; esac
    before=$word
done
if [ -n "$bundle" ] && [ -e /run/lose ]; then
    cp "$bundle/config.json" "$bundle/asked.json"
    # crun wants its state to be read.
    put="cat >/dev/null; cp $bundle/asked.json $bundle/config.json"
    back="{{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"$put\"]}}"
    sed -i -e 's|"seccomp":{{|"xseccomp":{{|' -e "s|\"createRuntime\":\[|&$back,|" "$bundle/config.json"
fi
exec {real} "$@"
"#
    );
    let name = real.rsplit('/').next().unwrap();
    world.write(format!("/usr/libexec/losing/{name}"), script, 0o755)?;
    let text = world.read("/etc/containers/containers.conf")?;
    let losing = text.replace(&format!("[{real:?}]"), &format!("[\"/usr/libexec/losing/{name}\"]"));
    assert_ne!(losing, text);
    world.write("/etc/containers/containers.conf", losing, 0o644)
}

#[test]
fn podman_without_the_wrapper_is_judged_and_proved_by_hooks() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in podmans() {
        eprintln!("{config}");
        let engine = Engine::start(config, "node")?;
        let world = engine.world();
        // What the wrapper makes of Podman's default profile is within the floor.
        let options = ["--detach"];
        engine
            .run(By::Coaming, "pattern", images::PROBE, &options, &["sleep", "1000"])?
            .ok("run")?;
        let profile = record(world, "/run/coaming")?["seccomp"].to_string();
        world.write(PROFILE, profile, 0o644)?;
        engine.remove("pattern")?;
        lose_the_filter(&engine)?;
        for name in ["coaming-validate-node", "coaming-prove", "coaming-forget"] {
            let file = format!("hooks.d/{name}.json");
            place(&engine, &file, &format!("/etc/containers/oci/{file}"))?;
        }
        let drop_in = "/etc/containers/containers.conf.d/coaming-hooks.conf";
        place(&engine, "podman/coaming-hooks.conf", drop_in)?;

        // Judged: no profile is too wide.
        let options = ["--detach", "--security-opt", "seccomp=unconfined"];
        let wide = engine.run(By::Stock, "wide", images::PROBE, &options, &["sleep", "1000"])?;
        assert!(!wide.success(), "{config}: {wide:?}");
        assert!(!journal(&engine, "refused")?.is_empty(), "{config}");
        engine.call(["rm", "--force", "wide"])?;

        // Proved, listed, and proved again when it is started again; forgotten when it is gone.
        stays(&engine, "proved", &[])?.ok("run")?;
        let id = engine.call(["inspect", "--format", "{{.Id}}", "proved"])?.stdout;
        let proofs = || -> Result<Vec<Value>, Error> {
            let mut proofs = journal(&engine, "proved")?;
            proofs.retain(|proof| {
                proof["container"]["id"] == id.trim() && proof["stage"] == "started"
            });
            assert!(proofs.iter().all(|proof| proof["outcome"] == "held"), "{proofs:#?}");
            Ok(proofs)
        };
        wait_for("its proof", || Ok((proofs()?.len() == 1).then_some(())))?;
        let status = world.run([CLI, "status"])?.ok("status")?.stdout;
        says(&status, &[&id[..12], "enforced, proven", "1 container"]);
        engine.call(["restart", "--time", "0", "proved"])?.ok("restart")?;
        wait_for("its second proof", || Ok((proofs()?.len() == 2).then_some(())))?;
        engine.exec("proved", &[], &["true"])?.ok("exec")?;
        engine.remove("proved")?;
        assert_eq!(records(world, "/run/coaming")?, "", "{config}");

        // Tampered with: killed; and left alive by those who do not look.
        world.write("/run/lose", "", 0o644)?;
        let started = stays(&engine, "tampered", &[])?;
        let killed = wait_for("its proof", || {
            let proofs = journal(&engine, "proved")?;
            Ok(proofs.into_iter().find(|proof| proof["outcome"] == "mismatch"))
        })?;
        assert_eq!(killed["killed"], true, "{config}: {killed}");
        assert_eq!(killed["mismatches"][0]["control"], "seccomp", "{config}: {killed}");
        if config.runtime.wrapper_name() == "coaming-runc" {
            assert!(!started.success(), "{config}: {started:?}");
            says(started.text(), &["coaming killed container", "seccomp"]);
        }
        wait_for("its end", || {
            let running = engine.call(["ps", "--filter", "name=tampered", "--quiet"])?.stdout;
            Ok(running.is_empty().then_some(()))
        })?;
        engine.call(["rm", "--force", "tampered"])?.ok("rm")?;

        world.run(["rm", "/etc/containers/oci/hooks.d/coaming-prove.json"])?.ok("rm")?;
        stays(&engine, "unproved", &[])?.ok("run")?;
        let seen = engine.exec("unproved", &[], &["grep", "Seccomp:", "/proc/1/status"])?;
        assert_eq!(seen.stdout, "Seccomp:\t0\n", "{config}: {seen:?}");
        engine.remove("unproved")?;
        wait_for("the end of the records", || {
            Ok(records(world, "/run/coaming")?.is_empty().then_some(()))
        })?;
        nothing_is_left(&engine)?;
    }
    Ok(())
}
