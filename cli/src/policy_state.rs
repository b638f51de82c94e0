//! Whether the policy directory is in force as it is, and the waivers for emergencies.

use std::io::Write;

use coaming_policy::document::{DocumentError, Moment};
use coaming_policy::snapshot::Refusal;
use coaming_shim::break_glass::Waiver;
use coaming_shim::config::Node;
use coaming_shim::in_force::{InForce, Since};
use serde::Serialize;

use crate::error::CommandError;

/// What `coaming status` says of the node's policies.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyState {
    directory: String,
    /// Since when the policies in force are; none where that is not kept, or there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_force_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_by: Option<String>,
    /// Why the directory as it is is not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_in_force: Option<Refusal>,
    /// Why no policies are in force, and no container starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    notes: Vec<String>,
    break_glass: Vec<Emergency>,
    #[serde(skip)]
    alarm: Option<String>,
}

/// A waiver for an emergency.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Emergency {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiver: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// The key that signed it, where it is honoured.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_by: Option<String>,
    /// Why it is not honoured.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

impl PolicyState {
    pub(crate) fn of(node: &Node, in_force: Result<&InForce, &DocumentError>) -> PolicyState {
        let set = in_force.ok();
        PolicyState {
            directory: node.policy_directory().display().to_string(),
            in_force_since: set.and_then(|set| set.accepted).map(|at| Moment(at).to_string()),
            signed_by: set.and_then(|set| Some(set.signed.as_ref()?.key.clone())),
            not_in_force: set
                .and_then(|set| set.kept.as_ref())
                .map(|Since { refusal, .. }| refusal.clone()),
            error: in_force.err().map(ToString::to_string),
            notes: set.map(|set| set.notes.clone()).unwrap_or_default(),
            break_glass: node.break_glass().into_iter().map(Emergency::of).collect(),
            alarm: set.and_then(InForce::alarm),
        }
    }

    /// Whether the directory, as it is, is what containers are held to.
    pub(crate) fn is_in_force(&self) -> bool {
        self.not_in_force.is_none() && self.error.is_none()
    }

    /// Nothing, where there is nothing to be told.
    pub(crate) fn show(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        if let Some(error) = &self.error {
            writeln!(out, "NO CONTAINER STARTS: {error}")?;
        }
        if let Some(alarm) = &self.alarm {
            writeln!(out, "POLICY NOT IN FORCE: {alarm}")?;
        }
        for note in &self.notes {
            writeln!(out, "note: {note}")?;
        }
        for emergency in &self.break_glass {
            emergency.show(out)?;
        }
        Ok(())
    }
}

impl Emergency {
    fn of(found: Waiver) -> Emergency {
        let Waiver { file, waiver, granted } = found;
        let spec = waiver.as_ref().map(|waiver| &waiver.spec);
        let pod = spec.and_then(|spec| {
            let selector = &spec.selector.value;
            let first = |globs: &Option<Vec<coaming_policy::controls::glob::Glob>>| {
                Some(globs.as_ref()?.first()?.as_str().to_owned())
            };
            Some(format!("{}/{}", first(&selector.namespaces)?, first(&selector.pods)?))
        });
        let (signed_by, refused) = match granted {
            Ok(granted) => (granted.break_glass, None),
            Err(problem) => (None, Some(problem)),
        };
        Emergency {
            file,
            pod,
            owner: spec.map(|spec| spec.owner.value.clone()),
            expires: waiver.as_ref().map(|waiver| waiver.end().to_string()),
            waiver: waiver.map(|waiver| waiver.metadata.value.name),
            signed_by,
            refused,
        }
    }

    fn show(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        let text = |part: &Option<String>| part.clone().unwrap_or_else(|| "?".to_owned());
        let (name, file) = (text(&self.waiver), &self.file);
        match &self.refused {
            Some(problem) => {
                writeln!(out, "break-glass {name} ({file}) is not honoured: {problem}")?
            }
            None => writeln!(
                out,
                "BREAK-GLASS {name} ({file}) of {} for {} until {}, signed by {}",
                text(&self.owner),
                text(&self.pod),
                text(&self.expires),
                text(&self.signed_by)
            )?,
        }
        Ok(())
    }
}
