//! A pod: what all its containers share, and their specs one by one.

use std::collections::BTreeMap;

use crate::container;
use crate::error::ManifestError;
use crate::field::Field;
use crate::sandbox;
use crate::settings::Settings;
use crate::volumes::Volumes;
use crate::workload::Workload;
use crate::{Planned, Pod, Role};

/// The uid of a pod that has none yet.
const NO_UID: &str = "00000000-0000-0000-0000-000000000000";
/// The id of a sandbox and of a container that have none yet: containerd's have 64 digits.
pub(crate) const SANDBOX_ID: &str =
    "0000000000000000000000000000000000000000000000000000000000000000";

/// What a pod's containers share.
#[derive(Debug)]
pub(crate) struct Shared<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) name: &'a str,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) metadata: &'a Field<'a>,
    pub(crate) spec: &'a Field<'a>,
    /// `spec.securityContext`.
    pub(crate) security: Field<'a>,
    pub(crate) host_network: bool,
    pub(crate) host_pid: bool,
    pub(crate) host_ipc: bool,
    pub(crate) user_namespace: bool,
    pub(crate) shares_processes: bool,
    /// Whether some container is privileged; the sandbox is then, too.
    pub(crate) privileged: bool,
    pub(crate) volumes: Volumes,
    /// What is approximated of every container.
    pub(crate) approximations: Vec<String>,
}

/// Every container of a pod.
pub(crate) fn plan(workload: &Workload<'_>, settings: &Settings) -> Result<Pod, ManifestError> {
    let shared = Shared::of(workload, settings)?;
    let mut containers = vec![sandbox::plan(&shared)?];
    for (list, role) in [
        ("initContainers", Role::Init),
        ("containers", Role::App),
        ("ephemeralContainers", Role::Ephemeral),
    ] {
        for field in workload.spec.get(list)?.items()? {
            containers.push(container::plan(&shared, &field, role)?);
        }
    }
    if !containers.iter().any(|planned: &Planned| planned.role == Role::App) {
        return Err(workload
            .spec
            .get("containers")?
            .wrong("missing, and needed; add it".to_owned()));
    }
    Ok(Pod {
        kind: workload.kind.clone(),
        name: workload.name.clone(),
        namespace: shared.namespace.clone(),
        labels: labels(&workload.metadata)?,
        runtime_class: workload.spec.get("runtimeClassName")?.string()?.map(str::to_owned),
        containers,
    })
}

fn labels(metadata: &Field<'_>) -> Result<BTreeMap<String, String>, ManifestError> {
    let labels = metadata.get("labels")?;
    let texts = labels.entries()?.into_iter().map(|(key, value)| {
        let text = value.string()?.unwrap_or_default();
        Ok((key.to_owned(), text.to_owned()))
    });
    texts.collect()
}

impl<'a> Shared<'a> {
    fn of(workload: &'a Workload<'a>, settings: &'a Settings) -> Result<Self, ManifestError> {
        let spec = &workload.spec;
        let uid = workload.metadata.get("uid")?.string()?.unwrap_or(NO_UID).to_owned();
        let mut privileged = false;
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            for container in spec.get(list)?.items()? {
                privileged |= container.at(&["securityContext", "privileged"])?.is_true()?;
            }
        }
        let host_users = spec.get("hostUsers")?.boolean()?.unwrap_or(true);
        let mut approximations = Vec::new();
        if workload.made_up {
            approximations.push(format!(
                "the pod's name is its controller's to choose; one of the same form stands for it, {}",
                workload.pod_name
            ));
        }
        if let Some(class) = spec.get("runtimeClassName")?.string()? {
            approximations.push(format!(
                "the pod asks for the runtime class {class}; its handler may be no runtime that coaming stands before"
            ));
        }
        if !host_users {
            approximations.push(
                "the ids to which the user namespace is mapped are the kubelet's to choose"
                    .to_owned(),
            );
        }
        Ok(Shared {
            settings,
            name: &workload.pod_name,
            namespace: workload.namespace.clone().unwrap_or_else(|| settings.namespace.clone()),
            metadata: &workload.metadata,
            spec,
            security: spec.get("securityContext")?,
            host_network: spec.get("hostNetwork")?.is_true()?,
            host_pid: spec.get("hostPID")?.is_true()?,
            host_ipc: spec.get("hostIPC")?.is_true()?,
            user_namespace: !host_users,
            shares_processes: spec.get("shareProcessNamespace")?.is_true()?,
            privileged,
            volumes: Volumes::of(&spec.get("volumes")?, &uid)?,
            uid,
            approximations,
        })
    }

    /// The annotations that containerd's CRI plugin puts on every spec (internal/cri/annotations).
    pub(crate) fn annotations(&self) -> serde_json::Map<String, serde_json::Value> {
        [
            ("io.kubernetes.cri.sandbox-id", SANDBOX_ID),
            ("io.kubernetes.cri.sandbox-namespace", &self.namespace),
            ("io.kubernetes.cri.sandbox-uid", &self.uid),
            ("io.kubernetes.cri.sandbox-name", self.name),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect()
    }

    /// A field of a container's security context, or the pod's where the container has none.
    pub(crate) fn effective(
        &self,
        container: &Field<'a>,
        key: &str,
    ) -> Result<Field<'a>, ManifestError> {
        let own = container.at(&["securityContext", key])?;
        if own.is_absent() { self.security.get(key) } else { Ok(own) }
    }
}
