//! Policies and waivers as objects of Kubernetes: the definitions that make the API server know them.
//!
//! The schema is that of the types. What the files' readers demand beyond types is said in the schema's own
//! words where it has them, and in CEL (`x-kubernetes-validations`) where it has not; the rest the node says, which reads every
//! object as strictly as a file.

// Of a JSON value what is not there is `null`; what is written to are the objects of our own schema, all of them made by each test.
#![allow(clippy::indexing_slicing)]

use coaming_policy::document::{CONTROLS, MAY_BE_DEGRADED, PolicyDocument, WaiverDocument};
use schemars::schema_for;
use serde_json::{Value, json};

use super::structural;
use crate::error::CommandError;

const GROUP: &str = "coaming.dev";
const VERSION: &str = "v1alpha1";
/// What an agent reports of its node; the agent's own test holds what it writes against this.
const NODE_REPORT: &str = include_str!("node_report.json");

/// All definitions, as one stream of YAML.
pub(super) fn yaml() -> Result<String, CommandError> {
    let text = |definition: &Value| {
        serde_saphyr::to_string(definition).map_err(|error| {
            CommandError::Usage(format!("cannot write the definitions as YAML: {error}"))
        })
    };
    let mut all = String::from(
        "# What the API server knows of coaming's objects. Made by `coaming schema custom-resources`; do not edit.\n",
    );
    for definition in definitions()? {
        all.push_str("---\n");
        all.push_str(&text(&definition)?);
    }
    Ok(all)
}

fn definitions() -> Result<[Value; 3], CommandError> {
    let report: Value = serde_json::from_str(NODE_REPORT).map_err(std::io::Error::from)?;
    Ok([
        definition(&POLICY, &policy()?),
        definition(&WAIVER, &waiver()?),
        definition(&REPORT, &report),
    ])
}

/// How a kind is named and listed.
struct Kind {
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    short: &'static [&'static str],
    /// Whether its status is written apart from it; a report is nothing but status, and one write brings it.
    status_apart: bool,
    /// Name, type and place of the columns of `kubectl get`.
    columns: &'static [(&'static str, &'static str, &'static str)],
}

const POLICY: Kind = Kind {
    kind: "Policy",
    plural: "policies",
    singular: "policy",
    short: &["cmp"],
    status_apart: true,
    columns: &[
        ("Mode", "string", ".spec.mode"),
        ("Rollout", "integer", ".spec.rollout.percentage"),
        ("Includes", "string", ".spec.include"),
        ("Namespaces", "string", ".spec.match.namespaces"),
        ("Age", "date", ".metadata.creationTimestamp"),
    ],
};
const WAIVER: Kind = Kind {
    kind: "Waiver",
    plural: "waivers",
    singular: "waiver",
    short: &["cmw"],
    status_apart: true,
    columns: &[
        ("Owner", "string", ".spec.owner"),
        ("Waives", "string", ".spec.waives"),
        ("Namespaces", "string", ".spec.match.namespaces"),
        ("Expires", "string", ".spec.expires"),
        ("Starts", "string", ".spec.starts"),
        ("For", "string", ".spec.duration"),
        ("Age", "date", ".metadata.creationTimestamp"),
    ],
};
const REPORT: Kind = Kind {
    kind: "NodeReport",
    plural: "nodereports",
    singular: "nodereport",
    short: &["cmnr"],
    status_apart: false,
    columns: &[
        ("In force", "string", ".status.inForce.digest"),
        ("Written", "string", ".status.written.digest"),
        ("Policies", "integer", ".status.written.policies"),
        ("Errors", "integer", ".status.errorCount"),
        ("Problem", "string", ".status.errors[0].message"),
        ("Observed", "date", ".status.observedAt"),
    ],
};

