//! `sysctls`: kernel parameters that the runtime sets for the container (sysctl(8)).
//!
//! Whether a parameter is the container's own or the host's depends on its namespaces; runc and crun
//! refuse those that are not namespaced (runc libcontainer/configs/validate, sysctl).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::allow_list::AllowLists;
use super::glob::Glob;
use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const FIELD: &str = "linux.sysctl";

/// The kernel parameters that a container may set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SysctlsDocument {
    /// Names as sysctl(8) writes them, with dots (`net.ipv4.ip_unprivileged_port_start`); `*` stands
    /// for any run of characters. Others are removed. An empty list allows none. Left out, all are
    /// allowed.
    #[serde(default)]
    pub allow: Option<BTreeSet<Glob>>,
}

/// The rule of one policy or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sysctls {
    /// What may be set.
    pub allow: AllowLists<Glob>,
}

impl From<SysctlsDocument> for Sysctls {
    fn from(document: SysctlsDocument) -> Self {
        Sysctls { allow: AllowLists::from_document(document.allow) }
    }
}

impl Sysctls {
    fn allows(&self, key: &str) -> bool {
        if self.allow.is_all() {
            return true;
        }
        let name = dotted(key);
        // An empty segment would let a pattern match what is another file for the kernel.
        !name.split(['.', '/']).any(str::is_empty) && self.allow.allow(|glob| glob.matches(&name))
    }
}

/// The name with dots. Where a slash is the first separator, slashes separate and dots are part of
/// the names, and the two change places (sysctl(8); runc and crun do the same).
fn dotted(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(first) if key.get(first..).is_some_and(|rest| rest.starts_with('/')) => key
            .chars()
            .map(|character| match character {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => key.to_owned(),
    }
}

impl Rule for Sysctls {
    const CONTROL: &'static str = "sysctls";
    const SCOPE: Scope = Scope::Container;

    fn top() -> Self {
        Sysctls { allow: AllowLists::all() }
    }

    fn meet(&self, other: &Self) -> Self {
        Sysctls { allow: self.allow.meet(&other.allow) }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        let (kept, denied): (Vec<_>, Vec<_>) =
            view::entries(asked.spec, FIELD).partition(|(key, _)| self.allows(key));
        let kept: Map<String, Value> =
            kept.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect();
        let remedy = vec![Edit::Set(FIELD.to_owned(), kept.into())];
        denied
            .into_iter()
            .map(|(key, value)| Finding {
                field: format!("{FIELD}[{key}]"),
                asked: value.clone(),
                allowed: self.allow.in_words(),
                remedy: Some(remedy.clone()),
            })
            .collect()
    }

    fn verify(&self, _seen: &Seen) -> Vec<Mismatch> {
        // A value in /proc/sys does not tell who set it.
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced, is_within, touches_only};
    use proptest::prelude::*;
    use proptest::sample::subsequence;
    use serde_json::json;

    fn allow(globs: &[&str]) -> Sysctls {
        let allow = globs.iter().map(|glob| glob.parse().unwrap()).collect();
        SysctlsDocument { allow: Some(allow) }.into()
    }

    #[test]
    fn what_is_not_allowed_goes() {
        let spec =
            json!({"linux": {"sysctl": {"kernel.core_pattern": "|/x", "net.core.somaxconn": "9"}}});
        let after = enforced(&allow(&["net.core.*"]), &spec);
        assert_eq!(after["linux"]["sysctl"], json!({"net.core.somaxconn": "9"}));
    }

    #[test]
    fn a_name_is_compared_as_the_kernel_finds_it() {
        let within = |glob: &str, key: &str| {
            is_within(&allow(&[glob]), &json!({"linux": {"sysctl": {key: "1"}}}))
        };
        assert!(within("net.ipv4.ip_forward", "net/ipv4/ip_forward"));
        assert!(within("net.ipv4.conf.*", "net.ipv4.conf.eth0/100.rp_filter"));
        assert!(!within("net.*", "kernel/core_pattern"));
        assert!(!within("net.*", "net./../kernel.core_pattern"));
        assert!(!within("net.*", "net//x"));
        assert!(!within("net/ipv4/*", "net.ipv4.x"));
    }

    impl Generated for Sysctls {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let globs = ["net.*", "*.msgmax", "kernel.*", "*"].map(|glob| glob.parse().unwrap());
            let rules = proptest::option::of(subsequence(globs.to_vec(), 0..=3))
                .prop_map(|allow| SysctlsDocument { allow: allow.map(BTreeSet::from_iter) }.into());
            let keys = ["net.core.x", "net/core/x", "kernel.msgmax", "vm.y"];
            let specs = subsequence(keys.to_vec(), 0..=4).prop_map(|keys| {
                let entries: Map<String, Value> =
                    keys.into_iter().map(|key| (key.to_owned(), json!("1"))).collect();
                json!({"linux": {"sysctl": entries}})
            });
            (rules.boxed(), specs.boxed())
        }
    }

    #[test]
    fn changes_its_own_fields_alone() {
        touches_only(&allow(&["net.*"]), &["linux.sysctl"]);
    }
}
