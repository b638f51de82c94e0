//! `seLinux`: the SELinux context that processes run in (selinux(8)).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::allow_list::intersection;
use super::{Asked, Finding, Mismatch, Node, Rule, Scope, Support};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const FIELD: &str = "process.selinuxLabel";
const MOUNTS: &str = "linux.mountLabel";

/// The SELinux contexts that a container may run in (Kubernetes: `seLinuxOptions`). A container that
/// has none runs as the runtime's policy sends it, often unconfined: where anything is demanded here,
/// it needs one.
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
    /// The type for a container that has no context, or one of a type that is not allowed. Always
    /// allowed. Without it such a container is refused.
    #[serde(default)]
    pub default: Option<String>,
    /// The level that a context must have (`s0:c1,c2`), compared as text. Kubernetes gives each pod a
    /// level of its own, so that this suits few policies.
    #[serde(default)]
    pub level: Option<String>,
    /// The types that the context of the container's mounts may have (`container_file_t`). Left out,
    /// any.
    #[serde(default)]
    pub mount_types: Option<BTreeSet<String>>,
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
    /// Allowed levels.
    pub levels: Option<BTreeSet<String>>,
    /// What may take the place of a type that is not allowed, where it is allowed itself.
    pub defaults: BTreeSet<String>,
    /// Allowed types of the mounts' context.
    pub mount_types: Option<BTreeSet<String>>,
}

impl From<SeLinuxDocument> for SeLinux {
    fn from(document: SeLinuxDocument) -> Self {
        let SeLinuxDocument { user, role, types, default, level, mount_types } = document;
        let one = |name: Option<String>| name.map(|name| BTreeSet::from([name]));
        let types = match (types, default.clone()) {
            (Some(mut types), default) => {
                types.extend(default);
                Some(types)
            }
            (None, default) => one(default),
        };
        SeLinux {
            users: one(user),
            roles: one(role),
            types,
            levels: one(level),
            defaults: default.into_iter().collect(),
            mount_types,
        }
    }
}

/// A context, `user:role:type:level`; the level holds colons itself.
#[derive(Debug, Clone, Copy)]
struct Context<'a> {
    user: &'a str,
    role: &'a str,
    kind: &'a str,
    level: &'a str,
}

impl<'a> Context<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(4, ':');
        let (user, role, kind) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Context { user, role, kind, level: parts.next().unwrap_or_default() })
    }
}

impl SeLinux {
    fn demands_a_context(&self) -> bool {
        [&self.users, &self.roles, &self.types, &self.levels].iter().any(|set| set.is_some())
    }

    fn allows(&self, context: Context<'_>) -> bool {
        allows(self.users.as_ref(), context.user)
            && allows(self.roles.as_ref(), context.role)
            && allows(self.types.as_ref(), context.kind)
            && allows(self.levels.as_ref(), context.level)
    }

    /// The context that takes the place of one that is not allowed. What is allowed of it stays.
    fn replacement(&self, asked: Option<Context<'_>>) -> Option<String> {
        let default = self.defaults.iter().find(|kind| allows(self.types.as_ref(), kind))?;
        let keep = |set: &Option<BTreeSet<String>>, asked: Option<&str>, usual: &str| {
            let kept = asked.filter(|part| allows(set.as_ref(), part));
            match (kept, set) {
                (Some(part), _) => Some(part.to_owned()),
                (None, None) => Some(usual.to_owned()),
                (None, Some(set)) if set.contains(usual) => Some(usual.to_owned()),
                (None, Some(set)) => set.first().cloned(),
            }
        };
        let user = keep(&self.users, asked.map(|context| context.user), "system_u")?;
        let role = keep(&self.roles, asked.map(|context| context.role), "system_r")?;
        let level = keep(&self.levels, asked.map(|context| context.level), "s0")?;
        let kind = asked
            .map(|context| context.kind)
            .filter(|kind| allows(self.types.as_ref(), kind))
            .unwrap_or(default);
        let level = if level.is_empty() { level } else { format!(":{level}") };
        Some(format!("{user}:{role}:{kind}{level}"))
    }

    fn in_words(&self) -> String {
        let sets = [
            ("user", &self.users),
            ("role", &self.roles),
            ("type", &self.types),
            ("level", &self.levels),
        ];
        let words: Vec<String> = sets
            .into_iter()
            .filter_map(|(name, set)| Some(format!("{name} {}", names(set.as_ref()?))))
            .collect();
        words.join("; ")
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
        SeLinux {
            users: both(&self.users, &other.users),
            roles: both(&self.roles, &other.roles),
            types: both(&self.types, &other.types),
            levels: both(&self.levels, &other.levels),
            defaults: &self.defaults | &other.defaults,
            mount_types: both(&self.mount_types, &other.mount_types),
        }
    }

    fn contradiction(&self) -> Option<String> {
        let parts = [
            ("user", &self.users),
            ("role", &self.roles),
            ("type", &self.types),
            ("level", &self.levels),
        ];
        let none = parts.iter().find(|(_, set)| set.as_ref().is_some_and(BTreeSet::is_empty));
        none.map(|(part, _)| format!("no SELinux {part} is allowed"))
    }

