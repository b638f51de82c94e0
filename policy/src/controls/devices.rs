//! `devices`: device nodes and the device cgroup (runtime-spec, config-linux.md).
//!
//! runc and crun always add their own defaults after the list of the spec (runc
//! libcontainer/specconv, AllowedDevices; crun src/libcrun/cgroup-resources.c, default_devices). With
//! an empty list crun installs no filter on cgroup v2, and every device is open: the list must begin
//! by closing all.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::allow_list::AllowLists;
use super::device::{Access, Device, DeviceType};
use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const NODES: &str = "linux.devices";
const RULES: &str = "linux.resources.devices";

/// The devices that a container may have beyond those of every container: null, zero, full, random,
/// urandom, tty, console, ptmx and the terminals of its own devpts. Nodes and cgroup rules beyond
/// them are removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DevicesDocument {
    /// Devices by type and number. An empty list allows no more than the defaults. Left out, all are
    /// allowed.
    #[serde(default)]
    pub allow: Option<BTreeSet<Device>>,
}

/// The rule of one policy or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Devices {
    /// What is allowed beyond the defaults.
    pub allow: AllowLists<Device>,
}

/// What every container has: the runtimes add it, whatever the spec says. Their entry for
/// /dev/net/tun (10:200) is not among these, so that a policy says who may ask for it by name. Several
/// versions of runc and crun open it in the device cgroup whatever the spec says; where a container
/// must not reach it, take `MKNOD` from its capabilities too.
const DEFAULTS: [Device; 11] = [
    Device { kind: DeviceType::C, major: None, minor: None, access: Access::CREATE },
    Device { kind: DeviceType::B, major: None, minor: None, access: Access::CREATE },
    Device::character(1, Some(3)),
    Device::character(1, Some(5)),
    Device::character(1, Some(7)),
    Device::character(1, Some(8)),
    Device::character(1, Some(9)),
    Device::character(5, Some(0)),
    Device::character(5, Some(1)),
    Device::character(5, Some(2)),
    Device::character(136, None),
];

impl From<DevicesDocument> for Devices {
    fn from(document: DevicesDocument) -> Self {
        Devices { allow: AllowLists::from_document(document.allow) }
    }
}

impl Rule for Devices {
    const CONTROL: &'static str = "devices";
    const SCOPE: Scope = Scope::Container;

    fn top() -> Self {
        Devices { allow: AllowLists::all() }
    }

    fn meet(&self, other: &Self) -> Self {
        Devices { allow: self.allow.meet(&other.allow) }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        if self.allow.is_all() {
            return Vec::new();
        }
        let mut findings = self.nodes_beyond(asked.spec);
        findings.extend(self.rules_beyond(asked.spec, RULES, false));
        findings
    }

    fn verify(&self, _seen: &Seen) -> Vec<Mismatch> {
        // The kernel lists the device filter of no process: on cgroup v2 it is a BPF program.
        Vec::new()
    }
}

impl Devices {
    /// What must change in the document of an update (`runc update --resources`), whose root is
    /// `linux.resources`. Absent means unchanged there. runc changes no devices, crun does.
    pub fn check_update(&self, resources: &Value) -> Vec<Finding> {
        if self.allow.is_all() { Vec::new() } else { self.rules_beyond(resources, "devices", true) }
    }

