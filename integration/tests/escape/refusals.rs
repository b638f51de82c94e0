//! What cannot be tightened is refused, with the policy, its line and the field in what the client is told.

use coaming_integration::Error;

use crate::case::{Ask, Group};
use crate::drive::{Side, start};
use crate::ground::Ground;
use crate::spec;

/// A container that starts under the stock runtime, and not under coaming.
pub(crate) struct Refusal {
    pub(crate) control: &'static str,
    pub(crate) floor: &'static str,
    pub(crate) policy: &'static str,
    pub(crate) ask: Ask,
    /// Words of the reason.
    pub(crate) says: &'static [&'static str],
}

pub(crate) const ALL: &[Refusal] = &[
    Refusal {
        control: "user",
        floor: "node",
        policy: "user:\n  runAsNonRoot: true",
        ask: Ask::Spec(spec::nothing),
        says: &["policy escape", "/etc/coaming/policy.d/escape.yaml:", "spec.user", "other than 0"],
    },
    // Neither is in this kernel: a policy that requires them cannot be kept here.
    Refusal {
        control: "appArmor",
        floor: "node",
        policy: "appArmor:\n  default: coaming-test",
        ask: Ask::Spec(spec::nothing),
        says: &["policy escape", "spec.appArmor", "AppArmor"],
    },
    Refusal {
        control: "seLinux",
        floor: "node",
        policy: "seLinux:\n  default: container_t",
        ask: Ask::Spec(spec::nothing),
        says: &["policy escape", "spec.seLinux", "SELinux"],
    },
    Refusal {
        control: "hostNamespaces",
        floor: "baseline",
        policy: "",
        ask: Ask::Spec(spec::node_namespaces),
        says: &["policy baseline", "built-in", "spec.hostNamespaces", "pid"],
    },
    Refusal {
        control: "hooks",
        floor: "baseline",
        policy: "",
        ask: Ask::Spec(spec::hooks),
        says: &["policy baseline", "spec.hooks", "/bin/sh"],
    },
    Refusal {
        control: "mounts",
        floor: "baseline",
        policy: "",
        ask: Ask::Spec(spec::mounts),
        says: &["policy baseline", "spec.mounts", "/run/escape"],
    },
];

/// What differs from the table.
///
/// # Errors
/// The harness's own.
pub(crate) fn hold(ground: &Ground, refusal: &Refusal) -> Result<Vec<String>, Error> {
    let Refusal { control, floor, policy, ask, says } = refusal;
    ground.enforce(floor, policy)?;
    let (name, root) = (format!("refused-{}", control.to_lowercase()), "refused");
    let group = Group { name: name.leak(), floor, policy, ask: *ask, cases: &[] };
    let root = ground.rootfs(root)?;
    let command = ["/bin/probe", "pause"].map(str::to_owned);
    let mut surprises = Vec::new();
    match start(ground, &group, &root, Side::Stock, &command) {
        Ok(container) => container.remove(ground)?,
        Err(error) => surprises.push(format!("{control}: stock does not start it: {error}")),
    }
    for door in &ground.doors {
        match start(ground, &group, &root, Side::Coaming(*door), &command) {
            Ok(container) => {
                container.remove(ground)?;
                surprises.push(format!("{control}: {policy:?} is not refused through {door:?}"));
            }
            Err(error) => {
                let text = error.to_string();
                let silent = says.iter().filter(|word| !text.contains(**word));
                surprises.extend(
                    silent.map(|word| format!("{control}, {door:?}: no {word:?} in: {text}")),
                );
            }
        }
    }
    ground.drop_rootfs("refused")?;
    Ok(surprises)
}

/// With `bestEffort` it starts where the kernel lacks a control, and the record says what is missing.
///
/// # Errors
/// The harness's own.
pub(crate) fn best_effort_is_recorded(ground: &Ground) -> Result<Vec<String>, Error> {
    const POLICY: &str = "bestEffort: [appArmor, seLinux]\nappArmor:\n  default: coaming-test\nseLinux:\n  default: container_t";
    ground.enforce("node", POLICY)?;
    let group = Group {
        name: "degraded",
        floor: "node",
        policy: POLICY,
        ask: Ask::Spec(spec::nothing),
        cases: &[],
    };
    let root = ground.rootfs(group.name)?;
    let command = ["/bin/probe", "pause"].map(str::to_owned);
    let door = Side::Coaming(coaming_integration::Door::Wrapper);
    let surprises = match start(ground, &group, &root, door, &command) {
        Err(error) => vec![format!("with bestEffort it does not start: {error}")],
        Ok(container) => {
            let show = "cat /run/coaming/containers/*/record.json";
            let record = ground.node.world().run(["sh", "-c", show])?.ok(show)?.stdout;
            container.remove(ground)?;
            let record: serde_json::Value = serde_json::from_str(&record)
                .map_err(|error| Error::Unavailable(format!("the record: {error}: {record}")))?;
            let degraded = record["degraded"].to_string();
            ["appArmor", "seLinux"]
                .iter()
                .filter(|control| !degraded.contains(**control))
                .map(|control| format!("{control} is not recorded as degraded: {record}"))
                .collect()
        }
    };
    ground.drop_rootfs(group.name)?;
    Ok(surprises)
}
