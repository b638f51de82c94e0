//! `hostNamespaces`: which of the host's namespaces a container may be in (namespaces(7)).
//!
//! A container is in the host's namespace of a type when `linux.namespaces` has no entry of that
//! type, or one whose path leads there (`/proc/1/ns/pid`). A pod's containers join their sandbox's
//! namespaces by path, which is as good as one of their own.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::allow_list::intersection;
use super::{Asked, Finding, Joined, Mismatch, Node, Rule, Scope};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const FIELD: &str = "linux.namespaces";

/// The host's namespaces that a container may be in. In Kubernetes: `hostPID`, `hostNetwork`,
/// `hostIPC`, and `hostUsers` for the user namespace.
///
/// A container that would be in one that is not listed gets a new namespace of that type, and a pod
/// that asked for the host's network then has none but loopback. For the user namespace there is no
/// remedy, since nobody but the orchestrator can choose the id mappings: such a container is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostNamespaces {
    /// The types that may be the host's, by their OCI names. An empty list allows none. Left out, all
    /// are allowed. Most sites list `user`, and `cgroup` where nodes use cgroup v1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<BTreeSet<Namespace>>,
}

/// A type of namespace, by its OCI name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// Process ids.
    Pid,
    /// Network devices, addresses, ports, abstract unix sockets.
    Network,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// User and group ids, and what capabilities are over.
    User,
    /// The view of the cgroup tree.
    Cgroup,
    /// Mounts.
    Mount,
    /// Offsets of the boot and monotonic clocks. Allowed whether it is listed or not: runtimes make
    /// none unless asked, and the host's lets nothing be set.
    Time,
}

impl Namespace {
    const JUDGED: [Namespace; 7] = [
        Namespace::Pid,
        Namespace::Network,
        Namespace::Ipc,
        Namespace::Uts,
        Namespace::User,
        Namespace::Cgroup,
        Namespace::Mount,
    ];

    /// The OCI name.
    pub fn name(self) -> &'static str {
        match self {
            Namespace::Pid => "pid",
            Namespace::Network => "network",
            Namespace::Ipc => "ipc",
            Namespace::Uts => "uts",
            Namespace::User => "user",
            Namespace::Cgroup => "cgroup",
            Namespace::Mount => "mount",
            Namespace::Time => "time",
        }
    }
}

impl Rule for HostNamespaces {
    const CONTROL: &'static str = "hostNamespaces";
    const SCOPE: Scope = Scope::Container;

    fn top() -> Self {
        HostNamespaces { allow: None }
    }

    fn meet(&self, other: &Self) -> Self {
        HostNamespaces { allow: intersection(self.allow.as_ref(), other.allow.as_ref()) }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        let mut namespaces: Vec<Value> = view::items(asked.spec, FIELD).to_vec();
        let mut found = Vec::new();
        for namespace in self.forbidden() {
            let mut present = false;
            for entry in &mut namespaces {
                if view::text(entry, "type") != Some(namespace.name()) {
                    continue;
                }
                present = true;
                if leads_to_host(entry, asked.node) {
                    found.push((namespace, entry.clone()));
                    if let Value::Object(entry) = entry {
                        entry.shift_remove("path");
                    }
                }
            }
            if !present {
                found.push((namespace, Value::Null));
                namespaces.push(json!({"type": namespace.name()}));
            }
        }
        let remedy = vec![Edit::Set(FIELD.to_owned(), namespaces.into())];
        let mut findings: Vec<Finding> = found
            .into_iter()
            .map(|(namespace, entry)| Finding {
                field: format!("{FIELD}[{}]", namespace.name()),
                asked: entry,
                allowed: format!("a {} namespace that is not the host's", namespace.name()),
                remedy: (namespace != Namespace::User).then(|| remedy.clone()),
            })
            .collect();
        if self.forbidden().any(|namespace| namespace == Namespace::User) {
            findings.extend(
                ["linux.uidMappings", "linux.gidMappings"]
                    .into_iter()
                    .filter(|field| maps_root(asked.spec, field))
                    .map(|field| host_root(asked.spec, field)),
            );
        }
        findings
    }

    fn verify(&self, seen: &Seen) -> Vec<Mismatch> {
        self.forbidden()
            .filter(|namespace| seen.host_namespaces.iter().any(|name| name == namespace.name()))
            .map(|namespace| Mismatch {
                what: format!("{} namespace", namespace.name()),
                found: "the host's".to_owned(),
                allowed: "another".to_owned(),
            })
            .collect()
    }
}

impl HostNamespaces {
    fn forbidden(&self) -> impl Iterator<Item = Namespace> {
        let allow = self.allow.as_ref();
        Namespace::JUDGED
            .into_iter()
            .filter(move |namespace| allow.is_some_and(|allow| !allow.contains(namespace)))
    }
}

/// Whether the container is in the host's namespace of a type; `None` where it joins one by a path of
/// which that cannot be told.
pub(crate) fn is_the_hosts(spec: &Value, namespace: Namespace, node: &Node) -> Option<bool> {
    let entries = view::items(spec, FIELD).iter();
    let mut own = entries.filter(|entry| view::text(entry, "type") == Some(namespace.name()));
    let Some(first) = own.next() else { return Some(true) };
    let mut uncertain = false;
    for entry in std::iter::once(first).chain(own) {
        let path = view::text(entry, "path").and_then(|path| node.joins.get(path));
        match path {
            Some(Joined::Host) => return Some(true),
            Some(Joined::Other) => {}
            _ => uncertain |= leads_to_host(entry, node),
        }
    }
    (!uncertain).then_some(false)
}

