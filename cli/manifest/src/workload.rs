//! The kinds of objects that make pods, and where in them the pod stands.

use crate::error::ManifestError;
use crate::field::Field;

/// An object that makes pods.
#[derive(Debug, Clone)]
pub(crate) struct Workload<'a> {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    /// The pod's own metadata: that of the template, for a workload.
    pub(crate) metadata: Field<'a>,
    /// The pod's spec.
    pub(crate) spec: Field<'a>,
    /// The pod's name, or one of the form that its controller would give it.
    pub(crate) pod_name: String,
    /// Whether the pod's name is made up.
    pub(crate) made_up: bool,
}

/// What an object of a file is.
pub(crate) enum Found<'a> {
    Workload(Box<Workload<'a>>),
    /// A list; its items may leave out the kind that the list's own name implies.
    List {
        items: Vec<Field<'a>>,
        implied: Option<String>,
    },
    /// Makes no pods; in words.
    Other(String),
}

/// A kind of workload: its API groups, where its pod stands, and what its controller appends to its
/// own name for the pod's.
struct Kind {
    name: &'static str,
    groups: &'static [&'static str],
    pod: &'static [&'static str],
    suffix: &'static str,
}

const TEMPLATE: &[&str] = &["spec", "template"];
const KINDS: [Kind; 8] = [
    Kind { name: "Pod", groups: &[""], pod: &[], suffix: "" },
    Kind {
        name: "Deployment",
        groups: &["apps", "extensions"],
        pod: TEMPLATE,
        suffix: "-0000000000-00000",
    },
    Kind { name: "StatefulSet", groups: &["apps"], pod: TEMPLATE, suffix: "-0" },
    Kind { name: "DaemonSet", groups: &["apps", "extensions"], pod: TEMPLATE, suffix: "-00000" },
    Kind { name: "ReplicaSet", groups: &["apps", "extensions"], pod: TEMPLATE, suffix: "-00000" },
    Kind { name: "ReplicationController", groups: &[""], pod: TEMPLATE, suffix: "-00000" },
    Kind { name: "Job", groups: &["batch"], pod: TEMPLATE, suffix: "-00000" },
    Kind {
        name: "CronJob",
        groups: &["batch"],
        pod: &["spec", "jobTemplate", "spec", "template"],
        suffix: "-00000000-00000",
    },
];

impl<'a> Workload<'a> {
    /// Tells what an object is.
    pub(crate) fn of(object: Field<'a>, implied: Option<&str>) -> Result<Found<'a>, ManifestError> {
        let kind = match (object.get("kind")?.string()?, implied) {
            (Some(kind), _) => kind,
            (None, Some(implied)) => implied,
            (None, None) => object.get("kind")?.name()?,
        };
        let version = object.get("apiVersion")?.string()?.unwrap_or_default();
        let group = version.split_once('/').map_or("", |(group, _)| group);
        // `kubectl get -o yaml` prints a List, whatever is in it; clients print PodList and the like.
        if let Some(of) = kind.strip_suffix("List") {
            let implied = KINDS.iter().any(|known| known.name == of).then(|| of.to_owned());
            if of.is_empty() || implied.is_some() {
                return Ok(Found::List { items: object.get("items")?.items()?, implied });
            }
        }
        let known = |known: &&Kind| {
            known.name == kind && (implied.is_some() || known.groups.contains(&group))
        };
        match KINDS.iter().find(known) {
            Some(known) => Ok(Found::Workload(Box::new(Workload::new(object, known)?))),
            None => {
                let name = object.at(&["metadata", "name"])?.string()?.unwrap_or("without a name");
                Ok(Found::Other(format!("{kind} {name}: makes no pods, or is not known")))
            }
        }
    }

    /// A pod's own object.
    pub(crate) fn of_pod(object: Field<'a>) -> Result<Workload<'a>, ManifestError> {
        let [pod, ..] = &KINDS;
        match object.get("kind")?.string()? {
            None | Some("Pod") => Workload::new(object, pod),
            Some(other) => Err(object.get("kind")?.wrong(format!("expected Pod, found {other:?}"))),
        }
    }

    fn new(object: Field<'a>, kind: &Kind) -> Result<Workload<'a>, ManifestError> {
        let metadata = object.get("metadata")?;
        let pod = object.at(kind.pod)?;
        let spec = pod.get("spec")?;
        if spec.is_absent() {
            return Err(spec.wrong("missing, and needed; add it".to_owned()));
        }
        let (name, generated) = match metadata.get("name")?.string()? {
            Some(name) if !name.is_empty() => (name.to_owned(), false),
            // The API server completes it.
            _ => match metadata.get("generateName")?.string()? {
                Some(prefix) => (format!("{prefix}00000"), true),
                None => (metadata.get("name")?.name()?.to_owned(), false),
            },
        };
        Ok(Workload {
            kind: kind.name.to_owned(),
            pod_name: format!("{name}{}", kind.suffix),
            made_up: generated || !kind.suffix.is_empty(),
            name,
            namespace: metadata.get("namespace")?.string()?.map(str::to_owned),
            metadata: pod.get("metadata")?,
            spec,
        })
    }

    /// The operating system that the pod names, where it is not Linux.
    pub(crate) fn other_system(&self) -> Result<Option<&'a str>, ManifestError> {
        let named = self.spec.at(&["os", "name"])?.string()?;
        let selected = self.spec.at(&["nodeSelector", "kubernetes.io/os"])?.string()?;
        Ok(named.or(selected).filter(|system| *system != "linux"))
    }
}
