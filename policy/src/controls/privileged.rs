//! `privileged`: containers as CRI's `privileged: true` and `docker run --privileged` make them.
//!
//! The OCI spec has no such field. containerd writes all capabilities, no masked or read-only paths,
//! sysfs and cgroup mounted writable, and a device cgroup that opens every device, with the host's
//! nodes (pkg/oci/spec_opts.go, WithPrivileged; internal/cri/server/container_create.go); Docker and
//! CRI-O write the same. Handlers with `privileged_without_host_devices` leave the devices out.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::capabilities::{Capability, SETS};
use super::devices::{allows_all, closes_all, deny_all};
use super::masked_paths::add_missing;
use super::mount_places::kind;
use super::{Asked, Executing, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const RULES: &str = "linux.resources.devices";
const NODES: &str = "linux.devices";
const MOUNTS: &str = "mounts";
const CAPABILITIES: &str = "process.capabilities";

/// Whether a container may be privileged. `false`: one that is gets what an unprivileged one has:
/// the default devices, sysfs and cgroup read-only, the default masked and read-only paths, and of
/// capabilities containerd's default fourteen. An exec is held to the capabilities of its container
/// (`docker exec --privileged`).
///
/// A container counts as privileged when its device cgroup opens every device, or when it has a
/// writable sysfs and CAP_SYS_ADMIN. One of the marks alone (all capabilities, no masked paths) is
/// for the control of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Privileged(pub bool);

/// What containerd and CRI-O give a container that says nothing of capabilities (containerd's pkg/oci/spec.go,
/// `defaultUnixCaps`, 2.1).
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];
/// The same of paths (`populateDefaultUnixSpec`).
const DEFAULT_MASKED_PATHS: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/proc/scsi",
];
const DEFAULT_READONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

impl Rule for Privileged {
    const CONTROL: &'static str = "privileged";
    const SCOPE: Scope = Scope::Process;

    fn top() -> Self {
        Privileged(true)
    }

    fn meet(&self, other: &Self) -> Self {
        Privileged(self.0 && other.0)
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        if self.0 {
            return Vec::new();
        }
        if let Some(Executing { bounding, .. }) = asked.exec {
            let bounding: BTreeSet<Capability> =
                bounding.iter().filter_map(|name| name.parse().ok()).collect();
            return view::at(asked.spec, CAPABILITIES)
                .and_then(|_| capabilities_beyond(asked.spec, &bounding, "the container's own"))
                .into_iter()
                .collect();
        }
        if !is_privileged(asked.spec) {
            return Vec::new();
        }
        let defaults = DEFAULT_CAPABILITIES.iter().filter_map(|name| name.parse().ok()).collect();
        let mut findings = devices_beyond(asked.spec);
        findings.extend(writable_mounts(asked.spec));
        findings.extend(capabilities_beyond(asked.spec, &defaults, "the default capabilities"));
        let masked = DEFAULT_MASKED_PATHS.map(str::to_owned).into();
        findings.extend(add_missing("linux.maskedPaths", &masked, asked.spec));
        let readonly = DEFAULT_READONLY_PATHS.map(str::to_owned).into();
        findings.extend(add_missing("linux.readonlyPaths", &readonly, asked.spec));
        findings
    }

    fn verify(&self, seen: &Seen) -> Vec<Mismatch> {
        // Of the two marks the kernel tells the second.
        let writable = seen
            .mount_at("/sys")
            .is_some_and(|mount| mount.fs_type == "sysfs" && !seen.is_read_only_mount("/sys"));
        let admin = admin().is_none_or(|admin| seen.cap_bounding & admin.bit() != 0);
        if self.0 || !writable || !admin {
            return Vec::new();
        }
        vec![Mismatch {
            what: "privileged container".to_owned(),
            found: "a writable sysfs and CAP_SYS_ADMIN".to_owned(),
            allowed: "not both".to_owned(),
        }]
    }
}

/// Whether the spec is that of a privileged container.
pub(crate) fn is_privileged(spec: &Value) -> bool {
    let rules = view::items(spec, RULES);
    let last = rules.iter().rev().find(|rule| allows_all(rule) || closes_all(rule));
    let devices = last.is_some_and(allows_all);
    let sysfs = view::items(spec, MOUNTS)
        .iter()
        .any(|mount| kind(mount) == "sysfs" && !is_read_only(mount));
    devices || (sysfs && has_admin(spec))
}

fn admin() -> Option<Capability> {
    "SYS_ADMIN".parse().ok()
}

/// Whether the process may have CAP_SYS_ADMIN; without a capabilities object it has everything.
fn has_admin(spec: &Value) -> bool {
    if view::at(spec, CAPABILITIES).is_none() {
        return true;
    }
    SETS.iter().any(|(set, _)| {
        view::strings(spec, &format!("{CAPABILITIES}.{set}"))
            .any(|name| name.parse().ok() == admin())
    })
}

