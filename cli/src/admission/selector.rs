//! A policy's `match` in CEL over a manifest, as far as it can be said.

use coaming_policy::controls::glob::Glob;
use coaming_policy::document::Match;
use coaming_policy::facts::ContainerType;
use serde_json::{Value, json};

use super::POD;

/// A selector, in CEL.
#[derive(Debug)]
pub(super) struct Selected {
    /// Conditions under which the whole is looked at.
    pub(super) conditions: Vec<Value>,
    /// Whether a container `c` is one of those.
    pub(super) containers: String,
    /// Whether it is every container.
    pub(super) every: bool,
}

/// What cannot be told of a manifest: whom the policy selects is then not known, and nothing is said.
#[derive(Debug)]
pub(super) struct Untold;

pub(super) fn of(selector: &Match) -> Result<Selected, Untold> {
    let Match {
        namespaces,
        except_namespaces,
        pods,
        pod_uids,
        containers,
        images,
        except_images,
        image_digests,
        runtimes,
        except_runtimes,
        container_types,
        user_namespace,
        privileged,
        host_network,
        host_pid,
        host_ipc,
        annotations,
        labels,
        doors: _,
        expression,
    } = selector;
    // A pod's name may be made after admission, its uid is; the rest the node alone sees.
    let untold = pods.is_some()
        || pod_uids.is_some()
        || image_digests.is_some()
        || runtimes.is_some()
        || except_runtimes.is_some()
        || privileged.is_some()
        || annotations.is_some()
        || labels.is_some()
        || expression.is_some()
        || !container_types.contains(&ContainerType::Container);
    if untold {
        return Err(Untold);
    }
    let mut conditions = Vec::new();
    let mut condition = |name: &str, expression: String| {
        conditions.push(json!({"name": name, "expression": expression}));
    };
    if let Some(globs) = namespaces {
        condition("namespaces", any("request.namespace", globs));
    }
    if let Some(globs) = except_namespaces {
        condition("except-namespaces", format!("!{}", any("request.namespace", globs)));
    }
    let flags = [
        ("host-network", "hostNetwork", host_network),
        ("host-pid", "hostPID", host_pid),
        ("host-ipc", "hostIPC", host_ipc),
    ];
    for (name, field, flag) in flags {
        if let Some(flag) = flag {
            let asked = format!("(has({POD}.{field}) && {POD}.{field})");
            condition(name, if *flag { asked } else { format!("!{asked}") });
        }
    }
    if let Some(own) = user_namespace {
        let own_asked = format!("(has({POD}.hostUsers) && !{POD}.hostUsers)");
        condition("user-namespace", if *own { own_asked } else { format!("!{own_asked}") });
    }
    let mut of_container = Vec::new();
    if let Some(globs) = containers {
        of_container.push(any("c.name", globs));
    }
    if let Some(globs) = images {
        of_container.push(any("c.image", globs));
    }
    if let Some(globs) = except_images {
        of_container.push(format!("!{}", any("c.image", globs)));
    }
    let every = of_container.is_empty();
    let containers = if every { "true".to_owned() } else { of_container.join(" && ") };
    Ok(Selected { conditions, containers, every })
}

/// Whether a text matches any of these.
pub(super) fn any(text: &str, globs: &[Glob]) -> String {
    let patterns: Vec<String> = globs.iter().map(|glob| escaped(glob.as_str(), ".*")).collect();
    matches(text, &patterns)
}

/// Whether a text is matched whole by any of these expressions of RE2.
pub(super) fn matches(text: &str, patterns: &[String]) -> String {
    match patterns {
        [] => "false".to_owned(),
        patterns => format!("{text}.matches({})", json!(format!("^({})$", patterns.join("|")))),
    }
}

/// A glob as an expression of RE2.
pub(super) fn escaped(glob: &str, star: &str) -> String {
    let mut pattern = String::new();
    for c in glob.chars() {
        match c {
            '*' => pattern.push_str(star),
            c if c.is_ascii_alphanumeric() || "/_- :@".contains(c) || !c.is_ascii() => {
                pattern.push(c)
            }
            c => {
                pattern.push('\\');
                pattern.push(c);
            }
        }
    }
    pattern
}
