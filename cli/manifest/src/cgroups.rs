//! Limits of processor and memory, and the device cgroup (kubelet
//! pkg/kubelet/kuberuntime/kuberuntime_container_linux.go; containerd internal/cri/opts,
//! WithResources).

use serde_json::{Map, Value, json};

use crate::error::ManifestError;
use crate::field::Field;
use crate::pod::Shared;
use crate::quantity;

/// Microseconds over which a processor quota counts.
const PERIOD: i64 = 100_000;

/// `linux.resources` of a container.
pub(crate) fn resources(
    pod: &Shared<'_>,
    container: &Field<'_>,
    privileged: bool,
    approximations: &mut Vec<String>,
) -> Result<Value, ManifestError> {
    let limits = container.at(&["resources", "limits"])?;
    let requests = container.at(&["resources", "requests"])?;
    let cpu_limit = quantity::read(&limits.get("cpu")?, 1000)?.unwrap_or(0);
    let cpu_request = quantity::read(&requests.get("cpu")?, 1000)?.filter(|&milli| milli != 0);
    let shares = cpu_request.unwrap_or(cpu_limit).saturating_mul(1024) / 1000;
    let mut cpu = Map::new();
    cpu.insert("shares".to_owned(), json!(shares.clamp(2, 262_144)));
    if cpu_limit != 0 {
        let quota = cpu_limit.saturating_mul(PERIOD) / 1000;
        cpu.insert("quota".to_owned(), json!(quota.max(1000)));
    }
    cpu.insert("period".to_owned(), json!(PERIOD));
    let mut resources = Map::new();
    resources.insert("devices".to_owned(), json!([devices(privileged)]));
    if let Some(bytes) = quantity::read(&limits.get("memory")?, 1)?.filter(|&bytes| bytes != 0) {
        // Equal, so that nothing is swapped; where the node can limit swap.
        resources.insert("memory".to_owned(), json!({"limit": bytes, "swap": bytes}));
    }
    resources.insert("cpu".to_owned(), cpu.into());
    if pod.settings.cgroup_v2 {
        resources.insert("unified".to_owned(), json!({"memory.oom.group": "1"}));
    }
    for (name, _) in limits.entries()? {
        if name.starts_with("hugepages-") {
            approximations.push(format!("the limit of {name} is left out"));
        } else if name.contains('/') {
            approximations.push(format!(
                "{name} is a device plugin's: the devices, mounts, hooks and variables that it adds are not known"
            ));
        }
    }
    if privileged {
        approximations
            .push("the device nodes of a privileged container are the node's; left out".to_owned());
    }
    Ok(resources.into())
}

/// `linux.resources` of the sandbox.
pub(crate) fn of_sandbox() -> Value {
    json!({"devices": [devices(false)], "cpu": {"shares": 2}})
}

/// The rule of the device cgroup. The runtimes add the devices of every container.
fn devices(privileged: bool) -> Value {
    json!({"allow": privileged, "access": "rwm"})
}

/// `linux.cgroupsPath`, as with the systemd driver.
pub(crate) fn path(pod: &Shared<'_>, id: &str) -> String {
    format!("kubepods-pod{}.slice:cri-containerd:{id}", pod.uid.replace('-', "_"))
}
