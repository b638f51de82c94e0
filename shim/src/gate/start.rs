//! `start`: the container's first process waits, and is looked at before the runtime lets it go on.

use std::io::stderr;
use std::path::Path;
use std::time::SystemTime;

use serde_json::Value;

use super::{Gate, GateError, Handover};
use crate::argv::{Command, Global, Invocation, Plain};
use crate::host;
use crate::journal::Event;
use crate::journal::event::{Container, Decision, Proof as Outcome, Stage};
use crate::proof::hold::Against;
use crate::proof::{Look, Moment, Process, Proof, Proofs, judge};
use crate::prover::{Prover, Subject};
use crate::record::Record;
use crate::refusal_log;
use crate::state::{State, StateError};

impl Gate {
    pub(super) fn start(
        &self,
        global: Global,
        plain: Plain,
        decision: &mut Decision,
    ) -> Result<Handover, GateError> {
        let pass = |plain| {
            Handover::of(&Invocation { global: global.clone(), command: Command::Pass(plain) })
        };
        let Some(id) = plain.id.as_ref().map(|id| id.as_str().to_owned()) else {
            return Ok(pass(plain));
        };
        let state = self.state_of(&global, &id);
        let record = match Record::read(&state) {
            // It was not created through coaming, which is told where it shows (`coaming status`).
            Err(StateError::Unknown { .. }) => return Ok(pass(plain)),
            record => record?,
        };
        decision.container = Container::of(&record.facts);
        let folder = record.runtime_folder();
        let subject = match self.look(&record, &folder) {
            Ok(looked) => looked,
            Err(why) => {
                let node = host::examine(&Value::Null);
                let proof = Proof::without(Stage::Created, None, Outcome::Unproven, why, &node);
                self.tell(&global, &state, decision, proof);
                return Ok(pass(plain));
            }
        };
        // Nothing waits for a start: the runtime says so itself.
        let Some((process, look, mut proof)) = subject else { return Ok(pass(plain)) };
        if proof.outcome == Outcome::Mismatch {
            proof.killed = process.hold().is_ok_and(|handle| handle.kill().is_ok());
            let (wider, mismatches) = (proof.in_words(), proof.mismatches());
            self.tell(&global, &state, decision, proof);
            return Err(GateError::Wider { id, wider, mismatches });
        }
        self.tell(&global, &state, decision, proof);
        let prover = Prover {
            stage: Stage::Started,
            subject: Subject::Known(process, Some(Box::new(look))),
            container: decision.container.clone(),
            state,
            runtime_folder: folder,
            launchers: record.launchers(),
            filters: record.filters,
            floor: record.floor,
            process: record.process,
            preserved: record.preserved,
            journal: self.journal.clone(),
        };
        Ok(Handover { prover: Some(Box::new(prover)), ..pass(plain) })
    }

    /// Looks at the process that waits, if one does.
    fn look(
        &self,
        record: &Record,
        folder: &Path,
    ) -> Result<Option<(Process, Look, Proof)>, String> {
        let Some(process) = Process::of_container(folder) else {
            return Err(format!(
                "the runtime keeps no state that is understood in {}",
                folder.display()
            ));
        };
        // runc and crun: the FIFO is there until `start` opens it.
        if !folder.join("exec.fifo").exists() || !process.runs() {
            return Ok(None);
        }
        let look = Look::at(&process, &record.floor);
        if !process.runs() {
            return Ok(None);
        }
        let look =
            look.map_err(|error| format!("/proc/{} cannot be read: {error}", process.pid))?;
        let node = host::examine(&Value::Null);
        let against = Against {
            floor: &record.floor,
            node: &node,
            process: &record.process,
            filters: record.filters,
            late_filter: loads_its_filter_late(record, folder),
            preserved: record.preserved,
        };
        let judged = judge(&look, against, Moment::Created);
        let proof = Proof::of(Stage::Created, process, &look, judged, &node);
        Ok(Some((process, look, proof)))
    }

    /// Writes down what was seen.
    fn tell(&self, global: &Global, state: &State, decision: &Decision, proof: Proof) {
        let now = SystemTime::now();
        let event = Event::Proved(proof.event(decision.container.clone()));
        let kept = Proofs { created: Some(proof), started: None }.write(state);
        let written = self.journal.append(event, now);
        let failed = [written.err().map(|e| e.to_string()), kept.err().map(|e| e.to_string())];
        for error in failed.into_iter().flatten() {
            let told = format!("coaming cannot write down what it proved: {error}");
            refusal_log::warn(global, &told, now, &mut stderr());
        }
    }
}

/// crun loads its filter after `start` where `noNewPrivileges` is on (src/libcrun/container.c,
/// `container_init`, 1.8 to 1.28); runc has loaded it when the container is created
/// (libcontainer/standard_init_linux.go, 1.1 on), and is known by its state. Of others it is not known.
fn loads_its_filter_late(record: &Record, folder: &Path) -> bool {
    let no_new_privileges = record.process.get("noNewPrivileges") == Some(&Value::Bool(true));
    no_new_privileges && !folder.join("state.json").exists()
}
