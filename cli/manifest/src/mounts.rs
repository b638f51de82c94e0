//! Mounts, in containerd's order (internal/cri/opts, withMounts; pkg/oci/mounts.go; the kubelet's
//! makeMounts in pkg/kubelet/kubelet_pods.go).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::Role;
use crate::error::ManifestError;
use crate::field::Field;
use crate::pod::{SANDBOX_ID, Shared};
use crate::service_account;
use crate::volumes::PODS;

/// A bind mount.
#[derive(Debug)]
pub(crate) struct Mount {
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) options: Vec<&'static str>,
}

/// A container's mounts, and how its root is to propagate them.
pub(crate) struct Mounts {
    pub(crate) list: Vec<Value>,
    /// What is behind each source of a `subPath`.
    pub(crate) origins: BTreeMap<String, String>,
    pub(crate) propagation: Option<&'static str>,
}

/// The sandbox's files as containerd keeps them.
const STATE: &str = "/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes";
const SHM: &str = "/run/containerd/io.containerd.grpc.v1.cri/sandboxes";

/// The mounts of a container.
pub(crate) fn of_container(
    pod: &Shared<'_>,
    container: &Field<'_>,
    role: Role,
    privileged: bool,
    approximations: &mut Vec<String>,
) -> Result<Mounts, ManifestError> {
    let name = container.get("name")?.name()?;
    let read_only_root = container.at(&["securityContext", "readOnlyRootFilesystem"])?.is_true()?;
    let mut binds = Vec::new();
    let mut propagation = None;
    let mut origins = BTreeMap::new();
    for (index, field) in container.get("volumeMounts")?.items()?.iter().enumerate() {
        let mount = volume_mount(pod, name, field, index, (&mut origins, approximations))?;
        if mount.options.contains(&"rshared") {
            propagation = Some("rshared");
        } else if mount.options.contains(&"rslave") {
            propagation = propagation.or(Some("rslave"));
        }
        binds.push(mount);
    }
    binds.extend(service_account::token(pod, container, role, approximations)?);
    of_kubelet(pod, container, name, &mut binds)?;
    of_containerd(pod, read_only_root, &mut binds);
    binds.sort_by_key(|bind| clean(&bind.destination).matches('/').count());
    if !container.get("volumeDevices")?.is_absent() {
        approximations.push("block devices (volumeDevices) are not known and left out".to_owned());
    }
    let places: BTreeSet<String> = binds.iter().map(|bind| clean(&bind.destination)).collect();
    let of_cgroup = json!({
        "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", writable(privileged)],
    });
    let list = defaults(privileged)
        .into_iter()
        .chain([of_cgroup])
        .filter(|mount| {
            let place = mount["destination"].as_str().unwrap_or_default();
            let below_dev = places.contains("/dev") && place.starts_with("/dev/");
            !places.contains(place) && !below_dev
        })
        .chain(binds.iter().map(Mount::to_oci))
        .collect();
    Ok(Mounts { list, origins, propagation })
}

/// The mounts of the sandbox (containerd internal/cri/server/podsandbox).
pub(crate) fn of_sandbox(pod: &Shared<'_>) -> Vec<Value> {
    let options = || vec!["rbind", "ro", "nosuid", "nodev", "noexec"];
    let bind = |source: String, destination: &str| {
        Mount { source, destination: destination.to_owned(), options: options() }.to_oci()
    };
    // Its sysfs is as writable as that of its containers (containerd 2.0 and later).
    let mut list: Vec<Value> = defaults(pod.privileged)
        .into_iter()
        .filter(|mount| mount["destination"] != "/dev/shm")
        .collect();
    list.push(bind(shm(pod), "/dev/shm"));
    list.push(bind(format!("{STATE}/{SANDBOX_ID}/resolv.conf"), "/etc/resolv.conf"));
    list
}

