//! What policy does with a plan and with the real spec: the same.

use std::collections::{BTreeMap, BTreeSet};

use coaming_manifest::{Behind, Planned};
use coaming_policy::builtin;
use coaming_policy::controls::{Joined, Node};
use coaming_policy::decide::{Door, Request, decide};
use coaming_policy::document::{BuiltIn, parse_policies};
use coaming_policy::facts::Facts;
use coaming_policy::floor::Floor;
use coaming_policy::verdict::Verdict;
use serde_json::Value;

/// Every control that a spec without hooks can be wider than.
const STRICT: &str = "
apiVersion: coaming.dev/v1alpha1
kind: Policy
metadata: {name: strict}
spec:
  match: {containerTypes: [sandbox, container]}
  privileged: false
  capabilities: {allow: []}
  noNewPrivileges: true
  readOnlyRootFilesystem: true
  user: {supplementalGroups: {ranges: [{min: 1, max: 65535}]}}
  hostNamespaces: {allow: [user, cgroup]}
  maskedPaths: [/proc/kcore, /proc/acpi]
  readonlyPaths: [/proc/sys]
  mounts: {propagation: {allow: []}, protectDestinations: true}
  rootfsPropagation: {allow: []}
  devices: {allow: []}
  sysctls: {allow: []}
  resources: {memoryLimit: 1000000}
";

/// Host paths are refused where they are not allowed, and a refusal says nothing of changes.
const MOUNTS: &str = "
apiVersion: coaming.dev/v1alpha1
kind: Policy
metadata: {name: mounts}
spec:
  match: {containerTypes: [sandbox, container]}
  mounts: {hostPaths: {allow: [/var/lib/kubelet/pods]}}
";

/// In what the verdicts over a plan and over the real spec differ, in words.
pub(crate) fn differences(
    planned: &Planned,
    real: &Value,
    behind: &BTreeMap<String, Joined>,
) -> Vec<String> {
    let joins = planned.joins.iter().map(|(path, behind)| {
        let joined = match behind {
            Behind::Host => Joined::Host,
            Behind::Pod => Joined::Other,
        };
        (path.clone(), joined)
    });
    let (ours, theirs) = (joins.collect(), behind.clone());
    let baseline = builtin::floor(BuiltIn::Baseline).unwrap();
    let read = |text: &str| {
        let policy = parse_policies("p.yaml", text).unwrap().remove(0);
        policy.floor("p.yaml", &mut |_| panic!("no profiles")).unwrap()
    };
    let (strict, mounts) = (read(STRICT), read(MOUNTS));
    [&baseline, &strict, &mounts]
        .into_iter()
        .flat_map(|floor| {
            let ours = verdict(&planned.spec, Clone::clone(&ours), floor);
            let theirs = verdict(real, Clone::clone(&theirs), floor);
            // Every container has something that the strict policy takes away, and most that baseline does.
            let changed = ours.iter().any(|what| what.ends_with("changed"));
            assert!(changed || floor != &strict, "nothing was changed: {ours:?}");
            let only = |these: &BTreeSet<String>, those: &BTreeSet<String>, whose: &str| {
                these
                    .difference(those)
                    .map(|what| format!("only the {whose} spec: {what}"))
                    .collect::<Vec<_>>()
            };
            [only(&ours, &theirs, "planned"), only(&theirs, &ours, "real")].concat()
        })
        .collect()
}

/// What is refused and what is changed, by control and field. Left out is what cannot be alike: the filter
/// that stands for containerd's own, and the device nodes of a privileged container.
fn verdict(spec: &Value, joins: BTreeMap<String, Joined>, floor: &Floor) -> BTreeSet<String> {
    let facts = Facts::of("c", spec);
    let node = Node { kernel: (6, 12), landlock_abi: 6, joins, ..Node::default() };
    let request = Request { door: Door::Create, spec, facts: &facts, node: &node, exec: None };
    let told: Vec<(String, String, &str)> = match decide(&request, floor) {
        Verdict::Refuse(refusal) => refusal
            .reasons
            .into_iter()
            .map(|reason| (reason.control, reason.field, "refused"))
            .collect(),
        Verdict::Admit(admission) => admission
            .changes
            .into_iter()
            .map(|change| (change.control, change.field, "changed"))
            .collect(),
    };
    told.into_iter()
        .filter(|(control, field, _)| control != "seccomp" && !field.starts_with("linux.devices"))
        .map(|(control, field, what)| format!("{control}: {field} {what}"))
        .collect()
}
