//! Kubernetes manifests as a node would see them: for each pod the OCI specs that the kubelet and
//! containerd's CRI plugin would make, the sandbox's and each container's.
//!
//! Pure: nothing is read but the text that is given. What a manifest does not say (what the image
//! asks for, what admission and the node add) is taken as [`Settings`] say, and each thing that is
//! only approximated is listed in words beside the spec it concerns.
//!
//! Sources: the kubelet's `pkg/kubelet/kuberuntime` and `pkg/kubelet/kubelet_pods.go` (Kubernetes
//! 1.30 and later), containerd's `internal/cri/server` and `internal/cri/opts` (2.x).

mod cgroups;
mod container;
mod environment;
mod error;
mod field;
#[cfg(test)]
mod hostile;
mod identity;
mod mounts;
mod namespaces;
mod pod;
mod privileges;
mod profiles;
mod quantity;
mod read;
mod sandbox;
mod service_account;
mod settings;
#[cfg(test)]
mod tests;
mod volumes;
mod workload;

use std::collections::BTreeMap;

use serde_json::Value;

pub use error::ManifestError;
pub use read::{MAX_BYTES, MAX_PODS, read, read_with};
pub use settings::{Image, Settings};

/// What a file of manifests holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifests {
    /// The pods, those of workloads (a Deployment's template) among them, in the order of the file.
    pub pods: Vec<Pod>,
    /// What was not looked at, in words: objects that make no pods, pods for Windows.
    pub passed_over: Vec<String>,
}

/// A pod, and what a node makes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pod {
    /// The kind of the object that it comes from: `Pod`, `Deployment`...
    pub kind: String,
    /// The name of that object.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its labels, but for those that a controller or an admission webhook adds.
    pub labels: BTreeMap<String, String>,
    /// The runtime class that it asks for.
    pub runtime_class: Option<String>,
    /// The sandbox first, then init, app and ephemeral containers in the order of the manifest.
    pub containers: Vec<Planned>,
}

/// A container as a node would create it.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Its name in the pod; `POD` for the sandbox, as the kubelet's logs call it.
    pub name: String,
    /// What it is in the pod.
    pub role: Role,
    /// The OCI runtime spec (`config.json`).
    pub spec: Value,
    /// What is behind each path by which the spec joins a namespace.
    pub joins: BTreeMap<String, Behind>,
    /// What is behind each source of a mount that the kubelet binds for a `subPath`: its path on the node.
    pub origins: BTreeMap<String, String>,
    /// In what the spec may be otherwise on a real node, in words.
    pub approximations: Vec<String>,
}

/// What a container is in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The pause container, whose namespaces the others join.
    Sandbox,
    /// An init container, sidecars (`restartPolicy: Always`) among them.
    Init,
    /// An app container.
    App,
    /// An ephemeral container (`kubectl debug`).
    Ephemeral,
}

impl Role {
    /// The role in a word.
    pub fn name(self) -> &'static str {
        match self {
            Role::Sandbox => "sandbox",
            Role::Init => "init",
            Role::App => "app",
            Role::Ephemeral => "ephemeral",
        }
    }
}

/// What a namespace path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// The node's own namespace.
    Host,
    /// The pod's.
    Pod,
}

/// A pod that is given as a JSON value: a `Pod` object, with or without `apiVersion` and `kind`.
///
/// # Errors
/// [`ManifestError::Wrong`], with the place of a field of the wrong type.
pub fn pod(value: &Value, settings: &Settings) -> Result<Pod, ManifestError> {
    let root = field::Field::root(value, "");
    pod::plan(&workload::Workload::of_pod(root)?, settings)
}
