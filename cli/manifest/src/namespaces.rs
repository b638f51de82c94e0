//! Namespaces: the sandbox's own, which its containers join (containerd internal/cri/opts,
//! WithPodNamespaces; kubelet pkg/kubelet/kuberuntime/util, NamespacesForPod).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::Behind;
use crate::pod::Shared;

/// What a container's namespaces are.
pub(crate) struct Namespaces {
    /// `linux.namespaces`.
    pub(crate) list: Vec<Value>,
    pub(crate) joins: BTreeMap<String, Behind>,
}

/// The sandbox's process, of a pid that no kernel gives (PID_MAX_LIMIT, 2^22).
const SANDBOX: &str = "/proc/4194304/ns";
const NETNS: &str = "/var/run/netns/cni-00000000-0000-0000-0000-000000000000";
const USERNS: &str = "/run/containerd/io.containerd.grpc.v1.cri/sandboxes/pinned-namespaces/user";
/// As the kubelet maps: 65536 ids, at a multiple of their number.
const MAPPED: u32 = 65_536;

pub(crate) fn of_sandbox(pod: &Shared<'_>) -> Namespaces {
    let mut list = Vec::new();
    let mut joins = BTreeMap::new();
    for (kind, of_host) in
        [("pid", pod.host_pid), ("ipc", pod.host_ipc), ("uts", pod.host_network), ("mount", false)]
    {
        if !of_host {
            list.push(json!({"type": kind}));
        }
    }
    if !pod.host_network {
        list.push(json!({"type": "network", "path": NETNS}));
        joins.insert(NETNS.to_owned(), Behind::Pod);
    }
    match (pod.user_namespace, pod.host_network) {
        (false, _) => {}
        (true, true) => list.push(json!({"type": "user"})),
        // containerd makes it before the sandbox, beside the network namespace (2.1 and later).
        (true, false) => {
            list.push(json!({"type": "user", "path": USERNS}));
            joins.insert(USERNS.to_owned(), Behind::Pod);
        }
    }
    Namespaces { list, joins }
}

/// `targets`: whether it is in another container's process namespace (`targetContainerName`).
pub(crate) fn of_container(pod: &Shared<'_>, privileged: bool, targets: bool) -> Namespaces {
    let mut joined = Namespaces { list: Vec::new(), joins: BTreeMap::new() };
    if pod.host_pid || pod.shares_processes || targets {
        joined.join("pid", pod.host_pid);
    } else {
        joined.list.push(json!({"type": "pid"}));
    }
    joined.join("ipc", pod.host_ipc);
    // A sandbox on the node's network is in the node's UTS namespace too.
    joined.join("uts", pod.host_network);
    joined.list.push(json!({"type": "mount"}));
    joined.join("network", pod.host_network);
    if pod.settings.cgroup_v2 && !privileged {
        joined.list.push(json!({"type": "cgroup"}));
    }
    if pod.user_namespace {
        joined.join("user", false);
    }
    joined
}

impl Namespaces {
    fn join(&mut self, kind: &str, of_host: bool) {
        let file = if kind == "network" { "net" } else { kind };
        let path = format!("{SANDBOX}/{file}");
        self.list.push(json!({"type": kind, "path": path}));
        self.joins.insert(path, if of_host { Behind::Host } else { Behind::Pod });
    }
}

/// `linux.uidMappings` and `linux.gidMappings`; nothing without a user namespace.
pub(crate) fn mappings(pod: &Shared<'_>) -> Option<Value> {
    pod.user_namespace.then(|| json!([{"containerID": 0, "hostID": MAPPED, "size": MAPPED}]))
}
