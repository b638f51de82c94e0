//! `appArmor`: the AppArmor profile that processes are confined by (apparmor(7)).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::allow_list::AllowLists;
use super::glob::Glob;
use super::{Asked, Finding, Mismatch, Node, Rule, Scope, Support};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const FIELD: &str = "process.apparmorProfile";
const UNCONFINED: &str = "unconfined";

/// The AppArmor profiles that a container may ask for, by the names under which they are loaded in
/// the node's kernel. A container that names none, or `unconfined` (Kubernetes: `appArmorProfile:
/// {type: Unconfined}`), is not confined, and counts as asking for `unconfined`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppArmorDocument {
    /// The profile for a container that asks for none, or for one that is not allowed. Always
    /// allowed. Without it such a container is refused.
    #[serde(default)]
    pub default: Option<String>,
    /// Names of allowed profiles; `*` stands for any run of characters. `unconfined` is allowed only
    /// where it is listed by that name. Left out, every profile is allowed, and being unconfined is
    /// not.
    #[serde(default)]
    pub allow: Option<BTreeSet<Glob>>,
}

/// The rule of one policy or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppArmor {
    /// What may take the place of a profile that is not allowed, where every list allows it.
    pub defaults: BTreeSet<String>,
    /// What may be asked for.
    pub allow: AllowLists<Glob>,
}

impl From<AppArmorDocument> for AppArmor {
    fn from(AppArmorDocument { default, allow }: AppArmorDocument) -> Self {
        let mut allow = allow.unwrap_or_else(|| "*".parse().into_iter().collect());
        allow.extend(default.as_deref().and_then(|name| name.parse().ok()));
        AppArmor { defaults: default.into_iter().collect(), allow: AllowLists::of(allow) }
    }
}

impl AppArmor {
    fn allows(&self, profile: &str) -> bool {
        self.allow.allow(|glob| match profile {
            UNCONFINED => glob.as_str() == UNCONFINED,
            profile => glob.matches(profile),
        })
    }
}

impl Rule for AppArmor {
    const CONTROL: &'static str = "appArmor";
    const SCOPE: Scope = Scope::Process;

    fn top() -> Self {
        AppArmor { defaults: BTreeSet::new(), allow: AllowLists::all() }
    }

    fn meet(&self, other: &Self) -> Self {
        AppArmor {
            defaults: &self.defaults | &other.defaults,
            allow: self.allow.meet(&other.allow),
        }
    }

    fn contradiction(&self) -> Option<String> {
        let none = self.allow.allow_none_of(
            |glob| glob.is_literal().then(|| glob.as_str()),
            |profile| self.allows(profile),
        );
        none.then(|| "no AppArmor profile is in all lists".to_owned())
    }

    fn support(&self, node: &Node) -> Support<Self> {
        // runc and crun skip the profile silently where the kernel has no AppArmor (runc
        // libcontainer/apparmor, IsEnabled).
        if self.allow.is_all() || node.lsms.iter().any(|module| module == "apparmor") {
            return Support::Full;
        }
        let active = node.lsms.join(", ");
        let lost = format!("AppArmor is not active in the node's kernel (active: {active})");
        Support::Partial { rule: Self::top(), lost }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        if self.allows(view::text(asked.spec, FIELD).unwrap_or(UNCONFINED)) {
            return Vec::new();
        }
        let default = self.defaults.iter().find(|profile| self.allows(profile));
        vec![Finding {
            field: FIELD.to_owned(),
            asked: view::at(asked.spec, FIELD).cloned().unwrap_or(Value::Null),
            allowed: self.allow.in_words(),
            remedy: default.map(|profile| vec![Edit::Set(FIELD.to_owned(), json!(profile))]),
        }]
    }

    fn verify(&self, seen: &Seen) -> Vec<Mismatch> {
        // attr/current reads `name (mode)`, or `unconfined` alone. Only in mode enforce does a profile
        // confine.
        let label = seen.label.as_deref().unwrap_or(UNCONFINED).trim_end_matches(['\n', '\0']);
        let profile = match label.strip_suffix(" (enforce)") {
            Some(profile) => profile,
            None => UNCONFINED,
        };
        if self.allows(profile) {
            return Vec::new();
        }
        vec![Mismatch {
            what: "AppArmor profile".to_owned(),
            found: label.to_owned(),
            allowed: self.allow.in_words(),
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced, is_within, touches_only};
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    fn rule(default: Option<&str>, allow: Option<&[&str]>) -> AppArmor {
        let allow = allow.map(|globs| globs.iter().map(|glob| glob.parse().unwrap()).collect());
        AppArmorDocument { default: default.map(str::to_owned), allow }.into()
    }

    fn asking(profile: Value) -> Value {
        json!({"process": {"apparmorProfile": profile}})
    }

    #[test]
    fn being_unconfined_is_asked_in_many_ways() {
        let rule = rule(Some("coaming"), None);
        for asked in [json!(null), json!(""), json!("unconfined"), json!(3)] {
            let after = enforced(&rule, &asking(asked));
            assert_eq!(after["process"]["apparmorProfile"], "coaming");
        }
        assert!(is_within(&rule, &asking(json!("custom"))));
    }

    #[test]
    fn unconfined_must_be_listed_by_name() {
        assert!(!is_within(&rule(None, Some(&["*"])), &asking(json!("unconfined"))));
        assert!(is_within(&rule(None, Some(&["unconfined"])), &asking(json!(null))));
        assert!(!is_within(&rule(None, Some(&["cri-*"])), &asking(json!("other"))));
    }

    impl Generated for AppArmor {
        const CONTRADICTS: bool = true;

        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let defaults = proptest::option::of(select(vec!["cri-a", "b"]));
            let globs = subsequence(vec!["cri-*", "*", "b", "unconfined"], 0..=4);
            let documents = (defaults, proptest::option::of(globs))
                .prop_map(|(default, allow)| rule(default, allow.as_deref()));
            let rules = prop_oneof![1 => Just(AppArmor::top()), 5 => documents];
            let asked = [json!(null), json!("unconfined"), json!("cri-a"), json!("b"), json!("c")];
            (rules.boxed(), select(asked.to_vec()).prop_map(asking).boxed())
        }
    }

    #[test]
    fn changes_its_own_fields_alone() {
        touches_only(&rule(Some("x"), None), &["process.apparmorProfile"]);
    }

    #[test]
    fn needs_the_module() {
        let mut node =
            Node { lsms: vec!["capability".into(), "landlock".into()], ..Node::default() };
        assert!(matches!(rule(None, None).support(&node), Support::Partial { .. }));
        assert_eq!(AppArmor::top().support(&node), Support::Full);
        node.lsms.push("apparmor".into());
        assert_eq!(rule(None, None).support(&node), Support::Full);
    }

    #[test]
    fn verify_wants_a_profile_that_enforces() {
        let seen = |label: &str| Seen { label: Some(label.to_owned()), ..Seen::default() };
        let rule = rule(Some("coaming"), Some(&[]));
        assert!(rule.verify(&seen("coaming (enforce)\n")).is_empty());
        for label in ["coaming (complain)", "other (enforce)", "unconfined", ""] {
            assert_eq!(rule.verify(&seen(label)).len(), 1, "{label}");
        }
        assert_eq!(rule.verify(&Seen::default()).len(), 1);
    }
}