/// Whether the options end in read-only; they apply in order (runc specconv, parseMountOptions).
fn is_read_only(mount: &Value) -> bool {
    view::strings(mount, "options").filter(|option| ["ro", "rw"].contains(option)).last()
        == Some("ro")
}

fn devices_beyond(spec: &Value) -> Vec<Finding> {
    // The runtimes add the default devices themselves.
    let mut findings = Vec::new();
    if view::items(spec, RULES).iter().any(allows_all) {
        findings.push(Finding {
            field: RULES.to_owned(),
            asked: view::at(spec, RULES).cloned().unwrap_or(Value::Null),
            allowed: "the default devices".to_owned(),
            remedy: Some(vec![Edit::Set(RULES.to_owned(), json!([deny_all()]))]),
        });
    }
    if !view::items(spec, NODES).is_empty() {
        findings.push(Finding {
            field: NODES.to_owned(),
            asked: view::at(spec, NODES).cloned().unwrap_or(Value::Null),
            allowed: "the default devices".to_owned(),
            remedy: Some(vec![Edit::Set(NODES.to_owned(), json!([]))]),
        });
    }
    findings
}

/// sysfs and cgroup become read-only, as in an unprivileged container.
fn writable_mounts(spec: &Value) -> Vec<Finding> {
    let mounts = view::items(spec, MOUNTS);
    let is_writable = |mount: &Value| {
        ["sysfs", "cgroup", "cgroup2"].contains(&kind(mount)) && !is_read_only(mount)
    };
    let sealed: Vec<Value> = mounts
        .iter()
        .map(|mount| if is_writable(mount) { read_only(mount) } else { mount.clone() })
        .collect();
    let remedy = vec![Edit::Set(MOUNTS.to_owned(), sealed.into())];
    mounts
        .iter()
        .filter(|mount| is_writable(mount))
        .map(|mount| Finding {
            field: MOUNTS.to_owned(),
            asked: mount.clone(),
            allowed: "sysfs and cgroup read-only".to_owned(),
            remedy: Some(remedy.clone()),
        })
        .collect()
}

fn read_only(mount: &Value) -> Value {
    let mut mount = mount.clone();
    let mut options: Vec<Value> = view::items(&mount, "options")
        .iter()
        .filter(|option| !["ro", "rw", "rrw"].map(Value::from).contains(option))
        .cloned()
        .collect();
    options.push(json!("ro"));
    if let Value::Object(mount) = &mut mount {
        mount.insert("options".to_owned(), options.into());
    }
    mount
}