    fn nodes_beyond(&self, spec: &Value) -> Vec<Finding> {
        let nodes = view::items(spec, NODES);
        let allowed = |node: &Value| {
            node_asked(node).is_some_and(|asked| {
                // Creating any node is everybody's; having one that opens is what is asked here.
                let default = DEFAULTS.iter().any(|default| default.covers(&asked));
                default || self.allow.allow(|entry| entry.names(&asked))
            })
        };
        let kept: Vec<Value> = nodes.iter().filter(|node| allowed(node)).cloned().collect();
        let remedy = vec![Edit::Set(NODES.to_owned(), kept.into())];
        nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| !allowed(node))
            .map(|(index, node)| Finding {
                field: format!("{NODES}[{index}]"),
                asked: node.clone(),
                allowed: self.in_words(),
                remedy: Some(remedy.clone()),
            })
            .collect()
    }

    fn rules_beyond(&self, tree: &Value, field: &str, absent_is_unchanged: bool) -> Vec<Finding> {
        let rules = view::items(tree, field);
        if rules.is_empty() && absent_is_unchanged {
            return Vec::new();
        }
        let mut kept: Vec<Value> =
            rules.iter().filter(|rule| self.allows_rule(rule)).cloned().collect();
        let closes = kept.first().is_some_and(settles_all);
        if !closes {
            kept.insert(0, deny_all());
        }
        let remedy = vec![Edit::Set(field.to_owned(), kept.into())];
        let mut findings: Vec<Finding> = rules
            .iter()
            .enumerate()
            .filter(|(_, rule)| !self.allows_rule(rule))
            .map(|(index, rule)| Finding {
                field: format!("{field}[{index}]"),
                asked: rule.clone(),
                allowed: self.in_words(),
                remedy: Some(remedy.clone()),
            })
            .collect();
        if findings.is_empty() && !closes {
            findings.push(Finding {
                field: field.to_owned(),
                asked: view::at(tree, field).cloned().unwrap_or(Value::Null),
                allowed: "a list that begins by denying all".to_owned(),
                remedy: Some(remedy),
            });
        }
        findings
    }

    fn allows_rule(&self, rule: &Value) -> bool {
        if !view::flag(rule, "allow") {
            return true;
        }
        rule_asked(rule).is_some_and(|asked| {
            DEFAULTS.iter().any(|default| default.covers(&asked))
                || self.allow.allow(|entry| entry.covers(&asked))
        })
    }

    fn in_words(&self) -> String {
        format!("the defaults, and of these: {}", self.allow.in_words())
    }
}

/// The rule that closes every device.
pub(super) fn deny_all() -> Value {
    json!({"allow": false, "access": "rwm"})
}

/// Whether a rule of the device cgroup opens every device. The numbers of a rule for all types are
/// ignored by the kernel and by both runtimes.
pub(super) fn allows_all(rule: &Value) -> bool {
    view::flag(rule, "allow") && is_for_all_types(rule)
}

/// Whether a rule of the device cgroup closes every device.
pub(super) fn closes_all(rule: &Value) -> bool {
    !view::flag(rule, "allow") && settles_all(rule)
}

/// Whether nothing that the runtime held before the rule matters after it.
fn settles_all(rule: &Value) -> bool {
    let access = view::text(rule, "access").and_then(Access::parse);
    is_for_all_types(rule) && access == Some(Access::ALL)
}

fn is_for_all_types(rule: &Value) -> bool {
    // crun looks at the first letter alone.
    view::text(rule, "type").is_none_or(|kind| kind.starts_with('a'))
}

/// What a rule of the device cgroup asks for; `None` where no entry can allow it.
fn rule_asked(rule: &Value) -> Option<Device> {
    let access = view::text(rule, "access").and_then(Access::parse)?;
    if is_for_all_types(rule) {
        return Some(Device { kind: DeviceType::A, major: None, minor: None, access });
    }
    let kind = kind(rule)?;
    Some(Device { kind, major: number(rule, "major")?, minor: number(rule, "minor")?, access })
}

/// What a device node asks for.
fn node_asked(node: &Value) -> Option<Device> {
    let kind = kind(node)?;
    if kind == DeviceType::P {
        // A FIFO has no numbers.
        return Some(Device { kind, major: None, minor: None, access: Access::ALL });
    }
    // Absent is 0 here for both runtimes, unlike in the cgroup's rules.
    let number = |field| match view::at(node, field) {
        None => Some(0),
        Some(value) => value.as_u64().and_then(|number| u32::try_from(number).ok()),
    };
    let (major, minor) = (number("major")?, number("minor")?);
    Some(Device { kind, major: Some(major), minor: Some(minor), access: Access::ALL })
}

/// A number of a cgroup rule; `Some(None)` is any. Negative is any too (runc devices.Wildcard).
fn number(rule: &Value, field: &str) -> Option<Option<u32>> {
    match view::at(rule, field) {
        None => Some(None),
        Some(value) => match value.as_i64()? {
            ..0 => Some(None),
            number => u32::try_from(number).ok().map(Some),
        },
    }
}

