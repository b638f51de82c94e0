//! Whatever a manifest holds: read or refused, never worse.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::{ManifestError, Settings, pod};

/// Any value where another was meant.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9/:._ -]{0,12}".prop_map(Value::from),
        select(vec!["ALL", "RuntimeDefault", "Localhost", "/etc", "1Gi", "Bidirectional", "x"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((select(FIELDS.to_vec()), inner), 0..4).prop_map(|fields| {
                fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            }),
        ]
    })
}

const FIELDS: &[&str] = &[
    "name",
    "image",
    "command",
    "args",
    "env",
    "value",
    "valueFrom",
    "workingDir",
    "tty",
    "securityContext",
    "privileged",
    "capabilities",
    "add",
    "drop",
    "runAsUser",
    "runAsGroup",
    "runAsNonRoot",
    "fsGroup",
    "supplementalGroups",
    "seccompProfile",
    "appArmorProfile",
    "type",
    "localhostProfile",
    "seLinuxOptions",
    "level",
    "procMount",
    "sysctls",
    "hostNetwork",
    "hostPID",
    "hostUsers",
    "volumes",
    "hostPath",
    "path",
    "emptyDir",
    "csi",
    "image",
    "volumeMounts",
    "mountPath",
    "subPath",
    "readOnly",
    "mountPropagation",
    "recursiveReadOnly",
    "resources",
    "limits",
    "requests",
    "cpu",
    "memory",
    "initContainers",
    "ephemeralContainers",
    "targetContainerName",
    "automountServiceAccountToken",
    "runtimeClassName",
];

proptest! {
    /// Whatever a manifest holds is read or refused with a place, and a plan is whole.
    #[test]
    fn nothing_that_a_manifest_holds_is_worse_than_an_error(
        of_pod in proptest::collection::vec((select(FIELDS.to_vec()), any_value()), 0..6),
        of_container in proptest::collection::vec((select(FIELDS.to_vec()), any_value()), 0..6),
    ) {
        let mut container = json!({"name": "app"});
        for (key, value) in of_container {
            container[key] = value;
        }
        let mut spec = json!({"containers": [container]});
        for (key, value) in of_pod {
            spec[key] = value;
        }
        match pod(&json!({"metadata": {"name": "p"}, "spec": spec}), &Settings::default()) {
            Err(ManifestError::Wrong { place, message }) => {
                prop_assert!(place.starts_with("spec.") && !message.is_empty(), "{place}: {message}");
            }
            Err(other) => prop_assert!(false, "{other}"),
            Ok(pod) => for planned in &pod.containers {
                let spec = &planned.spec;
                prop_assert!(spec["process"]["args"][0].is_string() && spec["process"]["user"]["uid"].is_u64());
                for entry in spec["linux"]["namespaces"].as_array().unwrap() {
                    let told = entry["path"].as_str().is_none_or(|path| planned.joins.contains_key(path));
                    prop_assert!(told, "{entry}");
                }
            },
        }
    }
}
