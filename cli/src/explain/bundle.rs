//! What coaming would do with a bundle.

use std::path::Path;

use coaming_policy::controls::Node;
use coaming_policy::decide::{Door, Request, audit, decide};
use coaming_policy::facts::Facts;
use coaming_policy::json;
use coaming_policy::kernel_log;
use coaming_policy::launch::is_reserved;
use coaming_policy::spec::view;
use coaming_policy::verdict::{Audit, Verdict};
use coaming_shim::bundle::Bundle;
use coaming_shim::config::HOOK;
use coaming_shim::{destinations, host, launch};
use nix::unistd::geteuid;
use serde_json::Value;

use super::{Arguments, Decision, Report, in_force};
use crate::demanded::Demanding;
use crate::error::CommandError;

pub(super) fn explain(path: &Path, arguments: &Arguments) -> Result<Report, CommandError> {
    let (bundle, id, mut spec) = read(path)?;
    destinations::settle(&mut spec, bundle.path());
    let node = host::examine(&spec);
    let demanding = arguments.source.choice.read().map_err(CommandError::Policy)?;
    let mut report = judge(&id, &spec, &node, &demanding)?;
    report.bundle = bundle.path().display().to_string();
    Ok(report)
}

/// A bundle, its name and its spec, where that is still what was asked.
pub(crate) fn read(path: &Path) -> Result<(Bundle, String, Value), CommandError> {
    let bundle = Bundle::open(Some(path), geteuid())?;
    let config = bundle.path().join("config.json");
    let spec = json::parse_spec(&bundle.read_config()?.bytes)
        .map_err(|error| CommandError::Json { path: config.clone(), error })?;
    if is_rewritten(&spec) {
        return Err(CommandError::Rewritten(config));
    }
    let id = bundle.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((bundle, id, spec))
}

/// What policy does with a container that is to be created.
pub(super) fn judge(
    id: &str,
    spec: &Value,
    node: &Node,
    demanding: &Demanding,
) -> Result<Report, CommandError> {
    let facts = Facts::of(id, spec).on(demanding.wrapper(), node, spec);
    let demands = demanding.of(&facts).map_err(CommandError::Policy)?;
    let floor = &demands.floor;
    let request = Request { door: Door::Create, spec, facts: &facts, node, exec: None };
    let mut report = Report {
        id: id.to_owned(),
        bundle: String::new(),
        manifest: None,
        runtime: demanding.runtime(),
        created: None,
        facts: facts.clone(),
        told: facts.told(),
        verdict: Decision::Refused,
        reasons: Vec::new(),
        changes: Vec::new(),
        degraded: Vec::new(),
        waived: demands.waived,
        audit: Audit::default(),
        notes: demands.notes,
        launcher: false,
        plan: None,
        enforced: None,
        policies: in_force::policies(floor),
        floor: floor.clone(),
        execs: Vec::new(),
        kernel: None,
    };
    match decide(&request, floor) {
        Verdict::Refuse(refusal) => report.reasons = refusal.reasons,
        Verdict::Admit(mut admission) => {
            report.verdict = Decision::Admitted;
            report.launcher = !admission.launch.is_empty();
            report.plan = report.launcher.then(|| launch::digest(&admission.launch));
            report.audit = audit(&request, &admission, &demands.audit);
            let (audited, audit) = (&demands.audit, &mut report.audit);
            kernel_log::ask(&request, &mut admission, audited, audit, kernel_log::compiles);
            report.enforced = Some(admission.spec);
            report.changes = admission.changes;
            report.degraded = admission.degraded;
            report.notes.extend(admission.notes);
        }
    }
    Ok(report)
}

/// Whether the gate has written this config.json.
fn is_rewritten(spec: &Value) -> bool {
    let ours = |hook: &Value| view::text(hook, "path") == Some(HOOK);
    view::entries(spec, "hooks").filter_map(|(_, list)| list.as_array()).flatten().any(ours)
        || view::items(spec, "mounts")
            .iter()
            .filter_map(|mount| view::text(mount, "destination"))
            .any(is_reserved)
}
