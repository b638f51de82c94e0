//! The container of a case, as the gate would see it.

use std::collections::BTreeMap;
use std::path::Path;

use coaming_manifest::{Behind, Image, Manifests, Planned, Settings, pod, read_with};
use coaming_policy::controls::{Joined, Node};
use coaming_policy::json::parse_spec;
use coaming_policy::spec::edit::Edit;
use coaming_policy::spec::view;
use serde_json::{Value, json};

use super::document::{Case, FactsSpec, NodeSpec};
use super::find;
use crate::manifests::origins;

/// A spec, and the node that it starts on.
pub(super) struct Container {
    pub(super) id: String,
    pub(super) spec: Value,
    pub(super) node: Node,
}

/// Reads the container that a case gives; paths are from `folder`.
pub(super) fn of(case: &Case, node: &NodeSpec, folder: &Path) -> Result<Container, String> {
    let kernel = kernel(&node.kernel)?;
    let node_of = |joins| Node {
        landlock_abi: node.landlock_abi,
        lsms: node.lsms.clone(),
        kernel,
        joins,
        ..Node::default()
    };
    let mut container = match (&case.manifest, &case.bundle, &case.spec) {
        (Some(manifest), None, None) => {
            let settings = Settings {
                seccomp_default: node.seccomp_default,
                image: Image { user: node.image_user.clone(), ..Image::default() },
                app_armor: node.lsms.iter().any(|module| module == "apparmor"),
                kernel,
                ..Settings::default()
            };
            let (labels, planned) = planned(manifest, case, &settings, folder)?;
            let joins = planned.joins.iter().map(|(path, behind)| {
                let joined = match behind {
                    Behind::Host => Joined::Host,
                    Behind::Pod => Joined::Other,
                };
                (path.clone(), joined)
            });
            let joins = joins.collect();
            let origins = origins(&planned).collect();
            let node = Node { origins, pod_labels: Some(labels), ..node_of(joins) };
            Container { id: planned.name, spec: planned.spec, node }
        }
        (None, Some(bundle), None) => {
            let path = folder.join(bundle).join("config.json");
            let text = find::text(&path).map_err(|error| error.to_string())?;
            let spec = parse_spec(text.as_bytes())
                .map_err(|error| format!("{}: {error}", path.display()))?;
            Container { id: case.name.clone(), node: node_of(joins(&spec)), spec }
        }
        (None, None, Some(spec)) => {
            // Through the gate's own reader: what it refuses is no request.
            let spec = parse_spec(spec.to_string().as_bytes())
                .map_err(|error| format!("spec: {error}"))?;
            Container { id: case.name.clone(), node: node_of(joins(&spec)), spec }
        }
        _ => return Err("a case has one of manifest, bundle and spec".to_owned()),
    };
    say(&case.facts, &mut container.spec);
    Ok(container)
}

fn planned(
    manifest: &Value,
    case: &Case,
    settings: &Settings,
    folder: &Path,
) -> Result<(BTreeMap<String, String>, Planned), String> {
    let manifests = match manifest {
        Value::String(path) => {
            let path = folder.join(path);
            let text = find::text(&path).map_err(|error| error.to_string())?;
            read_with(&path.display().to_string(), &text, settings)
                .map_err(|error| error.to_string())?
        }
        value => {
            let pod = pod(value, settings).map_err(|error| format!("manifest: {error}"))?;
            Manifests { pods: vec![pod], passed_over: Vec::new() }
        }
    };
    let pods = manifests.pods.into_iter();
    let pods = pods.filter(|pod| case.object.as_ref().is_none_or(|name| *name == pod.name));
    // Without a name it is a workload that is meant, not the sandbox.
    let meant = |planned: &Planned| match &case.container {
        Some(name) => planned.name == *name,
        None => planned.role.name() != "sandbox",
    };
    let mut found = pods.flat_map(|pod| {
        let meant = pod.containers.into_iter().filter(meant);
        meant.map(move |planned| (pod.labels.clone(), planned))
    });
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some((_, one)), Some((_, other))) => Err(format!(
            "the manifest has several such containers ({}, {}...); say which by container and object",
            one.name, other.name
        )),
        (None, _) => Err("the manifest has no such container".to_owned()),
    }
}

/// What is behind the namespaces of a spec that stands alone: the host's for paths of its first process,
/// the pod's for others.
fn joins(spec: &Value) -> BTreeMap<String, Joined> {
    view::items(spec, "linux.namespaces")
        .iter()
        .filter_map(|namespace| view::text(namespace, "path"))
        .map(|path| {
            let host = path.starts_with("/proc/1/");
            (path.to_owned(), if host { Joined::Host } else { Joined::Other })
        })
        .collect()
}

/// Puts facts where containerd's CRI plugin puts them (`internal/cri/annotations`).
fn say(facts: &FactsSpec, spec: &mut Value) {
    let kind = facts.sandbox.map(|sandbox| match sandbox {
        true => "sandbox".to_owned(),
        false => "container".to_owned(),
    });
    let said = [
        ("sandbox-namespace", &facts.namespace),
        ("sandbox-name", &facts.pod),
        ("sandbox-uid", &facts.pod_uid),
        ("container-name", &facts.container),
        ("image-name", &facts.image),
        ("container-type", &kind),
    ];
    let mut annotations =
        view::at(spec, "annotations").and_then(Value::as_object).cloned().unwrap_or_default();
    for (key, value) in said {
        if let Some(value) = value {
            annotations.insert(format!("io.kubernetes.cri.{key}"), json!(value));
        }
    }
    if !annotations.is_empty() {
        Edit::Set("annotations".to_owned(), annotations.into()).apply(spec);
    }
}

fn kernel(version: &str) -> Result<(u32, u32), String> {
    let wrong = || format!("spec.node.kernel: {version:?} is no version such as \"6.12\"");
    let (major, minor) = version.split_once('.').ok_or_else(wrong)?;
    Ok((major.parse().map_err(|_| wrong())?, minor.parse().map_err(|_| wrong())?))
}
