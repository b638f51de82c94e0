//! Seccomp filters, compiled ahead: those of ordinary containers under each built-in floor, and those of manifests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use coaming_config::Configuration;
use coaming_manifest::{MAX_BYTES, Manifests, read};
use coaming_policy::builtin;
use coaming_policy::controls::Node;
use coaming_policy::decide::{Door, Request, audit_with, decide_with};
use coaming_policy::demands::Demands;
use coaming_policy::document::{Directory, Moment};
use coaming_policy::facts::Facts;
use coaming_policy::spec::view;
use coaming_policy::verdict::Verdict;
use coaming_policy::{denial_log, kernel_log};
use coaming_shim::memory::Remembered;
use coaming_shim::{baked, host, launch};
use serde_json::Value;
use tempfile::TempDir;

use super::plan::Wish;
use crate::error::CommandError;
use crate::install::tree::Tree;
use crate::manifests::with_joins;

/// Where kubelets read the pods that no API server knows.
const STATIC_PODS: &str = "/etc/kubernetes/manifests";
/// The same of k3s and rke2.
const STATIC_PODS_OF_K3S: &str = "/var/lib/rancher/k3s/agent/pod-manifests";

/// What is asked most: the kubelet's two answers to a pod that names no profile, with and without privilege escalation.
const ORDINARY: &str = include_str!("ordinary.yaml");

/// What was compiled.
#[derive(Debug, Default)]
pub(super) struct Compiled {
    pub(super) wishes: Vec<Wish>,
    /// How many files there are.
    pub(super) filters: usize,
    pub(super) notes: Vec<String>,
}

pub(super) fn compile(
    tree: &Tree,
    configuration: &Configuration,
    set: &Directory,
    given: &[PathBuf],
) -> Result<Compiled, CommandError> {
    let failed = |error: std::io::Error| {
        CommandError::Bake(format!("cannot keep filters in a temporary folder: {error}"))
    };
    let mut notes = Vec::new();
    let mut manifests = vec![read("ordinary.yaml", ORDINARY)?];
    for path in given {
        manifests.push(crate::manifests::read_file(path, None)?);
    }
    for (name, text) in static_pods(tree).map_err(CommandError::Bake)? {
        match read(&name, &text) {
            Ok(found) => manifests.push(found),
            Err(error) => notes.push(format!("no filters are compiled for {name}: {error}")),
        }
    }
    let cache = tempfile::tempdir().map_err(failed)?;
    for manifest in &manifests {
        all_of(manifest, configuration, set, &cache, &mut notes)?;
    }
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(cache.path()).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.insert(name, fs::read(entry.path()).map_err(failed)?);
    }
    let folder = baked::filters_of_this_build(Path::new(baked::FILTERS));
    let filters = files.len();
    let wishes = files
        .into_iter()
        .map(|(name, bytes)| Wish::file(&folder.join(name).display().to_string(), bytes, 0o644))
        .collect();
    notes.dedup();
    Ok(Compiled { wishes, filters, notes })
}

/// The image's own static pods, by their files.
fn static_pods(tree: &Tree) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    for folder in [STATIC_PODS, STATIC_PODS_OF_K3S] {
        for name in tree.names(folder)? {
            let path = format!("{folder}/{name}");
            let extension = Path::new(&name).extension().and_then(|extension| extension.to_str());
            if !matches!(extension, Some("yaml" | "yml" | "json")) {
                continue;
            }
            if let Some(seen) = tree.read(&path)?.filter(|seen| seen.bytes.len() <= MAX_BYTES) {
                found.push((path, String::from_utf8_lossy(&seen.bytes).into_owned()));
            }
        }
    }
    Ok(found)
}

/// Every container of a manifest, through every wrapper, on a kernel with Landlock and on one without.
fn all_of(
    manifest: &Manifests,
    configuration: &Configuration,
    set: &Directory,
    cache: &TempDir,
    notes: &mut Vec<String>,
) -> Result<(), CommandError> {
    let machine = host::examine(&Value::Null);
    for pod in &manifest.pods {
        let node = with_joins(&machine, pod);
        for planned in &pod.containers {
            for wrapper in configuration.wrappers() {
                for landlock_abi in [node.landlock_abi, 0] {
                    let node = Node { landlock_abi, logs_denied_calls: true, ..node.clone() };
                    let asked =
                        Asked { id: &planned.name, spec: &planned.spec, wrapper, node: &node };
                    asked.compile(configuration, set, cache.path(), notes)?;
                }
            }
        }
    }
    Ok(())
}

/// A container that will be asked for.
struct Asked<'a> {
    id: &'a str,
    spec: &'a Value,
    wrapper: &'a str,
    node: &'a Node,
}

impl Asked<'_> {
    /// Does what the gate does at a create, up to the filters, which are left in the cache. A container that is refused has none.
    fn compile(
        &self,
        configuration: &Configuration,
        set: &Directory,
        cache: &Path,
        notes: &mut Vec<String>,
    ) -> Result<(), CommandError> {
        let Asked { id, spec, wrapper, node } = *self;
        let facts = Facts::of(id, spec).on(wrapper, node, spec);
        let which = configuration.floor_for(wrapper);
        let beneath = (which.name(), builtin::floor(which).map_err(CommandError::Policy)?);
        let Demands { floor, audit: audited, .. } =
            Demands::upon(&facts, set, beneath, Moment::now());
        let request = Request { door: Door::Create, spec, facts: &facts, node, exec: None };
        let memory = Remembered::in_folder(cache);
        // A runtime may be too old to log what a filter denies.
        for takes_log in [Ok(()), Err("it takes no log".to_owned())] {
            let Verdict::Admit(admission) = decide_with(&request, &floor, &memory) else { break };
            let mut admission = *admission;
            let mut audit = audit_with(&request, &admission, &audited, &memory);
            kernel_log::ask(&request, &mut admission, &audited, &mut audit, |profile, launcher| {
                match launcher {
                    true => launch::check_for_launcher(profile, cache),
                    false => launch::check_for_runtime(&profile.to_oci(), Path::new("runc"), cache),
                }
                .map_err(|error| error.to_string())
            });
            denial_log::ask(&request, &mut admission, &floor, takes_log);
            let mut done = Ok(());
            if !admission.launch.is_empty() {
                done = launch::encode(&admission.launch, cache).map(drop);
            }
            if let Some(profile) = view::at(&admission.spec, "linux.seccomp")
                && !floor.seccomp.is_empty()
            {
                done = done.and(launch::check_for_runtime(profile, Path::new("runc"), cache));
            }
            if let Err(error) = done {
                notes.push(format!("the filter of {id} under {wrapper} is not compiled: {error}"));
            }
        }
        Ok(())
    }
}
