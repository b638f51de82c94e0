//! `annotations`: keys that steer the runtime instead of describing the container.
//!
//! crun takes raw BPF in place of the seccomp section from `run.oci.seccomp_bpf_data`, writes hook
//! output to any host file by `run.oci.hooks.stdout`, and changes the handler by `run.oci.handler`
//! (crun.1). runc passes `org.systemd.property.*` to systemd as unit properties (libcontainer
//! specconv, initSystemdProps) and `org.criu.config` to CRIU.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::glob::Glob;
use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const FIELD: &str = "annotations";

/// The annotations that are taken away. Those that describe the container (`io.kubernetes.*`) stay
/// unless a pattern matches them too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Annotations {
    /// Patterns of keys that are removed (`run.oci.*`), compared without regard to case. `*` stands
    /// for any run of characters.
    #[serde(default)]
    pub deny: BTreeSet<Glob>,
}

impl Annotations {
    fn denies(&self, key: &str) -> Option<&Glob> {
        self.deny.iter().find(|glob| glob.matches_ignoring_case(key))
    }
}

impl Rule for Annotations {
    const CONTROL: &'static str = "annotations";
    const SCOPE: Scope = Scope::Container;

    fn top() -> Self {
        Annotations::default()
    }

    fn meet(&self, other: &Self) -> Self {
        Annotations { deny: &self.deny | &other.deny }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        let (denied, kept): (Vec<_>, Vec<_>) =
            view::entries(asked.spec, FIELD).partition(|(key, _)| self.denies(key).is_some());
        let kept: Map<String, Value> =
            kept.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect();
        let remedy = vec![Edit::Set(FIELD.to_owned(), kept.into())];
        denied
            .into_iter()
            .filter_map(|(key, value)| {
                let glob = self.denies(key)?;
                Some(Finding {
                    field: format!("{FIELD}[{key}]"),
                    asked: value.clone(),
                    allowed: format!("no annotation {glob}"),
                    remedy: Some(remedy.clone()),
                })
            })
            .collect()
    }

    fn verify(&self, _seen: &Seen) -> Vec<Mismatch> {
        // The kernel knows nothing of annotations.
        Vec::new()
    }
}
