//! How containers ask for more than they shall have: edits of containerd's default runtime spec.

use serde_json::{Value, json};

use crate::ground::FOLDER;

/// Nothing beyond the default.
pub(crate) fn nothing(_: &mut Value) {}

/// Every capability that this machine gives, and new privileges.
pub(crate) fn all_capabilities(spec: &mut Value) {
    let names: Vec<String> =
        own_capabilities().into_iter().map(|name| format!("CAP_{name}")).collect();
    for set in ["bounding", "effective", "permitted"] {
        spec["process"]["capabilities"][set] = json!(names);
    }
    new_privileges(spec);
}

/// Those that this machine gives, without `CAP_`: runc refuses what is beyond its own bounding set (a container's root has
/// less than a host's).
pub(crate) fn own_capabilities() -> Vec<String> {
    let Ok(own) = caps::read(None, caps::CapSet::Bounding) else {
        panic!("the bounding set of this process cannot be read")
    };
    let mut own: Vec<caps::Capability> = own.into_iter().collect();
    own.sort_by_key(caps::Capability::index);
    own.iter().map(|name| name.to_string().trim_start_matches("CAP_").to_owned()).collect()
}

/// All that a spec can give without the node's own namespaces and files.
pub(crate) fn everything(spec: &mut Value) {
    all_capabilities(spec);
    unmasked(spec);
    spec["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
    let Some(mounts) = spec["mounts"].as_array_mut() else { panic!("the spec has no mounts") };
    for mount in mounts.iter_mut().filter(|mount| mount["type"] == "sysfs") {
        mount["options"] = json!(["nosuid", "noexec", "nodev", "rw"]);
    }
    mounts.push(json!({
        "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "rw"],
    }));
}

pub(crate) fn new_privileges(spec: &mut Value) {
    spec["process"]["noNewPrivileges"] = json!(false);
}

/// The node's processes and network, and the right to trace and signal any of them.
pub(crate) fn node_namespaces(spec: &mut Value) {
    all_capabilities(spec);
    without_namespaces(spec, &["pid", "network", "ipc", "uts"]);
}

/// The same by the path of another process's namespaces.
pub(crate) fn node_namespaces_by_path(spec: &mut Value) {
    let Some(namespaces) = spec["linux"]["namespaces"].as_array_mut() else {
        panic!("the spec has no namespaces")
    };
    for namespace in namespaces {
        let file = match namespace["type"].as_str() {
            Some("network") => "net",
            Some("ipc") => "ipc",
            Some("uts") => "uts",
            _ => continue,
        };
        namespace["path"] = json!(format!("/proc/1/ns/{file}"));
    }
}

fn without_namespaces(spec: &mut Value, kinds: &[&str]) {
    // runc sets no name in a UTS namespace that is not the container's.
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("hostname");
    }
    if let Some(namespaces) = spec["linux"]["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| {
            !namespace["type"].as_str().is_some_and(|kind| kinds.contains(&kind))
        });
    }
}

pub(crate) fn node_network(spec: &mut Value) {
    all_capabilities(spec);
    without_namespaces(spec, &["network"]);
}

pub(crate) fn unmasked(spec: &mut Value) {
    spec["linux"]["maskedPaths"] = json!([]);
    spec["linux"]["readonlyPaths"] = json!([]);
}

pub(crate) fn limits(spec: &mut Value) {
    spec["process"]["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024},
    ]);
}

pub(crate) fn groups(spec: &mut Value) {
    spec["process"]["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [4242]});
}

pub(crate) fn sysctls(spec: &mut Value) {
    spec["linux"]["sysctl"] =
        json!({"net.ipv4.ip_default_ttl": "42", "kernel.shm_rmid_forced": "1"});
}

/// Device nodes, and a device cgroup that opens everything.
pub(crate) fn devices(spec: &mut Value) {
    spec["linux"]["devices"] = json!([
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438},
        {"path": "/dev/loop0", "type": "b", "major": 7, "minor": 0, "fileMode": 438},
    ]);
    spec["linux"]["resources"]["devices"] = json!([{"allow": true, "access": "rwm"}]);
}

/// The node's files, a proc without masks, and mounts that pass to the node.
pub(crate) fn mounts(spec: &mut Value) {
    let Some(mounts) = spec["mounts"].as_array_mut() else { panic!("the spec has no mounts") };
    mounts.extend([
        json!({"destination": "/node", "type": "bind", "source": FOLDER, "options": ["rbind", "rw"]}),
        json!({"destination": "/proc2", "type": "proc", "source": "proc", "options": []}),
        json!({"destination": "/ram", "type": "ramfs", "source": "ramfs", "options": []}),
    ]);
    kubelet(spec, &["rbind", "rw", "rshared"]);
}

/// What CRI asks for a volume with `mountPropagation: Bidirectional`.
fn kubelet(spec: &mut Value, options: &[&str]) {
    if let Some(mounts) = spec["mounts"].as_array_mut() {
        mounts.push(json!({
            "destination": "/shared", "type": "bind", "source": "/var/lib/kubelet", "options": options,
        }));
    }
    spec["linux"]["rootfsPropagation"] = json!("rshared");
}

/// Without a propagation of its own, a mount is what the root's makes of it.
pub(crate) fn shared_root(spec: &mut Value) {
    kubelet(spec, &["rbind", "rw"]);
}

/// A hook that leaves what it is told, the container's state, on the node.
pub(crate) fn hooks(spec: &mut Value) {
    spec["hooks"] = json!({"createRuntime": [{
        "path": "/bin/sh",
        "args": ["sh", "-c", format!("echo from the hook; cat >{FOLDER}/hook")],
    }]});
}

/// Annotations that crun obeys. Hooks are told all annotations, under any runtime.
pub(crate) fn annotations(spec: &mut Value) {
    hooks(spec);
    spec["annotations"] = json!({
        "run.oci.hooks.stdout": format!("{FOLDER}/hook-stdout"),
        "run.oci.escape": "yes",
        "io.kubernetes.escape": "harmless",
    });
}

pub(crate) fn personality(spec: &mut Value) {
    spec["linux"]["personality"] = json!({"domain": "LINUX32"});
}
