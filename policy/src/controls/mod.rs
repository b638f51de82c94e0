//! The controls: one file each, each a bounded lattice with three verbs.
//!
//! `meet` is the strictest of two rules, `tighten` says what must change for a request to be within
//! a rule, and `verify` holds what the kernel reports of the running process against it. Adding a
//! control is adding a file, a line in [`for_each_control!`](crate::for_each_control) and rows in
//! the spec's table.

pub mod allow_list;
pub mod annotations;
pub mod app_armor;
pub mod capabilities;
pub mod device;
pub mod devices;
pub mod exec;
pub mod fields;
pub mod glob;
pub mod hooks;
pub mod host_namespaces;
pub mod host_path;
pub mod id_ranges;
pub mod landlock;
pub mod log_denials;
pub mod masked_paths;
pub mod mount_places;
pub mod mounts;
pub mod no_new_privileges;
pub mod origin;
pub mod privileged;
pub mod propagation;
pub mod read_only_root;
pub mod readonly_paths;
pub mod refuse;
pub mod resources;
pub mod rlimits;
pub mod rootfs_propagation;
pub mod se_linux;
pub mod seccomp;
pub(crate) mod socket_family;
pub mod sysctls;
pub mod user;

#[cfg(test)]
pub(crate) mod laws;
#[cfg(test)]
mod seen;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::controls::landlock::Layer;
use crate::controls::origin::Origin;
use crate::controls::se_linux::SeLinuxNode;
use crate::facts::Facts;
use crate::memory::{Forgetful, Memory};
use crate::proc::Seen;
use crate::spec::edit::Edit;

/// One control's rule, as one policy states it or as several combine to it.
///
/// Rules are a bounded semilattice: [`Rule::meet`] is commutative, associative and idempotent, and
/// [`Rule::top`] is its unit. `controls/laws.rs` holds every control to that.
pub trait Rule: Clone + PartialEq + Debug + Serialize + DeserializeOwned {
    /// The control's name: the field of a policy's `spec`.
    const CONTROL: &'static str;
    /// What it applies to.
    const SCOPE: Scope;
    /// Whether it judges what was asked, whatever other controls make of it meanwhile. Such a rule only
    /// refuses.
    const OF_WHAT_WAS_ASKED: bool = false;

    /// The rule that asks nothing.
    fn top() -> Self;

    /// The strictest of two: allows what both allow.
    fn meet(&self, other: &Self) -> Self;

    /// Whether the rule is known to allow no more than the other: the order that [`Rule::meet`] gives.
    ///
    /// It goes by what rules say and not by all that follows from it: of two lists of globs, one may
    /// allow no more than the other without this being told.
    fn at_least_as_strict_as(&self, other: &Self) -> bool {
        self.meet(other) == *self
    }

    /// Why no request at all is within the rule or can be brought within it, where that is known: under
    /// policies that come to such a rule no container starts.
    fn contradiction(&self) -> Option<String> {
        None
    }

    /// Whether this node can enforce the rule.
    fn support(&self, _node: &Node) -> Support<Self> {
        Support::Full
    }

    /// What must change for the request to be within the rule; nothing when it already is.
    ///
    /// Applying every remedy leaves a request for which this returns nothing, and which asks for no
    /// more than before in any field.
    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding>;

    /// The Landlock layers that the launcher must apply for the rule.
    fn layers(&self) -> BTreeSet<Layer> {
        BTreeSet::new()
    }

    /// Where the running process is wider than the rule. What the kernel does not tell of a process
    /// is not judged here.
    fn verify(&self, seen: &Seen) -> Vec<Mismatch>;
}

/// Which processes a control concerns, or whether it is the container as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Applies to the container's first process and to every exec.
    Process,
    /// Settled when the container is created.
    Container,
    /// Applies to every exec, and not to the container's first process.
    Exec,
}

/// What a node can give of a rule.
#[derive(Debug, Clone, PartialEq)]
pub enum Support<R> {
    /// All of it.
    Full,
    /// Less: `rule` is what remains, `lost` says what does not, in words for the operator.
    Partial {
        /// The enforceable part.
        rule: R,
        /// What the node cannot give, and why.
        lost: String,
    },
}

