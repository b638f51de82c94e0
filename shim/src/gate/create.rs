//! `create` and `run`: a bundle's config.json is brought within the floor, in place.

use std::io::stderr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use coaming_policy::controls::Node;
use coaming_policy::decide::{Door, Request, audit_with, decide_with};
use coaming_policy::demands::Demands;
use coaming_policy::denial_log;
use coaming_policy::facts::Facts;
use coaming_policy::floor::Floor;
use coaming_policy::json;
use coaming_policy::kernel_log;
use coaming_policy::launch as placement;
use coaming_policy::spec::edit::Edit;
use coaming_policy::spec::view;
use coaming_policy::verdict::{Admission, Verdict};
use nix::unistd::geteuid;
use serde_json::{Value, json};

use super::{Gate, GateError, Handover, account, program, refused};
use crate::argv::{Command, Create, Global, Invocation, Run};
use crate::bundle::Bundle;
use crate::in_force::InForce;
use crate::journal::Journal;
use crate::journal::event::{Container, Decision, Stage};
use crate::proof::ProgramFile;
use crate::prover::{PidFile, Prover, Subject};
use crate::record::{self, Filters, Record};
use crate::selinux::{self, Levelled};
use crate::state::{self, State};
use crate::{config, destinations, engine_hook, host, launch, refusal_log, runtime_probe};

const SECCOMP: &str = "linux.seccomp";

impl Gate {
    /// Decides a create; `run` is the whole command where it is `run`.
    pub(super) fn create(
        &self,
        global: Global,
        create: Create,
        run: Option<Run>,
        decision: &mut Decision,
    ) -> Result<Handover, GateError> {
        let id = create.id.as_str().to_owned();
        let bundle = Bundle::open(create.bundle.as_deref(), geteuid())?;
        let config = bundle.read_config()?;
        let mut spec = json::parse_spec(&config.bytes).map_err(|error| GateError::Json {
            what: bundle.path().join("config.json").display().to_string(),
            error,
        })?;
        remove_own_hooks(&mut spec);
        let dockers_hook = engine_hook::take(&mut spec);
        destinations::settle(&mut spec, bundle.path());
        let mut node = host::examine(&spec);
        let configuration = self.node.configuration();
        let runtime =
            runtime_probe::admit(configuration, self.node.name(), &self.runtime, &mut node)?;
        let mut facts = Facts::of(&id, &spec).on(self.node.name(), &node, &spec);
        decision.container = Container::of(&facts);
        let (policies, demands) = self.demanding(&global, &mut facts)?;
        account::under(decision, &policies);
        let Demands { floor, audit: audited, waived, notes, alarms } = demands;
        let exec_floor = self.pinned(&policies, &facts, &floor, Door::Exec)?;
        let update_floor = self.pinned(&policies, &facts, &floor, Door::Update)?;
        let levelled = Levelled::of(&self.state, &facts, &floor, &spec, &mut node)?;
        let request =
            Request { door: Door::Create, spec: &spec, facts: &facts, node: &node, exec: None };
        let memory = self.memory();
        let mut admission = match decide_with(&request, &floor, &memory) {
            Verdict::Admit(admission) => *admission,
            Verdict::Refuse(refusal) => return Err(refused("create", &id, refusal.reasons)),
        };
        let mut reasons = selinux::check(&mut admission, &floor, &self.runtime);
        reasons.extend(levelled.as_ref().and_then(|levelled| levelled.refuses(&admission.spec)));
        if !reasons.is_empty() {
            return Err(refused("create", &id, reasons));
        }
        let mut audit = audit_with(&request, &admission, &audited, &memory);
        admission.notes.extend(notes.into_iter().chain(runtime.notes));
        if create.no_pivot {
            admission.notes.push(
                "the caller asked for --no-pivot: the host's root is not detached from the container's"
                    .to_owned(),
            );
        }

        if !admission.launch.is_empty()
            && let Some(error) = program::missing(&admission.spec, bundle.path())
        {
            return Err(GateError::Program { id, error });
        }
        // An exec is held to what was decided; that calls are logged besides is no part of it.
        let plan = (!admission.launch.is_empty()).then(|| launch::digest(&admission.launch));
        kernel_log::ask(&request, &mut admission, &audited, &mut audit, |profile, launcher| {
            match launcher {
                true => launch::check_for_launcher(profile, &self.filters()),
                false => {
                    launch::check_for_runtime(&profile.to_oci(), &self.runtime, &self.filters())
                }
            }
            .map_err(|error| error.to_string())
        });
        denial_log::ask(&request, &mut admission, &floor, runtime.takes_log);
        account::admitted(decision, &admission.changes, &admission.degraded, &waived, &audit);
        let replaced = self.confine(&id, &admission.spec, &floor, &node)?;
        admission.notes.extend(replaced.iter().cloned());
        state::sweep(&self.state);
        let state = self.state_of(&global, &id);
        state.reserve()?;
        if let Some(levelled) = levelled {
            levelled.keep(&state, &admission.spec).inspect_err(|_| state.remove())?;
        }
        let record = Record {
            version: record::VERSION,
            id,
            wrapper: self.node.name().to_owned(),
            advisory: self.node.user().is_some(),
            runtime: self.runtime.display().to_string(),
            runtime_root: self.runtime_root(&global).display().to_string(),
            bundle: bundle.path().display().to_string(),
            created_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()),
            facts,
            changes: admission.changes.clone(),
            degraded: admission.degraded.clone(),
            waived,
            audit,
            notes: admission.notes.clone(),
            process: admission.spec.get("process").cloned().unwrap_or_default(),
            seccomp: admission.seccomp.clone(),
            bounding: bounding(&admission.spec),
            launcher: plan.as_ref().and_then(|_| ProgramFile::of(Path::new(config::LAUNCHER))),
            plan,
            filters: Some(Filters::of(&admission.spec, admission.launch.filters.len())),
            preserved: create.preserve_fds,
            first_process: None,
            floor,
            exec_floor,
            update_floor,
        };
        let ruled = !record.floor.seccomp.is_empty();
        let prepared = self.prepare(&state, &node, admission, &record).and_then(|mut spec| {
            if let Some(hook) = dockers_hook {
                engine_hook::put_back(&mut spec, hook);
            }
            if let Some(profile) = view::at(&spec, SECCOMP).filter(|_| ruled) {
                launch::check_for_runtime(profile, &self.runtime, &self.filters())?;
            }
            let bytes = serde_json::to_vec(&spec).map_err(|error| GateError::Json {
                what: "the enforced config.json".to_owned(),
                error: error.into(),
            })?;
            Ok(bundle.replace_config(&config, &bytes)?)
        });
        if let Err(error) = prepared {
            state.remove();
            return Err(error);
        }

