//! Reading the facts that a container's spec carries.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{AssertedBy, ContainerType, Door, Fact, Facts, MAX_ANNOTATIONS};
use crate::controls::Node;
use crate::controls::host_namespaces::{Namespace, is_the_hosts};
use crate::controls::privileged::is_privileged;
use crate::spec::view;

/// Annotation keys by which containerd (1.5 to 2.x, `internal/cri/annotations`) and CRI-O
/// (`internal/annotations`, `internal/factory/container`) say what a container is, in that order of
/// trust. Neither says by which runtime handler a workload came.
const NAMESPACE: &[&str] = &["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.pod.namespace"];
const POD: &[&str] = &["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"];
const POD_UID: &[&str] = &["io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid"];
const CONTAINER: &[&str] = &["io.kubernetes.cri.container-name", "io.kubernetes.container.name"];
const IMAGE: &[&str] = &["io.kubernetes.cri.image-name", "io.kubernetes.cri-o.ImageName"];
const SANDBOX: [&str; 2] = ["io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID"];
const TYPE: &[&str] = &["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"];

/// References that may hold a digest: containerd's is as the pod's author wrote it or the image's name
/// in containerd; CRI-O's are as the kubelet asked, and a name of the image.
const REFERENCES: &[&str] = &[
    "io.kubernetes.cri.image-name",
    "io.kubernetes.cri.podsandbox.image-name",
    "io.kubernetes.cri-o.Image",
    "io.kubernetes.cri-o.ImageName",
];
/// CRI-O: the image's id (the digest of its configuration), and `name@digest`, separated by commas.
const IMAGE_ID: &str = "io.kubernetes.cri-o.ImageRef";
/// How many digests are kept; an image has as many as the repositories it was pulled from.
const MAX_DIGESTS: usize = 64;
const REPO_DIGESTS: &str = "io.kubernetes.cri-o.ImageRepoDigests";
/// CRI-O: the labels that the kubelet gave to this container (or sandbox), as JSON.
const LABELS: &str = "io.kubernetes.cri-o.Labels";

impl Facts {
    /// Reads the facts that a container's spec carries.
    pub fn of(id: &str, spec: &Value) -> Facts {
        let annotation = |keys: &[&str]| {
            let annotations = spec.get("annotations")?;
            let said = keys.iter().filter_map(|key| annotations.get(*key)?.as_str());
            fact(said.map(str::to_owned), AssertedBy::Client)
        };
        // Fewer policies are for sandboxes.
        let sandbox =
            annotation(TYPE).is_some_and(|fact| fact.values().all(|kind| kind == "sandbox"));
        let node = Node::default();
        let joins = |namespace| is_the_hosts(spec, namespace, &node);
        Facts {
            id: id.to_owned(),
            door: Door::Create,
            namespace: annotation(NAMESPACE),
            pod: annotation(POD),
            pod_uid: annotation(POD_UID),
            container: annotation(CONTAINER),
            image: annotation(IMAGE),
            image_digests: fact(digests(spec), AssertedBy::Client),
            runtime: None,
            container_type: if sandbox { ContainerType::Sandbox } else { ContainerType::Container },
            user_namespace: has_user_namespace(spec),
            privileged: Some(is_privileged(spec)),
            host_network: joins(Namespace::Network),
            host_pid: joins(Namespace::Pid),
            host_ipc: joins(Namespace::Ipc),
            annotations: annotations(spec),
            pod_labels: None,
        }
    }

    /// What the node knows besides: the name that the wrapper was called by, where the namespaces lead that
    /// the spec joins by path, and the pod's labels.
    #[must_use]
    pub fn on(self, runtime: &str, node: &Node, spec: &Value) -> Facts {
        Facts {
            runtime: Some(Fact {
                value: runtime.to_owned(),
                others: Vec::new(),
                asserted_by: AssertedBy::Node,
            }),
            host_network: is_the_hosts(spec, Namespace::Network, node),
            host_pid: is_the_hosts(spec, Namespace::Pid, node),
            host_ipc: is_the_hosts(spec, Namespace::Ipc, node),
            ..self.labelled(node.pod_labels.clone())
        }
    }

    /// The labels of the pod that are known: those that were looked up, or those that CRI-O passes on.
    ///
    /// CRI-O's of a sandbox are the pod's. Those of a workload are what the kubelet gives to containers:
    /// names and uid of the pod, and none of the pod's own labels.
    pub fn labels(&self) -> Option<BTreeMap<String, String>> {
        let passed_on = || serde_json::from_str(self.annotations.as_ref()?.get(LABELS)?).ok();
        // Under containerd that annotation can be nobody's but the author's.
        self.pod_labels.clone().or_else(|| if self.is_containerds() { None } else { passed_on() })
    }

    /// Whether a label that is not among [`Facts::labels`] is none of the pod's either.
    pub fn has_all_labels(&self) -> bool {
        self.pod_labels.is_some()
            || self.container_type == ContainerType::Sandbox && self.labels().is_some()
    }