fn volume_mount(
    pod: &Shared<'_>,
    container: &str,
    field: &Field<'_>,
    index: usize,
    (origins, approximations): (&mut BTreeMap<String, String>, &mut Vec<String>),
) -> Result<Mount, ManifestError> {
    let volume = pod.volumes.named(&field.get("name")?)?;
    let place = field.get("mountPath")?.name()?;
    let read_only = volume.read_only || field.get("readOnly")?.is_true()?;
    let recursive = field.get("recursiveReadOnly")?;
    let recursive = match recursive.string()? {
        None | Some("Disabled") => false,
        Some("Enabled") => true,
        // The node may not be able to; then it is not.
        Some("IfPossible") => false,
        Some(other) => {
            return Err(recursive
                .wrong(format!("unknown value {other:?} (known: Disabled, IfPossible, Enabled)")));
        }
    };
    let propagation = field.get("mountPropagation")?;
    let propagation = match propagation.string()? {
        None | Some("None") => "rprivate",
        Some("HostToContainer") => "rslave",
        Some("Bidirectional") => "rshared",
        Some(other) => {
            return Err(propagation.wrong(format!(
                "unknown value {other:?} (known: None, HostToContainer, Bidirectional)"
            )));
        }
    };
    let below = [field.get("subPath")?.string()?, field.get("subPathExpr")?.string()?];
    let below = below.into_iter().flatten().find(|path| !path.is_empty());
    approximations.extend(volume.approximation.clone());
    let source = match below {
        None => volume.path.clone(),
        Some(below) => {
            let origin = format!("{}/{below}", volume.path.trim_end_matches('/'));
            if volume.host_path.is_some() {
                approximations.push(format!("{place} is {origin} of the node by a subPath"));
            }
            let source =
                format!("{PODS}/{}/volume-subpaths/{}/{container}/{index}", pod.uid, volume.name);
            origins.insert(source.clone(), origin);
            source
        }
    };
    let access = match (read_only, recursive) {
        (true, true) => "rro",
        (true, false) => "ro",
        (false, _) => "rw",
    };
    let root = if place.starts_with('/') { "" } else { "/" };
    Ok(Mount {
        source,
        destination: format!("{root}{place}"),
        options: vec!["rbind", propagation, access],
    })
}

/// What the kubelet mounts besides volumes: the hosts file and the termination log.
fn of_kubelet(
    pod: &Shared<'_>,
    container: &Field<'_>,
    name: &str,
    binds: &mut Vec<Mount>,
) -> Result<(), ManifestError> {
    let folder = format!("{PODS}/{}", pod.uid);
    let mut add = |source: String, destination: &str| {
        binds.push(Mount {
            source,
            destination: destination.to_owned(),
            options: vec!["rbind", "rprivate", "rw"],
        });
    };
    let log = container.get("terminationMessagePath")?.string()?.unwrap_or("/dev/termination-log");
    let has_hosts = has(container, "/etc/hosts")?;
    if !has_hosts {
        add(format!("{folder}/etc-hosts"), "/etc/hosts");
    }
    if !log.is_empty() {
        add(format!("{folder}/containers/{name}/00000000"), log);
    }
    Ok(())
}

fn has(container: &Field<'_>, place: &str) -> Result<bool, ManifestError> {
    for mount in container.get("volumeMounts")?.items()? {
        if clean(mount.get("mountPath")?.name()?) == place {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The sandbox's files that containerd mounts into its containers, where nothing else is mounted there
/// (internal/cri/server, linuxContainerMounts).
fn of_containerd(pod: &Shared<'_>, read_only_root: bool, binds: &mut Vec<Mount>) {
    let access = if read_only_root { "ro" } else { "rw" };
    for (source, destination, access) in [
        (format!("{STATE}/{SANDBOX_ID}/hostname"), "/etc/hostname", access),
        (format!("{STATE}/{SANDBOX_ID}/hosts"), "/etc/hosts", access),
        (format!("{STATE}/{SANDBOX_ID}/resolv.conf"), "/etc/resolv.conf", access),
        (shm(pod), "/dev/shm", "rw"),
    ] {
        if !binds.iter().any(|bind| clean(&bind.destination) == destination) {
            binds.push(Mount {
                source,
                destination: destination.to_owned(),
                options: vec!["rbind", "rprivate", access],
            });
        }
    }
}

fn shm(pod: &Shared<'_>) -> String {
    if pod.host_ipc { "/dev/shm".to_owned() } else { format!("{SHM}/{SANDBOX_ID}/shm") }
}

fn writable(privileged: bool) -> &'static str {
    if privileged { "rw" } else { "ro" }
}

/// containerd's default mounts but `/run`, which its CRI plugin leaves out.
fn defaults(privileged: bool) -> Vec<Value> {
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": source, "options": options});
    vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", writable(privileged)]),
    ]
}

impl Mount {
    fn to_oci(&self) -> Value {
        json!({
            "destination": self.destination,
            "type": "bind",
            "source": self.source,
            "options": self.options,
        })
    }
}

/// A path without `.`, `..`, and slashes that say nothing (Go, path.Clean, of an absolute path).
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