        // The record has them too.
        for alarm in alarms.iter().chain(&replaced) {
            refusal_log::warn(&global, alarm, SystemTime::now(), &mut stderr());
        }
        let create = Create { bundle: Some(bundle.path().to_owned()), ..create };
        let (command, prover) = match run {
            Some(run) => {
                let own = state.private.join("init.pid");
                let file = PidFile::new(create.pid_file.as_deref(), own);
                let create = Create { pid_file: Some(file.path().to_owned()), ..create };
                let prover = prover(record, file, &state, self.journal.clone());
                (Command::Run(Run { create, ..run }), Some(Box::new(prover)))
            }
            None => (Command::Create(create), None),
        };
        let handover = Handover::of(&Invocation { global, command });
        Ok(Handover { undo: Some(state), prover, ..handover })
    }

    /// What requests through another door will be held to, where policies tell the doors apart and it is
    /// something else. What was loaded into the container holds for all that joins it.
    fn pinned(
        &self,
        policies: &InForce,
        facts: &Facts,
        created: &Floor,
        door: Door,
    ) -> Result<Option<Floor>, GateError> {
        if !self.node.tells_doors_apart(policies)? {
            return Ok(None);
        }
        let floor = self.node.demands_of(policies, &facts.through(door))?.floor;
        let loaded = |field: &str| ["spec.landlock", "spec.seccomp"].contains(&field);
        let floor = floor.meet(&created.clone().partition(loaded).0);
        Ok((floor != *created).then_some(floor))
    }

    /// Writes the plan and the record, and puts the launcher and our hooks into the spec.
    fn prepare(
        &self,
        state: &State,
        node: &Node,
        admission: Admission,
        record: &Record,
    ) -> Result<Value, GateError> {
        let Admission { mut spec, launch: plan, .. } = admission;
        let private = state.private.display().to_string();
        let launch_folder = state.launch.display().to_string();
        if !plan.is_empty() {
            state.make_launch()?;
            selinux::of_launch(&state.launch, node)?;
            state.write_launch("plan", &launch::encode(&plan, &self.filters())?)?;
            state.write_launch("check.json", check(&spec, &plan).to_string().as_bytes())?;
            placement::install(&mut spec, &launch_folder, config::LAUNCHER, "plan");
            let report = state.private.join("hook.json").display().to_string();
            add_hook(
                &mut spec,
                "createContainer",
                &["create-container", "--launch", &launch_folder, "--report", &report],
            );
        }
        add_hook(
            &mut spec,
            "poststop",
            &["poststop", "--record", &private, "--launch", &launch_folder],
        );
        record.write(state)?;
        Ok(spec)
    }
}

