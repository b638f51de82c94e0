//! Containers whose runtime no wrapper stands before: judged by a hook, which can refuse and change nothing.
//!
//! The verdict is the gate's own, of the same function under the same policies. But the runtime has read
//! the spec already, so whatever the gate would have changed is refused here, and so is what needs the
//! launcher. A container that crossed the wrapper was judged there, and passes.

use std::fmt::Write as _;
use std::io::{Read, sink};
use std::path::Path;
use std::time::{Instant, SystemTime};

use coaming_hooks::state::{self, State};
use coaming_policy::controls::Rule;
use coaming_policy::controls::landlock::Landlock;
use coaming_policy::decide::{Door, Request, audit_with, decide_with};
use coaming_policy::demands::Demands;
use coaming_policy::document::{BuiltIn, DocumentError};
use coaming_policy::facts::Facts;
use coaming_policy::floor::Floor;
use coaming_policy::json::{self, JsonError};
use coaming_policy::spec::view;
use coaming_policy::verdict::{Admission, Change, Degraded, Reason, Refusal, Verdict, brief};
use nix::unistd::geteuid;
use serde_json::Value;

use crate::argv::Global;
use crate::bundle::{Bundle, BundleError};
use crate::config::Node;
use crate::gate::{admitted, remove_own_hooks, under};
use crate::in_force::Access;
use crate::journal::event::{Container, Decision, Refused, short};
use crate::journal::{Event, JournalError};
use crate::launch::{self, LaunchError};
use crate::memory::Remembered;
use crate::state::{StateError, sweep};
use crate::unwrapped::{self, Decided, NAME};
use crate::{destinations, host, refusal_log};

/// How many reasons a refusal names. Runtimes put the line into their own errors.
const MOST: usize = 16;

/// Why the container does not start.
#[derive(Debug, thiserror::Error)]
pub enum ValidationError {
    /// What the runtime wrote to stdin is no state of a container.
    #[error(
        "coaming refused a container: its state on stdin {0}; a runtime writes it, so run this as a hook"
    )]
    State(#[from] state::StateError),
    /// The bundle cannot be read or trusted.
    #[error("coaming refused container {id}: {error}")]
    Bundle {
        /// The container.
        id: String,
        /// What is wrong with it.
        error: BundleError,
    },
    /// config.json is not one that runtimes and coaming read alike.
    #[error("coaming refused container {id}: {path}: {error}")]
    Json {
        /// The container.
        id: String,
        /// The file.
        path: String,
        /// What is wrong with it.
        error: JsonError,
    },
    /// Policy cannot be read; nothing starts until it can.
    #[error("coaming cannot read its policy, so container {id} does not start: {error}")]
    Policy {
        /// The container.
        id: String,
        /// What is wrong with the policy.
        error: DocumentError,
    },
    /// The seccomp profile is one that libseccomp gets wrong.
    #[error("coaming refused container {id}: {error}")]
    Seccomp {
        /// The container.
        id: String,
        /// What is wrong with it.
        error: LaunchError,
    },
    /// The container is wider than the policies that select it.
    #[error(
        "coaming refused container {id}, which is wider than its policy allows: {line}; ask for less, or \
         start it through coaming-runc, which takes away what is too much (a hook can only refuse)"
    )]
    Wider {
        /// The container.
        id: String,
        /// Each thing, with its policy, in one line.
        line: String,
        /// The same.
        reasons: Vec<Reason>,
    },
    /// The runtime has not told which process is the container's.
    #[error(
        "coaming refused container {id}: its state on stdin names no process that runs, so that nothing could be \
         proved of it; run `coaming-hook validate` as a createRuntime hook, or a prestart one"
    )]
    Process {
        /// The container.
        id: String,
    },
    /// No record can be kept, by which the container would be proved.
    #[error("coaming refused container {id}: {error}")]
    Record {
        /// The container.
        id: String,
        /// What is wrong.
        error: StateError,
    },
    /// The configuration wants everything to be written down.
    #[error(
        "coaming starts nothing that it cannot write down (journal.required in {file}): {error}",
        file = coaming_config::CONFIG_FILE
    )]
    Journal {
        /// What is wrong with the journal.
        error: JournalError,
    },
}

