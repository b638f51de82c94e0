//! Enforced or tried out: a policy's mode, and its rollout over the pods of a fleet.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::facts::Facts;
use crate::floor::Floor;

/// What becomes of a policy's demands.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// They are enforced.
    #[default]
    Enforce,
    /// The record says what they would have changed or refused; nothing is changed.
    Audit,
}

/// The part of the pods for which a policy is enforced.
///
/// Which pods these are depends on the policy's name and the pod's uid alone (outside Kubernetes, on
/// the container's id): every container of a pod, its execs and its restarts are treated alike, on
/// every node, and a higher percentage adds pods without taking any out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// From 0 (all are audited) to 100 (all are enforced).
    #[schemars(range(min = 0, max = 100))]
    pub percentage: u8,
}

/// Which part of what a policy states is enforced, and for whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Terms {
    /// The policy's name.
    pub name: String,
    /// Enforced or audited.
    pub mode: Mode,
    /// For which part of the pods.
    pub rollout: Option<Rollout>,
    /// Single controls that are audited.
    pub audit: BTreeSet<String>,
}

impl Terms {
    /// Splits what a policy states into what is enforced for a container, and what is audited.
    pub fn split(&self, stated: Floor, facts: &Facts) -> (Floor, Floor) {
        let reached = |rollout: Rollout| rollout.reaches(&self.name, facts);
        if self.mode == Mode::Audit || !self.rollout.is_none_or(reached) {
            return (Floor::default(), stated);
        }
        if self.audit.is_empty() {
            return (stated, Floor::default());
        }
        // By field, so that what Landlock implies goes with it.
        let audited = |field: &str| {
            field.strip_prefix("spec.").is_some_and(|control| self.audit.contains(control))
        };
        let (audited, enforced) = stated.partition(audited);
        (enforced, audited)
    }
}

impl Rollout {
    /// Whether the policy of this name is enforced for a container.
    pub fn reaches(self, policy: &str, facts: &Facts) -> bool {
        // Of contradicting annotations one that is reached is enough.
        identities(facts)
            .iter()
            .any(|identity| place(policy, identity) < u64::from(self.percentage))
    }
}

/// What stays the same of a pod while its containers come and go.
fn identities(facts: &Facts) -> Vec<String> {
    if let Some(uid) = &facts.pod_uid {
        return uid.values().map(str::to_owned).collect();
    }
    match (&facts.namespace, &facts.pod) {
        (Some(namespace), Some(pod)) => vec![format!("{}/{}", namespace.value, pod.value)],
        _ => vec![facts.id.clone()],
    }
}

/// A number below 100 that is as good as random over pods, and another for each policy, so that it is
/// not always the same pods that come first.
fn place(policy: &str, identity: &str) -> u64 {
    let digest = Sha256::new().chain_update(policy).chain_update([0]).chain_update(identity);
    let leading =
        digest.finalize().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    leading % 100
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(number: u32) -> Facts {
        let uid = format!("9f4c2d1e-0000-4000-8000-{number:012}");
        Facts::of("c", &json!({"annotations": {"io.kubernetes.cri.sandbox-uid": uid}}))
    }

    fn reached(policy: &str, percentage: u8) -> Vec<u32> {
        let rollout = Rollout { percentage };
        (0..2000).filter(|number| rollout.reaches(policy, &pod(*number))).collect()
    }

    #[test]
    fn none_all_and_about_as_many_as_said() {
        assert!(reached("a", 0).is_empty());
        assert_eq!(reached("a", 100).len(), 2000);
        let tenth = reached("a", 10).len();
        assert!((140..260).contains(&tenth), "{tenth} of 2000");
    }

    #[test]
    fn more_adds_pods_and_takes_none_out() {
        let few = reached("a", 10);
        let more = reached("a", 30);
        assert!(few.iter().all(|pod| more.contains(pod)) && more.len() > few.len());
        assert_ne!(few, reached("b", 10), "each policy begins with pods of its own");
    }

    #[test]
    fn the_containers_of_a_pod_are_treated_alike() {
        let of = |id: &str, name: &str| {
            Facts::of(
                id,
                &json!({"annotations": {"io.kubernetes.cri.sandbox-uid": "u-1",
                    "io.kubernetes.cri.container-name": name}}),
            )
        };
        for percentage in 0..=100 {
            let rollout = Rollout { percentage };
            assert_eq!(
                rollout.reaches("p", &of("1", "app")),
                rollout.reaches("p", &of("2", "side"))
            );
        }
    }

    /// Written down: fleets would otherwise change places at an upgrade.
    #[test]
    fn places_stay_where_they_are() {
        assert_eq!([place("a", "u-1"), place("a", "u-2"), place("b", "u-1")], [41, 94, 87]);
    }
}