fn kind(device: &Value) -> Option<DeviceType> {
    match view::text(device, "type")? {
        // Unbuffered character devices are character devices (mknod(1)).
        "c" | "u" => Some(DeviceType::C),
        "b" => Some(DeviceType::B),
        "p" => Some(DeviceType::P),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced, is_within, touches_only};
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    fn allow(devices: &Value) -> Devices {
        serde_json::from_value::<DevicesDocument>(json!({"allow": devices})).unwrap().into()
    }

    fn cgroup(rules: &Value) -> Value {
        json!({"linux": {"resources": {"devices": rules}}})
    }

    #[test]
    fn nodes_beyond_the_defaults_and_the_list_go() {
        let rule = allow(&json!([{"type": "c", "major": 10, "minor": 200, "access": "rw"}]));
        let zero = json!({"path": "/dev/zero", "type": "c", "major": 1, "minor": 5});
        let tun = json!({"path": "/dev/net/tun", "type": "u", "major": 10, "minor": 200});
        let spec = json!({"linux": {"devices": [
            zero, tun,
            {"path": "/dev/sda", "type": "b", "major": 8, "minor": 0},
            {"path": "/dev/mem", "type": "c", "major": 1, "minor": 1},
            {"path": "/dev/what", "type": "c", "major": -1, "minor": 3},
            {"path": "/run/fifo", "type": "p"},
        ], "resources": {"devices": [{"access": "rwm"}]}}});
        assert_eq!(enforced(&rule, &spec)["linux"]["devices"], json!([zero, tun]));
    }

    #[test]
    fn rules_begin_by_closing_all() {
        let none = allow(&json!([]));
        let closed = json!([{"allow": false, "access": "rwm"}]);
        for asked in [
            json!(null),
            json!([]),
            json!([{"allow": true, "access": "rwm"}]),
            json!([{"allow": true, "type": "all", "major": 1, "minor": 3, "access": "r"}]),
            json!([{"allow": true, "type": "b", "access": "r"}]),
            json!([{"allow": true, "type": "c", "major": -1, "minor": 3, "access": "r"}]),
            json!([{"allow": true, "type": "c", "major": 1, "minor": 3}]),
        ] {
            let after = enforced(&none, &cgroup(&asked));
            assert_eq!(after["linux"]["resources"]["devices"], closed, "{asked}");
        }
    }

    #[test]
    fn what_containerd_writes_for_every_container_is_within() {
        let spec = cgroup(&json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
            {"allow": true, "type": "c", "major": 136, "access": "rwm"},
            {"allow": false, "type": "c", "major": 10, "access": "x"},
        ]));
        assert!(is_within(&allow(&json!([])), &spec));
        let all = cgroup(&json!([{"allow": true, "access": "rwm"}]));
        assert!(is_within(&allow(&json!([{"type": "a"}])), &all));
    }

    #[test]
    fn an_update_may_not_open_devices_either() {
        let rule = allow(&json!([]));
        assert!(rule.check_update(&json!({"memory": {"limit": 1}})).is_empty());
        let found = rule.check_update(&json!({"devices": [{"allow": true, "access": "rwm"}]}));
        assert_eq!(found[0].field, "devices[0]");
    }

    impl Generated for Devices {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let entries = [
                json!({"type": "c", "major": 10}),
                json!({"type": "c", "major": 10, "minor": 200, "access": "r"}),
                json!({"type": "b", "minor": 0}),
                json!({"type": "a"}),
                json!({"type": "a", "access": "rw"}),
            ];
            let rules =
                proptest::option::of(subsequence(entries.to_vec(), 0..=4)).prop_map(|entries| {
                    entries.map_or_else(Devices::top, |entries| allow(&json!(entries)))
                });
            // Most lists begin by denying all, as every caller's do.
            let deny = json!({"allow": false, "access": "rwm"});
            let cgroups = [
                json!({"allow": false, "access": "rwm"}),
                json!({"allow": true, "access": "rwm"}),
                json!({"allow": true, "type": "c", "major": 10, "access": "rw"}),
                json!({"allow": true, "type": "c", "major": 10, "minor": 200, "access": "r"}),
                json!({"allow": true, "type": "c", "major": 5, "minor": 0, "access": "r"}),
            ];
            let node = select(vec![(json!("b"), 8, 0), (json!("c"), 10, 200), (json!(null), 1, 3)]);
            let specs = (subsequence(cgroups.to_vec(), 0..=5).prop_shuffle(), 0..3u8, node)
                .prop_map(move |(mut rules, begin, (kind, major, minor))| {
                    if begin > 0 {
                        rules.retain(|rule| begin == 1 || rule.get("type").is_some());
                        rules.insert(0, deny.clone());
                    }
                    let mut spec = cgroup(&json!(rules));
                    spec["linux"]["devices"] =
                        json!([{"type": kind, "major": major, "minor": minor}]);
                    spec
                });
            (rules.boxed(), specs.boxed())
        }
    }

    #[test]
    fn changes_its_own_fields_alone() {
        touches_only(&allow(&json!([])), &["linux.devices", "linux.resources.devices"]);
    }
}
