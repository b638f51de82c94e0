//! The labels of a container's pod, of which no runtime tells its workloads (docs/selection.md). The record of the
//! pod's sandbox has them, where they were known when it was created; else containerd is asked, which keeps them as
//! labels of the sandbox's container (`internal/cri/server/podsandbox`, `buildLabels`).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use coaming_config::Configuration;
use coaming_policy::facts::{ContainerType, Facts};

use crate::ask::Ask;
use crate::config::LABELS;
use crate::handoff::Runtime;
use crate::record::Record;
use crate::state::State;

/// How long containerd is waited for. A start waits as long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Labels by which containerd and the kubelet say of a sandbox what it is (containerd `internal/cri/labels`, Kubernetes
/// `pkg/kubelet/types/labels.go`).
const KIND: &str = "io.cri-containerd.kind";
const POD_UID: &str = "io.kubernetes.pod.uid";

type Labels = BTreeMap<String, String>;

/// Where labels are looked up.
pub(crate) struct PodLabels<'a> {
    /// Where the state of containers is kept.
    pub(crate) state: &'a Path,
    /// The runtime's state directory, where it is known.
    pub(crate) runtime_root: Option<&'a Path>,
    pub(crate) configuration: &'a Configuration,
}

impl PodLabels<'_> {
    /// The labels of a container's pod; none where it is in no pod.
    ///
    /// # Errors
    /// Why they are not known, in words.
    pub(crate) fn of(&self, facts: &Facts) -> Result<Option<Labels>, String> {
        let Some(sandbox) = facts.sandbox() else { return Ok(None) };
        if let Some(labels) = self.recorded(facts, sandbox) {
            return Ok(Some(labels));
        }
        if !facts.is_containerds() {
            return Err(format!(
                "no record of the pod's sandbox {sandbox:?} has them; it was created without coaming, or before its policies \
                 went by labels"
            ));
        }
        let address = self.configuration.containerd_address();
        let address = address.ok_or("no containerd listens where one is looked for; name its socket by [containerd] address")?;
        let labels = ask(Path::new(LABELS), &address, sandbox)
            .map_err(|why| format!("{LABELS} was asked for those of sandbox {sandbox:?}: {why}"))?;
        check(facts, &labels).map_err(|why| format!("sandbox {sandbox:?} {why}"))?;
        Ok(Some(labels))
    }

    fn recorded(&self, facts: &Facts, sandbox: &str) -> Option<Labels> {
        if facts.container_type == ContainerType::Sandbox {
            return None;
        }
        let record = Record::read(&State::of(self.state, self.runtime_root?, sandbox)).ok()?;
        let is_the_pods = record.facts.container_type == ContainerType::Sandbox
            && record.facts.may_share_a_pod_with(facts);
        // A record that is older than the policy that asks says nothing of labels.
        (is_the_pods && record.facts.has_all_labels()).then(|| record.facts.labels()).flatten()
    }
}

/// Asks a program for the labels of a sandbox in the containerd that listens at an address.
fn ask(program: &Path, address: &Path, sandbox: &str) -> Result<Labels, String> {
    // The same examination as of a runtime.
    Runtime::open(program).map_err(|error| error.to_string())?;
    let ask = Ask { name: program, program, patience: PATIENCE };
    let arguments = ["--address".as_ref(), address.as_os_str(), "--".as_ref(), sandbox.as_ref()];
    let answer = ask.answer(&arguments)?;
    serde_json::from_str(&answer)
        .map_err(|error| format!("its answer is no object of texts: {error}"))
}

/// Whether the labels are those of this container's pod: who asked for the container named the sandbox.
fn check(facts: &Facts, labels: &Labels) -> Result<(), String> {
    if labels.get(KIND).is_none_or(|kind| kind != "sandbox") {
        return Err("is no sandbox of a pod".to_owned());
    }
    let mut uids = facts.pod_uid.iter().flat_map(|fact| fact.values());
    match labels.get(POD_UID) {
        Some(uid) if uids.any(|said| said != uid) => {
            Err(format!("is of the pod {uid}, and the container says that it is of another"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    fn pod(uid: &str) -> Facts {
        Facts::of(
            "c",
            &json!({"annotations": {
                "io.kubernetes.cri.container-type": "container",
                "io.kubernetes.cri.sandbox-id": "abc",
                "io.kubernetes.cri.sandbox-uid": uid,
            }}),
        )
    }

    /// The record of a container under this id, with these labels.
    fn record(of: Facts, labels: Option<&str>) -> Record {
        let labels = labels.map(|tier| [("tier".to_owned(), tier.to_owned())].into());
        serde_json::from_value(json!({
            "version": 1, "id": "abc", "runtime": "/usr/bin/runc", "runtimeRoot": "/r", "bundle": "/b",
            "createdAt": 0, "facts": of.labelled(labels), "changes": [], "degraded": [], "notes": [],
            "process": {}, "seccomp": null, "bounding": [], "plan": null,
            "floor": coaming_policy::floor::Floor::default(),
        }))
        .unwrap()
    }

    #[test]
    fn what_is_recorded_is_taken_of_the_pods_own_sandbox_alone() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("runc");
        let state = State::of(folder.path(), &root, "abc");
        state.reserve().unwrap();
        let configuration = Configuration::default();
        let of = |root: Option<&Path>, kept: Record, asks: &Facts| {
            kept.write(&state).unwrap();
            PodLabels { state: folder.path(), runtime_root: root, configuration: &configuration }
                .recorded(asks, "abc")
        };
        let sandbox = |uid: &str| Facts { container_type: ContainerType::Sandbox, ..pod(uid) };
        let root = Some(root.as_path());
        let known = record(sandbox("1"), Some("locked"));
        assert_eq!(of(root, known.clone(), &pod("1")).unwrap()["tier"], "locked");
        assert_eq!(of(root, known.clone(), &pod("2")), None, "another pod's");
        assert_eq!(of(None, known.clone(), &pod("1")), None, "of which runtime is not known");
        assert_eq!(
            of(root, known, &sandbox("1")),
            None,
            "its own are not known before it is created"
        );
        assert_eq!(of(root, record(sandbox("1"), None), &pod("1")), None, "nobody asked then");
        assert_eq!(of(root, record(pod("1"), Some("locked")), &pod("1")), None, "no sandbox");
    }

    #[test]
    fn labels_of_another_pod_or_of_no_sandbox_are_not_taken() {
        let labels = |kind: &str, uid: &str| -> Labels {
            [(KIND, kind), (POD_UID, uid), ("app", "web")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into()
        };
        check(&pod("1"), &labels("sandbox", "1")).unwrap();
        assert!(check(&pod("2"), &labels("sandbox", "1")).unwrap_err().contains("another"));
        assert!(check(&pod("1"), &labels("container", "1")).is_err());
        assert!(check(&pod("1"), &Labels::new()).is_err());
    }

    #[test]
    fn a_program_that_fails_or_talks_nonsense_gives_no_labels() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("labels");
        let says = |script: &str| {
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            ask(&program, Path::new("/run/x.sock"), "-abc")
        };
        let told = says("printf '{\"address\": \"%s\", \"id\": \"%s\"}' \"$2\" \"$4\"").unwrap();
        assert_eq!(told["address"], "/run/x.sock");
        assert_eq!(told["id"], "-abc", "an id is no option");
        assert!(says("echo '{\"a\": 1}'").unwrap_err().contains("no object of texts"));
        assert!(says("echo '{}'; exit 3").unwrap_err().contains("ended with"));
        assert!(ask(Path::new("/nonexistent"), Path::new("/x"), "abc").is_err());
    }
}
