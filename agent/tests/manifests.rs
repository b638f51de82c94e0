//! The manifests that are shipped, read as Kubernetes' own types: an unknown field or a wrong type is found here. And what must hold of them.
// A test may stop at the first surprise, in its helpers too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/kubernetes")
}

fn documents(text: &str) -> Vec<Value> {
    coaming_policy::document::parse_strict::<Value>("manifest", text).unwrap()
}

/// All objects of the kustomization, by kind and name.
fn objects() -> BTreeMap<(String, String), Value> {
    let kustomization =
        documents(&fs::read_to_string(folder().join("kustomization.yaml")).unwrap());
    let files = kustomization[0]["resources"].as_array().unwrap().clone();
    let mut all = BTreeMap::new();
    for file in files {
        for object in documents(&fs::read_to_string(folder().join(file.as_str().unwrap())).unwrap())
        {
            let text = |place: &str| object.pointer(place).unwrap().as_str().unwrap().to_owned();
            assert!(
                all.insert((text("/kind"), text("/metadata/name")), object.clone()).is_none(),
                "twice: {object}"
            );
        }
    }
    all
}

/// Read as its type and written again, an object is what it was: what the type does not know would be gone.
fn strict<T: DeserializeOwned + Serialize>(object: &Value) -> T {
    let typed: T =
        serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{error}: {object}"));
    let again = serde_json::to_value(&typed).unwrap();
    lost(object, &again, "");
    typed
}

fn lost(object: &Value, again: &Value, at: &str) {
    match (object, again) {
        (Value::Object(fields), Value::Object(others)) => {
            for (name, field) in fields {
                let place = format!("{at}.{name}");
                // An empty list or map may be left out.
                let is_empty = field.as_array().is_some_and(Vec::is_empty)
                    || field.as_object().is_some_and(serde_json::Map::is_empty);
                match others.get(name) {
                    Some(other) => lost(field, other, &place),
                    None => assert!(is_empty, "{place} is not Kubernetes'"),
                }
            }
        }
        (Value::Array(items), Value::Array(others)) => {
            assert_eq!(items.len(), others.len(), "{at}");
            items
                .iter()
                .zip(others)
                .for_each(|(item, other)| lost(item, other, &format!("{at}[]")));
        }
        (Value::Number(one), Value::Number(other)) => {
            assert_eq!(one.as_f64(), other.as_f64(), "{at}")
        }
        (one, other) => assert_eq!(one, other, "{at}"),
    }
}

fn of_its_kind(object: &Value) {
    match object["kind"].as_str().unwrap() {
        "Namespace" => drop(strict::<Namespace>(object)),
        "ServiceAccount" => drop(strict::<ServiceAccount>(object)),
        "ClusterRole" => drop(strict::<ClusterRole>(object)),
        "ClusterRoleBinding" => drop(strict::<ClusterRoleBinding>(object)),
        "Role" => drop(strict::<Role>(object)),
        "RoleBinding" => drop(strict::<RoleBinding>(object)),
        "DaemonSet" => drop(strict::<DaemonSet>(object)),
        "RuntimeClass" => drop(strict::<RuntimeClass>(object)),
        "CustomResourceDefinition" => drop(strict::<CustomResourceDefinition>(object)),
        "ValidatingAdmissionPolicy" => drop(strict::<ValidatingAdmissionPolicy>(object)),
        "ValidatingAdmissionPolicyBinding" => {
            drop(strict::<ValidatingAdmissionPolicyBinding>(object))
        }
        other => panic!("a {other}, which is not known here"),
    }
}

#[test]
fn every_object_is_one_of_kubernetes() {
    let all = objects();
    assert!(all.len() >= 14, "{:?}", all.keys());
    all.values().for_each(of_its_kind);
    // The test can tell: a field that there is not.
    let mut odd = all[&("DaemonSet".to_owned(), "coaming-agent".to_owned())].clone();
    odd["spec"]["template"]["spec"]["containers"][0]["securityContext"]["privilegd"] =
        Value::Bool(false);
    assert!(std::panic::catch_unwind(|| of_its_kind(&odd)).is_err());
}

