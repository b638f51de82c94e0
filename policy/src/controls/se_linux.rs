//! `seLinux`: the SELinux context that processes run in (selinux(8)).

pub mod context;
pub mod level;
pub mod module;
#[cfg(test)]
mod tests;
mod types;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::context::Context;
use self::level::{Pairs, Range};
use self::module::{ModuleError, Modules};
use super::allow_list::intersection;
use super::{Asked, Finding, Mismatch, Node, Rule, Scope, Support};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const FIELD: &str = "process.selinuxLabel";
const MOUNTS: &str = "linux.mountLabel";
/// What files of containers have, by every policy with containers.
const MOUNT_TYPE: &str = "container_file_t";
/// What processes of containers have.
const PROCESS_TYPE: &str = "container_t";

/// The SELinux contexts that a container may run in (Kubernetes: `seLinuxOptions`). A container that
/// has none runs as the runtime's policy sends it, often unconfined: where anything is demanded here,
/// it needs one. Where coaming gives it one, the container's own file systems get the context to match
/// (`linux.mountLabel`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeLinuxDocument {
    /// The user that a context must have (`system_u`).
    #[serde(default)]
    pub user: Option<String>,
    /// The role that a context must have (`system_r`).
    #[serde(default)]
    pub role: Option<String>,
    /// The types that a context may have (`container_t`). `spc_t`, which confines nothing, is allowed
    /// only where it is listed. Left out, `default` alone is allowed, and any type where there is no
    /// `default` either.
    #[serde(default)]
    pub types: Option<BTreeSet<String>>,
    /// Where `false`, types that confine nothing, or that are those of the node's own programs (`spc_t`,
    /// `unconfined_t`, `container_runtime_t`), are not allowed, whatever `types` lists. Those that are
    /// known by name, and on a node with SELinux all that its policy lets load policy or kernel modules.
    #[serde(default)]
    pub privileged_types: Option<bool>,
    /// The type for a container that has no context, or one of a type that is not allowed. Always
    /// allowed. Without it such a container is refused.
    #[serde(default)]
    pub default: Option<String>,
    /// The bounds within which a context's level must lie: `s0-s0:c0.c511` for any categories up to
    /// `c511`, or a single level (`s0:c1,c2`), which the context must then have. Compared as sets of
    /// categories: `s0:c1,c2` and `s0:c2,c1` are the same.
    #[serde(default)]
    pub level: Option<Range>,
    /// A level of two categories (`s0:c1,c2`), such as containerd and CRI-O give each pod to keep pods
    /// from each other's files. `required`: no container starts without such a level, and an exec has
    /// its container's. `allocate`: a container without one gets that of its pod, a pair which no other
    /// pod has, within `level`.
    #[serde(default)]
    pub pod_level: Option<PodLevel>,
    /// The types that the context of the container's mounts may have (`container_file_t`). Left out,
    /// any.
    #[serde(default)]
    pub mount_types: Option<BTreeSet<String>>,
    /// SELinux modules that come with the policy: CIL files, by their paths below the policy directory
    /// (`profiles/payments.cil`). The types of one are called after it, in `types`, `default` and `mountTypes`
    /// too: `payments.process`. `coaming load` loads them.
    #[serde(default)]
    pub modules: BTreeSet<String>,
}

/// What becomes of a container without a level of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PodLevel {
    /// It is refused.
    Required,
    /// It gets its pod's.
    Allocate,
}

/// The rule of one policy or several. A set left out allows all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeLinux {
    /// Allowed users.
    pub users: Option<BTreeSet<String>>,
    /// Allowed roles.
    pub roles: Option<BTreeSet<String>>,
    /// Allowed types.
    pub types: Option<BTreeSet<String>>,
    /// Bounds of the level: one, or none where several have nothing in common.
    pub levels: Option<BTreeSet<Range>>,
    /// What may take the place of a type that is not allowed, where it is allowed itself.
    pub defaults: BTreeSet<String>,
    /// Allowed types of the mounts' context.
    pub mount_types: Option<BTreeSet<String>>,
    /// Whether types that confine nothing are never allowed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unprivileged: bool,
    /// Whether the level must be a pair of categories.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pod_level: bool,
    /// Whether a container that has no such level gets one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allocate: bool,
    /// Modules that have types of the rule. They allow or deny nothing by being there.
    #[serde(default, skip_serializing_if = "Modules::is_empty")]
    pub modules: Modules,
}