/// Judges the container whose state `input` has; `floor` stands in place of the node's built-in one. What comes
/// back is what an operator should know of a container that passes. The verdict goes into the journal, and
/// where other hooks of coaming's need it, into a record.
///
/// # Errors
/// [`ValidationError`]: it must not start.
pub fn validate(input: impl Read, floor: Option<BuiltIn>) -> Result<Vec<String>, ValidationError> {
    let begun = Instant::now();
    let told = State::read(input)?;
    let mut decision = Decision {
        container: Container::named(&told.id),
        wrapper: NAME.to_owned(),
        runtime: short(&unwrapped::runtime()),
        door: "create".to_owned(),
        ..Decision::default()
    };
    let node =
        Node::load(NAME).map_err(|error| ValidationError::Policy { id: told.id.clone(), error });
    let node = node.map(|node| match floor {
        Some(floor) => node.above(floor),
        None => node,
    })?;
    let judged = judge(&node, &told, &mut decision);
    if matches!(judged, Ok(Judged::Crossed)) {
        return Ok(Vec::new());
    }
    let micros = begun.elapsed().as_micros();
    decision.decision_micros = u64::try_from(micros).unwrap_or(u64::MAX);
    let alarms = judged.map(|judged| match judged {
        Judged::Admitted(alarms) => alarms,
        Judged::Crossed => Vec::new(),
    });
    account(&node, &told, decision, alarms)
}

/// What came of it.
enum Judged {
    /// The wrapper has judged it.
    Crossed,
    /// It starts, and this is to be known of it.
    Admitted(Vec<String>),
}

fn judge(node: &Node, told: &State, decision: &mut Decision) -> Result<Judged, ValidationError> {
    let id = &told.id;
    let failed = |error| ValidationError::Bundle { id: id.clone(), error };
    let bundle = Bundle::open(Some(&told.bundle), geteuid()).map_err(failed)?;
    let config = bundle.read_config().map_err(failed)?;
    let mut spec = json::parse_spec(&config.bytes).map_err(|error| ValidationError::Json {
        id: id.clone(),
        path: bundle.path().join("config.json").display().to_string(),
        error,
    })?;
    if unwrapped::has_crossed(&spec, id, bundle.path(), &node.state()) {
        return Ok(Judged::Crossed);
    }
    // What no hook has removed, as after a create that failed.
    sweep(&node.state());
    let is_kept = unwrapped::has_record(&spec);
    remove_own_hooks(&mut spec);
    set_aside_podmans(&mut spec);
    // Nothing of it is written: what a mount leads to is what is judged.
    destinations::settle(&mut spec, bundle.path());
    let broken = |error| ValidationError::Policy { id: id.clone(), error };
    let machine = host::examine(&spec);
    let mut facts = Facts::of(id, &spec).on(node.name(), &machine, &spec);
    decision.container = Container::of(&facts);
    let (policies, demands) = node.demanding(&mut facts, Access::Keep, None).map_err(broken)?;
    under(decision, &policies);
    let Demands { floor: whole, audit: audited, waived, notes, mut alarms } = demands;
    let (floor, lost) = without_launcher(whole.clone());
    alarms.extend(lost.iter().map(alarm));
    let request =
        Request { door: Door::Create, spec: &spec, facts: &facts, node: &machine, exec: None };
    let filters = node.state().join("filters");
    let memory = Remembered::in_folder(&filters);
    let mut admission =
        within(decide_with(&request, &floor, &memory), &floor).map_err(|wider| {
            let (reasons, words): (Vec<Reason>, Vec<String>) = wider.into_iter().unzip();
            ValidationError::Wider { id: id.clone(), line: in_one_line(&words), reasons }
        })?;
    let profile = view::at(&spec, "linux.seccomp").filter(|_| !floor.seccomp.is_empty());
    if let Some(profile) = profile {
        // The runtime is not known here, and reads conditions as runc and crun do.
        launch::check_for_runtime(profile, Path::new("runc"), &filters)
            .map_err(|error| ValidationError::Seccomp { id: id.clone(), error })?;
    }
    let audit = audit_with(&request, &admission, &audited, &memory);
    let mut degraded = std::mem::take(&mut admission.degraded);
    degraded.extend(lost);
    admitted(decision, &[], &degraded, &waived, &audit);
    if is_kept {
        let first =
            unwrapped::process(told).ok_or_else(|| ValidationError::Process { id: id.clone() })?;
        admission.notes.extend(notes);
        let notes = std::mem::take(&mut admission.notes);
        let decided = Decided { facts, floor: whole, admission, degraded, waived, audit, notes };
        unwrapped::keep(node, told, first, decided)
            .map_err(|error| ValidationError::Record { id: id.clone(), error })?;
    }
    Ok(Judged::Admitted(alarms))
}