/// Who looks at the first process of a `run`, which no `start` follows.
fn prover(record: Record, file: PidFile, state: &State, journal: Journal) -> Prover {
    Prover {
        stage: Stage::Started,
        subject: Subject::Named(file),
        container: Container::of(&record.facts),
        state: state.clone(),
        runtime_folder: record.runtime_folder(),
        launchers: record.launchers(),
        filters: record.filters,
        floor: record.floor,
        process: record.process,
        preserved: record.preserved,
        journal,
    }
}

fn bounding(spec: &Value) -> Vec<String> {
    view::strings(spec, "process.capabilities.bounding").map(str::to_owned).collect()
}

/// What the createContainer hook checks, so that a command which cannot be executed fails at create,
/// as it does without a launcher.
fn check(spec: &Value, plan: &placement::Launch) -> Value {
    let path = view::strings(spec, "process.env").filter_map(|entry| entry.strip_prefix("PATH="));
    let paths: std::collections::BTreeSet<&String> =
        plan.layers.iter().flat_map(|layer| layer.paths.keys()).collect();
    json!({
        "arg0": view::strings(spec, "process.args").next(),
        // Of two, Go and execvp(3) alike take the last (runc deduplicates so) ...
        "path": path.last(),
        "cwd": view::text(spec, "process.cwd").unwrap_or("/"),
        "uid": view::at(spec, "process.user.uid").and_then(Value::as_u64).unwrap_or(0),
        "gid": view::at(spec, "process.user.gid").and_then(Value::as_u64).unwrap_or(0),
        "additionalGids": view::items(spec, "process.user.additionalGids"),
        "rulePaths": paths,
    })
}

/// Appends a hook of ours. Its environment is given, and empty: a hook without one inherits the
/// runtime's, and a createContainer hook could so be steered by what the image sets.
fn add_hook(spec: &mut Value, list: &str, arguments: &[&str]) {
    let field = format!("hooks.{list}");
    let mut hooks: Vec<Value> = view::items(spec, &field).to_vec();
    let mut args = vec!["coaming-hook"];
    args.extend(arguments);
    hooks.push(json!({"path": config::HOOK, "args": args, "env": []}));
    Edit::Set(field, Value::Array(hooks)).apply(spec);
}

/// A bundle that was created before has our hooks; they are not the caller's request.
pub(crate) fn remove_own_hooks(spec: &mut Value) {
    let lists: Vec<String> =
        view::entries(spec, "hooks").map(|(list, _)| list.to_owned()).collect();
    for list in lists {
        let field = format!("hooks.{list}");
        let theirs: Vec<Value> = view::items(spec, &field)
            .iter()
            .filter(|hook| view::text(hook, "path") != Some(config::HOOK))
            .cloned()
            .collect();
        if theirs.len() < view::items(spec, &field).len() {
            Edit::Set(field, Value::Array(theirs)).apply(spec);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_hooks_are_added_with_an_empty_environment_and_removed_again() {
        let asked = json!({"hooks": {"poststop": [{"path": "/usr/bin/theirs"}]}});
        let mut spec = asked.clone();
        add_hook(&mut spec, "poststop", &["poststop"]);
        assert_eq!(spec["hooks"]["poststop"][1]["env"], json!([]));
        assert_eq!(spec["hooks"]["poststop"][1]["args"], json!(["coaming-hook", "poststop"]));
        remove_own_hooks(&mut spec);
        assert_eq!(spec, asked);
    }
}
