//! `exec`: another process, held to the floor that the container was created under and to today's.

use std::time::{SystemTime, UNIX_EPOCH};

use coaming_policy::controls::Executing;
use coaming_policy::controls::log_denials::Logged;
use coaming_policy::decide::{Door, Request, decide_with};
use coaming_policy::json;
use coaming_policy::launch as placement;
use coaming_policy::seccomp::Profile;
use coaming_policy::spec::edit::Edit;
use coaming_policy::spec::view;
use coaming_policy::verdict::{Admission, Audit, Reason, Verdict};
use nix::sys::stat::{SFlag, fstat, stat};
use serde_json::{Value, json};

use super::{Gate, GateError, Handover, account, read_named, refused};
use crate::argv::{Command, Exec, Global, Invocation, ProcessSource};
use crate::exec_log::Executed;
use crate::exec_process;
use crate::handoff::ProcessFile;
use crate::journal::event::{Container, Decision, Stage};
use crate::prover::{PidFile, Prover, Subject};
use crate::record::{Filters, Record};
use crate::state::State;
use crate::{host, launch, refusal_log};

impl Gate {
    pub(super) fn exec(
        &self,
        global: Global,
        exec: Exec,
        decision: &mut Decision,
    ) -> Result<Handover, GateError> {
        let id = exec.id.as_str().to_owned();
        let state = self.state_of(&global, &id);
        let record = Record::read(&state)?;
        let process = match &exec.process {
            ProcessSource::File(path) => json::parse_process(&read_named(path)?)
                .map_err(|error| GateError::Json { what: path.display().to_string(), error })?,
            ProcessSource::Inline(flags) => {
                exec_process::requested(&record.process, flags, self.family)?
            }
        };
        let mut spec = json!({"process": process});
        if let Some(seccomp) = &record.seccomp {
            Edit::Set("linux.seccomp".to_owned(), seccomp.clone()).apply(&mut spec);
        }
        let mut facts = record.facts_for(Door::Exec);
        decision.container = Container::of(&facts);
        let (policies, demands) = self.demanding(&global, &mut facts)?;
        account::under(decision, &policies);
        let floor = record.floor_for(Door::Exec).meet(&demands.floor);
        let stdin = has_stdin();
        let mut node = host::examine(&spec);
        node.se_linux.container = view::text(&record.process, "selinuxLabel").map(str::to_owned);
        let request = Request {
            door: Door::Exec,
            spec: &spec,
            facts: &facts,
            node: &node,
            exec: Some(Executing { bounding: &record.bounding, stdin }),
        };
        let mut executed = Executed::of(now(), &spec, stdin);
        let decided = match decide_with(&request, &floor, &self.memory()) {
            Verdict::Admit(admission) => {
                executed.changes.clone_from(&admission.changes);
                let (changes, degraded) = (&admission.changes, &admission.degraded);
                account::admitted(decision, changes, degraded, &demands.waived, &Audit::default());
                for replaced in self.confine(&id, &admission.spec, &floor, &node)? {
                    refusal_log::warn(
                        &global,
                        &replaced,
                        SystemTime::now(),
                        &mut std::io::stderr(),
                    );
                }
                self.launch(&state, &record, *admission)
            }
            Verdict::Refuse(refusal) => Err(refused("exec into", &id, refusal.reasons)),
        };
        if let Err(GateError::Refused { refusal, .. }) = &decided {
            executed.refused.clone_from(&refusal.reasons);
        }
        // Of a probe every few seconds that no rule is for, nothing is kept: /run is memory.
        let written = if !floor.exec.is_empty() || !executed.refused.is_empty() {
            executed.write(&state)
        } else {
            Ok(())
        };
        let (process, enforced, launcher) = decided?;
        written?;
        let bytes = serde_json::to_vec(&process).map_err(|error| GateError::Json {
            what: "the enforced process".to_owned(),
            error: error.into(),
        })?;
        let document = ProcessFile::seal(&bytes, exec.preserve_fds)?;
        let own = state.private.join(format!("exec-{}.pid", std::process::id()));
        let file = PidFile::new(exec.pid_file.as_deref(), own);
        let exec = Exec { pid_file: Some(file.path().to_owned()), ..exec };
        let inherited = Filters::own();
        let prover = Prover {
            stage: Stage::Executed,
            subject: Subject::Named(file),
            container: decision.container.clone(),
            runtime_folder: record.runtime_folder(),
            state,
            floor,
            process: enforced,
            filters: record.filters.map(|filters| Filters { inherited, launcher, ..filters }),
            launchers: record.launchers(),
            preserved: exec.preserve_fds,
            journal: self.journal.clone(),
        };
        let command = Command::Exec(exec.with_process_file(document.path()));
        let handover = Handover::of(&Invocation { global, command });
        Ok(Handover { document: Some(document), prover: Some(Box::new(prover)), ..handover })
    }

    /// The process as the runtime gets it, behind the launcher where the container has one; the process
    /// as enforced; and how many filters the launcher loads.
    fn launch(
        &self,
        state: &State,
        record: &Record,
        admission: Admission,
    ) -> Result<(Value, Value, u32), GateError> {
        let Admission { mut spec, launch: mut plan, .. } = admission;
        let Some(created_with) = &record.plan else {
            // The runtime loads the filter that the container was created with; nothing more can be
            // put into the container now.
            let asked = if !plan.is_empty() {
                "Landlock rules"
            } else if spec.pointer("/linux/seccomp") != record.seccomp.as_ref() {
                "a stricter seccomp floor"
            } else {
                let process = process_of(spec);
                return Ok((process.clone(), process, 0));
            };
            return Err(refused("exec into", &record.id, vec![older_than(asked)]));
        };
        let digest = launch::digest(&plan);
        let name = if digest == *created_with {
            "plan".to_owned()
        } else {
            // A policy has changed since: the plan of today's floor and the pinned one together. Denials are
            // logged as at create, by the launcher that was put in then.
            let logged = record.floor.log_denials.met();
            plan.log_denials = logged.has(Logged::Landlock) && host::logs_landlock();
            if logged.has(Logged::Seccomp) {
                plan.filters = plan.filters.iter().map(Profile::logging_denials).collect();
            }
            let name = format!("exec-{digest}");
            if !state.launch.join(&name).exists() {
                state.write_launch(&name, &launch::encode(&plan, &self.filters())?)?;
            }
            name
        };
        let enforced = spec.get("process").cloned().unwrap_or_default();
        let filters = u32::try_from(plan.filters.len()).unwrap_or(u32::MAX);
        placement::wrap_arguments(&mut spec, "process.args", &name);
        Ok((process_of(spec), enforced, filters))
    }
}

/// Whether somebody may write to the process's standard input: the shims pass /dev/null where nobody
/// asked for one. What cannot be told is taken for one.
fn has_stdin() -> bool {
    let (Ok(own), Ok(null)) = (fstat(std::io::stdin()), stat("/dev/null")) else {
        return true;
    };
    let kind = |mode| SFlag::from_bits_truncate(mode) & SFlag::S_IFMT;
    own.st_rdev != null.st_rdev || kind(own.st_mode) != SFlag::S_IFCHR
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

fn process_of(mut spec: Value) -> Value {
    spec.get_mut("process").map(Value::take).unwrap_or_default()
}

fn older_than(what: &str) -> Reason {
    Reason {
        control: "exec".to_owned(),
        field: "process".to_owned(),
        asked: json!("a process in a container that was created before today's policy"),
        allowed: format!(
            "nothing until the container is created again: policy now demands {what}, which cannot \
             be brought into a container that runs"
        ),
        policy: None,
    }
}
