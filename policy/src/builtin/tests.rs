use super::*;
use crate::controls::Node;
use crate::decide::{Door, Request, decide};
use crate::facts::Facts;
use crate::spec::view;
use crate::verdict::Verdict;
use serde_json::{Value, json};

fn verdict(which: BuiltIn, spec: &Value) -> Verdict {
    let facts = Facts::of("c", spec);
    let node = Node { landlock_abi: 7, kernel: (6, 18), ..Node::default() };
    let request = Request { door: Door::Create, spec, facts: &facts, node: &node, exec: None };
    decide(&request, &floor(which).unwrap())
}

/// What containerd 1.6 asks of a runtime for a plain container, in its essentials.
fn ordinary() -> Value {
    let caps = json!(["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {"args": ["sh"], "cwd": "/", "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps}},
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/etc/hosts", "type": "bind", "options": ["rbind", "rprivate", "rw"],
             "source": "/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/1/hosts"},
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
                {"type": "network"}],
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
        },
    })
}

#[test]
fn baseline_admits_an_ordinary_container_and_confines_it() {
    let Verdict::Admit(admission) = verdict(BuiltIn::Baseline, &ordinary()) else {
        panic!("{:?}", verdict(BuiltIn::Baseline, &ordinary()))
    };
    assert!(view::at(&admission.spec, "linux.seccomp").is_some());
    assert!(admission.launch.is_empty());
    assert!(admission.spec["linux"]["maskedPaths"].as_array().unwrap().len() > 8);
    let bounding: Vec<&str> =
        view::strings(&admission.spec, "process.capabilities.bounding").collect();
    assert!(!bounding.contains(&"CAP_NET_RAW") && bounding.contains(&"CAP_KILL"));
    let change = admission.changes.iter().find(|change| change.control == "capabilities").unwrap();
    assert_eq!(change.policies[0].policy, "baseline");
    // What was enforced asks for nothing more.
    let Verdict::Admit(again) = verdict(BuiltIn::Baseline, &admission.spec) else {
        panic!("refused")
    };
    assert_eq!(again.changes, []);
    assert_eq!(again.spec, admission.spec);
}

#[test]
fn no_floor_lets_processes_be_moved_between_cgroups() {
    let mut asked = ordinary();
    asked["linux"]["resources"]["unified"] = json!({"cgroup.procs": "1", "memory.high": "5"});
    for which in [BuiltIn::Baseline, BuiltIn::Node] {
        let Verdict::Admit(admission) = verdict(which, &asked) else { panic!("{which:?}") };
        let unified = &admission.spec["linux"]["resources"]["unified"];
        assert_eq!(*unified, json!({"memory.high": "5"}), "{which:?}");
    }
}

#[test]
fn baseline_refuses_the_hosts_namespaces_and_paths_in_the_open() {
    let mut spec = ordinary();
    spec["linux"]["namespaces"] = json!([{"type": "mount"}]);
    spec["mounts"].as_array_mut().unwrap().push(json!({"destination": "/host", "type": "bind",
        "source": "/", "options": ["rbind"]}));
    let Verdict::Refuse(refusal) = verdict(BuiltIn::Baseline, &spec) else { panic!("admitted") };
    let text = refusal.to_string();
    for word in ["policy baseline (built-in:", "spec.hostNamespaces", "spec.mounts", "pid", "/host"]
    {
        assert!(text.contains(word), "{word} is not in: {text}");
    }
}

#[test]
fn node_takes_from_a_privileged_agent_only_what_it_names() {
    let all: Vec<String> = crate::controls::capabilities::Capability::all()
        .map(|capability| format!("CAP_{capability}"))
        .collect();
    let spec = json!({
        "process": {"args": ["agent"], "capabilities": {"bounding": all, "effective": all}},
        "mounts": [{"destination": "/host", "type": "bind", "source": "/", "options": ["rbind", "rshared"]}],
        "linux": {"namespaces": [{"type": "mount"}],
            "resources": {"devices": [{"allow": true, "access": "rwm"}]}},
    });
    let Verdict::Admit(admission) = verdict(BuiltIn::Node, &spec) else { panic!("refused") };
    let controls: Vec<&str> = admission.changes.iter().map(|c| c.control.as_str()).collect();
    assert_eq!(controls, ["seccomp"]);
    let mut without = admission.spec.clone();
    without["linux"].as_object_mut().unwrap().remove("seccomp");
    assert_eq!(without, spec);
}
