//! `appArmor`: the AppArmor profile that processes are confined by (apparmor(7)).
//!
//! A stack of profiles (`a//&b`) confines by each of them: what is denied by one is denied. So it is within a
//! rule if one of its profiles is, and two rules that allow different profiles are both kept by stacking.

mod document;
mod generate;
mod label;
mod says;
mod text;
mod words;

pub use document::{AppArmorDocument, BroughtProfile, DefaultProfile};
pub use generate::generate;
pub use says::Says;
pub use text::{Brought, PREFIX, check};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::allow_list::AllowLists;
use super::glob::Glob;
use super::{Asked, Finding, Mismatch, Node, Rule, Scope, Support};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;
use label::UNCONFINED;

const FIELD: &str = "process.apparmorProfile";

/// The profile that is built in, by the name that policies call it by.
pub const BUILT_IN: &str = "coaming-default";

/// A built-in profile.
fn builtin(name: &str) -> Option<&'static Brought> {
    static DEFAULT: LazyLock<Option<Brought>> =
        LazyLock::new(|| Brought::read(include_str!("coaming-default.aa")).ok());
    DEFAULT.as_ref().filter(|_| name == BUILT_IN)
}

/// The rule of one policy or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppArmor {
    /// What may take the place of a profile that is not allowed, where every list allows it.
    pub defaults: BTreeSet<String>,
    /// What may be asked for.
    pub allow: AllowLists<Glob>,
    /// Whether a profile that is not allowed stays, below the default.
    #[serde(default)]
    pub stack: bool,
    /// The texts of those profiles that come with policies, by their names in the kernel.
    #[serde(default)]
    pub profiles: BTreeMap<String, String>,
}

impl AppArmor {
    fn allows(&self, label: &str) -> bool {
        let profiles = label::profiles(label);
        self.allow.allow(|glob| match profiles.is_empty() {
            true => glob.as_str() == UNCONFINED,
            false => profiles.iter().any(|profile| glob.matches(profile)),
        })
    }

    /// What a label becomes that is not allowed, if anything: one default, or as many as are needed, and what was
    /// asked for with them.
    fn remedy(&self, asked: &str) -> Option<String> {
        let own = match self.stack {
            true => label::profiles(asked),
            false => BTreeSet::new(),
        };
        let with = |defaults: &[&str]| {
            label::stack(own.iter().chain(defaults).copied().collect::<BTreeSet<&str>>())
        };
        let all: Vec<&str> = self.defaults.iter().map(String::as_str).collect();
        all.chunks(1).chain([all.as_slice()]).map(with).find(|label| self.allows(label))
    }

    /// The profiles of a label that come with policies, with their texts, and those that do not.
    pub fn of_label<'a>(&'a self, label: &'a str) -> Vec<(&'a str, Option<&'a str>)> {
        let names = label::profiles(label).into_iter();
        names.map(|name| (name, self.profiles.get(name).map(String::as_str))).collect()
    }
}

impl Rule for AppArmor {
    const CONTROL: &'static str = "appArmor";
    const SCOPE: Scope = Scope::Process;

    fn top() -> Self {
        AppArmor {
            defaults: BTreeSet::new(),
            allow: AllowLists::all(),
            stack: false,
            profiles: BTreeMap::new(),
        }
    }

    fn meet(&self, other: &Self) -> Self {
        let profiles = self.profiles.iter().chain(&other.profiles);
        AppArmor {
            defaults: &self.defaults | &other.defaults,
            allow: self.allow.meet(&other.allow),
            stack: self.stack || other.stack,
            profiles: profiles.map(|(name, text)| (name.clone(), text.clone())).collect(),
        }
    }

    fn contradiction(&self) -> Option<String> {
        // Of profiles, one of each list can be stacked; being unconfined is all of a label or nothing.
        let none = self.allow.allow_none_of(
            |glob| (glob.as_str() == UNCONFINED).then_some(UNCONFINED),
            |label| self.allows(label),
        );
        none.then(|| "one list allows no AppArmor profile that the others leave".to_owned())
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
        let label = view::text(asked.spec, FIELD).unwrap_or(UNCONFINED);
        if self.allows(label) {
            return Vec::new();
        }
        let remedy = self.remedy(label);
        let stacks = remedy.as_deref().is_some_and(|label| label.contains(label::STACKED));
        let cannot = stacks && !asked.node.stacks_app_armor;
        let mut allowed = self.allow.in_words();
        if cannot {
            allowed.push_str(
                "; the profiles would have to be stacked, which this node's kernel cannot (it has no \
                 /sys/kernel/security/apparmor/features/domain/stack); ask for one of these alone",
            );
        }
        vec![Finding {
            field: FIELD.to_owned(),
            asked: view::at(asked.spec, FIELD).cloned().unwrap_or(Value::Null),
            allowed,
            remedy: remedy
                .filter(|_| !cannot)
                .map(|label| vec![Edit::Set(FIELD.to_owned(), json!(label))]),
        }]
    }

    fn verify(&self, seen: &Seen) -> Vec<Mismatch> {
        let label = seen.label.as_deref().unwrap_or(UNCONFINED).trim_end_matches(['\n', '\0']);
        if self.allows(label::enforced(label)) {
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
mod tests;
