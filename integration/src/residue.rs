//! What containers that are gone have left on their node.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::World;

/// What there is of one container.
pub fn of(world: &World, namespace: &str, id: &str) -> Vec<String> {
    let mut found = Vec::new();
    for folder in [
        "/run/containerd/io.containerd.runtime.v2.task",
        "/var/lib/containerd/io.containerd.runtime.v2.task",
        "/run/containerd/runc",
    ] {
        let path = format!("{folder}/{namespace}/{id}");
        if world.path(&path).symlink_metadata().is_ok() {
            found.push(path);
        }
    }
    let own = format!("/{namespace}/{id}");
    let mounts = fs::read_to_string(world.path("/proc/1/mountinfo")).unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    found.extend(
        points
            .filter(|point| point.contains(&format!("{own}/")) || point.ends_with(&own))
            .map(|point| format!("mount {point}")),
    );
    let groups = Path::new("/sys/fs/cgroup");
    let hierarchies = list(&world.path(groups));
    let paths = hierarchies.iter().map(|name| groups.join(name)).chain([groups.to_owned()]);
    found.extend(
        paths
            .map(|hierarchy| format!("{}{own}", hierarchy.display()))
            .filter(|path| world.path(path).exists())
            .map(|path| format!("cgroup {path}")),
    );
    found.extend(shims(world, namespace, id));
    found.extend(records(world, &own));
    let socket = socket(namespace, id);
    if world.path(&socket).symlink_metadata().is_ok() {
        found.push(format!("socket {socket}"));
    }
    found
}

/// Where the shim that was started for this container listens (containerd, `SocketAddress` of the shim package; the same
/// from 1.6 to 2.x).
fn socket(namespace: &str, id: &str) -> String {
    let name = format!("/run/containerd/containerd.sock/{namespace}/{id}");
    let hex: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("/run/containerd/s/{hex}")
}

/// The shims that were started for this container.
pub fn shims(world: &World, namespace: &str, id: &str) -> Vec<String> {
    let arguments = [format!("\0-namespace\0{namespace}\0"), format!("\0-id\0{id}\0")];
    let proc = world.path("/proc");
    list(&proc)
        .into_iter()
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|pid| {
            let line = fs::read_to_string(proc.join(&pid).join("cmdline")).ok()?;
            let is_it = arguments.iter().all(|argument| line.contains(argument.as_str()));
            let program = line.split('\0').next().unwrap_or_default();
            let program = program.rsplit('/').next().unwrap_or_default().to_owned();
            is_it.then(|| format!("process {pid} {program}"))
        })
        .collect()
}

/// coaming's own, of the bundle whose path ends so.
fn records(world: &World, bundle: &str) -> Vec<String> {
    let folder = "/run/coaming/containers";
    let mark = format!("{bundle}\"");
    list(&world.path(folder))
        .into_iter()
        .map(|key| format!("{folder}/{key}/record.json"))
        .filter(|path| world.read(path).is_ok_and(|record| record.contains(&mark)))
        .collect()
}

/// The names in a folder; none where there is no such folder.
pub fn list(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect()
}

/// What no single container's name tells: records, and sockets of shims and terminals of whomever. Empty when nothing runs.
pub fn of_all(world: &World) -> Vec<String> {
    ["/run/containerd/s", "/run/coaming/containers", "/run/coaming/launch", "/tmp"]
        .into_iter()
        .flat_map(|folder| {
            list(&world.path(folder)).into_iter().map(move |name| format!("{folder}/{name}"))
        })
        // containerd's own, of a checkpoint that failed.
        .filter(|path| !path.starts_with("/tmp/ctrd-checkpoint"))
        .collect()
}
