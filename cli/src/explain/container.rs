//! What became of a container, from its record.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use coaming_policy::facts::Door;
use coaming_policy::spec::view;
use coaming_shim::exec_log;
use coaming_shim::record::Record;
use coaming_shim::state::State;
use serde_json::Value;

use super::{Decision, Report, in_force};
use crate::error::CommandError;
use crate::kernel::KernelView;
use crate::records::{self, MAX_RECORD, Records};

pub(super) fn explain(id: &str, root: Option<&Path>, state: &Path) -> Result<Report, CommandError> {
    let record = find(id, root, &state.join("containers"))?;
    let created = record.created();
    let kernel = KernelView::of(&record);
    let own = State::of(state, Path::new(&record.runtime_root), &record.id);
    let facts = record.facts_for(Door::Create);
    let mut notes = record.notes;
    notes.extend(missing_rule_paths(&own.private.join("hook.json")));
    Ok(Report {
        id: record.id,
        bundle: record.bundle,
        manifest: None,
        runtime: Some(record.runtime),
        created: Some(created),
        told: facts.told(),
        facts,
        verdict: Decision::Admitted,
        reasons: Vec::new(),
        changes: record.changes,
        degraded: record.degraded,
        waived: record.waived,
        audit: record.audit,
        notes,
        launcher: record.plan.is_some(),
        plan: record.plan.clone(),
        enforced: None,
        policies: in_force::policies(&record.floor),
        floor: record.floor,
        execs: exec_log::read(&own.private),
        kernel: Some(kernel),
    })
}

/// What the createContainer hook found missing: a rule over a path that is not there allows nothing.
/// There is no report where the launcher is not used, nor from within a user namespace.
fn missing_rule_paths(report: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(report).ok()?.take(MAX_RECORD).read_to_end(&mut bytes).ok()?;
    let report: Value = serde_json::from_slice(&bytes).ok()?;
    let paths: Vec<&str> = view::strings(&report, "missingRulePaths").collect();
    if paths.is_empty() {
        return None;
    }
    Some(format!(
        "Landlock rules over paths that the container does not have: {}",
        paths.join(", ")
    ))
}

/// The one record of this id, or, where none has it, of an id that begins so.
pub(crate) fn find(id: &str, root: Option<&Path>, folder: &Path) -> Result<Record, CommandError> {
    let Records { mut found, unreadable } = records::read_all(folder)?;
    found.retain(|record| {
        record.id.starts_with(id) && root.is_none_or(|root| Path::new(&record.runtime_root) == root)
    });
    if found.iter().any(|record| record.id == id) {
        found.retain(|record| record.id == id);
    }
    match found.len() {
        0 => Err(none(id, folder, unreadable)),
        1 => found.pop().ok_or_else(|| none(id, folder, Vec::new())),
        _ => Err(CommandError::Ambiguous {
            id: id.to_owned(),
            found: found
                .iter()
                .map(|record| format!("  {}  --root {}", record.id, record.runtime_root))
                .collect(),
        }),
    }
}

fn none(id: &str, records: &Path, unreadable: Vec<String>) -> CommandError {
    CommandError::NoSuchContainer { id: id.to_owned(), records: records.to_owned(), unreadable }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn missing_rule_paths_are_named_and_nothing_is_said_without_any() {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("hook.json");
        assert_eq!(missing_rule_paths(&report), None);
        fs::write(&report, r#"{"missingRulePaths":[]}"#).unwrap();
        assert_eq!(missing_rule_paths(&report), None);
        fs::write(&report, r#"{"missingRulePaths":["/app","/opt"]}"#).unwrap();
        assert!(missing_rule_paths(&report).unwrap().ends_with("/app, /opt"));
    }
}