/// What is known of a node's SELinux, and of what it has given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeLinuxNode {
    /// Whether it is permissive: it logs, and denies nothing; or does not say that it enforces.
    pub permissive: bool,
    /// The level that was allocated for the pod of a container that is created.
    pub pod_level: Option<Range>,
    /// The context that the container of an exec was created with.
    pub container: Option<String>,
}

impl SeLinux {
    /// The rule of a document, with the modules that it names.
    ///
    /// # Errors
    /// What is wrong with a module's name or text.
    pub fn of(
        document: SeLinuxDocument,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<SeLinux, ModuleError> {
        let SeLinuxDocument {
            user,
            role,
            types,
            privileged_types,
            default,
            level,
            pod_level,
            mount_types,
            modules: _,
        } = document;
        let (modules, blocks) = module::of_files(files)?;
        let known = |kind: String| module::known_as(kind, &blocks);
        let all = |types: BTreeSet<String>| types.into_iter().map(known).collect();
        let default = default.map(known);
        let one = |name: Option<String>| name.map(|name| BTreeSet::from([name]));
        let types: Option<BTreeSet<String>> = match (types, default.clone()) {
            (Some(types), default) => {
                let mut types: BTreeSet<String> = all(types);
                types.extend(default);
                Some(types)
            }
            (None, default) => one(default),
        };
        Ok(SeLinux {
            users: one(user),
            roles: one(role),
            types,
            levels: level.map(|level| [level].into()),
            defaults: default.into_iter().collect(),
            mount_types: mount_types.map(all),
            unprivileged: privileged_types == Some(false),
            pod_level: pod_level.is_some(),
            allocate: pod_level == Some(PodLevel::Allocate),
            modules,
        })
    }
}

impl SeLinux {
    /// Whether anything is demanded of a process's context.
    pub fn demands_a_context(&self) -> bool {
        let sets = [&self.users, &self.roles, &self.types];
        sets.iter().any(|set| set.is_some())
            || self.levels.is_some()
            || self.unprivileged
            || self.pod_level
    }

    /// The pairs of which a pod's level may be allocated.
    pub fn pairs(&self) -> Pairs {
        match &self.levels {
            None => Pairs::all(),
            Some(levels) => levels.first().map_or_else(Pairs::none, Pairs::within),
        }
    }

    /// Whether a level is one that a container may have by itself.
    pub fn allows_level(&self, level: &str) -> bool {
        let range = level.parse::<Range>().ok();
        let bounded = self.levels.as_ref().is_none_or(|levels| {
            let bounds = levels.first();
            bounds.zip(range).is_some_and(|(bounds, range)| range.is_within(bounds))
        });
        bounded && (!self.pod_level || range.is_some_and(|range| range.is_pair()))
    }

    fn allows_type(&self, kind: &str) -> bool {
        allows(self.types.as_ref(), kind) && !(self.unprivileged && types::is_privileged(kind))
    }

    fn allows(&self, context: Context<'_>) -> bool {
        allows(self.users.as_ref(), context.user)
            && allows(self.roles.as_ref(), context.role)
            && self.allows_type(context.kind)
            && self.allows_level(context.level)
    }

    /// Whether an exec's level is its container's, where levels keep pods apart.
    fn keeps_level(&self, context: Context<'_>, container: Option<Context<'_>>) -> bool {
        let container = container.filter(|_| self.pod_level);
        container.is_none_or(|container| container.range() == context.range())
    }

    /// The context that takes the place of one that is not allowed. What is allowed of it stays; what is
    /// not becomes that of the container, for an exec, or what is usual.
    fn replacement(
        &self,
        asked: Option<Context<'_>>,
        container: Option<Context<'_>>,
        pod_level: Option<Range>,
    ) -> Option<String> {
        let keep = |set: &Option<BTreeSet<String>>, part: fn(Context<'_>) -> &str, usual: &str| {
            let given = [asked, container].into_iter().flatten().map(part);
            let mut kept = given.filter(|part| allows(set.as_ref(), part));
            match (kept.next(), set) {
                (Some(part), _) => Some(part.to_owned()),
                (None, None) => Some(usual.to_owned()),
                (None, Some(set)) if set.contains(usual) => Some(usual.to_owned()),
                (None, Some(set)) => set.first().cloned(),
            }
        };
        let user = keep(&self.users, |context| context.user, "system_u")?;
        let role = keep(&self.roles, |context| context.role, "system_r")?;
        let defaults = self.defaults.iter().map(String::as_str);
        let usual = self.allocate.then_some(PROCESS_TYPE);
        let kind = [asked, container]
            .into_iter()
            .flatten()
            .map(|context| context.kind)
            .chain(defaults)
            .chain(usual)
            .find(|kind| self.allows_type(kind))?;
        let level = self.level(asked, container, pod_level)?;
        let level = if level.is_empty() { level } else { format!(":{level}") };
        Some(format!("{user}:{role}:{kind}{level}"))
    }

