//! A policy's controls in CEL over a pod's manifest.

use std::collections::BTreeSet;

use coaming_policy::controls::host_namespaces::Namespace;
use coaming_policy::controls::privileged::DEFAULT_CAPABILITIES;
use coaming_policy::document::{Directory, PolicyDocument, PolicySpec};
use coaming_policy::floor::Action;
use serde_json::{Value, json};

use super::selector::{Selected, any, escaped, matches};

/// What is said of a pod.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) validations: Vec<Check>,
    /// The controls of which something is said.
    pub(super) covers: BTreeSet<&'static str>,
    /// What is not, of these.
    pub(super) notes: Vec<&'static str>,
}

/// A condition that the pod meets where the node has nothing to say.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) control: &'static str,
    expression: String,
    message: String,
    /// Whether the node refuses the pod otherwise, and does not bring it within the policy.
    pub(super) refused: bool,
}

impl Check {
    pub(super) fn object(
        &self,
        document: &PolicyDocument,
        set: &Directory,
        refuses: bool,
    ) -> Value {
        // Whom a waiver frees is not held up; where it is for single containers or has ended, the node says so.
        let policy = &document.metadata.value.name;
        let free: Vec<_> = set
            .waivers()
            .map(|(_, waiver)| &waiver.spec)
            .filter(|spec| spec.waives.value.contains(self.control))
            .filter(|spec| spec.policies.as_ref().is_none_or(|names| names.contains(policy)))
            .flat_map(|spec| spec.selector.value.namespaces.clone().unwrap_or_default())
            .collect();
        let expression = match free.is_empty() {
            true => self.expression.clone(),
            false => format!("{} || ({})", any("request.namespace", &free), self.expression),
        };
        let verb = match (refuses, self.refused) {
            (true, _) => "the node refuses",
            (false, true) => "the node would refuse, were the policy enforced for all",
            (false, false) => "the node changes",
        };
        json!({
            "expression": expression,
            "message": format!("{verb}: {} (policy {policy}, spec.{})", self.message, self.control),
            "reason": "Forbidden",
        })
    }
}

/// Of a field of each container's `securityContext`.
const CONTEXT: &str = "has(c.securityContext)";