/// Whether the entry joins the host's namespace, or one of which that cannot be excluded.
fn leads_to_host(entry: &Value, node: &Node) -> bool {
    match view::at(entry, "path") {
        None => false,
        Some(Value::String(path)) if path.is_empty() => false,
        Some(Value::String(path)) => node.joins.get(path) != Some(&Joined::Other),
        Some(_) => true,
    }
}

/// Whether a mapping gives the container the host's root id, which makes a user namespace no
/// boundary between the two (user_namespaces(7)).
fn maps_root(spec: &Value, field: &str) -> bool {
    view::items(spec, field).iter().any(|mapping| {
        let size = view::at(mapping, "size").and_then(Value::as_u64);
        let host = view::at(mapping, "hostID").map_or(Some(0), Value::as_u64);
        host.is_none_or(|id| id == 0) && size != Some(0)
    })
}

fn host_root(spec: &Value, field: &str) -> Finding {
    Finding {
        field: field.to_owned(),
        asked: view::at(spec, field).cloned().unwrap_or(Value::Null),
        allowed: "mappings that leave out the host's id 0".to_owned(),
        remedy: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced, is_within, touches_only};
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    fn allow(list: &[Namespace]) -> HostNamespaces {
        HostNamespaces { allow: Some(list.iter().copied().collect()) }
    }

    fn all_but(forbidden: Namespace) -> HostNamespaces {
        let allow: Vec<Namespace> =
            Namespace::JUDGED.into_iter().filter(|judged| *judged != forbidden).collect();
        self::allow(&allow)
    }

    fn joining(path: Value) -> Value {
        json!({"linux": {"namespaces": [{"type": "pid", "path": path}]}})
    }

    #[test]
    fn an_absent_type_is_added() {
        let after = enforced(&all_but(Namespace::Network), &json!({"linux": {}}));
        assert_eq!(after["linux"]["namespaces"], json!([{"type": "network"}]));
    }

    #[test]
    fn a_path_to_the_hosts_goes_and_one_to_the_pods_stays() {
        let rule = all_but(Namespace::Pid);
        for path in [json!("/proc/1/ns/pid"), json!("/nobody/looked/at/it"), json!(7)] {
            let after = enforced(&rule, &joining(path));
            assert_eq!(after["linux"]["namespaces"], json!([{"type": "pid"}]));
        }
        assert!(is_within(&rule, &joining(json!("/run/netns/pod"))));
        assert!(is_within(&rule, &joining(json!(""))));
    }

    #[test]
    fn for_the_user_namespace_there_is_no_remedy() {
        let (facts, node) = crate::controls::laws::request();
        let root = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        for spec in [
            json!({"linux": {}}),
            json!({"linux": {"namespaces": [{"type": "user"}], "uidMappings": root}}),
        ] {
            let asked = Asked::of(&spec, &facts, &node);
            let findings = all_but(Namespace::User).tighten(&asked);
            assert!(findings.len() == 1 && findings[0].remedy.is_none(), "{findings:?}");
        }
        let mapped = json!([{"containerID": 0, "hostID": 65536, "size": 65536}]);
        let spec = json!({"linux": {"namespaces": [{"type": "user"}], "uidMappings": mapped}});
        assert!(is_within(&all_but(Namespace::User), &spec));
    }

    #[test]
    fn the_time_namespace_is_nobodys() {
        assert!(is_within(&allow(&Namespace::JUDGED), &json!({"linux": {}})));
    }

    impl Generated for HostNamespaces {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let rules = proptest::option::of(subsequence(Namespace::JUDGED.to_vec(), 0..=7))
                .prop_map(|allow| HostNamespaces { allow: allow.map(BTreeSet::from_iter) });
            let paths = [json!(null), json!("/proc/1/ns/pid"), json!("/run/netns/pod")];
            let types = subsequence(vec!["pid", "network", "user", "mount", "ipc", "uts"], 0..=6);
            let specs = (types, select(paths.to_vec())).prop_map(|(types, path)| {
                let entries: Vec<Value> =
                    types.into_iter().map(|kind| json!({"type": kind, "path": path})).collect();
                json!({"linux": {"namespaces": entries}})
            });
            (rules.boxed(), specs.boxed())
        }

        fn strict() -> Vec<Self> {
            let others = Namespace::JUDGED.into_iter().filter(|other| *other != Namespace::User);
            vec![HostNamespaces { allow: Some(others.collect()) }]
        }
    }

    #[test]
    fn changes_its_own_fields_alone() {
        touches_only(&allow(&[Namespace::User]), &["linux.namespaces"]);
    }

    #[test]
    fn verify_names_the_type() {
        let seen = Seen { host_namespaces: vec!["pid".into(), "time".into()], ..Seen::default() };
        let found = allow(&[]).verify(&seen);
        assert!(found.len() == 1 && found[0].what.starts_with("pid"), "{found:?}");
    }
}