    fn level(
        &self,
        asked: Option<Context<'_>>,
        container: Option<Context<'_>>,
        pod_level: Option<Range>,
    ) -> Option<String> {
        let given = [asked, container].into_iter().flatten();
        let mut kept = given
            .filter(|context| self.allows_level(context.level))
            .filter(|context| self.keeps_level(*context, container));
        if let Some(context) = kept.next() {
            return Some(context.level.to_owned());
        }
        if self.pod_level {
            if !self.allocate || container.is_some() {
                return None;
            }
            // Where nobody allocates, since no container is started (a policy is tried), any pair stands for it.
            let level = pod_level.or_else(|| self.pairs().get(0).map(Range::from))?.to_string();
            return self.allows_level(&level).then_some(level);
        }
        match &self.levels {
            None => Some("s0".to_owned()),
            _ if self.allows_level("s0") => Some("s0".to_owned()),
            Some(levels) => Some(levels.first()?.low().to_string()),
        }
    }

    fn in_words(&self) -> String {
        let levels = self.levels.as_ref();
        let levels = levels.map(|levels| levels.iter().map(Range::to_string).collect());
        let sets = [
            ("user", &self.users),
            ("role", &self.roles),
            ("type", &self.types),
            ("level", &levels),
        ];
        let mut words: Vec<String> = sets
            .into_iter()
            .filter_map(|(name, set)| Some(format!("{name} {}", names(set.as_ref()?))))
            .collect();
        if self.unprivileged {
            words.push("a type that confines".to_owned());
        }
        if self.pod_level {
            words.push("a level of two categories, the pod's own".to_owned());
        }
        words.join("; ")
    }

    /// What is wrong with the context of the container's own file systems, where `replaced` is the
    /// process's context as it now is in place of another.
    fn mounts(
        &self,
        spec: &Value,
        asked: Option<Context<'_>>,
        replaced: Option<&str>,
    ) -> Option<Finding> {
        let label = view::text(spec, MOUNTS);
        let context = label.and_then(Context::parse);
        let finding = |allowed: String, remedy: Option<String>| Finding {
            field: MOUNTS.to_owned(),
            asked: label.map_or(Value::Null, |label| json!(label)),
            allowed,
            remedy: remedy.map(|label| vec![Edit::Set(MOUNTS.to_owned(), json!(label))]),
        };
        // A mount without a context keeps the labels of its files. Taking a context away could give
        // the container files that it keeps out, so there is no remedy.
        if let (Some(types), Some(_)) = (&self.mount_types, label)
            && !context.is_some_and(|context| types.contains(context.kind))
        {
            return Some(finding(format!("type {}", names(types)), None));
        }
        let replaced = replaced.and_then(Context::parse)?;
        let level = replaced.range();
        let follow = format!("the level of the process, {}", replaced.level);
        let Some(label) = label else {
            // Without it the runtime's tmpfs at /dev has a label that no container may use.
            let usual = allows(self.mount_types.as_ref(), MOUNT_TYPE).then_some(MOUNT_TYPE);
            let first = || self.mount_types.as_ref().and_then(BTreeSet::first).map(String::as_str);
            let level = level.map(|level| format!(":{}", level.high())).unwrap_or_default();
            let label = usual.or_else(first).map(|kind| format!("system_u:object_r:{kind}{level}"));
            return Some(finding(follow, label));
        };
        if asked.is_some_and(|asked| asked.range() == level) {
            return None;
        }
        // What is mounted already, the root above all, has the level that was asked for.
        let remedy = context.zip(level).and_then(|(context, level)| {
            let reachable = level.high().dominates(context.range()?.high());
            let Context { user, role, kind, .. } = context;
            reachable.then(|| format!("{user}:{role}:{kind}:{}", level.high()))
        });
        let allowed = match remedy {
            Some(_) => follow,
            None => format!(
                "a level that {} has all categories of: the root file system was mounted with {label}, \
                 and the container could not read it",
                replaced.level
            ),
        };
        (remedy.as_deref() != Some(label)).then(|| finding(allowed, remedy))
    }
}

impl Rule for SeLinux {
    const CONTROL: &'static str = "seLinux";
    const SCOPE: Scope = Scope::Process;

    fn top() -> Self {
        SeLinux::default()
    }