fn definition(kind: &Kind, schema: &Value) -> Value {
    let columns: Vec<Value> = kind
        .columns
        .iter()
        .map(|(name, of, place)| json!({"name": name, "type": of, "jsonPath": place}))
        .collect();
    let subresources = if kind.status_apart { json!({"status": {}}) } else { json!({}) };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{GROUP}", kind.plural),
            "labels": {"app.kubernetes.io/name": "coaming"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {
                "kind": kind.kind,
                "listKind": format!("{}List", kind.kind),
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": kind.short,
                "categories": ["coaming"],
            },
            "versions": [{
                "name": VERSION,
                "served": true,
                "storage": true,
                "subresources": subresources,
                "additionalPrinterColumns": columns,
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    })
}

fn policy() -> Result<Value, CommandError> {
    let root = schema_for!(PolicyDocument).to_value();
    let mut object = object(&root)?;
    let spec = &mut object["properties"]["spec"];
    let names = json!(CONTROLS);
    let of_controls = |list: &mut Value, names: &Value| {
        list["items"]["enum"] = names.clone();
        list["maxItems"] = json!(names.as_array().map_or(0, Vec::len));
    };
    of_controls(&mut spec["properties"]["audit"], &names);
    of_controls(&mut spec["properties"]["bestEffort"], &json!(MAY_BE_DEGRADED));
    let actions = &mut spec["properties"]["actions"];
    actions["maxProperties"] = json!(CONTROLS.len() + 1);
    let known: Vec<&str> = CONTROLS.iter().copied().chain(["default"]).collect();
    actions["x-kubernetes-validations"] = json!([{
        "rule": format!("self.all(name, name in {})", json!(known)),
        "message": "actions are by control: its name in spec, or default",
    }]);
    spec["x-kubernetes-validations"] = json!([
        {
            "rule": "!(has(self.rollout) && has(self.mode) && self.mode == 'audit')",
            "message": "rollout says for which pods the policy is enforced, and mode that it is for none; leave one of them out",
        },
        {
            "rule": "!has(self.match) || !has(self.match.doors) || 'create' in self.match.doors || !(has(self.landlock) || has(self.seccomp))",
            "message": "landlock and seccomp are loaded when a container is created, and match.doors leaves create out; put them into a policy of their own",
        },
    ]);
    Ok(object)
}

fn waiver() -> Result<Value, CommandError> {
    let root = schema_for!(WaiverDocument).to_value();
    let mut object = object(&root)?;
    let spec = &mut object["properties"]["spec"];
    let fields = &mut spec["properties"];
    fields["waives"]["items"]["enum"] = json!(CONTROLS);
    fields["waives"]["maxItems"] = json!(CONTROLS.len());
    fields["waives"]["minItems"] = json!(1);
    for name in ["owner", "reason"] {
        fields[name]["minLength"] = json!(1);
        fields[name]["pattern"] = json!(r"\S");
    }
    // Dates and times as the files' reader takes them; whether there is such a day, it says.
    const DATE: &str = r"[0-9]{4}-[0-9]{2}-[0-9]{2}";
    const TIME: &str = r"T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z";
    fields["expires"]["pattern"] = json!(format!("^{DATE}({TIME})?$"));
    fields["starts"]["pattern"] = json!(format!("^{DATE}({TIME})?$"));
    fields["duration"]["pattern"] = json!(r"^([0-9]+ *[A-Za-z]+ *)+$");
    for (name, longest) in
        [("expires", 40), ("starts", 40), ("duration", 100), ("owner", 253), ("reason", 2048)]
    {
        fields[name]["maxLength"] = json!(longest);
    }
    let selector = &mut fields["match"];
    selector["required"] = json!(["namespaces"]);
    selector["properties"]["namespaces"]["minItems"] = json!(1);
    selector["properties"]["namespaces"]["items"]["pattern"] = json!("^[A-Za-z0-9]");
    spec["x-kubernetes-validations"] = json!([{
        "rule": "has(self.expires) ? !has(self.starts) && !has(self.duration) : has(self.starts) && has(self.duration)",
        "message": "a waiver has an end: expires, or starts with duration",
    }]);
    Ok(object)
}

/// What refuses objects with fields that there are not: the API server would keep them, and the nodes refuse the whole set for one of them.
pub(crate) fn documents_policy() -> Result<[Value; 2], CommandError> {
    let mut validations = Vec::new();
    for (kind, schema) in [("Policy", policy()?), ("Waiver", waiver()?)] {
        let mut known = Vec::new();
        known_fields("object.spec", &schema["properties"]["spec"], 0, &mut known);
        validations.extend(known.into_iter().map(|(place, expression)| {
            json!({
                "expression": format!("object.kind != '{kind}' || ({expression})"),
                "message": format!("a field of {} that there is not; see `kubectl explain {}.spec --recursive`", place.trim_start_matches("object."), kind.to_lowercase()),
            })
        }));
    }
    let name = "coaming-documents";
    let metadata = json!({"name": name, "labels": {"app.kubernetes.io/name": "coaming"}});
    Ok([
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": metadata,
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [GROUP],
                    "apiVersions": [VERSION],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["policies", "waivers"],
                }]},
                "validations": validations,
            },
        }),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": metadata,
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        }),
    ])
}

/// For each object of a schema, in CEL, that it has no fields but those that are known.
fn known_fields(place: &str, schema: &Value, depth: usize, found: &mut Vec<(String, String)>) {
    if let Some(fields) = schema["properties"].as_object() {
        let names: Vec<&String> = fields.keys().collect();
        found.push((
            place.to_owned(),
            format!("{place}.all(name{depth}, name{depth} in {})", json!(names)),
        ));
        for (name, field) in fields {
            let mut below = Vec::new();
            let inner = format!("{place}.{name}");
            known_fields(&inner, field, depth + 1, &mut below);
            let there = |(at, expression)| (at, format!("!has({inner}) || ({expression})"));
            found.extend(below.into_iter().map(there));
        }
    }
    if schema["items"].is_object() {
        let item = format!("item{depth}");
        let mut below = Vec::new();
        known_fields(&item, &schema["items"], depth + 1, &mut below);
        let each = |(at, expression): (String, String)| {
            (at.replacen(&item, place, 1), format!("{place}.all({item}, {expression})"))
        };
        found.extend(below.into_iter().map(each));
    }
}

/// The schema of a document as that of an object: Kubernetes has its own for what stands around `spec`.
fn object(root: &Value) -> Result<Value, CommandError> {
    let spec = structural::of(root, &root["properties"]["spec"])?;
    let mut described = json!({
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status(),
        },
    });
    described["description"] = root["description"].clone();
    Ok(described)
}

/// For whoever keeps an account of an object over the whole fleet; the nodes' agents write reports of their own.
fn status() -> Value {
    json!({
        "type": "object",
        "description": "What is known of the object over the fleet. Nodes do not write it: their reports are NodeReports.",
        "properties": {
            "observedGeneration": {"type": "integer", "format": "int64"},
            "conditions": {
                "type": "array",
                "maxItems": 16,
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {
                    "type": "object",
                    "required": ["type", "status", "reason", "lastTransitionTime"],
                    "properties": {
                        "type": {"type": "string", "maxLength": 316},
                        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                        "reason": {"type": "string", "maxLength": 1024},
                        "message": {"type": "string", "maxLength": 32768},
                        "lastTransitionTime": {"type": "string", "format": "date-time"},
                        "observedGeneration": {"type": "integer", "format": "int64"},
                    },
                },
            },
        },
    })
}