/// Newer Podman tells systemd of each container by which signal and how soon its scope ends
/// (libpod/container_internal_linux.go, `org.systemd.property.`), and has no switch for it. The wrapper takes such annotations
/// away; a hook cannot, and these two, as Podman writes them, give a container nothing.
fn set_aside_podmans(spec: &mut Value) {
    let Some(annotations) = spec.get_mut("annotations").and_then(Value::as_object_mut) else {
        return;
    };
    let is_number = |text: &str| {
        !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    annotations.retain(|key, value| {
        let value = value.as_str().unwrap_or_default();
        match key.as_str() {
            "org.systemd.property.KillSignal" => !is_number(value),
            "org.systemd.property.TimeoutStopUSec" => {
                !value.strip_prefix("uint64 ").is_some_and(is_number)
            }
            _ => true,
        }
    });
}

/// Writes the verdict down. Where that cannot be done the container starts all the same, and the node's log says
/// so, unless the configuration wants otherwise.
fn account(
    node: &Node,
    told: &State,
    decision: Decision,
    judged: Result<Vec<String>, ValidationError>,
) -> Result<Vec<String>, ValidationError> {
    let event = match &judged {
        Ok(_) => Event::Created(decision),
        Err(error) => {
            let mut refused =
                Refused { decision, operation: "create".to_owned(), ..Refused::default() };
            match error {
                ValidationError::Wider { reasons, .. } => refused.because(reasons),
                other => refused.error = Some(short(&other.to_string())),
            }
            Event::Refused(refused)
        }
    };
    let (journal, required) = node.journal();
    let now = SystemTime::now();
    let Err(error) = journal.append(event, now) else { return judged };
    if required && judged.is_ok() {
        unwrapped::state_of(node, told).remove();
        return Err(ValidationError::Journal { error });
    }
    let lost = format!("coaming cannot write its journal, and goes on without: {error}");
    refusal_log::warn(&Global::default(), &lost, now, &mut sink());
    judged
}

/// Landlock is the launcher's, and there is none here: what may be left out is left out, with all that it
/// implies, and said.
fn without_launcher(floor: Floor) -> (Floor, Vec<Degraded>) {
    let clauses = floor.landlock.clauses();
    if clauses.is_empty() || clauses.iter().any(|clause| !clause.best_effort) {
        return (floor, Vec::new());
    }
    let lost = clauses.iter().map(|clause| Degraded {
        control: Landlock::CONTROL.to_owned(),
        lost: "all of it: the container did not come through coaming-runc".to_owned(),
        policy: clause.source.clone(),
    });
    let lost = lost.collect();
    (floor.partition(|field| field == "spec.landlock").1, lost)
}

fn alarm(degraded: &Degraded) -> String {
    let Degraded { control, lost, policy } = degraded;
    format!("coaming: {control} is not enforced ({lost}), as {policy} allows (bestEffort)")
}

/// What is admitted; or each thing in which the container is wider, or that a hook cannot give, and the words for it.
fn within(verdict: Verdict, floor: &Floor) -> Result<Admission, Vec<(Reason, String)>> {
    let admission = match verdict {
        Verdict::Refuse(Refusal { reasons }) => {
            let words = |reason: Reason| (reason.clone(), reason.to_string());
            return Err(reasons.into_iter().map(words).collect());
        }
        Verdict::Admit(admission) => *admission,
    };
    let launcher = floor.landlock.clauses().iter().map(|clause| {
        let words = format!(
            "{} demands {}, which needs coaming's launcher in the container: only coaming-runc puts it there",
            clause.source,
            Landlock::CONTROL
        );
        let reason = Reason {
            control: Landlock::CONTROL.to_owned(),
            field: "process".to_owned(),
            asked: Value::Null,
            allowed: "a process of coaming's launcher".to_owned(),
            policy: Some(clause.source.clone()),
        };
        (reason, words)
    });
    let wider: Vec<_> = launcher.chain(admission.changes.iter().map(change)).collect();
    if wider.is_empty() { Ok(admission) } else { Err(wider) }
}

fn change(change: &Change) -> (Reason, String) {
    let Change { control, field, asked, allowed, policies, .. } = change;
    let names: Vec<String> = policies.iter().map(ToString::to_string).collect();
    let words =
        format!("{field}: asked {}, allowed is {allowed} by {}", brief(asked), names.join(" and "));
    let reason = Reason {
        control: control.clone(),
        field: field.clone(),
        asked: asked.clone(),
        allowed: allowed.clone(),
        policy: policies.first().cloned(),
    };
    (reason, words)
}

/// Fields may have names that a container's author chose.
fn in_one_line(reasons: &[String]) -> String {
    let mut line = reasons.iter().take(MOST).cloned().collect::<Vec<_>>().join("; ");
    if reasons.len() > MOST {
        let _ = write!(line, "; and {} more", reasons.len() - MOST);
    }
    line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use coaming_policy::decide::decide;
    use coaming_policy::document::parse_policies;
    use serde_json::json;

    use super::*;

    fn floor(spec: &str) -> Floor {
        let text = format!(
            "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n{spec}"
        );
        let policy = parse_policies("p.yaml", &text).unwrap().remove(0);
        policy.floor("p.yaml", &mut |_| panic!("no profiles")).unwrap()
    }

    fn judged(spec: &Value, floor: Floor) -> Vec<String> {
        let (floor, _) = without_launcher(floor);
        let facts = Facts::of("c", spec);
        let node = coaming_policy::controls::Node { landlock_abi: 7, ..Default::default() };
        let request = Request { door: Door::Create, spec, facts: &facts, node: &node, exec: None };
        let wider = within(decide(&request, &floor), &floor).err().unwrap_or_default();
        wider.into_iter().map(|(_, words)| words).collect()
    }

    fn spec(more: Value) -> Value {
        let mut spec = json!({
            "ociVersion": "1.0.2", "root": {"path": "rootfs", "readonly": true},
            "process": {"args": ["a"], "cwd": "/", "user": {"uid": 0, "gid": 0}, "noNewPrivileges": true},
            "mounts": [{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}],
        });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        spec
    }

    #[test]
    fn whatever_would_be_changed_is_a_reason_with_its_policy_and_line() {
        let rules = || floor("  noNewPrivileges: true\n  readOnlyRootFilesystem: true\n");
        assert_eq!(judged(&spec(json!({})), rules()), [""; 0]);
        let wide =
            spec(json!({"root": {"path": "rootfs"}, "process": {"args": ["a"], "cwd": "/"}}));
        let reasons = judged(&wide, rules());
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        assert!(reasons.iter().any(|r| r.contains("p.yaml:5") && r.contains("noNewPrivileges")));
        assert!(reasons.iter().any(|r| r.contains("p.yaml:6") && r.contains("root.readonly")));
    }

    #[test]
    fn what_needs_the_launcher_is_a_reason_unless_it_may_be_left_out() {
        let landlock = "  landlock: {read: [/usr]}\n";
        let reasons = judged(&spec(json!({})), floor(landlock));
        assert!(
            reasons.iter().any(|r| r.contains("p.yaml:5") && r.contains("launcher")),
            "{reasons:?}"
        );
        let best = floor(&format!("{landlock}  bestEffort: [landlock]\n"));
        assert!(alarm(&without_launcher(best.clone()).1[0]).contains("p.yaml:5"));
        assert_eq!(judged(&spec(json!({})), best), [""; 0]);
    }

    #[test]
    fn what_podman_tells_systemd_is_set_aside_and_nothing_else() {
        let kept = |annotations: Value| {
            let mut spec = json!({ "annotations": annotations });
            set_aside_podmans(&mut spec);
            spec["annotations"].as_object().unwrap().len()
        };
        let podmans = json!({"org.systemd.property.KillSignal": "15",
            "org.systemd.property.TimeoutStopUSec": "uint64 10000000"});
        assert_eq!(kept(podmans), 0);
        let others = json!({"org.systemd.property.KillSignal": "15 ", "a": "15",
            "org.systemd.property.TimeoutStopUSec": "10000000",
            "org.systemd.property.ExecStopPost": "15", "Org.systemd.property.KillSignal": "15"});
        assert_eq!(kept(others), 5);
        assert_eq!(kept(json!({"org.systemd.property.KillSignal": 15, "b": null})), 2);
    }

    #[test]
    fn a_refusal_is_one_bounded_line() {
        let many: Vec<String> = (0..100).map(|n| format!("a\nb{n}\u{1b}")).collect();
        let line = in_one_line(&many);
        assert!(!line.contains(char::is_control) && line.ends_with("and 84 more"), "{line}");
    }
}
