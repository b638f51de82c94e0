//! What is known of a container, and who says so.
//!
//! Everything a client asserts (annotations above all) may select a *tighter* policy freely, and may
//! be forged by whoever talks to the runtime directly; only root-owned files loosen anything.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::spec::view;

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

/// The facts by which policies are selected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Facts {
    /// The container's id, as the runtime was told.
    pub id: String,
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
    /// Sandbox or workload.
    pub container_type: ContainerType,
    /// Whether the spec creates or joins a user namespace.
    pub user_namespace: bool,
}

/// Annotation keys by which containerd (1.5 to 2.x, `internal/cri/annotations`) and CRI-O
/// (`pkg/annotations`) say what a container is, in that order of trust.
const NAMESPACE: &[&str] = &["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"];
const POD: &[&str] = &["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"];
const POD_UID: &[&str] = &["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"];
const CONTAINER: &[&str] = &["io.kubernetes.cri.container-name", "io.kubernetes.container.name"];
const IMAGE: &[&str] = &["io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName"];
const TYPE: &[&str] = &["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"];

impl Facts {
    /// Reads the facts that a container's spec carries.
    pub fn of(id: &str, spec: &Value) -> Facts {
        let annotation = |keys: &[&str]| {
            let annotations = spec.get("annotations")?;
            let mut values: Vec<String> = Vec::new();
            for value in keys.iter().filter_map(|key| annotations.get(*key)?.as_str()) {
                if !values.iter().any(|known| known == value) {
                    values.push(value.to_owned());
                }
            }
            let mut values = values.into_iter();
            let value = values.next()?;
            Some(Fact { value, others: values.collect(), asserted_by: AssertedBy::Client })
        };
        // Fewer policies are for sandboxes.
        let sandbox =
            annotation(TYPE).is_some_and(|fact| fact.values().all(|kind| kind == "sandbox"));
        Facts {
            id: id.to_owned(),
            namespace: annotation(NAMESPACE),
            pod: annotation(POD),
            pod_uid: annotation(POD_UID),
            container: annotation(CONTAINER),
            image: annotation(IMAGE),
            container_type: if sandbox { ContainerType::Sandbox } else { ContainerType::Container },
            user_namespace: has_user_namespace(spec),
        }
    }
}

/// Whether the spec asks for a user namespace of its own or joins one.
pub fn has_user_namespace(spec: &Value) -> bool {
    view::items(spec, "linux.namespaces")
        .iter()
        .any(|namespace| view::text(namespace, "type") == Some("user"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_containerd_and_crio_annotations() {
        let containerd = Facts::of(
            "c1",
            &json!({"annotations": {
                "io.kubernetes.cri.container-type": "sandbox",
                "io.kubernetes.cri.sandbox-namespace": "payments",
                "io.kubernetes.cri.sandbox-name": "ledger-0",
            }, "linux": {"namespaces": [{"type": "pid"}, {"type": "user"}]}}),
        );
        assert_eq!(containerd.container_type, ContainerType::Sandbox);
        assert_eq!(containerd.namespace.unwrap().value, "payments");
        assert_eq!(containerd.pod.unwrap().asserted_by, AssertedBy::Client);
        assert!(containerd.user_namespace);

        let crio = Facts::of(
            "c2",
            &json!({"annotations": {
                "io.kubernetes.cri-o.ContainerType": "container",
                "io.kubernetes.container.name": "app",
            }}),
        );
        assert_eq!(crio.container_type, ContainerType::Container);
        assert_eq!(crio.container.unwrap().value, "app");
        assert!(crio.namespace.is_none() && !crio.user_namespace);
    }
}
