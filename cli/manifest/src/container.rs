//! A container's spec (containerd internal/cri/server, buildLinuxSpec and containerSpecOpts).

use serde_json::{Map, Value, json};

use crate::error::ManifestError;
use crate::field::Field;
use crate::pod::{SANDBOX_ID, Shared};
use crate::privileges::Privileges;
use crate::{Planned, Role, cgroups, environment, identity, mounts, namespaces, profiles};

/// What the kubelet has masked for `procMount: Default` (pkg/securitycontext/util.go).
const MASKED: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// What it has read-only.
const READONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub(crate) fn plan(
    pod: &Shared<'_>,
    container: &Field<'_>,
    role: Role,
) -> Result<Planned, ManifestError> {
    let name = container.get("name")?.name()?;
    let mut approximations = pod.approximations.clone();
    let notes = &mut approximations;
    let security = container.get("securityContext")?;
    let privileges = Privileges::of(container, notes)?;
    let privileged = privileges.privileged;
    let targets = match role {
        Role::Ephemeral => container.get("targetContainerName")?.string()?.unwrap_or_default(),
        _ => "",
    };
    let namespaces = namespaces::of_container(pod, privileged, !targets.is_empty());
    let mounts = mounts::of_container(pod, container, role, privileged, notes)?;
    let unmasked = privileged || is_unmasked(&security.get("procMount")?)?;
    let labels = profiles::se_linux(&pod.effective(container, "seLinuxOptions")?, notes)?;

    let mut process = environment::process(pod, container, notes)?;
    process.insert("user".to_owned(), identity::user(pod, container, notes)?);
    process.insert("capabilities".to_owned(), privileges.sets());
    process.insert("noNewPrivileges".to_owned(), json!(privileges.no_new_privileges));
    if let Some(profile) = profiles::app_armor(pod, container, name, privileged, notes)? {
        process.insert("apparmorProfile".to_owned(), json!(profile));
    }

    let mut linux = Map::new();
    if let Some(mappings) = namespaces::mappings(pod) {
        linux.insert("uidMappings".to_owned(), mappings.clone());
        linux.insert("gidMappings".to_owned(), mappings);
    }
    linux.insert("resources".to_owned(), cgroups::resources(pod, container, privileged, notes)?);
    linux.insert("cgroupsPath".to_owned(), json!(cgroups::path(pod, SANDBOX_ID)));
    linux.insert("namespaces".to_owned(), json!(namespaces.list));
    if let Some(seccomp) = profiles::seccomp(pod, container, &privileges, notes)? {
        linux.insert("seccomp".to_owned(), seccomp);
    }
    if let Some(propagation) = mounts.propagation {
        linux.insert("rootfsPropagation".to_owned(), json!(propagation));
    }
    if !unmasked {
        linux.insert("maskedPaths".to_owned(), json!(MASKED));
        linux.insert("readonlyPaths".to_owned(), json!(READONLY));
    }
    if let Some((process_label, mount_label)) = labels {
        process.insert("selinuxLabel".to_owned(), json!(process_label));
        linux.insert("mountLabel".to_owned(), json!(mount_label));
    }

    let mut annotations = pod.annotations();
    annotations.insert("io.kubernetes.cri.container-name".to_owned(), json!(name));
    annotations.insert("io.kubernetes.cri.container-type".to_owned(), json!("container"));
    if let Some(image) = container.get("image")?.string()? {
        annotations.insert("io.kubernetes.cri.image-name".to_owned(), json!(image));
        if !is_whole(image) {
            notes.push(format!(
                "policies see the image as {image}; containerd before 1.7 names it in full (docker.io/library/...)"
            ));
        }
    }
    notes.dedup();
    let read_only = security.get("readOnlyRootFilesystem")?.is_true()?;
    let spec = spec(process, read_only, mounts.list, annotations, linux);
    Ok(Planned {
        name: name.to_owned(),
        role,
        spec,
        joins: namespaces.joins,
        origins: mounts.origins,
        approximations,
    })
}

/// The parts of a spec, in containerd's order.
pub(crate) fn spec(
    process: Map<String, Value>,
    read_only_root: bool,
    mounts: Vec<Value>,
    annotations: Map<String, Value>,
    linux: Map<String, Value>,
) -> Value {
    let mut root = Map::new();
    root.insert("path".to_owned(), json!("rootfs"));
    if read_only_root {
        root.insert("readonly".to_owned(), json!(true));
    }
    json!({
        "ociVersion": "1.2.0",
        "process": process,
        "root": root,
        "mounts": mounts,
        "annotations": annotations,
        "linux": linux,
    })
}

fn is_unmasked(proc_mount: &Field<'_>) -> Result<bool, ManifestError> {
    match proc_mount.string()? {
        None | Some("Default") => Ok(false),
        Some("Unmasked") => Ok(true),
        Some(other) => {
            Err(proc_mount.wrong(format!("unknown value {other:?} (known: Default, Unmasked)")))
        }
    }
}

/// Whether an image reference names its registry.
fn is_whole(image: &str) -> bool {
    image.split_once('/').is_some_and(|(host, _)| host.contains(['.', ':']) || host == "localhost")
}
