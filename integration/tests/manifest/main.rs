//! What `coaming-manifest` makes of a pod, beside the config.json that a real containerd makes of it.
//!
//! Each manifest is turned into CRI requests as the kubelet turns it (`kubelet.rs`), by code that has
//! nothing of the crate under test; the pod runs under the stock shim and runtime, and the config.json in its
//! bundles is read. They must agree in all that the controls look at (`view.rs`), but for the
//! differences that are named there.

// All of this is tests, helpers included.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

mod kubelet;
mod pods;
mod verdicts;
mod view;

use std::collections::BTreeMap;

use coaming_integration::cri::Sandbox;
use coaming_integration::{Containerd, Error, Node, NodeConfig, PAIRS, can_run, wait_for};
use coaming_manifest::{Behind, Manifests, Planned, Role, Settings, read_with};
use coaming_policy::controls::Joined;
use serde_json::{Value, json};

use kubelet::{Kubelet, UID};
use view::View;

#[test]
fn what_is_planned_is_what_containerd_makes() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    // One runtime for each containerd: the spec is written before the runtime is asked.
    for (containerd, runtime) in PAIRS.into_iter().step_by(2).rev() {
        let node = Node::start(NodeConfig::new(containerd, runtime))?;
        pods::prepare(&node)?;
        let mut compared = 0;
        let mut differ = Vec::new();
        for (name, spec) in pods::all() {
            // containerd 1.6 ignores user namespaces without a word.
            if containerd == Containerd::V1_6 && name == "user-namespace" {
                continue;
            }
            compared += compare(&node, name, &spec, &mut differ)?;
        }
        assert!(differ.is_empty(), "planned and real differ:\n{}", differ.join("\n"));
        assert!(compared > 50, "hardly anything was compared: {compared}");
        eprintln!("{containerd}: {compared} specs are as planned");
    }
    Ok(())
}

/// Runs a pod and compares every spec of it; how many there were.
fn compare(
    node: &Node,
    name: &str,
    spec: &Value,
    differ: &mut Vec<String>,
) -> Result<usize, Error> {
    let manifest = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "uid": UID}, "spec": spec,
    });
    let planned = plan(&manifest);
    let cri = node.cri()?;
    let kubelet = Kubelet::of(&manifest);
    kubelet.prepare(node)?;
    let says = |error: Error| -> ! { panic!("{name} does not start: {error}") };
    let sandbox = cri.run_pod(&kubelet.pod).unwrap_or_else(|error| says(error));
    let mut compared = 0;
    for planned in planned {
        let id = match planned.role {
            Role::Sandbox => sandbox.id.clone(),
            _ => {
                let container = kubelet.container(&planned.name);
                cri.launch(&sandbox, container).unwrap_or_else(|error| says(error))
            }
        };
        let real = config(node, &id)?;
        let what = format!("{name}, {}, {}", planned.name, node.config().containerd);
        let differences = differences(node, &what, &planned, &real, &sandbox, &id)?;
        differ.extend(differences.into_iter().map(|line| format!("{what}: {line}")));
        compared += 1;
        // An init container ends before the next starts.
        if planned.role == Role::Init {
            cri.remove(&id)?;
        }
    }
    cri.remove_pod(&sandbox)?;
    Ok(compared)
}

fn plan(manifest: &Value) -> Vec<Planned> {
    let mut settings = Settings {
        cgroup_v2: std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        ..Settings::default()
    };
    let profile = serde_json::from_str(pods::PROFILE).unwrap();
    settings.seccomp_profiles.insert(pods::PROFILE_NAME.to_owned(), profile);
    let Manifests { mut pods, passed_over } =
        read_with("pod.json", &manifest.to_string(), &settings).unwrap();
    assert!(pods.len() == 1 && passed_over.is_empty());
    pods.remove(0).containers
}

/// The config.json of a container that runs.
fn config(node: &Node, id: &str) -> Result<Value, Error> {
    let path = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/config.json");
    let text = wait_for("config.json", || Ok(node.world().read(&path).ok()))?;
    Ok(serde_json::from_str(&text).unwrap())
}

fn differences(
    node: &Node,
    what: &str,
    planned: &Planned,
    real: &Value,
    sandbox: &Sandbox,
    id: &str,
) -> Result<Vec<String>, Error> {
    let joined = |path: &str| match planned.joins.get(path) {
        Some(Behind::Host) => Joined::Host,
        Some(Behind::Pod) => Joined::Other,
        None => panic!("{what}: nothing is said of what is behind {path}"),
    };
    let ours = View::of(&planned.spec, &mut |_, path| joined(path));
    let mut failed = None;
    let mut joins = BTreeMap::new();
    let mut theirs = View::of(real, &mut |kind, path| {
        let joined = behind(node, kind, path).unwrap_or_else(|error| {
            failed = Some(error);
            Joined::Other
        });
        joins.insert(path.to_owned(), joined);
        joined
    });
    if let Some(error) = failed {
        return Err(error);
    }
    theirs.rename(&sandbox.id, id);
    let mut differences = ours.differences(&theirs, planned.role, node.config().containerd);
    // What older containerds make of a sandbox is judged otherwise, as it differs (view.rs).
    if planned.role != Role::Sandbox || node.config().containerd == Containerd::V2 {
        differences.extend(verdicts::differences(planned, real, &joins));
    }
    Ok(differences)
}

/// What is behind a path by which a real spec joins a namespace.
fn behind(node: &Node, kind: &str, path: &str) -> Result<Joined, Error> {
    let file = match kind {
        "network" => "net",
        "mount" => "mnt",
        other => other,
    };
    let script = format!("stat -Lc %i {path} /proc/self/ns/{file}");
    let output = node.world().run(["sh", "-c", &script])?.ok("stat of a namespace")?;
    let mut lines = output.stdout.lines();
    let (theirs, hosts) = (lines.next(), lines.next());
    assert!(theirs.is_some() && hosts.is_some(), "{output:?}");
    Ok(if theirs == hosts { Joined::Host } else { Joined::Other })
}
