//! The sandbox's spec (containerd internal/cri/server/podsandbox, sandboxContainerSpec; kubelet
//! generatePodSandboxLinuxConfig).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::error::ManifestError;
use crate::pod::{SANDBOX_ID, Shared};
use crate::privileges::Privileges;
use crate::{Planned, Role, cgroups, container, identity, mounts, namespaces, profiles};

/// containerd's own lists, which the kubelet does not change for a sandbox (pkg/oci/spec.go).
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/proc/scsi",
];
const READONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

pub(crate) fn plan(pod: &Shared<'_>) -> Result<Planned, ManifestError> {
    let mut approximations = pod.approximations.clone();
    approximations
        .push("the pause image's user, command and environment are taken as usual".to_owned());
    let namespaces = namespaces::of_sandbox(pod);
    let privileges = Privileges::of_sandbox();
    let labels = profiles::se_linux(&pod.security.get("seLinuxOptions")?, &mut approximations)?;

    let mut process = Map::new();
    process.insert("user".to_owned(), identity::of_sandbox(pod)?);
    process.insert("args".to_owned(), json!(["/pause"]));
    process.insert(
        "env".to_owned(),
        json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]),
    );
    process.insert("cwd".to_owned(), json!("/"));
    process.insert("capabilities".to_owned(), privileges.sets());
    process.insert("noNewPrivileges".to_owned(), json!(privileges.no_new_privileges));

    let mut linux = Map::new();
    if let Some(mappings) = namespaces::mappings(pod) {
        linux.insert("uidMappings".to_owned(), mappings.clone());
        linux.insert("gidMappings".to_owned(), mappings);
    }
    linux.insert("sysctl".to_owned(), sysctls(pod)?);
    linux.insert("resources".to_owned(), cgroups::of_sandbox());
    linux.insert("cgroupsPath".to_owned(), json!(cgroups::path(pod, SANDBOX_ID)));
    linux.insert("namespaces".to_owned(), json!(namespaces.list));
    if !pod.privileged {
        // Whatever the pod names: its own profile is for its containers.
        let profile =
            profiles::runtime_default(pod, &privileges.capabilities, &mut approximations)?;
        linux.insert("seccomp".to_owned(), profile);
    }
    linux.insert("maskedPaths".to_owned(), json!(MASKED));
    linux.insert("readonlyPaths".to_owned(), json!(READONLY));
    if let Some((process_label, mount_label)) = labels {
        process.insert("selinuxLabel".to_owned(), json!(process_label));
        linux.insert("mountLabel".to_owned(), json!(mount_label));
    }

    let mut annotations = pod.annotations();
    annotations.insert("io.kubernetes.cri.container-type".to_owned(), json!("sandbox"));
    let log = format!("/var/log/pods/{}_{}_{}", pod.namespace, pod.name, pod.uid);
    annotations.insert("io.kubernetes.cri.sandbox-log-directory".to_owned(), json!(log));
    let mut spec = container::spec(process, true, mounts::of_sandbox(pod), annotations, linux);
    if !pod.host_network
        && let Value::Object(spec) = &mut spec
    {
        spec.insert("hostname".to_owned(), json!(pod.name));
    }
    Ok(Planned {
        name: "POD".to_owned(),
        role: Role::Sandbox,
        spec,
        joins: namespaces.joins,
        origins: BTreeMap::new(),
        approximations,
    })
}

/// `linux.sysctl`: the pod's, and containerd's own two for pods with a network of their own
/// (`enable_unprivileged_ports` and `enable_unprivileged_icmp`, on since containerd 2.0).
fn sysctls(pod: &Shared<'_>) -> Result<Value, ManifestError> {
    let mut sysctls = Map::new();
    for sysctl in pod.security.get("sysctls")?.items()? {
        let value = sysctl.get("value")?.string()?.unwrap_or_default();
        sysctls.insert(sysctl.get("name")?.name()?.to_owned(), json!(value));
    }
    if !pod.host_network {
        sysctls.entry("net.ipv4.ip_unprivileged_port_start").or_insert_with(|| json!("0"));
        if !pod.user_namespace {
            sysctls.entry("net.ipv4.ping_group_range").or_insert_with(|| json!("0 2147483647"));
        }
    }
    Ok(sysctls.into())
}
