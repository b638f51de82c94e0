//! Manifests on the command line: a file, and what is assumed of the cluster and the images.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use coaming_manifest::{Behind, Image, MAX_BYTES, Manifests, Planned, Pod, Settings, read_with};
use coaming_policy::controls::origin::Origin;
use coaming_policy::controls::{Joined, Node};
use coaming_shim::host;
use serde_json::Value;

use crate::error::CommandError;

/// The options of a command that takes manifests. The option itself is the command's own, in its
/// group of subjects.
#[derive(Debug, clap::Args)]
pub(crate) struct Assumed {
    /// Of the manifest's containers, those of this name alone; POD is a pod's sandbox.
    #[arg(long, value_name = "NAME", requires = "manifest")]
    only: Option<String>,
    /// The namespace of objects in the manifest that name none.
    #[arg(long, value_name = "NAME", default_value = "default", requires = "manifest")]
    namespace: String,
    /// The user that images are taken to have, as in a Dockerfile: 1000, or 1000:1000. Default: root.
    #[arg(long, value_name = "USER", requires = "manifest")]
    image_user: Option<String>,
    /// Take the kubelets to run with seccompDefault: true.
    #[arg(long, requires = "manifest")]
    seccomp_default: bool,
}

/// A container of a manifest that is to be looked at.
pub(crate) struct Chosen<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) planned: &'a Planned,
    /// This machine, with the pod's namespaces as they would be.
    pub(crate) node: Node,
}

impl Assumed {
    /// Reads a file of manifests; `-` is standard input.
    pub(crate) fn read(&self, path: &Path) -> Result<Manifests, CommandError> {
        let manifests = read_file(path, Some(&self.settings()))?;
        if let Some(only) = &self.only
            && self.choose(&manifests).is_empty()
        {
            let names = manifests.pods.iter().flat_map(|pod| &pod.containers);
            let known: BTreeSet<&String> = names.map(|planned| &planned.name).collect();
            let known = known.into_iter().cloned().collect();
            let (name, path) = (only.clone(), path.to_owned());
            return Err(CommandError::NotInManifest { name, path, known });
        }
        Ok(manifests)
    }

    /// The containers that are to be looked at.
    pub(crate) fn choose<'a>(&self, manifests: &'a Manifests) -> Vec<Chosen<'a>> {
        let node = host::examine(&Value::Null);
        let all = manifests
            .pods
            .iter()
            .flat_map(|pod| pod.containers.iter().map(move |planned| (pod, planned)));
        all.filter(|(_, planned)| self.only.as_ref().is_none_or(|only| *only == planned.name))
            .map(|(pod, planned)| Chosen { pod, planned, node: with_joins(&node, pod) })
            .collect()
    }

    /// Whether one container was named.
    pub(crate) fn names_one(&self) -> bool {
        self.only.is_some()
    }

    fn settings(&self) -> Settings {
        let node = host::examine(&Value::Null);
        Settings {
            namespace: self.namespace.clone(),
            seccomp_default: self.seccomp_default,
            image: Image { user: self.image_user.clone(), ..Image::default() },
            app_armor: node.lsms.iter().any(|module| module == "apparmor"),
            kernel: node.kernel,
            ..Settings::default()
        }
    }
}

/// This machine, where what the manifest's pod joins, mounts and is labelled is what it would be.
pub(crate) fn with_joins(node: &Node, pod: &Pod) -> Node {
    let joins = pod.containers.iter().flat_map(|planned| &planned.joins).map(|(path, behind)| {
        let joined = match behind {
            Behind::Host => Joined::Host,
            Behind::Pod => Joined::Other,
        };
        (path.clone(), joined)
    });
    let origins = pod.containers.iter().flat_map(origins);
    let pod_labels = Some(pod.labels.clone());
    Node { joins: joins.collect(), origins: origins.collect(), pod_labels, ..node.clone() }
}

/// What is behind the mounts of a `subPath`, which the kubelet has yet to make.
pub(crate) fn origins(planned: &Planned) -> impl Iterator<Item = (String, Vec<Origin>)> {
    planned
        .origins
        .iter()
        .map(|(source, path)| (source.clone(), vec![Origin { paths: [path.clone()].into() }]))
}

/// Reads a file of manifests; `-` is standard input. What is assumed without settings is this machine.
pub(crate) fn read_file(
    path: &Path,
    settings: Option<&Settings>,
) -> Result<Manifests, CommandError> {
    let failed = |error| CommandError::Path { path: path.to_owned(), error };
    let mut bytes = Vec::new();
    // One byte more tells what is too large.
    let most = MAX_BYTES as u64 + 1;
    if path == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        File::open(path).map_err(failed)?.take(most).read_to_end(&mut bytes).map_err(failed)?;
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    let name = path.display().to_string();
    Ok(match settings {
        Some(settings) => read_with(&name, &text, settings)?,
        None => {
            let node = host::examine(&Value::Null);
            let app_armor = node.lsms.iter().any(|module| module == "apparmor");
            let settings = Settings { app_armor, kernel: node.kernel, ..Settings::default() };
            read_with(&name, &text, &settings)?
        }
    })
}
