//! A world with one containerd and no configuration, `coaming install` in it, and what its files are.

use coaming_integration::{Containerd, Error, World};
use serde_json::Value;

pub(crate) const CLI: &str = "/usr/libexec/coaming/coaming";
pub(crate) const CONFIG: &str = "/etc/containerd/config.toml";
/// The versions, each with its own ways to read files.
pub(crate) const ALL: [Containerd; 3] = [Containerd::V1_6, Containerd::V1_7, Containerd::V2];

/// A world in which this containerd is the one of PATH.
pub(crate) fn world(containerd: Containerd) -> Result<World, Error> {
    let world = World::new()?;
    world.install_coaming()?;
    // Whatever this machine has of its own.
    let line = format!(
        "ln -sf {} /usr/bin/containerd && ln -sf {} /usr/bin/runc",
        containerd.path().display(),
        containerd.suite().programs().join("runc").display()
    );
    world.run(["sh", "-c", &line])?.ok("ln")?;
    clear(&world)?;
    Ok(world)
}

/// Takes away all configuration.
pub(crate) fn clear(world: &World) -> Result<(), Error> {
    let line = "rm -rf /etc/containerd /var/lib/rancher /var/lib/coaming /etc/docker /etc/crio /etc/containers /etc/coaming/config.toml; mkdir /etc/containerd";
    world.run(["sh", "-c", line])?.ok("rm").map(drop)
}

/// Runs `coaming install`; its exit code and answer.
#[track_caller]
pub(crate) fn install(world: &World, arguments: &[&str]) -> Result<(i32, Value), Error> {
    let said = world.run([&[CLI, "install", "--output", "json"], arguments].concat())?;
    let value = serde_json::from_str(&said.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said:?}"));
    Ok((said.code, value))
}

/// What became of the one manager that was asked for.
#[track_caller]
pub(crate) fn state(
    world: &World,
    arguments: &[&str],
    code: i32,
    expected: &str,
) -> Result<Value, Error> {
    let (found, answer) = install(world, arguments)?;
    assert_eq!(answer["runtimes"][0]["state"], expected, "{arguments:?}: {answer:#}");
    assert_eq!(found, code, "{arguments:?}: {answer:#}");
    Ok(answer["runtimes"][0].clone())
}

/// Every file and folder that is anybody's: names, kinds, modes, owners, targets of links, and of files times and digests.
pub(crate) fn files(world: &World) -> Result<String, Error> {
    let line = "for folder in /etc/containerd /etc/docker /etc/crio /etc/containers /etc/coaming /var/lib/rancher /var/lib/coaming; do \
                find $folder -type d -printf '%p %y %m %U:%G\\n' -o -printf '%p %y %m %U:%G %T@ %l\\n' 2>/dev/null; \
                find $folder -type f -exec sha256sum {} + 2>/dev/null; done | sort";
    Ok(world.run(["sh", "-c", line])?.stdout)
}

/// What containerd makes of a file.
#[track_caller]
pub(crate) fn dump(world: &World, config: &str) -> Result<String, Error> {
    Ok(world.run(["containerd", "--config", config, "config", "dump"])?.ok("config dump")?.stdout)
}

/// A dump without a handler, and without the list of files that were read; and the handler.
pub(crate) fn apart(dump: &str, handler: &str) -> (Vec<String>, Vec<String>) {
    let mut is_handler = false;
    let (mut rest, mut own) = (Vec::new(), Vec::new());
    let (heading, below) = (format!(".runtimes.{handler}]"), format!(".runtimes.{handler}."));
    for line in dump.lines() {
        let text = line.trim();
        if text.starts_with('[') {
            is_handler = text.ends_with(&heading) || text.contains(&below);
        }
        if is_handler {
            own.push(text.to_owned());
        } else if !text.starts_with("imports = ") && !text.is_empty() {
            rest.push(text.to_owned());
        }
    }
    (rest, own)
}
