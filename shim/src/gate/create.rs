//! `create` and `run`: a bundle's config.json is brought within the floor, in place.

use std::io::stderr;
use std::time::{SystemTime, UNIX_EPOCH};

use coaming_policy::decide::{Door, Request, audit, decide};
use coaming_policy::demands::Demands;
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

use super::{Gate, GateError, Handover, program, refused};
use crate::argv::{Command, Create, Global, Invocation, Run};
use crate::bundle::Bundle;
use crate::in_force::{Access, InForce};
use crate::record::Record;
use crate::state::{self, State};
use crate::{config, host, launch, refusal_log};

const SECCOMP: &str = "linux.seccomp";

impl Gate {
    /// Decides a create; `run` is the whole command where it is `run`.
    pub(super) fn create(
        &self,
        global: Global,
        create: Create,
        run: Option<Run>,
    ) -> Result<Handover, GateError> {
        let id = create.id.as_str().to_owned();
        let bundle = Bundle::open(create.bundle.as_deref(), geteuid())?;
        let config = bundle.read_config()?;
        let mut spec = json::parse_spec(&config.bytes).map_err(|error| GateError::Json {
            what: bundle.path().join("config.json").display().to_string(),
            error,
        })?;
        remove_own_hooks(&mut spec);
        let node = host::examine(&spec);
        let facts = Facts::of(&id, &spec).on(self.node.name(), &node, &spec);
        let (policies, demands) = self.node.demanding(&facts, Access::Keep)?;
        let Demands { floor, audit: audited, waived, notes, alarms } = demands;
        let exec_floor = self.pinned(&policies, &facts, &floor, Door::Exec)?;
        let update_floor = self.pinned(&policies, &facts, &floor, Door::Update)?;
        let request =
            Request { door: Door::Create, spec: &spec, facts: &facts, node: &node, exec: None };
        let mut admission = match decide(&request, &floor) {
            Verdict::Admit(admission) => *admission,
            Verdict::Refuse(refusal) => return Err(refused("create", &id, refusal.reasons)),
        };
        let mut audit = audit(&request, &admission, &audited);
        admission.notes.extend(notes);
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
        state::sweep(&self.state);
        let state = self.state_of(&global, &id);
        state.reserve()?;
        let record = Record {
            version: 1,
            id,
            wrapper: self.node.name().to_owned(),
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
            plan,
            floor,
            exec_floor,
            update_floor,
        };
        let ruled = !record.floor.seccomp.is_empty();
        let prepared = self.prepare(&state, admission, &record).and_then(|spec| {
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
        for alarm in &alarms {
            refusal_log::warn(&global, alarm, SystemTime::now(), &mut stderr());
        }
        let create = Create { bundle: Some(bundle.path().to_owned()), ..create };
        let command = match run {
            Some(run) => Command::Run(Run { create, ..run }),
            None => Command::Create(create),
        };
        let handover = Handover::of(&Invocation { global, command });
        Ok(Handover { undo: Some(state), ..handover })
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
        admission: Admission,
        record: &Record,
    ) -> Result<Value, GateError> {
        let Admission { mut spec, launch: plan, .. } = admission;
        let private = state.private.display().to_string();
        let launch_folder = state.launch.display().to_string();
        if !plan.is_empty() {
            state.make_launch()?;
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
fn remove_own_hooks(spec: &mut Value) {
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