/// The capabilities that are not among `most`, as one finding.
fn capabilities_beyond(spec: &Value, most: &BTreeSet<Capability>, words: &str) -> Option<Finding> {
    let asked = view::at(spec, CAPABILITIES);
    let mut sets: Map<String, Value> =
        asked.and_then(Value::as_object).cloned().unwrap_or_default();
    for (set, _) in SETS {
        let kept: Vec<String> = match asked {
            // Everything was asked; what is given is the runtime's usual three sets.
            None if ["inheritable", "ambient"].contains(&set) => Vec::new(),
            None => most.iter().map(|capability| format!("CAP_{capability}")).collect(),
            Some(asked) => view::strings(asked, set)
                .filter(|name| name.parse().is_ok_and(|capability| most.contains(&capability)))
                .map(str::to_owned)
                .collect(),
        };
        if asked.is_none() || asked.is_some_and(|asked| view::at(asked, set).is_some()) {
            sets.insert(set.to_owned(), json!(kept));
        }
    }
    let sets = Value::Object(sets);
    (asked != Some(&sets)).then(|| Finding {
        field: CAPABILITIES.to_owned(),
        asked: asked.cloned().unwrap_or(Value::Null),
        allowed: words.to_owned(),
        remedy: Some(vec![Edit::Set(CAPABILITIES.to_owned(), sets)]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced, is_within, request, touches_only};
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    /// What containerd's CRI plugin writes for `privileged: true`.
    fn privileged() -> Value {
        let all: Vec<String> = Capability::all().map(|name| format!("CAP_{name}")).collect();
        json!({
            "process": {"capabilities": {"bounding": all, "effective": all, "permitted": all}},
            "mounts": [
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "rw"]},
                {"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["ro", "rw"]},
                {"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind"]},
            ],
            "linux": {
                "devices": [{"path": "/dev/sda", "type": "b", "major": 8, "minor": 0}],
                "resources": {"devices": [{"allow": true, "access": "rwm"}]},
            },
        })
    }

    #[test]
    fn a_privileged_container_gets_what_others_have() {
        let after = enforced(&Privileged(false), &privileged());
        assert_eq!(after["linux"]["resources"]["devices"], json!([deny_all()]));
        assert_eq!(after["linux"]["devices"], json!([]));
        assert_eq!(after["mounts"][0]["options"], json!(["nosuid", "ro"]));
        assert_eq!(after["mounts"][1]["options"], json!(["ro"]));
        assert_eq!(after["mounts"][2], privileged()["mounts"][2]);
        for set in ["bounding", "effective", "permitted"] {
            let kept = view::items(&after, &format!("process.capabilities.{set}"));
            assert_eq!(kept.len(), 14);
            assert!(!kept.contains(&json!("CAP_SYS_ADMIN")));
        }
        assert!(after["process"]["capabilities"].get("ambient").is_none());
        assert_eq!(view::items(&after, "linux.maskedPaths").len(), 11);
        assert_eq!(view::items(&after, "linux.readonlyPaths").len(), 5);
        assert!(is_within(&Privileged(true), &privileged()));
    }

    #[test]
    fn without_host_devices_it_is_privileged_too() {
        let mut spec = privileged();
        spec["linux"]["resources"]["devices"] = json!([deny_all()]);
        assert!(!is_within(&Privileged(false), &spec));
        spec["process"] = json!({});
        assert!(!is_within(&Privileged(false), &spec), "no capabilities object is all of them");
        assert_eq!(
            view::items(&enforced(&Privileged(false), &spec), "process.capabilities.bounding")
                .len(),
            14
        );
        spec["mounts"][0]["options"] = json!(["rw", "ro"]);
        assert!(is_within(&Privileged(false), &spec));
    }

    #[test]
    fn the_last_rule_for_all_devices_decides() {
        let with = |rules: Value| json!({"linux": {"resources": {"devices": rules}}});
        let (open, close) = (json!({"allow": true, "type": "a", "access": "rwm"}), deny_all());
        assert!(is_within(&Privileged(false), &with(json!([open, close]))));
        assert!(!is_within(&Privileged(false), &with(json!([close, open]))));
        let weak = json!({"allow": false, "access": "m"});
        assert!(!is_within(&Privileged(false), &with(json!([open, weak]))));
    }

    #[test]
    fn an_exec_has_no_more_than_its_container() {
        let (facts, node) = request();
        let sets = json!({"bounding": ["CAP_KILL", "CAP_SYS_ADMIN"], "effective": ["CAP_KILL"]});
        let spec = json!({"process": {"capabilities": sets}});
        let bounding = ["CAP_KILL".to_owned()];
        let asked = Asked {
            exec: Some(Executing { bounding: &bounding, stdin: false }),
            ..Asked::of(&spec, &facts, &node)
        };
        let found = Privileged(false).tighten(&asked);
        let mut after = spec.clone();
        found[0].remedy.clone().into_iter().flatten().for_each(|edit| edit.apply(&mut after));
        let kept = json!({"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"]});
        assert_eq!(after["process"]["capabilities"], kept);
        assert!(Privileged(true).tighten(&asked).is_empty());
    }

    impl Generated for Privileged {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let rules =
                subsequence(vec![deny_all(), json!({"allow": true, "access": "rwm"})], 0..=2);
            let sets = select(vec![
                json!(null),
                json!({"bounding": ["CAP_SYS_ADMIN", "CAP_KILL"]}),
                json!({}),
            ]);
            let options = select(vec![json!(null), json!(["ro"]), json!(["ro", "rw"])]);
            let specs = (rules.prop_shuffle(), sets, options).prop_map(|(rules, sets, options)| {
                json!({
                    "process": {"capabilities": sets},
                    "mounts": [{"destination": "/sys", "type": "sysfs", "options": options}],
                    "linux": {"resources": {"devices": rules}},
                })
            });
            (any::<bool>().prop_map(Privileged).boxed(), specs.boxed())
        }
    }

    #[test]
    fn changes_its_own_fields_alone() {
        let own = [RULES, NODES, MOUNTS, CAPABILITIES, "linux.maskedPaths", "linux.readonlyPaths"];
        touches_only(&Privileged(false), &own);
    }

    #[test]
    fn verify_sees_a_writable_sysfs_with_the_capability() {
        let mut seen = Seen { cap_bounding: 1 << 21, ..Seen::default() };
        seen.read_mountinfo("1 2 0:5 / /sys rw - sysfs sysfs rw\n");
        assert_eq!(Privileged(false).verify(&seen).len(), 1);
        assert!(Privileged(true).verify(&seen).is_empty());
        seen.cap_bounding = 0;
        assert!(Privileged(false).verify(&seen).is_empty());
    }
}
