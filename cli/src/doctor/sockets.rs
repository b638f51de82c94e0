//! Containers that have a container manager's socket, by which they can start others past any policy for pods.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::records;

/// The sockets, and folders that hold them: a mount of one of these, or of a folder above, has it.
const SOCKETS: [&str; 8] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/k3s/containerd/containerd.sock",
    "/run/cri-dockerd.sock",
    "/var/run/dockershim.sock",
    "/var/snap/microk8s/common/run/containerd.sock",
];
/// The largest config.json that is read, in bytes.
const MOST: u64 = 8 * 1024 * 1024;

/// A sentence for each container that has one. What cannot be read is left out: this is information.
pub(super) fn mounted(state: &Path) -> Vec<String> {
    let Ok(records) = records::read_all(&state.join("containers")) else { return Vec::new() };
    let mut notes = Vec::new();
    for record in records.found {
        let Some(spec) = read(&Path::new(&record.bundle).join("config.json")) else { continue };
        let mounts = spec.get("mounts").and_then(Value::as_array);
        for source in mounts.into_iter().flatten().filter_map(|mount| mount.get("source")?.as_str())
        {
            if let Some(socket) = reaches(source) {
                notes.push(format!(
                    "container {} has {socket}, by a mount of {source}: it can start containers through this \
                     node's manager, each of which crosses coaming as any other, where the handler ends there",
                    record.id
                ));
            }
        }
    }
    notes
}

/// The socket that a mount of this place reaches.
fn reaches(source: &str) -> Option<&'static str> {
    // /var/run is a link to /run everywhere.
    let source =
        source.strip_prefix("/var").filter(|rest| rest.starts_with("/run")).unwrap_or(source);
    let source = source.trim_end_matches('/');
    SOCKETS.into_iter().find(|socket| {
        let path =
            socket.strip_prefix("/var").filter(|rest| rest.starts_with("/run")).unwrap_or(socket);
        path.strip_prefix(source).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

fn read(path: &Path) -> Option<Value> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_reached_by_itself_and_by_what_is_above_it() {
        for source in
            ["/run/docker.sock", "/var/run/docker.sock", "/run", "/var/run/", "/", "/run/crio"]
        {
            assert!(reaches(source).is_some(), "{source}");
        }
        for source in ["/run/docker", "/var", "/home", "/run/containerd/io", "tmpfs", "proc"] {
            assert_eq!(reaches(source).is_some(), source == "/var", "{source}");
        }
    }
}
