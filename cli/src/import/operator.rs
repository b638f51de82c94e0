//! Objects of the Security Profiles Operator: profiles, and what binds them to images (its
//! api/seccompprofile and api/profilebinding).

use serde_json::Value;

use super::object::Object;
use super::profile::{check, demand};
use super::written::{Policy, Written, file_name};

const GROUP: &str = "security-profiles-operator.x-k8s.io/";

pub(super) fn import(objects: &[Object], written: &mut Written) {
    let of_kind = |kind: &'static str| {
        let ours =
            move |object: &&Object| object.api_version.starts_with(GROUP) && object.kind == kind;
        objects.iter().filter(ours)
    };
    let mut stored: Vec<(&Object, String)> = Vec::new();
    for profile in of_kind("SeccompProfile") {
        written.seen(profile);
        let of = profile.namespace.as_ref().map(|namespace| format!("{namespace}-"));
        let name = file_name(&format!("{}{}", of.unwrap_or_default(), profile.name));
        let file = format!("profiles/{name}.json");
        // As the operator has it: its reader is the control's own.
        let bytes = serde_json::to_vec_pretty(&without_what_the_cluster_adds(&profile.value));
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => {
                written.note(format!("{}: not carried over: {error}", profile.title()));
                continue;
            }
        };
        if let Err(problem) = check(&file, &bytes) {
            written.note(format!("{}: not carried over: {problem}", profile.title()));
            continue;
        }
        written.profiles.push((file.clone(), bytes));
        stored.push((profile, file));
    }
    let mut bound: Vec<&str> = Vec::new();
    for binding in of_kind("ProfileBinding") {
        written.seen(binding);
        let text = |place: &str| binding.value.pointer(place).and_then(Value::as_str);
        let (kind, name, image) =
            (text("/spec/profileRef/kind"), text("/spec/profileRef/name"), text("/spec/image"));
        let (Some(kind), Some(name), Some(image)) = (kind, name, image) else {
            written.note(format!(
                "{}: not carried over: spec.profileRef or spec.image is missing",
                binding.title()
            ));
            continue;
        };
        if kind != "SeccompProfile" {
            written.note(format!(
                "{}: not carried over: it binds a {kind}; name the profile that is loaded on the nodes \
                 under spec.appArmor or spec.seLinux of a policy",
                binding.title()
            ));
            continue;
        }
        // Cluster-wide in newer versions, in the binding's namespace in older ones.
        let meant = stored.iter().find(|(profile, _)| {
            let near = profile.namespace.is_none() || profile.namespace == binding.namespace;
            profile.name == name && near
        });
        let Some((_, file)) = meant else {
            written.note(format!(
                "{}: not carried over: its SeccompProfile {name} is not among the files, or was not \
                 carried over",
                binding.title()
            ));
            continue;
        };
        bound.push(file);
        written.policies.push(Policy {
            name: format!("binding-{}", file_name(&binding.name)),
            from: binding.title(),
            namespaces: binding.namespace.iter().cloned().collect(),
            images: vec![image.to_owned()],
            sandboxes: false,
            spec: demand(file),
        });
    }
    for (profile, file) in &stored {
        if !bound.contains(&file.as_str()) {
            written.notes.push(format!(
                "{}: no ProfileBinding names it; pods ask for it by themselves. {file} can be named in a \
                 policy (spec.seccomp.floor)",
                profile.title()
            ));
        }
    }
}

/// The status and the bookkeeping of an API server say nothing of the profile.
fn without_what_the_cluster_adds(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.shift_remove("status");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|key, _| ["name", "namespace", "labels"].contains(&key.as_str()));
        }
    }
    object
}