/// The request, as a control sees it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The container's spec; for an exec, its `process` and the container's seccomp section alone.
    pub spec: &'a Value,
    /// What is known of the container.
    pub facts: &'a Facts,
    /// What is known of the node.
    pub node: &'a Node,
    /// What is known of an exec besides; `None` for a container's first process.
    pub exec: Option<Executing<'a>>,
    /// Where answers are kept that are dear to work out.
    pub memory: &'a dyn Memory,
    /// Whether it is only asked what is wrong, and not how it would be put right: a rule that has a
    /// remedy may give an empty one.
    pub in_brief: bool,
}

impl<'a> Asked<'a> {
    /// A container's request, where nothing is remembered.
    pub fn of(spec: &'a Value, facts: &'a Facts, node: &'a Node) -> Asked<'a> {
        Asked { spec, facts, node, exec: None, memory: &Forgetful, in_brief: false }
    }
}

/// What is known of an exec besides its process.
#[derive(Debug, Clone, Copy)]
pub struct Executing<'a> {
    /// The bounding set that the container was created with; the request's own is not the container's.
    pub bounding: &'a [String],
    /// Whether the process has a standard input that somebody may write to.
    pub stdin: bool,
}

/// What is known of the node, gathered by whoever asks for a decision.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// Landlock's ABI version; 0 where the kernel has none.
    pub landlock_abi: u32,
    /// The active security modules, as `/sys/kernel/security/lsm` names them.
    pub lsms: Vec<String>,
    /// Whether the kernel stacks AppArmor profiles (`/sys/kernel/security/apparmor/features/domain/stack`,
    /// since Linux 4.13).
    pub stacks_app_armor: bool,
    /// The kernel's version, major and minor.
    pub kernel: (u32, u32),
    /// Whether the kernel logs calls that a filter answers with `SECCOMP_RET_LOG`: whether
    /// `/proc/sys/kernel/seccomp/actions_logged` has `log`.
    pub logs_seccomp: bool,
    /// Whether it logs calls that a filter denies with an error, where the filter asks for it: whether
    /// the same list has `errno`.
    pub logs_denied_calls: bool,
    /// For each path that the spec joins a namespace by: what is behind it.
    pub joins: BTreeMap<String, Joined>,
    /// For each source of a mount that [may lead elsewhere](origin::may_lead_elsewhere): what it reaches,
    /// its own mount first, if that is one of a `subPath`, and all mounts of a `subPath` below it.
    pub origins: BTreeMap<String, Vec<Origin>>,
    /// SHA-256, in lower-case hex, of each hook binary that the spec names and that is a regular
    /// file which only root and its owner can write.
    pub hook_digests: BTreeMap<String, String>,
    /// The annotations that the runtime itself calls potentially unsafe (`features`,
    /// `potentiallyUnsafeConfigAnnotations`); one that ends in a full stop is a prefix. Empty where it says none.
    pub unsafe_annotations: Vec<String>,
    /// Whether an ordinary user starts the container, who could do so without coaming.
    pub rootless: bool,
    /// What is known of SELinux, where it is among the modules.
    pub se_linux: SeLinuxNode,
    /// The owners of those of them that are not root's.
    pub hook_owners: BTreeMap<String, u32>,
    /// The labels of the container's pod, where they are known besides what the spec says.
    pub pod_labels: Option<BTreeMap<String, String>>,
}

/// What a namespace path in a spec leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// The host's own namespace of that type.
    Host,
    /// Another container's or the pod's.
    Other,
    /// It could not be told; taken for the host's.
    Unknown,
}

/// One thing in the request that is wider than a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The field, as a place in the spec (`process.capabilities.bounding`).
    pub field: String,
    /// What was asked; null where the field is absent.
    pub asked: Value,
    /// What the rule allows, in words.
    pub allowed: String,
    /// The edits that bring the request within the rule; `None` where nothing but refusing does.
    pub remedy: Option<Vec<Edit>>,
}

/// One thing in which a running process is wider than a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// What was looked at (`CapBnd`).
    pub what: String,
    /// What the kernel reports.
    pub found: String,
    /// What the rule allows.
    pub allowed: String,
}
