//! `logDenials`: whose denials the kernel writes to its audit log, for `coaming denials` to name.
//!
//! It denies nothing, so that nothing is refused or changed for it: it is no part of what is decided.
//! What becomes of it is in [`crate::kernel_log`].

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;

/// Controls whose denials the kernel logs where a policy asks for it. Those of AppArmor and SELinux are logged
/// by the kernel unless the profile says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct LogDenials(pub BTreeSet<Logged>);

/// A control whose denials can be logged.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Logged {
    /// System calls that the container's filter denies, whoever asked for the filter
    /// (`SECCOMP_FILTER_FLAG_LOG`). Without it only calls that kill are logged. Where the runtime loads
    /// the filter it must be runc 1.2 or later, or crun.
    Seccomp,
    /// Files, ports and signals that Landlock denies (`LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON`, Linux
    /// 6.15). The kernel logs them only while auditing is on.
    Landlock,
}

impl LogDenials {
    /// Whether the denials of a control are asked for.
    pub fn has(&self, logged: Logged) -> bool {
        self.0.contains(&logged)
    }
}

impl Rule for LogDenials {
    const CONTROL: &'static str = "logDenials";
    const SCOPE: Scope = Scope::Container;

    fn top() -> Self {
        LogDenials::default()
    }

    fn meet(&self, other: &Self) -> Self {
        LogDenials(&self.0 | &other.0)
    }

    fn tighten(&self, _asked: &Asked<'_>) -> Vec<Finding> {
        Vec::new()
    }

    fn verify(&self, _seen: &Seen) -> Vec<Mismatch> {
        // The kernel tells no one with which flags a filter was loaded.
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::subsequence;
    use serde_json::{Value, json};

    use super::*;
    use crate::controls::laws::Generated;

    #[test]
    fn controls_are_named_as_policies_name_them() {
        let rule: LogDenials = serde_json::from_value(json!(["seccomp", "landlock"])).unwrap();
        assert!(rule.has(Logged::Seccomp) && rule.has(Logged::Landlock));
        assert!(serde_json::from_value::<LogDenials>(json!(["appArmor"])).is_err());
    }

    impl Generated for LogDenials {
        const TIGHTENS: bool = false;

        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let rules = subsequence(vec![Logged::Seccomp, Logged::Landlock], 0..=2)
                .prop_map(|logged| LogDenials(logged.into_iter().collect()));
            (rules.boxed(), Just(json!({"process": {"args": ["a"]}})).boxed())
        }
    }
}
