//! What is known of a container, and who says so.
//!
//! Everything a client asserts (annotations above all) may select a *tighter* policy freely, and may
//! be forged by whoever talks to the runtime directly; only root-owned files loosen anything.

mod read;
mod told;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use read::has_user_namespace;
pub(crate) use read::is_sha256;
pub use told::Told;

/// Who vouches for a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AssertedBy {
    /// An annotation, set by the CRI runtime from its client's request.
    Client,
    /// The OCI spec itself: it is so because the runtime will make it so.
    Spec,
    /// A root-owned file of this node.
    Node,
}

/// A fact with who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fact {
    /// What is said.
    pub value: String,
    /// What else is said, by the keys of another CRI implementation. CRI-O hands on what a pod's author
    /// annotates, the keys that containerd keeps for itself among it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// Who says it.
    pub asserted_by: AssertedBy,
}

impl Fact {
    /// Everything that is said. What holds of some of it selects a policy; what loosens must hold of all.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.value).chain(&self.others).map(String::as_str)
    }

    /// What is said, where nothing else is.
    pub fn undisputed(&self) -> Option<&str> {
        self.others.is_empty().then_some(&self.value)
    }
}

/// Whether the container is a pod's sandbox (the pause container) or one of its workloads.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum ContainerType {
    /// The pod's sandbox.
    Sandbox,
    /// Everything else: init, app, sidecar, ephemeral, and containers outside Kubernetes.
    Container,
}

/// How a request came in.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Door {
    /// A container is created (OCI `create`, and `run`, which creates and starts).
    #[default]
    Create,
    /// A process is started in a container that runs.
    Exec,
    /// A container that runs gets other limits.
    Update,
}

/// The facts by which policies are selected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Facts {
    /// The container's id, as the runtime was told.
    pub id: String,
    /// How the request came in.
    #[serde(default)]
    pub door: Door,
    /// Kubernetes namespace of the pod.
    pub namespace: Option<Fact>,
    /// Name of the pod.
    pub pod: Option<Fact>,
    /// Uid of the pod.
    pub pod_uid: Option<Fact>,
    /// Name of the container in the pod.
    pub container: Option<Fact>,
    /// Image reference, as requested.
    pub image: Option<Fact>,
    /// Digests by which the image is known: the one in the reference, and those that CRI-O tells.
    #[serde(default)]
    pub image_digests: Option<Fact>,
    /// The name that the wrapper was called by, which the node's configuration binds to a runtime.
    #[serde(default)]
    pub runtime: Option<Fact>,
    /// Sandbox or workload.
    pub container_type: ContainerType,
    /// Whether the spec creates or joins a user namespace in which no id is the host's root.
    pub user_namespace: bool,
    /// Whether the spec is that of a privileged container; `None` in the record of an older version.
    #[serde(default)]
    pub privileged: Option<bool>,
    /// Whether it is in the host's network namespace; `None` where that cannot be told.
    #[serde(default)]
    pub host_network: Option<bool>,
    /// Whether it is in the host's PID namespace.
    #[serde(default)]
    pub host_pid: Option<bool>,
    /// Whether it is in the host's IPC namespace.
    #[serde(default)]
    pub host_ipc: Option<bool>,
    /// The annotations of the spec; `None` where they are more than [`MAX_ANNOTATIONS`].
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
    /// The labels of its pod, as the runtime was told; `None` where nobody asked it, or it does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_labels: Option<BTreeMap<String, String>>,
}

/// The most that is kept of annotations, in bytes of keys and values.
pub const MAX_ANNOTATIONS: usize = 256 * 1024;

impl Facts {
    /// The same container, asked about through another door.
    #[must_use]
    pub fn through(&self, door: Door) -> Facts {
        Facts { door, ..self.clone() }
    }

    /// The same container, of whose pod the labels are known besides what its spec says.
    #[must_use]
    pub fn labelled(self, pod_labels: Option<BTreeMap<String, String>>) -> Facts {
        Facts { pod_labels: pod_labels.or(self.pod_labels), ..self }
    }
}
