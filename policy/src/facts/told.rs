//! The facts one by one, each with who asserts it, for people.

use serde::Serialize;

use super::{AssertedBy, ContainerType, Facts};

/// A fact as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// Its name, as it is called in `match`, without the plural.
    pub name: &'static str,
    /// What is said; several values where annotations contradict each other.
    pub value: String,
    /// Who says it.
    pub asserted_by: AssertedBy,
}

impl std::fmt::Display for AssertedBy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            AssertedBy::Client => "client",
            AssertedBy::Spec => "spec",
            AssertedBy::Node => "node",
        })
    }
}

impl Facts {
    /// Every fact that is known, but for the annotations by which no fact has a name. Of those that are
    /// true or false, the ones that are true.
    pub fn told(&self) -> Vec<Told> {
        let mut told = vec![Told {
            name: "type",
            value: match self.container_type {
                ContainerType::Sandbox => "sandbox".to_owned(),
                ContainerType::Container => "container".to_owned(),
            },
            asserted_by: AssertedBy::Client,
        }];
        let named = [
            ("namespace", &self.namespace),
            ("pod", &self.pod),
            ("podUID", &self.pod_uid),
            ("container", &self.container),
            ("image", &self.image),
            ("imageDigest", &self.image_digests),
            ("runtime", &self.runtime),
        ];
        told.extend(named.into_iter().filter_map(|(name, fact)| {
            let fact = fact.as_ref()?;
            let value = fact.values().collect::<Vec<_>>().join(" or ");
            Some(Told { name, value, asserted_by: fact.asserted_by })
        }));
        let flags = [
            ("privileged", self.privileged),
            ("userNamespace", Some(self.user_namespace)),
            ("hostNetwork", self.host_network),
            ("hostPID", self.host_pid),
            ("hostIPC", self.host_ipc),
        ];
        told.extend(flags.into_iter().filter_map(|(name, flag)| {
            let value = match flag {
                Some(true) => "yes".to_owned(),
                Some(false) => return None,
                None => "cannot be told".to_owned(),
            };
            Some(Told { name, value, asserted_by: AssertedBy::Spec })
        }));
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_fact_is_told_with_who_asserts_it() {
        let spec = json!({
            "annotations": {"io.kubernetes.cri.sandbox-namespace": "pay",
                "io.kubernetes.pod.namespace": "shop"},
            "linux": {"namespaces": [{"type": "user"}, {"type": "network"}, {"type": "ipc"}],
                "uidMappings": [{"containerID": 0, "hostID": 65536, "size": 65536}]},
        });
        let facts = Facts::of("c", &spec).on("coaming-runc", &Default::default(), &spec);
        let told: Vec<String> = facts
            .told()
            .iter()
            .map(|told| format!("{} {} {}", told.name, told.value, told.asserted_by))
            .collect();
        assert_eq!(
            told,
            [
                "type container client",
                "namespace pay or shop client",
                "runtime coaming-runc node",
                "userNamespace yes spec",
                "hostPID yes spec",
            ]
        );
    }
}