pub(super) fn of(spec: &PolicySpec, selected: &Selected) -> Said {
    let mut said = Said::default();
    let action = |control: &str| {
        let actions = spec.actions.as_ref().map(|at| &at.value);
        actions
            .and_then(|actions| actions.get(control).or_else(|| actions.get("default")))
            .copied()
            .unwrap_or_default()
    };
    let refuses = |control: &str| action(control) == Action::Refuse;
    let mut say = |control: &'static str, refused: bool, expression: String, message: &str| {
        said.covers.insert(control);
        said.validations.push(Check { control, expression, message: message.to_owned(), refused });
    };
    let all = |condition: &str| format!("variables.selected.all(c, {condition})");

    if spec.privileged.as_ref().is_some_and(|at| !at.value.0) {
        let asks = format!(
            "{CONTEXT} && has(c.securityContext.privileged) && c.securityContext.privileged"
        );
        say(
            "privileged",
            refuses("privileged"),
            all(&format!("!({asks})")),
            "securityContext.privileged: true",
        );
    }
    if let Some(allow) = spec.host_namespaces.as_ref().and_then(|at| at.value.allow.as_ref()) {
        for (namespace, field) in [
            (Namespace::Pid, "hostPID"),
            (Namespace::Network, "hostNetwork"),
            (Namespace::Ipc, "hostIPC"),
        ] {
            if !allow.contains(&namespace) {
                let expression = format!("!(has(variables.pod.{field}) && variables.pod.{field})");
                say(
                    "hostNamespaces",
                    refuses("hostNamespaces"),
                    expression,
                    &format!("{field}: true"),
                );
            }
        }
        if !allow.contains(&Namespace::User) {
            let expression = "has(variables.pod.hostUsers) && !variables.pod.hostUsers".to_owned();
            // Nobody can guess who the container's users shall be.
            say(
                "hostNamespaces",
                true,
                expression,
                "the host's user namespace; hostUsers: false gives the pod its own",
            );
        }
    }
    if let Some(allow) = spec.capabilities.as_ref().and_then(|at| at.value.allow.as_ref()) {
        let short: BTreeSet<String> = allow
            .iter()
            .map(|capability| capability.to_string().trim_start_matches("CAP_").to_owned())
            .collect();
        let named: Vec<String> =
            short.iter().flat_map(|name| [name.clone(), format!("CAP_{name}")]).collect();
        let context = format!("{CONTEXT} && has(c.securityContext.capabilities)");
        let adds = format!("{context} && has(c.securityContext.capabilities.add)");
        let within =
            format!("c.securityContext.capabilities.add.all(name, name in {})", json!(named));
        let refused = refuses("capabilities");
        say(
            "capabilities",
            refused,
            all(&format!("!({adds}) || {within}")),
            "capabilities.add has more than are allowed",
        );
        if refused && DEFAULT_CAPABILITIES.iter().any(|given| !short.contains(*given)) {
            let drops = format!(
                "{context} && has(c.securityContext.capabilities.drop) && 'ALL' in c.securityContext.capabilities.drop"
            );
            say(
                "capabilities",
                true,
                all(&drops),
                "the runtime's own capabilities are more than are allowed; capabilities.drop: [ALL]",
            );
        }
    }
    if spec.no_new_privileges.as_ref().is_some_and(|at| at.value.0) {
        let refused = refuses("noNewPrivileges");
        let has = format!("{CONTEXT} && has(c.securityContext.allowPrivilegeEscalation)");
        let condition = match refused {
            true => format!("{has} && !c.securityContext.allowPrivilegeEscalation"),
            false => format!("!({has} && c.securityContext.allowPrivilegeEscalation)"),
        };
        say("noNewPrivileges", refused, all(&condition), "allowPrivilegeEscalation is not false");
    }
    if spec.read_only_root_filesystem.as_ref().is_some_and(|at| at.value.0) {
        let refused = refuses("readOnlyRootFilesystem");
        let has = format!("{CONTEXT} && has(c.securityContext.readOnlyRootFilesystem)");
        let condition = match refused {
            true => format!("{has} && c.securityContext.readOnlyRootFilesystem"),
            false => format!("!({has} && !c.securityContext.readOnlyRootFilesystem)"),
        };
        say(
            "readOnlyRootFilesystem",
            refused,
            all(&condition),
            "readOnlyRootFilesystem is not true",
        );
    }
    if let Some(user) = spec.user.as_ref().map(|at| &at.value)
        && user.run_as_non_root
    {
        let own = format!("{CONTEXT} && has(c.securityContext.runAsUser)");
        let pods =
            "has(variables.pod.securityContext) && has(variables.pod.securityContext.runAsUser)";
        let root = format!(
            "({own} ? c.securityContext.runAsUser == 0 : ({pods} && variables.pod.securityContext.runAsUser == 0))"
        );
        // There is no other user that the node could take.
        say("user", true, all(&format!("!{root}")), "runAsUser: 0");
        said.notes.push("Where neither the container nor the pod says runAsUser, the image does, which no manifest tells.");
    }
    let mut say = |control: &'static str, refused: bool, expression: String, message: &str| {
        said.covers.insert(control);
        said.validations.push(Check { control, expression, message: message.to_owned(), refused });
    };
    if let Some(paths) = spec.mounts.as_ref().and_then(|at| at.value.host_paths.as_ref()) {
        let paths: Vec<String> = paths.allow.iter().map(ToString::to_string).collect();
        if selected.every && !paths.iter().any(|path| path == "/") {
            // A component of a path for each; those of the pod itself are no hostPath.
            let pattern =
                |path: &String| format!("{}(/.*)?", escaped(path.trim_end_matches('/'), "[^/]*"));
            let patterns: Vec<String> =
                paths.iter().filter(|path| !path.contains("$(")).map(pattern).collect();
            let allowed = matches("v.hostPath.path", &patterns);
            let expression = format!(
                "!has(variables.pod.volumes) || variables.pod.volumes.all(v, !has(v.hostPath) || (!v.hostPath.path.contains('..') && {allowed}))"
            );
            say("mounts", refuses("mounts"), expression, "a hostPath volume that is not allowed");
        }
        said.notes.push("Of mounts, volumes of hostPath alone are looked at.");
    }
    let mut say = |control: &'static str, refused: bool, expression: String, message: &str| {
        said.covers.insert(control);
        said.validations.push(Check { control, expression, message: message.to_owned(), refused });
    };
    if let Some(allow) = spec.sysctls.as_ref().and_then(|at| at.value.allow.as_ref()) {
        let globs: Vec<_> = allow.iter().cloned().collect();
        let named = any("s.name", &globs);
        let expression = format!(
            "!has(variables.pod.securityContext) || !has(variables.pod.securityContext.sysctls) || variables.pod.securityContext.sysctls.all(s, {named})"
        );
        say("sysctls", refuses("sysctls"), expression, "a sysctl that is not allowed");
    }
    if spec.seccomp.is_some() {
        let own = format!("{CONTEXT} && has(c.securityContext.seccompProfile)");
        let pods = "has(variables.pod.securityContext) && has(variables.pod.securityContext.seccompProfile)";
        let unconfined = format!(
            "({own} ? c.securityContext.seccompProfile.type == 'Unconfined' : ({pods} && variables.pod.securityContext.seccompProfile.type == 'Unconfined'))"
        );
        say(
            "seccomp",
            refuses("seccomp"),
            all(&format!("!{unconfined}")),
            "seccompProfile.type: Unconfined",
        );
        said.notes.push("What a seccomp profile allows is on the node.");
    }
    said
}
