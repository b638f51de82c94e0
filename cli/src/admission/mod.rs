//! `coaming admission-policy`: what the node would say of a pod, said by the API server already.
//!
//! Nothing rests on it: the node judges every container, whoever let it pass. A pod's manifest tells less than what the node sees (the image's
//! user, what the runtime adds), so what cannot be told is left out here and named; what is refused here the node
//! would refuse too.

mod pods;
mod selector;

use std::io::Write;
use std::path::PathBuf;

use coaming_policy::document::{CONTROLS, Directory, Mode, PolicyDocument, read_directory};
use coaming_policy::floor::Floor;
use serde_json::{Value, json};

use crate::error::CommandError;
use crate::output::Outcome;
use crate::schema::documents_policy;

/// Print policies as ValidatingAdmissionPolicies of Kubernetes (1.30 and later), in YAML.
///
/// So that users hear at `kubectl apply` what the node would say: a refusal, or a warning where the node would bring a
/// container within the policy, or where the policy is audited or rolled out to a part of the pods. What CEL over a manifest cannot say
/// is named in an annotation of each. With --documents: the one that refuses Policies and Waivers with fields that there are not.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Files or directories of policies.
    #[arg(required_unless_present = "documents")]
    paths: Vec<PathBuf>,
    /// Only for pods of these runtime classes; by default for all, as where coaming is the nodes' default handler.
    #[arg(long = "runtime-class", value_name = "NAME")]
    runtime_classes: Vec<String>,
    /// Print the one for Policies and Waivers themselves.
    #[arg(long, conflicts_with = "paths")]
    documents: bool,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let mut made = Vec::new();
    if arguments.documents {
        made.extend(documents_policy()?);
    }
    let mut sets = Vec::new();
    for path in &arguments.paths {
        let read = if path.is_dir() { read_directory(path) } else { Directory::of_file(path) };
        sets.push(read.map_err(CommandError::Policy)?);
    }
    for set in &sets {
        made.extend(of_set(set, &arguments.runtime_classes));
    }
    if made.is_empty() {
        writeln!(out, "# Nothing of these policies can be said of a manifest.")?;
    } else {
        writeln!(
            out,
            "# Made by `coaming admission-policy`; make it anew when the policies change. The node decides."
        )?;
    }
    for object in &made {
        let text = serde_saphyr::to_string(object)
            .map_err(|error| CommandError::Usage(format!("cannot write YAML: {error}")))?;
        write!(out, "---\n{text}")?;
    }
    Ok(Outcome::Fine)
}

/// The objects of a set: for each policy, and each one that it includes, what is refused and what is warned of.
fn of_set(set: &Directory, runtime_classes: &[String]) -> Vec<Value> {
    let mut made = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for (document, floor) in set.floors() {
        let name = &document.metadata.value.name;
        let again = names.iter().filter(|known| *known == name).count();
        names.push(name.clone());
        // Names of policies have dots, too: what ends with a number is no policy's first.
        let nth = if again == 0 { String::new() } else { format!(".{}", again + 1) };
        made.extend(of_policy(&nth, document, floor, set, runtime_classes));
    }
    made
}

fn of_policy(
    nth: &str,
    document: &PolicyDocument,
    floor: &Floor,
    set: &Directory,
    runtime_classes: &[String],
) -> Vec<Value> {
    // What cannot be selected by a manifest is not refused to all.
    let Ok(selected) = selector::of(&document.selector()) else { return Vec::new() };
    let said = pods::of(&document.spec, &selected);
    let unsaid: Vec<&str> =
        stated(floor).into_iter().filter(|control| !said.covers.contains(control)).collect();
    let softly = document.spec.mode == Some(Mode::Audit) || document.spec.rollout.is_some();
    let audited = |control: &str| {
        softly || document.spec.audit.as_ref().is_some_and(|audit| audit.value.contains(control))
    };
    let mut made = Vec::new();
    for (refuses, suffix, actions) in
        [(true, "refused", json!(["Deny"])), (false, "told", json!(["Warn", "Audit"]))]
    {
        let validations: Vec<Value> = said
            .validations
            .iter()
            .filter(|check| (check.refused && !audited(check.control)) == refuses)
            .map(|check| check.object(document, set, refuses))
            .collect();
        if validations.is_empty() {
            continue;
        }
        let name = format!("coaming.{}.{suffix}{nth}", document.metadata.value.name);
        let mut conditions = selected.conditions.clone();
        if !runtime_classes.is_empty() {
            conditions.push(json!({
                "name": "runtime-class",
                "expression": format!("has({POD}.runtimeClassName) && {POD}.runtimeClassName in {}", json!(runtime_classes)),
            }));
        }
        made.push(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {
                "name": name,
                "labels": {"app.kubernetes.io/name": "coaming"},
                "annotations": {"coaming.dev/not-said": not_said(&unsaid, &said.notes)},
            },
            "spec": {
                // The node judges whatever comes; a fault here keeps nobody from working.
                "failurePolicy": "Ignore",
                "matchConstraints": {"resourceRules": rules()},
                "matchConditions": conditions,
                "variables": variables(&selected.containers),
                "validations": validations,
            },
        }));
        made.push(json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "coaming"}},
            "spec": {"policyName": name, "validationActions": actions},
        }));
    }
    made
}

/// The pod's spec, of a pod and of whatever makes pods.
const POD: &str = "(object.kind == 'Pod' ? object.spec : object.kind == 'CronJob' ? object.spec.jobTemplate.spec.template.spec : object.spec.template.spec)";

fn variables(containers: &str) -> Value {
    json!([
        {"name": "pod", "expression": POD},
        {"name": "all", "expression": "variables.pod.containers + (has(variables.pod.initContainers) ? variables.pod.initContainers : []) + (has(variables.pod.ephemeralContainers) ? variables.pod.ephemeralContainers : [])"},
        {"name": "selected", "expression": format!("variables.all.filter(c, {containers})")},
    ])
}

fn rules() -> Value {
    let rule = |group: &str, version: &str, resources: &[&str], operations: &[&str]| json!({"apiGroups": [group], "apiVersions": [version], "resources": resources, "operations": operations});
    json!([
        rule("", "v1", &["pods"], &["CREATE"]),
        rule("", "v1", &["pods/ephemeralcontainers"], &["UPDATE"]),
        rule("", "v1", &["replicationcontrollers"], &["CREATE", "UPDATE"]),
        rule(
            "apps",
            "v1",
            &["daemonsets", "deployments", "replicasets", "statefulsets"],
            &["CREATE", "UPDATE"]
        ),
        rule("batch", "v1", &["jobs", "cronjobs"], &["CREATE", "UPDATE"]),
    ])
}

/// The controls of which a policy states something.
fn stated(floor: &Floor) -> Vec<&'static str> {
    let fields = floor.fields();
    let of =
        |control: &&&str| fields.iter().any(|field| field.strip_prefix("spec.") == Some(**control));
    CONTROLS.iter().filter(of).copied().collect()
}

fn not_said(unsaid: &[&str], notes: &[&str]) -> String {
    let mut words = Vec::new();
    if !unsaid.is_empty() {
        words.push(format!(
            "No manifest tells what these ask of it; the node alone judges: {}.",
            unsaid.join(", ")
        ));
    }
    words.extend(notes.iter().map(|note| (*note).to_owned()));
    match words.is_empty() {
        true => "Nothing that this policy states.".to_owned(),
        false => words.join(" "),
    }
}
