//! Podman in a world.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Engine, packaged};
use crate::Error;

const STORAGE: &str = "[storage]\ndriver = \"overlay\"\nrunroot = \"/run/containers/storage\"\n\
                       graphroot = \"/var/lib/containers/storage\"\n";

/// Writes containers.conf: what a machine without systemd needs, the stock runtime, and the packaged drop-in.
///
/// # Errors
/// The file system's.
pub(super) fn configure(engine: &Engine) -> Result<(), Error> {
    let (world, config) = (&engine.world, engine.config);
    // Set-user-ID root: what gives an ordinary user his subordinate uids.
    for name in ["newuidmap", "newgidmap"] {
        world.install(
            config.folder().join("bin").join(name),
            Path::new("/usr/bin").join(name),
            0o4755,
        )?;
    }
    let folder = config.folder();
    let bin = folder.join("bin");
    let seccomp = folder.join("share/usr/seccomp.json");
    let text = format!(
        "[containers]\nseccomp_profile = {seccomp:?}\ninit_path = {:?}\npids_limit = 0\ndefault_ulimits = []\n\
         [engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
         conmon_path = [{:?}]\nhelper_binaries_dir = [{bin:?}]\nruntime = \"{stock}\"\n\
         [engine.runtimes]\n{stock} = [{:?}]\n",
        "/usr/libexec/podman/catatonit",
        bin.join("conmon"),
        config.runtime.path(),
        stock = config.stock_name(),
    );
    world.install(bin.join("catatonit"), "/usr/libexec/podman/catatonit", 0o755)?;
    world.write("/etc/containers/containers.conf", text, 0o644)?;
    let policy = folder.join("share/etc/policy.json");
    let policy = fs::read(&policy).map_err(Error::io("read", policy.display()))?;
    world.write("/etc/containers/policy.json", policy, 0o644)?;
    world.write("/etc/containers/storage.conf", STORAGE, 0o644)?;
    let mut drop_ins = vec!["coaming.conf"];
    drop_ins.extend(config.is_default.then_some("coaming-default-runtime.conf"));
    for name in drop_ins {
        let inside = format!("/etc/containers/containers.conf.d/{name}");
        world.write(inside, packaged(&format!("podman/{name}"))?, 0o644)?;
    }
    // An overlay cannot be the upper layer of another.
    world.run(["mkdir", "-p", "/var/lib/containers"])?.ok("mkdir")?;
    world
        .run(["mount", "-t", "tmpfs", "-o", "mode=711", "tmpfs", "/var/lib/containers"])?
        .ok("mount")
        .map(drop)
}

pub(super) fn client(command: &mut Command) {
    // What it says of cgroup v1 belongs to the machine.
    command.args(["HOME=/root", "PODMAN_IGNORE_CGROUPSV1_WARNING=1", "podman"]);
}
