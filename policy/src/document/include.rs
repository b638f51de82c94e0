//! `include`: built-in policies that a policy takes as its own.
//!
//! A built-in policy is a few documents, each with a `match` of its own: what is for a pod's sandbox
//! stands apart from what is for its containers. An included rule applies to the containers that both
//! the policy and the built-in's document select; everything else about it is the policy's own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{At, DocumentError, Match, PolicyDocument, PolicySpec};
use crate::builtin;
use crate::floor::{Action, Floor};

/// A built-in policy, by its name.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum Include {
    /// The Pod Security Standard *baseline*.
    #[serde(rename = "pss/baseline")]
    PssBaseline,
    /// The Pod Security Standard *restricted*, which is *baseline* and more.
    #[serde(rename = "pss/restricted")]
    PssRestricted,
    /// What a careful platform gives every pod; it tightens and refuses nothing that ordinary images do.
    #[serde(rename = "default")]
    Default,
    /// Sections 5.2 and 5.7 of the CIS Kubernetes Benchmark.
    #[serde(rename = "cis")]
    Cis,
    /// The pods' part of the Kubernetes Hardening Guidance of NSA and CISA.
    #[serde(rename = "nsa-hardening")]
    NsaHardening,
}

impl Include {
    /// All of them.
    pub const ALL: [Include; 5] = [
        Include::PssBaseline,
        Include::PssRestricted,
        Include::Default,
        Include::Cis,
        Include::NsaHardening,
    ];

    /// The name, as `include` has it.
    pub fn name(self) -> &'static str {
        match self {
            Include::PssBaseline => "pss/baseline",
            Include::PssRestricted => "pss/restricted",
            Include::Default => "default",
            Include::Cis => "cis",
            Include::NsaHardening => "nsa-hardening",
        }
    }
}

/// What a policy states for the containers that it selects, or for some of them, as a policy of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// The policy; of an included one, the built-in's document under the name of the policy that includes it,
    /// for the containers that both select.
    pub document: PolicyDocument,
    /// The clauses.
    pub floor: Floor,
}

/// Where clauses stand.
#[derive(Debug, Clone)]
pub(super) struct Origin<'a> {
    /// The policy's file.
    pub(super) file: &'a str,
    /// The entry of `include` by which they came.
    pub(super) include: Option<At<Include>>,
}

type ReadProfile<'a> = dyn FnMut(&str) -> Result<Vec<u8>, DocumentError> + 'a;

impl PolicyDocument {
    /// What the policy states itself, and then what it includes.
    ///
    /// `profile` gives the bytes of a profile file that the policy names.
    ///
    /// # Errors
    /// [`DocumentError::Invalid`] where a profile is missing or wrong.
    pub fn parts(
        &self,
        file: &str,
        profile: &mut ReadProfile<'_>,
    ) -> Result<Vec<Part>, DocumentError> {
        let own = self.own_clauses(&Origin { file, include: None }, profile)?;
        let mut parts = vec![Part { document: self.clone(), floor: own }];
        for at in self.spec.include.iter().flatten() {
            let origin = Origin { file, include: Some(at.clone()) };
            for document in builtin::documents(at.value)? {
                let document = self.taking(document, at.line);
                let floor = document.own_clauses(&origin, &mut builtin::no_profiles)?;
                parts.push(Part { document, floor });
            }
        }
        Ok(parts)
    }

    /// The containers that the policy applies to.
    pub fn selector(&self) -> Match {
        self.spec.selector.clone().unwrap_or_else(Match::workloads)
    }

    /// What a document of a built-in policy becomes, which stands on a line of `include`.
    fn taking(&self, built_in: &PolicyDocument, line: u64) -> PolicyDocument {
        let (own, theirs) = (&self.spec, &built_in.spec);
        let actions = overridden(theirs.actions.as_ref(), own.actions.as_ref());
        let leaves = [&theirs.best_effort, &own.best_effort];
        let leaves = leaves.into_iter().flatten().flat_map(|at| at.value.clone()).collect();
        PolicyDocument {
            metadata: self.metadata.clone(),
            spec: PolicySpec {
                selector: Some(within(&self.selector(), &built_in.selector())),
                actions: Some(At { value: actions, line }),
                best_effort: Some(At { value: leaves, line }),
                mode: own.mode,
                audit: own.audit.clone(),
                rollout: own.rollout.clone(),
                ..theirs.clone()
            },
            ..built_in.clone()
        }
    }

    pub(super) fn check_include(&self, file: &str) -> Result<(), DocumentError> {
        let includes = self.spec.include.as_deref().unwrap_or_default();
        for (index, at) in includes.iter().enumerate() {
            if includes.iter().take(index).any(|other| other.value == at.value) {
                let message =
                    format!("spec.include names {} twice; leave one out", at.value.name());
                return Err(DocumentError::at(file, at.line, message));
            }
        }
        Ok(())
    }
}

type Actions = BTreeMap<String, Action>;

/// The actions of a built-in policy, but for those controls of which the including policy says something.
fn overridden(built_in: Option<&At<Actions>>, own: Option<&At<Actions>>) -> Actions {
    let own = own.map(|at| at.value.clone()).unwrap_or_default();
    if own.contains_key("default") {
        return own;
    }
    let mut actions = built_in.map(|at| at.value.clone()).unwrap_or_default();
    actions.extend(own);
    actions
}

/// The containers that both select. The documents of built-in policies select by what a container is,
/// and by no name.
fn within(policy: &Match, built_in: &Match) -> Match {
    let mut both = policy.clone();
    both.container_types = &policy.container_types & &built_in.container_types;
    match (policy.user_namespace, built_in.user_namespace) {
        (Some(ours), Some(theirs)) if ours != theirs => both.container_types.clear(),
        (ours, theirs) => both.user_namespace = ours.or(theirs),
    }
    both
}
