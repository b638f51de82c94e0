//! `noNewPrivileges`: no process gains privilege through execve (prctl(2), `PR_SET_NO_NEW_PRIVS`).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const FIELD: &str = "process.noNewPrivileges";

/// Whether `no_new_privs` is required. In Kubernetes this is `allowPrivilegeEscalation: false`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct NoNewPrivileges(pub bool);

impl Rule for NoNewPrivileges {
    const CONTROL: &'static str = "noNewPrivileges";
    const SCOPE: Scope = Scope::Process;

    fn top() -> Self {
        NoNewPrivileges(false)
    }

    fn meet(&self, other: &Self) -> Self {
        NoNewPrivileges(self.0 || other.0)
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        if !self.0 || view::flag(asked.spec, FIELD) {
            return Vec::new();
        }
        vec![Finding {
            field: FIELD.to_owned(),
            asked: view::at(asked.spec, FIELD).cloned().unwrap_or(Value::Null),
            allowed: "true".to_owned(),
            remedy: Some(vec![Edit::Set(FIELD.to_owned(), json!(true))]),
        }]
    }

    fn verify(&self, seen: &Seen) -> Vec<Mismatch> {
        if !self.0 || seen.no_new_privs {
            return Vec::new();
        }
        vec![Mismatch {
            what: "NoNewPrivs".to_owned(),
            found: "0".to_owned(),
            allowed: "1".to_owned(),
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced};
    use proptest::prelude::*;

    #[test]
    fn is_set_where_required_and_absent() {
        let after = enforced(&NoNewPrivileges(true), &json!({"process": {}}));
        assert_eq!(after["process"]["noNewPrivileges"], json!(true));
    }

    impl Generated for NoNewPrivileges {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let rules = any::<bool>().prop_map(NoNewPrivileges);
            let specs = proptest::option::of(any::<bool>())
                .prop_map(|asked| json!({"process": {"noNewPrivileges": asked}}));
            (rules.boxed(), specs.boxed())
        }
    }

    #[test]
    fn verify_sees_its_absence() {
        assert_eq!(NoNewPrivileges(true).verify(&Seen::default()).len(), 1);
        let seen = Seen { no_new_privs: true, ..Seen::default() };
        assert!(NoNewPrivileges(true).verify(&seen).is_empty());
    }
}