    fn meet(&self, other: &Self) -> Self {
        let both =
            |ours: &Option<_>, theirs: &Option<_>| intersection(ours.as_ref(), theirs.as_ref());
        let levels = match (&self.levels, &other.levels) {
            (Some(ours), Some(theirs)) => {
                let met = ours.first().zip(theirs.first()).and_then(|(a, b)| a.meet(b));
                Some(met.into_iter().collect())
            }
            (ours, theirs) => ours.clone().or_else(|| theirs.clone()),
        };
        SeLinux {
            users: both(&self.users, &other.users),
            roles: both(&self.roles, &other.roles),
            types: both(&self.types, &other.types),
            levels,
            defaults: &self.defaults | &other.defaults,
            mount_types: both(&self.mount_types, &other.mount_types),
            unprivileged: self.unprivileged || other.unprivileged,
            pod_level: self.pod_level || other.pod_level,
            allocate: self.allocate || other.allocate,
            modules: self
                .modules
                .iter()
                .chain(&other.modules)
                .map(|(name, text)| (name.clone(), text.clone()))
                .collect(),
        }
    }

    fn contradiction(&self) -> Option<String> {
        let none = |set: &Option<BTreeSet<String>>| set.as_ref().is_some_and(BTreeSet::is_empty);
        let part = if none(&self.users) {
            "user"
        } else if none(&self.roles) {
            "role"
        } else if self
            .types
            .as_ref()
            .is_some_and(|types| !types.iter().any(|kind| self.allows_type(kind)))
        {
            "type"
        } else if self.levels.as_ref().is_some_and(BTreeSet::is_empty) {
            "level"
        } else if self.pod_level && self.pairs().count() == 0 {
            "level of two categories"
        } else {
            return None;
        };
        Some(format!("no SELinux {part} is allowed"))
    }

    fn support(&self, node: &Node) -> Support<Self> {
        if !self.demands_a_context() && self.mount_types.is_none() {
            return Support::Full;
        }
        if !node.lsms.iter().any(|module| module == "selinux") {
            let active = node.lsms.join(", ");
            let lost = format!("SELinux is not active in the node's kernel (active: {active})");
            return Support::Partial { rule: Self::top(), lost };
        }
        if node.se_linux.permissive {
            // Contexts are given all the same: from when it enforces they count.
            let lost =
                "SELinux is permissive on this node (/sys/fs/selinux/enforce is not 1): it logs, \
                        and denies nothing; `setenforce 1` changes that"
                    .to_owned();
            return Support::Partial { rule: self.clone(), lost };
        }
        Support::Full
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        let given = &asked.node.se_linux;
        let container = asked.exec.and(given.container.as_deref()).and_then(Context::parse);
        let text = view::text(asked.spec, FIELD);
        // An exec without a context has its container's (runc libcontainer/process_linux.go; crun exec).
        let context = match text {
            Some(text) => Context::parse(text),
            None => container,
        };
        let within = context
            .is_some_and(|context| self.allows(context) && self.keeps_level(context, container));
        let mut findings = Vec::new();
        let mut replaced = None;
        if self.demands_a_context() && !within {
            replaced = self.replacement(context, container, given.pod_level);
            let edit = |label: &String| vec![Edit::Set(FIELD.to_owned(), json!(label))];
            findings.push(Finding {
                field: FIELD.to_owned(),
                asked: view::at(asked.spec, FIELD).cloned().unwrap_or(Value::Null),
                allowed: self.in_words(),
                remedy: replaced.as_ref().map(edit),
            });
        }
        if asked.exec.is_none() {
            findings.extend(self.mounts(asked.spec, context, replaced.as_deref()));
        }
        findings
    }

    fn verify(&self, seen: &Seen) -> Vec<Mismatch> {
        let label = seen.label.as_deref().unwrap_or_default().trim_end_matches(['\n', '\0']);
        let within = Context::parse(label).is_some_and(|context| self.allows(context));
        if !self.demands_a_context() || within {
            return Vec::new();
        }
        vec![Mismatch {
            what: "SELinux context".to_owned(),
            found: if label.is_empty() { "none" } else { label }.to_owned(),
            allowed: self.in_words(),
        }]
    }
}

fn allows(set: Option<&BTreeSet<String>>, part: &str) -> bool {
    set.is_none_or(|set| set.contains(part))
}

fn names(set: &BTreeSet<String>) -> String {
    if set.is_empty() {
        return "none".to_owned();
    }
    set.iter().map(String::as_str).collect::<Vec<_>>().join(" or ")
}