#[test]
fn what_stays_on_a_node_has_no_privilege_and_sees_what_it_needs() {
    let all = objects();
    let set: DaemonSet = strict(&all[&("DaemonSet".to_owned(), "coaming-agent".to_owned())]);
    let pod = set.spec.unwrap().template.spec.unwrap();
    assert!(
        !(pod.host_network.unwrap_or(false)
            || pod.host_pid.unwrap_or(false)
            || pod.host_ipc.unwrap_or(false))
    );
    let inits = pod.init_containers.unwrap();
    for container in pod.containers.iter().chain(&inits) {
        let context = container.security_context.as_ref().unwrap();
        assert_ne!(context.privileged, Some(true), "{}", container.name);
        assert_eq!(context.allow_privilege_escalation, Some(false), "{}", container.name);
        assert_eq!(context.read_only_root_filesystem, Some(true), "{}", container.name);
        assert_eq!(context.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
        assert_eq!(
            context.capabilities.as_ref().unwrap().drop.as_deref(),
            Some(&["ALL".to_owned()][..])
        );
        assert!(
            container.ports.is_none() && container.resources.as_ref().unwrap().limits.is_some()
        );
    }
    let [agent] = pod.containers.as_slice() else { panic!("one container stays") };
    assert_eq!(agent.security_context.as_ref().unwrap().capabilities.as_ref().unwrap().add, None);
    let mounts: Vec<(&str, bool)> = agent
        .volume_mounts
        .as_ref()
        .unwrap()
        .iter()
        .map(|mount| (mount.mount_path.as_str(), mount.read_only.unwrap_or(false)))
        .collect();
    // Writable is the folder of policies and nothing else: not the configuration, which says what a set may do.
    assert_eq!(
        mounts,
        [("/etc/coaming", true), ("/etc/coaming/policy.d", false), ("/var/lib/coaming", true)]
    );
    assert!(inits.iter().all(|init| init.restart_policy.is_none()), "what installs ends");
    // Volumes are mounted before the init container runs: on a new node there is nothing of coaming's yet.
    for volume in pod.volumes.unwrap() {
        let path = volume.host_path.unwrap();
        assert_eq!(
            path.type_.as_deref(),
            Some(if path.path == "/" { "Directory" } else { "DirectoryOrCreate" }),
            "{}",
            path.path
        );
    }
}

#[test]
fn the_agent_may_do_what_it_does() {
    let all = objects();
    let role: ClusterRole = strict(&all[&("ClusterRole".to_owned(), "coaming-agent".to_owned())]);
    let mut rules: Vec<String> = role
        .rules
        .unwrap()
        .iter()
        .flat_map(|rule| {
            rule.resources
                .clone()
                .unwrap()
                .into_iter()
                .map(|resource| format!("{resource}: {}", rule.verbs.join(" ")))
                .collect::<Vec<_>>()
        })
        .collect();
    rules.sort();
    assert_eq!(
        rules,
        [
            "events: create",
            "nodereports: create patch",
            "nodes: get",
            "policies: list watch",
            "waivers: list watch"
        ]
    );
    let role: Role = strict(&all[&("Role".to_owned(), "coaming-agent".to_owned())]);
    let rules = role.rules.unwrap();
    assert_eq!(
        (rules.len(), rules[0].resources.as_deref(), &rules[0].verbs),
        (1, Some(&["configmaps".to_owned()][..]), &vec!["list".to_owned(), "watch".to_owned()])
    );
}

/// The chart's templates are the base's files with values in some places: with its default values it is the base.
#[test]
fn the_chart_says_what_the_base_says() {
    let chart = folder().join("chart");
    let values = &documents(&fs::read_to_string(chart.join("values.yaml")).unwrap())[0];
    let mut found = BTreeMap::new();
    let mut files: Vec<PathBuf> = ["templates", "crds"]
        .iter()
        .flat_map(|below| {
            fs::read_dir(chart.join(below))
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect::<Vec<_>>()
        })
        .collect();
    files.sort();
    for file in files {
        let mut text = fs::read_to_string(&file).unwrap();
        while let Some((before, rest)) = text.split_once("{{ .Values.") {
            let (name, after) = rest.split_once(" }}").unwrap();
            let name = name.trim_end_matches(" | toJson").trim();
            let value = values
                .pointer(&format!("/{}", name.replace('.', "/")))
                .unwrap_or_else(|| panic!("no value {name}"));
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            text = format!("{before}{shown}{after}");
        }
        assert!(
            !text.contains("{{"),
            "{}: a template that this test does not know",
            file.display()
        );
        for object in documents(&text) {
            let text = |place: &str| object.pointer(place).unwrap().as_str().unwrap().to_owned();
            found.insert((text("/kind"), text("/metadata/name")), object.clone());
        }
    }
    let mut base = objects();
    // Helm makes the namespace of a release.
    base.remove(&("Namespace".to_owned(), "coaming-system".to_owned()));
    assert_eq!(found.keys().collect::<Vec<_>>(), base.keys().collect::<Vec<_>>());
    for (key, object) in &base {
        assert_eq!(&found[key], object, "{key:?}");
    }
}

/// Every field of a report is in its definition; the API server would drop one that is not.
#[test]
fn a_report_is_what_its_definition_says() {
    let all = objects();
    let definition =
        &all[&("CustomResourceDefinition".to_owned(), "nodereports.coaming.dev".to_owned())];
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let report = coaming_agent::report::Report {
        agent: "1",
        clock_skew_seconds: Some(30),
        written: Some(coaming_agent::report::Written {
            digest: "d".to_owned(),
            policies: 1,
            waivers: 1,
            profiles: 1,
            signed: true,
        }),
        in_force: coaming_agent::report::InForce {
            digest: Some("d".to_owned()),
            since: Some("s".to_owned()),
            alarm: Some("a".to_owned()),
        },
        error_count: 1,
        errors: vec![coaming_agent::report::Error {
            object: Some("o".to_owned()),
            message: "m".to_owned(),
        }],
    };
    fn held(schema: &Value, value: &Value, at: &str) {
        match value {
            Value::Object(fields) if schema["properties"].is_object() => {
                for (name, field) in fields {
                    let known = &schema["properties"][name];
                    assert!(known.is_object(), "{at}.{name} is not in the definition");
                    held(known, field, &format!("{at}.{name}"));
                }
            }
            Value::Array(items) => items.iter().for_each(|item| held(&schema["items"], item, at)),
            Value::Object(_) => assert_eq!(at, ".metadata"),
            Value::String(_) => assert_eq!(schema["type"], "string", "{at}"),
            Value::Number(_) => assert_eq!(schema["type"], "integer", "{at}"),
            Value::Bool(_) => assert_eq!(schema["type"], "boolean", "{at}"),
            Value::Null => panic!("{at}"),
        }
    }
    held(schema, &report.object("node-1", None, "2026-01-01T00:00:00Z"), "");
}
