//! `rootfsPropagation`: how mounts travel between the container's root and the host.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::allow_list::intersection;
use super::propagation::{Propagation, deserialize_maybe_closed, in_words};
use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const FIELD: &str = "linux.rootfsPropagation";

/// The propagations that the root mount may have. CRI runtimes ask for `rshared` or `rslave` when a
/// volume of the container has `mountPropagation: Bidirectional` or `HostToContainer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RootfsPropagation {
    /// Of `slave`, `rslave`, `shared` and `rshared`, those that a container may ask for; `shared` allows
    /// `slave` too, and `rshared` `rslave`. What passes no mounts (`private` and the like) is always allowed. A container that asks for none gets
    /// `rslave` from runc, and `rprivate` where the list does not have `rslave`. Left out, all are
    /// allowed.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "deserialize_maybe_closed"
    )]
    pub allow: Option<BTreeSet<Propagation>>,
}

impl Rule for RootfsPropagation {
    const CONTROL: &'static str = "rootfsPropagation";
    const SCOPE: Scope = Scope::Container;

    fn top() -> Self {
        RootfsPropagation { allow: None }
    }

    fn meet(&self, other: &Self) -> Self {
        RootfsPropagation { allow: intersection(self.allow.as_ref(), other.allow.as_ref()) }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        let Some(allow) = &self.allow else {
            return Vec::new();
        };
        // Absent is rslave for runc (libcontainer/rootfs_linux.go, prepareRoot) and rprivate for crun
        // (src/libcrun/linux.c). A name that is none is refused by runc; crun takes rprivate for it.
        let effective = match view::at(asked.spec, FIELD) {
            Some(value) => value.as_str().and_then(|name| name.parse().ok()),
            None => Some(Propagation::Rslave),
        };
        if effective.is_some_and(|propagation| propagation.is_allowed(allow)) {
            return Vec::new();
        }
        let lowered = effective.map_or(Propagation::Rprivate, |asked| asked.lowered(allow));
        vec![Finding {
            field: FIELD.to_owned(),
            asked: view::at(asked.spec, FIELD).cloned().unwrap_or(Value::Null),
            allowed: in_words(allow),
            remedy: Some(vec![Edit::Set(FIELD.to_owned(), json!(lowered))]),
        }]
    }

    fn verify(&self, _seen: &Seen) -> Vec<Mismatch> {
        // `shared:` in mountinfo does not say with whom: a process that may mount makes its own
        // namespace's mounts shared without the host taking part.
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced, is_within, touches_only};
    use crate::controls::propagation::closed;
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    fn allow(list: &[Propagation]) -> RootfsPropagation {
        RootfsPropagation { allow: Some(closed(list.iter().copied())) }
    }

    fn after(rule: &RootfsPropagation, asked: Value) -> Value {
        enforced(rule, &json!({"linux": {"rootfsPropagation": asked}}))["linux"]["rootfsPropagation"]
            .clone()
    }

    #[test]
    fn what_is_shared_comes_down_to_what_is_allowed() {
        assert_eq!(after(&allow(&[Propagation::Rslave]), json!("rshared")), "rslave");
        assert_eq!(after(&allow(&[]), json!("rshared")), "rprivate");
        assert_eq!(after(&allow(&[]), json!("private")), "private");
    }

    #[test]
    fn absent_is_what_runc_makes_of_it() {
        assert!(is_within(&allow(&[Propagation::Rslave]), &json!({"linux": {}})));
        assert_eq!(after(&allow(&[]), Value::Null), "rprivate");
        assert_eq!(after(&allow(&[]), json!("")), "rprivate");
        assert_eq!(after(&allow(&[]), json!(7)), "rprivate");
    }

    impl Generated for RootfsPropagation {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            use Propagation::{Private, Rshared, Rslave, Shared, Slave};
            let lists = subsequence(vec![Private, Slave, Rslave, Shared, Rshared], 0..=5);
            let rules = proptest::option::of(lists)
                .prop_map(|allow| RootfsPropagation { allow: allow.map(closed) });
            let asked =
                [json!(null), json!("rshared"), json!("slave"), json!("rprivate"), json!("x")];
            let specs = select(asked.to_vec())
                .prop_map(|asked| json!({"linux": {"rootfsPropagation": asked}}));
            (rules.boxed(), specs.boxed())
        }
    }

    #[test]
    fn changes_its_own_fields_alone() {
        touches_only(&allow(&[]), &["linux.rootfsPropagation"]);
    }
}
