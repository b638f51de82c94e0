//! Pod Security admission's labels of Namespaces (Kubernetes, `pod-security-admission/api/constants.go`).
//!
//! The level that is enforced refuses pods, so the policy refuses too, and does not tighten. What is audited
//! or warned of is audited: a node has nobody to warn. What neither of the standards' levels says to a node
//! (ports of the host, types of volumes) stands in the documentation of the built-in policies.

use std::collections::BTreeMap;

use serde_json::Value;

use super::object::Object;
use super::written::{Policy, Written};
use crate::output::count;

const PREFIX: &str = "pod-security.kubernetes.io/";
const LEVELS: [&str; 3] = ["privileged", "baseline", "restricted"];

pub(super) fn import(objects: &[Object], written: &mut Written) {
    let mut groups: BTreeMap<(&str, usize), Vec<String>> = BTreeMap::new();
    for object in objects.iter().filter(|object| object.is_namespace()) {
        let level = |mode: &str, written: &mut Written| {
            let label = object.label(&format!("{PREFIX}{mode}"))?;
            let level = LEVELS.iter().position(|known| *known == label);
            if level.is_none() {
                written.note(format!(
                    "{}: {PREFIX}{mode}: {label} is no level (privileged, baseline, restricted)",
                    object.title()
                ));
            }
            if let Some(version) = object.label(&format!("{PREFIX}{mode}-version"))
                && version != "latest"
            {
                written.note(format!(
                    "{}: {mode} is pinned to {version}; the built-in policies are those of the newest \
                     version that this coaming knows",
                    object.title()
                ));
            }
            level
        };
        let enforced = level("enforce", written);
        let tried = level("audit", written).max(level("warn", written));
        for (mode, level) in [("enforce", enforced), ("audit", tried)] {
            match level {
                None => {}
                Some(0) if mode == "enforce" => written
                    .note(format!("{}: enforces privileged, which asks nothing", object.title())),
                // What is enforced as strictly would be audited in vain.
                Some(level) if level > 0 && (mode == "enforce" || Some(level) > enforced) => {
                    groups.entry((mode, level)).or_default().push(object.name.clone());
                }
                Some(_) => {}
            }
        }
        written.seen(object);
    }
    for ((mode, level), mut namespaces) in groups {
        namespaces.sort();
        namespaces.dedup();
        let level = LEVELS.get(level).copied().unwrap_or_default();
        let mut spec = match mode {
            "audit" => "  mode: audit\n".to_owned(),
            _ => "  # Pod Security admission refuses; to tighten instead, leave this out.\n  actions: {default: refuse}\n"
                .to_owned(),
        };
        spec.push_str(&format!("  include: [pss/{level}]\n"));
        written.policies.push(Policy {
            name: format!("pod-security-{mode}-{level}"),
            from: format!(
                "Pod Security labels of {}",
                count(namespaces.len(), "Namespace", "Namespaces")
            ),
            namespaces,
            images: Vec::new(),
            sandboxes: true,
            spec,
        });
    }
}

impl Object {
    fn is_namespace(&self) -> bool {
        self.api_version == "v1" && self.kind == "Namespace"
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.value.get("metadata")?.get("labels")?.get(key).and_then(Value::as_str)
    }
}