    /// The id of the pod's sandbox, its own where it is one; `None` where it is in no pod, or two are named.
    pub fn sandbox(&self) -> Option<&str> {
        let annotations = self.annotations.as_ref()?;
        let mut said = SANDBOX.iter().filter_map(|key| annotations.get(*key));
        let first = said.next()?;
        said.all(|other| other == first).then_some(first)
    }

    /// Whether its CRI implementation is containerd's, by what it annotates.
    pub fn is_containerds(&self) -> bool {
        self.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(SANDBOX[0]))
    }

    /// Whether what is said of two containers leaves it possible that they are of one pod.
    pub fn may_share_a_pod_with(&self, other: &Facts) -> bool {
        let agree = |one: &Option<Fact>, another: &Option<Fact>| match (one, another) {
            (Some(one), Some(another)) => {
                one.values().any(|value| another.values().any(|v| v == value))
            }
            _ => true,
        };
        agree(&self.namespace, &other.namespace)
            && agree(&self.pod, &other.pod)
            && agree(&self.pod_uid, &other.pod_uid)
    }
}

/// Everything that is said, each once; `None` where nothing is.
fn fact(said: impl IntoIterator<Item = String>, asserted_by: AssertedBy) -> Option<Fact> {
    let mut values: Vec<String> = Vec::new();
    for value in said {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    let mut values = values.into_iter();
    let value = values.next()?;
    Some(Fact { value, others: values.collect(), asserted_by })
}

fn annotations(spec: &Value) -> Option<BTreeMap<String, String>> {
    let texts = || {
        view::entries(spec, "annotations").filter_map(|(key, value)| Some((key, value.as_str()?)))
    };
    let bytes: usize = texts().map(|(key, value)| key.len() + value.len()).sum();
    (bytes <= MAX_ANNOTATIONS)
        .then(|| texts().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

/// The digests by which the image is known.
fn digests(spec: &Value) -> Vec<String> {
    let said = |key: &str| spec.get("annotations")?.get(key)?.as_str();
    let of_references = REFERENCES.iter().filter_map(|key| said(key));
    let of_repositories = said(REPO_DIGESTS).into_iter().flat_map(|list| list.split(','));
    let mut digests: Vec<String> = of_references
        .chain(of_repositories)
        .filter_map(digest_in)
        .take(MAX_DIGESTS)
        .map(str::to_owned)
        .collect();
    if let Some(id) = said(IMAGE_ID) {
        let id = id.strip_prefix("sha256:").unwrap_or(id);
        if is_sha256(id) {
            digests.insert(0, format!("sha256:{id}"));
        }
    }
    digests
}

/// `sha256:<hex>` of `name@sha256:<hex>`, or of a reference that is nothing else.
fn digest_in(reference: &str) -> Option<&str> {
    let digest = reference.rsplit_once('@').map_or(reference, |(_, digest)| digest);
    is_sha256(digest.strip_prefix("sha256:")?).then_some(digest)
}

pub(crate) fn is_sha256(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether the spec asks for a user namespace of its own or joins one, and says by its mappings that no
/// user id of it is the host's root: what is known to be so may be asked for less.
pub fn has_user_namespace(spec: &Value) -> bool {
    let mappings = view::items(spec, "linux.uidMappings");
    let maps_root = |mapping: &Value| {
        let host = view::at(mapping, "hostID").and_then(Value::as_u64);
        host.is_none_or(|id| id == 0)
    };
    view::items(spec, "linux.namespaces")
        .iter()
        .any(|namespace| view::text(namespace, "type") == Some("user"))
        && !mappings.is_empty()
        && !mappings.iter().any(maps_root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::Joined;
    use serde_json::json;

    #[test]
    fn reads_containerd_and_crio_annotations() {
        let containerd = Facts::of(
            "c1",
            &json!({"annotations": {
                "io.kubernetes.cri.container-type": "sandbox",
                "io.kubernetes.cri.sandbox-namespace": "payments",
                "io.kubernetes.cri.sandbox-name": "ledger-0",
            }, "linux": {"namespaces": [{"type": "pid"}, {"type": "user"}],
                "uidMappings": [{"containerID": 0, "hostID": 65536, "size": 65536}]}}),
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

    #[test]
    fn digests_are_read_from_references_and_from_what_crio_tells() {
        let (a, b, c) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
        let of = |annotations: Value| {
            let facts = Facts::of("c", &json!({"annotations": annotations}));
            let digests = facts.image_digests.iter().flat_map(Fact::values).map(str::to_owned);
            digests.collect::<Vec<String>>()
        };
        let key = "io.kubernetes.cri.image-name";
        assert_eq!(of(json!({key: format!("reg/app:1@sha256:{a}")})), [format!("sha256:{a}")]);
        assert_eq!(of(json!({key: format!("sha256:{a}")})), [format!("sha256:{a}")]);
        for other in
            ["reg/app:1", "reg/app@sha256:abc", "sha256:", &format!("reg/app@sha512:{a}{a}")]
        {
            assert!(of(json!({key: other})).is_empty(), "{other}");
        }
        let crio = json!({
            "io.kubernetes.cri-o.ImageRef": a,
            "io.kubernetes.cri-o.ImageRepoDigests": format!("r/x@sha256:{b},r/y@sha256:{b},r/y@sha256:{c}"),
        });
        assert_eq!(of(crio), [&a, &b, &c].map(|hex| format!("sha256:{hex}")));
    }

    #[test]
    fn the_node_says_where_namespaces_lead_and_what_it_was_called() {
        let spec = json!({"linux": {"namespaces": [
            {"type": "network", "path": "/run/netns/pod"}, {"type": "pid", "path": "/proc/1/ns/pid"},
            {"type": "ipc"},
        ]}});
        let before = Facts::of("c", &spec);
        let told = (before.host_network, before.host_pid, before.host_ipc);
        assert_eq!(told, (None, None, Some(false)));
        let joins = [("/run/netns/pod", Joined::Other), ("/proc/1/ns/pid", Joined::Host)];
        let node = Node {
            joins: joins.map(|(path, joined)| (path.to_owned(), joined)).into(),
            ..Node::default()
        };
        let facts = before.on("coaming-crun", &node, &spec);
        let told = (facts.host_network, facts.host_pid, facts.host_ipc);
        assert_eq!(told, (Some(false), Some(true), Some(false)));
        let runtime = facts.runtime.unwrap();
        assert_eq!(
            (runtime.value.as_str(), runtime.asserted_by),
            ("coaming-crun", AssertedBy::Node)
        );
        assert_eq!(Facts::of("c", &json!({})).host_network, Some(true), "no entry is the host's");
    }

    #[test]
    fn annotations_are_kept_up_to_a_limit_and_labels_are_crios() {
        let with = |value: String| {
            Facts::of("c", &json!({"annotations": {"io.kubernetes.cri-o.Labels": value}}))
        };
        let facts = with(r#"{"app": "ledger"}"#.to_owned());
        assert_eq!(facts.labels().unwrap().get("app").map(String::as_str), Some("ledger"));
        assert!(with("no json".to_owned()).labels().is_none());
        assert!(Facts::of("c", &json!({})).labels().is_none());
        assert!(with("x".repeat(MAX_ANNOTATIONS)).annotations.is_none());
    }

    #[test]
    fn the_sandbox_is_the_one_that_is_named_and_its_labels_are_its_runtimes_word() {
        let of = |annotations: Value| Facts::of("c", &json!({"annotations": annotations}));
        let (containerds, crios) =
            ("io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID");
        assert_eq!(of(json!({containerds: "a"})).sandbox(), Some("a"));
        assert_eq!(of(json!({crios: "a"})).sandbox(), Some("a"));
        assert_eq!(
            of(json!({crios: "a", containerds: "b"})).sandbox(),
            None,
            "either may be forged"
        );
        assert_eq!(of(json!({})).sandbox(), None);
        let forged = json!({
            "io.kubernetes.cri.container-type": "sandbox", containerds: "a",
            "io.kubernetes.cri-o.Labels": r#"{"tier": "open"}"#,
        });
        let forged = of(forged);
        assert!(forged.labels().is_none() && !forged.has_all_labels());
        let looked_up = forged.labelled(Some([("tier".to_owned(), "locked".to_owned())].into()));
        assert_eq!(looked_up.labels().unwrap()["tier"], "locked");
        assert!(looked_up.has_all_labels());
    }

    #[test]
    fn two_containers_share_a_pod_unless_something_says_otherwise() {
        let of = |uid: &str, name: &str| {
            Facts::of(
                "c",
                &json!({"annotations": {
                    "io.kubernetes.cri.sandbox-uid": uid, "io.kubernetes.cri.sandbox-name": name,
                }}),
            )
        };
        assert!(of("1", "a").may_share_a_pod_with(&of("1", "a")));
        assert!(!of("1", "a").may_share_a_pod_with(&of("2", "a")));
        assert!(!of("1", "a").may_share_a_pod_with(&of("1", "b")));
        assert!(of("1", "a").may_share_a_pod_with(&Facts::of("c", &json!({}))));
    }

    /// A record of the version before has none of what came since.
    #[test]
    fn facts_of_an_older_record_are_read_and_what_they_lack_is_not_known() {
        let old = json!({"id": "c", "namespace": null, "pod": null, "podUid": null, "container": null,
            "image": null, "containerType": "container", "userNamespace": false});
        let facts: Facts = serde_json::from_value(old).unwrap();
        assert_eq!(
            (facts.privileged, facts.host_pid, facts.annotations, facts.door),
            (None, None, None, Door::Create)
        );
    }
}
