//! What becomes of containers under both sets.

use std::path::{Path, PathBuf};

use coaming_policy::builtin;
use coaming_policy::controls::Node;
use coaming_policy::decide::{Door, Request, decide};
use coaming_policy::demands::Demands;
use coaming_policy::document::{BuiltIn, Directory, Moment};
use coaming_policy::facts::Facts;
use coaming_policy::verdict::{Verdict, brief};
use coaming_shim::host;
use serde::Serialize;
use serde_json::Value;

use crate::error::CommandError;
use crate::explain::bundle;
use crate::manifests::{read_file, with_joins};

/// A container, as both sets have it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Judged {
    pub(super) name: String,
    pub(super) before: Outcome,
    pub(super) after: Outcome,
}

/// What becomes of it.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outcome {
    admitted: bool,
    /// Why it is refused.
    refusals: Vec<String>,
    /// What is not given of what it asks.
    changes: Vec<String>,
    /// What is waived for it.
    waived: Vec<String>,
}

impl Outcome {
    pub(super) fn verdict(&self) -> &'static str {
        if self.admitted { "admitted" } else { "refused" }
    }

    /// What is said here and not there.
    pub(super) fn without(&self, other: &Outcome) -> Vec<String> {
        let lists = [
            ("refused", &self.refusals, &other.refusals),
            ("not given", &self.changes, &other.changes),
            ("waived", &self.waived, &other.waived),
        ];
        lists
            .into_iter()
            .flat_map(|(word, ours, theirs)| {
                let ours = ours.iter().filter(|line| !theirs.contains(line));
                ours.map(move |line| format!("{word}: {line}"))
            })
            .collect()
    }
}

/// Decides of every container of these bundles and manifests.
pub(super) fn judge(
    paths: &[PathBuf],
    [old, new]: [&Directory; 2],
    floor: BuiltIn,
) -> Result<Vec<Judged>, CommandError> {
    let mut judged = Vec::new();
    let mut add = |name: String, id: &str, spec: &Value, node: &Node| {
        judged.push(Judged {
            name,
            before: outcome(id, spec, node, old, floor)?,
            after: outcome(id, spec, node, new, floor)?,
        });
        Ok::<(), CommandError>(())
    };
    for path in paths {
        if path.is_dir() {
            let (bundle, id, spec) = bundle::read(path)?;
            add(bundle.path().display().to_string(), &id, &spec, &host::examine(&spec))?;
            continue;
        }
        let manifests = read_file(Path::new(path), None)?;
        let node = host::examine(&Value::Null);
        for pod in &manifests.pods {
            for planned in &pod.containers {
                let name = format!("{} {}/{}: {}", pod.kind, pod.namespace, pod.name, planned.name);
                add(name, &planned.name, &planned.spec, &with_joins(&node, pod))?;
            }
        }
    }
    Ok(judged)
}

fn outcome(
    id: &str,
    spec: &Value,
    node: &Node,
    policies: &Directory,
    floor: BuiltIn,
) -> Result<Outcome, CommandError> {
    let facts = Facts::of(id, spec).labelled(node.pod_labels.clone());
    let beneath = builtin::floor(floor).map_err(CommandError::Policy)?;
    let demands = Demands::upon(&facts, policies, (floor.name(), beneath), Moment::now());
    let request = Request { door: Door::Create, spec, facts: &facts, node, exec: None };
    let waived = demands.waived.iter().flat_map(|waived| &waived.waived).cloned().collect();
    Ok(match decide(&request, &demands.floor) {
        Verdict::Refuse(refusal) => Outcome {
            admitted: false,
            refusals: refusal
                .reasons
                .iter()
                .map(|reason| format!("{}: allowed is {}", reason.field, reason.allowed))
                .collect(),
            changes: Vec::new(),
            waived,
        },
        Verdict::Admit(admission) => Outcome {
            admitted: true,
            refusals: Vec::new(),
            changes: admission
                .changes
                .iter()
                .map(|change| {
                    let (asked, enforced) = (brief(&change.asked), brief(&change.enforced));
                    format!("{}: asked {asked}, enforced {enforced}", change.field)
                })
                .collect(),
            waived,
        },
    })
}
