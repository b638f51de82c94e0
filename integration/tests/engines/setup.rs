//! Engines, and what tests ask of them.

use coaming_integration::{
    By, ENGINES, Engine, EngineConfig, Error, Output, World, images, wait_for,
};
use serde_json::Value;

/// Each engine of each suite once, with runc and crun in turns; all with both, where `COAMING_DOORS=all`.
pub(crate) fn engines() -> Vec<EngineConfig> {
    let all = std::env::var_os("COAMING_DOORS").is_some_and(|value| value == "all");
    ENGINES.into_iter().take(if all { ENGINES.len() } else { 4 }).collect()
}

/// Writes a policy, its spec in one line of YAML, and waits for nothing: the next start reads it.
pub(crate) fn policy(world: &World, name: &str, spec: &str) -> Result<(), Error> {
    let text = format!(
        "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    );
    world.write(format!("/etc/coaming/policy.d/{name}.yaml"), text, 0o644)
}

/// What is left of containers below `state`.
pub(crate) fn records(world: &World, state: &str) -> Result<String, Error> {
    let find = format!("cd {state} && find containers launch -mindepth 1 2>/dev/null; true");
    Ok(world.run(["sh", "-c", &find])?.stdout)
}

/// Once all containers are removed: no record, no process of a container or a shim, no mount.
#[track_caller]
pub(crate) fn nothing_is_left(engine: &Engine) -> Result<(), Error> {
    let (world, config) = (engine.world(), engine.config());
    assert_eq!(records(world, "/run/coaming")?, "", "{config}");
    let mounts = world.run(["cat", "/proc/self/mounts"])?.stdout;
    assert!(!mounts.contains(".coaming"), "{config}: {mounts}");
    // Shims end a moment after their containers. Programs of the cache have its path in theirs.
    wait_for("the end of all processes", || {
        let all = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '";
        let processes = world.run(["sh", "-c", all])?.stdout;
        let is_left = |name: &&str| processes.contains(*name);
        Ok(["coaming-runc", "coaming-crun", "coaming-init", "containerd-shim", "conmon"]
            .iter()
            .all(|name| !is_left(name))
            .then_some(()))
    })
}

/// Runs the probe's image to its end, under a name that is free again afterwards.
pub(crate) fn once(
    engine: &Engine,
    by: By,
    options: &[&str],
    args: &[&str],
) -> Result<Output, Error> {
    let options = [&["--rm"], options].concat();
    engine.run(by, "once", images::PROBE, &options, args)
}

/// A container that stays.
#[track_caller]
pub(crate) fn stays(engine: &Engine, by: By, name: &str, options: &[&str]) -> Result<(), Error> {
    let options = [&["--detach"], options].concat();
    engine.run(by, name, images::PROBE, &options, &["sleep", "1000"])?.ok("run --detach").map(drop)
}

/// The capabilities of a set, as /proc/self/status has it; the process that prints it is the shell's child.
pub(crate) const BOUNDING: &[&str] = &["sh", "-c", "grep CapBnd: /proc/self/status"];

/// Whether a printed set has CAP_SYS_ADMIN.
#[track_caller]
pub(crate) fn has_sys_admin(output: &Output) -> bool {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    let set = output.stdout.split_whitespace().nth(1).unwrap_or_default();
    let set = u64::from_str_radix(set, 16).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    set & CAP_SYS_ADMIN != 0
}

#[track_caller]
pub(crate) fn says(text: impl AsRef<str>, parts: &[&str]) {
    for part in parts {
        assert!(text.as_ref().contains(part), "no {part:?} in: {}", text.as_ref());
    }
}

/// The records of all containers below `state`.
pub(crate) fn record(world: &World, state: &str) -> Result<Value, Error> {
    let text = world
        .run(["sh", "-c", &format!("cat {state}/containers/*/record.json")])?
        .ok("cat record")?
        .stdout;
    Ok(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

/// A packaged file, where it is to be.
pub(crate) fn place(engine: &Engine, from: &str, to: &str) -> Result<(), Error> {
    let file = format!("{}/../packaging/{from}", env!("CARGO_MANIFEST_DIR"));
    engine.world().write(to, std::fs::read_to_string(&file).unwrap(), 0o644)
}

/// The journal's lines of one event.
pub(crate) fn journal(engine: &Engine, event: &str) -> Result<Vec<Value>, Error> {
    let text = engine
        .world()
        .run(["/usr/libexec/coaming/coaming", "journal", "--output", "json"])?
        .ok("journal")?
        .stdout;
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    Ok(lines.filter(|line: &Value| line["event"] == event).collect())
}
