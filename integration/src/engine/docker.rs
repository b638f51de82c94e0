//! dockerd in a world.

use std::process::Command;

use serde_json::{Value, json};

use super::{Engine, packaged};
use crate::{Error, Suite, wait_for};

const SOCKET: &str = "unix:///run/docker.sock";
const LOG: &str = "/run/dockerd.log";
const PID_FILE: &str = "/run/docker.pid";

/// Writes daemon.json: the packaged one, and the stock runtime beside it.
///
/// # Errors
/// The file system's.
pub(super) fn configure(engine: &Engine) -> Result<(), Error> {
    let (world, config) = (&engine.world, engine.config);
    let file = match config.is_default {
        true => "docker/daemon-default-runtime.json",
        false => "docker/daemon.json",
    };
    let mut daemon: Value = serde_json::from_str(&packaged(file)?)
        .map_err(|error| Error::malformed(file)(error.to_string()))?;
    let runtimes = daemon.get_mut("runtimes").and_then(Value::as_object_mut);
    let runtimes = runtimes.ok_or_else(|| Error::malformed(file)("no runtimes".to_owned()))?;
    runtimes.insert(config.stock_name().to_owned(), json!({"path": config.runtime.path()}));
    world.write("/etc/docker/daemon.json", daemon.to_string(), 0o644)?;
    world.install(config.folder().join("bin/catatonit"), "/usr/bin/docker-init", 0o755)?;
    // An overlay cannot be the upper layer of another.
    world.run(["mkdir", "-p", "/var/lib/docker"])?.ok("mkdir")?;
    world
        .run(["mount", "-t", "tmpfs", "-o", "mode=711", "tmpfs", "/var/lib/docker"])?
        .ok("mount")
        .map(drop)
}

/// Starts the daemon and waits until it answers.
///
/// # Errors
/// When it does not; the error holds its log.
pub(super) fn start(engine: &Engine) -> Result<(), Error> {
    let path = engine.config.path();
    // One bridge less, and no rules for packets: containers have no network here, or the node's.
    // The default, -500, takes CAP_SYS_RESOURCE; later daemons leave their own score be.
    let score = ["--oom-score-adjust=0"];
    let score = score.iter().filter(|_| engine.config.suite == Suite::Bookworm);
    let words = [
        "dockerd",
        "--init-path=/usr/bin/docker-init",
        "--host",
        SOCKET,
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        "--storage-driver=overlay2",
    ];
    engine.world.spawn(LOG, &path, words.iter().chain(score))?;
    let answers = || Ok(engine.call(["version"])?.success().then_some(()));
    wait_for("dockerd", answers).map_err(|_| Error::NotReady {
        what: engine.config.to_string(),
        seconds: crate::PATIENCE.as_secs(),
        log: engine.world.read(LOG).unwrap_or_default(),
    })
}

/// Ends the daemon.
///
/// # Errors
/// When it does not end.
pub(super) fn stop(engine: &Engine, signal: &str) -> Result<(), Error> {
    let pid = engine.world.read(PID_FILE)?.trim().to_owned();
    engine.world.kill(signal, [&pid])?.ok("kill dockerd")?;
    let folder = engine.world.path("/proc").join(&pid);
    wait_for("dockerd's end", || Ok((!folder.exists()).then_some(())))
}

pub(super) fn client(command: &mut Command) {
    command.args(["HOME=/root", "docker", "--host", SOCKET]);
}
