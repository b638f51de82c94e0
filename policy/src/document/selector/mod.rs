//! `match`: to which containers a policy applies.

mod applies;
mod covers;
mod digest;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::controls::glob::Glob;
use crate::expression::FactsExpression;
use crate::facts::{ContainerType, Door, Facts};

use applies::Applies;
pub use digest::Digest;

/// A container is selected when every field that is given has an entry which matches. Left out, a
/// field matches everything; a policy without `match` applies to every workload container.
///
/// Namespace, pod, container, image and the container's type are annotations. Through CRI the runtime
/// sets them from the client's request, in which the type cannot be forged but the rest can; a client
/// of containerd, Docker or Podman can set them all, and so avoid a policy that it would otherwise
/// meet. The built-in floor applies whatever is said, and so does a policy whose `match` lists both
/// container types and nothing else. Who asserts each fact, and under which runtime it is known:
/// docs/selection.md.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// Kubernetes namespaces, as globs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<Glob>>,
    /// Kubernetes namespaces to which the policy does not apply, as globs. A container of which no
    /// namespace is known, or of which annotations tell several that are not all exempt, is not exempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except_namespaces: Option<Vec<Glob>>,
    /// Pod names, as globs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Vec<Glob>>,
    /// Uids of pods, as they are written in `metadata.uid`.
    #[serde(default, rename = "podUIDs", skip_serializing_if = "Option::is_none")]
    pub pod_uids: Option<BTreeSet<String>>,
    /// Container names within the pod, as globs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<Vec<Glob>>,
    /// Image references as they were asked for, as globs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<Glob>>,
    /// Image references to which the policy does not apply, as globs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except_images: Option<Vec<Glob>>,
    /// Digests of images, as `sha256:<hex>`: the one in the reference that was asked for, and under
    /// CRI-O the image's id and its digests in repositories too. Under containerd none is known of an
    /// image that was asked for by a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digests: Option<BTreeSet<Digest>>,
    /// Names by which the wrapper is called, as globs: the names of `[runtimes]` in the node's
    /// configuration, to which the handlers of runtime classes are bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtimes: Option<Vec<Glob>>,
    /// Names of the wrapper to which the policy does not apply, as globs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub except_runtimes: Option<Vec<Glob>>,
    /// Container types. Default: `[container]`, so that a policy for a program's files does not keep
    /// the pod's sandbox (the pause container) from starting.
    #[serde(default = "workloads")]
    pub container_types: BTreeSet<ContainerType>,
    /// `true`: containers with a user namespace of their own, in which no id is the host's root
    /// (Kubernetes: `hostUsers: false`). `false`: all others. Left out: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_namespace: Option<bool>,
    /// Whether it asks to be privileged, by the marks that the control `privileged` goes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// Whether it asks for the host's network namespace (Kubernetes: `hostNetwork`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_network: Option<bool>,
    /// Whether it asks for the host's PID namespace (`hostPID`).
    #[serde(default, rename = "hostPID", skip_serializing_if = "Option::is_none")]
    pub host_pid: Option<bool>,
    /// Whether it asks for the host's IPC namespace (`hostIPC`).
    #[serde(default, rename = "hostIPC", skip_serializing_if = "Option::is_none")]
    pub host_ipc: Option<bool>,
    /// Annotations of the OCI spec: for each key, globs of which one matches the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, Vec<Glob>>>,
    /// Labels of the pod: for each key, globs of which one matches the value. Of workloads no runtime
    /// passes them on; where a label is not known, the policy applies, and a waiver does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, Vec<Glob>>>,
    /// How the request comes in: `create`, `exec`, `update`. Left out: through every door, and an exec
    /// is held to what was in force when its container was created too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doors: Option<BTreeSet<Door>>,
    /// An expression of CEL over the facts, such as `podNamespace.startsWith("pay") && !userNamespace`. One
    /// that cannot be evaluated selects a policy, and no waiver. Variables, functions and limits:
    /// docs/selection.md.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<FactsExpression>,
}

/// A list that may be given.
type Globs<'a> = Option<&'a Vec<Glob>>;

fn workloads() -> BTreeSet<ContainerType> {
    BTreeSet::from([ContainerType::Container])
}

impl Match {
    /// The selector of a policy that has none.
    pub fn workloads() -> Match {
        Match { container_types: workloads(), ..Match::default() }
    }

    /// Whether the container is selected. A fact that is not known matches no list: a policy for a
    /// namespace does not apply to a container outside Kubernetes. Where annotations contradict each
    /// other, one that matches is enough.
    pub fn selects(&self, facts: &Facts) -> bool {
        self.applies(facts) != Applies::No
    }

    /// Whether it is, whichever of contradicting annotations is true: for what loosens.
    pub fn selects_for_certain(&self, facts: &Facts) -> bool {
        self.applies(facts) == Applies::Yes
    }

    /// Why the expression could not be evaluated, where everything else selects the container.
    pub fn fault(&self, facts: &Facts) -> Option<String> {
        applies::fault(self, facts)
    }

    /// The lists of globs that the container must match, by the names of their fields.
    pub fn lists(&self) -> [(&'static str, Globs<'_>); 5] {
        [
            ("namespaces", self.namespaces.as_ref()),
            ("pods", self.pods.as_ref()),
            ("containers", self.containers.as_ref()),
            ("images", self.images.as_ref()),
            ("runtimes", self.runtimes.as_ref()),
        ]
    }

    /// The lists of globs that exempt, with the list that each takes from.
    pub fn exemptions(&self) -> [(&'static str, Globs<'_>, Globs<'_>); 3] {
        [
            ("exceptNamespaces", self.except_namespaces.as_ref(), self.namespaces.as_ref()),
            ("exceptImages", self.except_images.as_ref(), self.images.as_ref()),
            ("exceptRuntimes", self.except_runtimes.as_ref(), self.runtimes.as_ref()),
        ]
    }

    /// Whether it may answer otherwise for another door.
    pub fn tells_doors_apart(&self) -> bool {
        self.doors.is_some() || self.names("door")
    }

    /// Whether it may answer otherwise for a pod with other labels.
    pub fn goes_by_labels(&self) -> bool {
        self.labels.is_some() || self.names("labels")
    }

    /// Whether its expression names a variable.
    fn names(&self, variable: &str) -> bool {
        self.expression.as_ref().is_some_and(|given| given.variables().contains(&variable))
    }
}
