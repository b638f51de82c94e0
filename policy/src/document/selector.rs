//! `match`: to which containers a policy applies.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::controls::glob::Glob;
use crate::facts::{ContainerType, Fact, Facts};

/// A container is selected when every list that is given has an entry which matches. Left out, a
/// list matches everything; a policy without `match` applies to every workload container.
///
/// Namespace, pod, container, image and the container's type are annotations. Through CRI the runtime
/// sets them from the client's request, in which the type cannot be forged but the rest can; a client
/// of containerd, Docker or Podman can set them all, and so avoid a policy that it would otherwise
/// meet. The built-in floor applies whatever is said, and so does a policy whose `match` lists both
/// container types and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// Kubernetes namespaces, as globs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<Glob>>,
    /// Pod names, as globs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Vec<Glob>>,
    /// Container names within the pod, as globs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<Vec<Glob>>,
    /// Image references as they were asked for, as globs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<Glob>>,
    /// Container types. Default: `[container]`, so that a policy for a program's files does not keep
    /// the pod's sandbox (the pause container) from starting.
    #[serde(default = "workloads")]
    pub container_types: BTreeSet<ContainerType>,
}

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
        self.holds(facts, |globs, fact| fact.values().any(|value| matches(globs, value)))
    }

    /// Whether it is, whichever of contradicting annotations is true: for what loosens.
    pub fn selects_for_certain(&self, facts: &Facts) -> bool {
        self.holds(facts, |globs, fact| fact.values().all(|value| matches(globs, value)))
    }

    fn holds(&self, facts: &Facts, selects: impl Fn(&[Glob], &Fact) -> bool) -> bool {
        let lists = [
            (&self.namespaces, &facts.namespace),
            (&self.pods, &facts.pod),
            (&self.containers, &facts.container),
            (&self.images, &facts.image),
        ];
        self.container_types.contains(&facts.container_type)
            && lists.into_iter().all(|(globs, fact)| match (globs, fact) {
                (None, _) => true,
                (Some(globs), Some(fact)) => selects(globs, fact),
                (Some(_), None) => false,
            })
    }
}

fn matches(globs: &[Glob], value: &str) -> bool {
    globs.iter().any(|glob| glob.matches(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn facts(kind: &str, namespace: &str, image: &str) -> Facts {
        Facts::of(
            "c",
            &json!({"annotations": {
                "io.kubernetes.cri.container-type": kind,
                "io.kubernetes.cri.sandbox-namespace": namespace,
                "io.kubernetes.cri.image-name": image,
            }}),
        )
    }

    #[test]
    fn every_given_list_must_match() {
        let selector: Match =
            serde_json::from_value(json!({"namespaces": ["payments-*"], "images": ["reg/*"]}))
                .unwrap();
        assert!(selector.selects(&facts("container", "payments-eu", "reg/ledger:1")));
        assert!(!selector.selects(&facts("container", "payments-eu", "other/ledger:1")));
        assert!(!selector.selects(&facts("container", "shop", "reg/ledger:1")));
        assert!(!selector.selects(&facts("sandbox", "payments-eu", "reg/ledger:1")));
        assert!(!selector.selects(&Facts::of("docker", &json!({}))));
    }

    #[test]
    fn contradicting_annotations_select_more_and_loosen_nothing() {
        let forged = |kind: &str| {
            Facts::of(
                "c",
                &json!({"annotations": {
                    "io.kubernetes.cri.container-type": kind,
                    "io.kubernetes.cri-o.ContainerType": "container",
                    "io.kubernetes.cri.sandbox-namespace": "payments",
                    "io.kubernetes.pod.namespace": "shop",
                }}),
            )
        };
        let of = |namespace: &str| -> Match {
            serde_json::from_value(json!({"namespaces": [namespace]})).unwrap()
        };
        for namespace in ["payments", "shop"] {
            assert!(of(namespace).selects(&forged("container")), "{namespace}");
            assert!(!of(namespace).selects_for_certain(&forged("container")), "{namespace}");
            // A workload that calls itself a sandbox is one of the workloads all the same.
            assert!(of(namespace).selects(&forged("sandbox")), "{namespace}");
        }
        assert!(of("*").selects_for_certain(&forged("container")));
        assert!(of("a").selects_for_certain(&facts("container", "a", "b")));
    }

    #[test]
    fn without_lists_every_workload_is_selected_and_sandboxes_on_request() {
        assert!(Match::workloads().selects(&Facts::of("docker", &json!({}))));
        assert!(!Match::workloads().selects(&facts("sandbox", "a", "b")));
        let both: Match =
            serde_json::from_value(json!({"containerTypes": ["sandbox", "container"]})).unwrap();
        assert!(both.selects(&facts("sandbox", "a", "b")));
    }
}
