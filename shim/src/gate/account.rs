//! What the gate decided, written down.

use std::io::stderr;
use std::time::SystemTime;

use coaming_policy::document::Waived;
use coaming_policy::verdict::{Audit, Change, Degraded};

use super::{Gate, GateError, Handover};
use crate::argv::{Command, Global, Verb};
use crate::in_force::InForce;
use crate::journal::Event;
use crate::journal::event::{Container, Decision, Refused, short};
use crate::refusal_log;

impl Gate {
    /// What is known of a request before it is decided; none for what needs no decision.
    pub(super) fn begin(&self, command: &Command) -> Option<Decision> {
        let (door, id) = match command {
            Command::Create(create) => ("create", create.id.as_str()),
            Command::Run(run) => ("run", run.create.id.as_str()),
            Command::Exec(exec) => ("exec", exec.id.as_str()),
            Command::Update(update) => ("update", update.id.as_str()),
            Command::Restore(plain) => ("restore", plain.id.as_ref().map_or("", |id| id.as_str())),
            Command::Pass(plain) if plain.verb == Verb::Start => {
                ("start", plain.id.as_ref().map_or("", |id| id.as_str()))
            }
            Command::Pass(_) | Command::Version | Command::Help(_) => return None,
        };
        Some(Decision {
            container: Container::named(id),
            wrapper: short(self.node.name()),
            runtime: short(&self.runtime.display().to_string()),
            door: door.to_owned(),
            ..Decision::default()
        })
    }

    /// Writes a decision down. Where that cannot be done, nothing is started if the configuration
    /// says so, and else an operator is told.
    pub(super) fn account(
        &self,
        global: &Global,
        mut decision: Decision,
        decided: Result<Handover, GateError>,
    ) -> Result<Handover, GateError> {
        let micros = self.begun.elapsed().as_micros();
        decision.decision_micros = u64::try_from(micros).unwrap_or(u64::MAX);
        let event = match (&decided, decision.door.as_str()) {
            (Err(error), door) => {
                let operation = if door == "run" { "create" } else { door }.to_owned();
                Event::Refused(refusal(decision, operation, error))
            }
            (Ok(_), "create" | "run") => Event::Created(decision),
            (Ok(_), "exec") => Event::Executed(decision),
            (Ok(_), _) => return decided,
        };
        let now = SystemTime::now();
        let Err(error) = self.journal.append(event, now) else { return decided };
        if let (Ok(handover), true) = (&decided, self.journal_required) {
            if let Some(state) = &handover.undo {
                state.remove();
            }
            return Err(GateError::Journal { error });
        }
        let told = format!("coaming cannot write its journal, and goes on without: {error}");
        refusal_log::warn(global, &told, now, &mut stderr());
        decided
    }
}

fn refusal(decision: Decision, operation: String, error: &GateError) -> Refused {
    let mut refused = Refused { decision, operation, ..Refused::default() };
    match error {
        GateError::Refused { refusal, .. } => refused.because(&refusal.reasons),
        GateError::Wider { mismatches, .. } => refused.wider(mismatches),
        other => refused.error = Some(short(&other.to_string())),
    }
    refused
}

/// Notes the set of policies that is asked.
pub(crate) fn under(decision: &mut Decision, policies: &InForce) {
    decision.policy_set = policies.digest_in_hex();
}

/// Notes what came of it.
pub(crate) fn admitted(
    decision: &mut Decision,
    changes: &[Change],
    degraded: &[Degraded],
    waived: &[Waived],
    audit: &Audit,
) {
    decision.changed(changes);
    decision.degraded(degraded);
    decision.waived(waived);
    let audited = audit.changes.len() + audit.refusals.len();
    decision.audited = u64::try_from(audited).unwrap_or(u64::MAX);
}
