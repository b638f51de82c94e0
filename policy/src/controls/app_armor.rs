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