    fn support(&self, node: &Node) -> Support<Self> {
        let demands = self.demands_a_context() || self.mount_types.is_some();
        if !demands || node.lsms.iter().any(|module| module == "selinux") {
            return Support::Full;
        }
        let active = node.lsms.join(", ");
        let lost = format!("SELinux is not active in the node's kernel (active: {active})");
        Support::Partial { rule: Self::top(), lost }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let context = view::text(asked.spec, FIELD).and_then(Context::parse);
        let within = context.is_some_and(|context| self.allows(context));
        if self.demands_a_context() && !within {
            let replacement = self.replacement(context);
            findings.push(Finding {
                field: FIELD.to_owned(),
                asked: view::at(asked.spec, FIELD).cloned().unwrap_or(Value::Null),
                allowed: self.in_words(),
                remedy: replacement.map(|label| vec![Edit::Set(FIELD.to_owned(), json!(label))]),
            });
        }
        // A mount without a context keeps the labels of its files. Taking a context away could give
        // the container files that it keeps out, so there is no remedy.
        if let (Some(types), Some(label)) = (&self.mount_types, view::text(asked.spec, MOUNTS))
            && !Context::parse(label).is_some_and(|context| types.contains(context.kind))
        {
            findings.push(Finding {
                field: MOUNTS.to_owned(),
                asked: json!(label),
                allowed: format!("type {}", names(types)),
                remedy: None,
            });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced, is_within, request, touches_only};
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    fn rule(document: Value) -> SeLinux {
        serde_json::from_value::<SeLinuxDocument>(document).unwrap().into()
    }

    fn asking(label: &Value) -> Value {
        json!({"process": {"selinuxLabel": label}})
    }

    #[test]
    fn a_type_that_is_not_allowed_is_replaced_and_the_level_stays() {
        let rule = rule(json!({"types": ["container_t"], "default": "container_t"}));
        let after = enforced(&rule, &asking(&json!("system_u:system_r:spc_t:s0:c1,c2")));
        assert_eq!(after["process"]["selinuxLabel"], "system_u:system_r:container_t:s0:c1,c2");
        for label in [json!(null), json!(""), json!("spc_t"), json!(3)] {
            let after = enforced(&rule, &asking(&label));
            assert_eq!(after["process"]["selinuxLabel"], "system_u:system_r:container_t:s0");
        }
    }

    #[test]
    fn without_a_default_there_is_no_remedy() {
        let rule = rule(json!({"types": ["container_t"]}));
        let (facts, node) = request();
        let spec = asking(&json!("system_u:system_r:spc_t:s0"));
        let asked = Asked { spec: &spec, facts: &facts, node: &node, exec: None };
        assert!(rule.tighten(&asked)[0].remedy.is_none());
        assert!(is_within(&rule, &asking(&json!("a:b:container_t"))));
    }

    #[test]
    fn the_mounts_context_is_judged_where_there_is_one() {
        let rule = rule(json!({"mountTypes": ["container_file_t"]}));
        let spec = |label: &str| json!({"linux": {"mountLabel": label}});
        assert!(is_within(&rule, &spec("")));
        assert!(is_within(&rule, &spec("system_u:object_r:container_file_t:s0")));
        assert!(!is_within(&rule, &spec("system_u:object_r:shadow_t:s0")));
    }

    impl Generated for SeLinux {
        const CONTRADICTS: bool = true;

        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let types = proptest::option::of(subsequence(vec!["container_t", "spc_t"], 0..=2));
            let default = proptest::option::of(select(vec!["container_t", "init_t"]));
            let user = proptest::option::of(select(vec!["system_u", "user_u"]));
            let rules = (types, default, user).prop_map(|(types, default, user)| {
                rule(json!({"types": types, "default": default, "user": user}))
            });
            let labels =
                ["", "system_u:r:container_t:s0", "user_u:r:spc_t:s0:c1", "x:y:init_t", "x"];
            (rules.boxed(), select(labels.to_vec()).prop_map(|label| asking(&json!(label))).boxed())
        }

        fn strict() -> Vec<Self> {
            vec![rule(json!({"mountTypes": ["container_file_t"]}))]
        }
    }

    #[test]
    fn changes_its_own_fields_alone() {
        touches_only(&rule(json!({"default": "container_t"})), &["process.selinuxLabel"]);
    }

    #[test]
    fn needs_the_module() {
        let node = Node { lsms: vec!["selinux".into()], ..Node::default() };
        let some = rule(json!({"level": "s0"}));
        assert_eq!(some.support(&node), Support::Full);
        assert!(matches!(some.support(&Node::default()), Support::Partial { .. }));
        assert_eq!(SeLinux::top().support(&Node::default()), Support::Full);
    }

    #[test]
    fn verify_reads_the_context() {
        let seen = |label: &str| Seen { label: Some(label.to_owned()), ..Seen::default() };
        let rule = rule(json!({"types": ["container_t"]}));
        assert!(rule.verify(&seen("system_u:system_r:container_t:s0:c1,c2\0")).is_empty());
        assert_eq!(rule.verify(&seen("system_u:system_r:spc_t:s0")).len(), 1);
        assert_eq!(rule.verify(&Seen::default())[0].found, "none");
    }
}
