//! Lints of `seccomp`: filters under which nothing starts, and capabilities that they make void.

use std::collections::BTreeSet;

use coaming_policy::controls::capabilities::Capability;
use coaming_policy::controls::{Asked, Node, Rule};
use coaming_policy::facts::Facts;
use coaming_policy::floor::Floor;
use coaming_policy::seccomp::{Arch, Function, Profile, Reading};
use coaming_policy::spec::edit::Edit;
use serde_json::{Value, json};

use super::Lints;

/// Capabilities that give nothing but these system calls (capabilities(7)). Those that give anything
/// besides (SYS_PTRACE opens files in /proc) are not here.
const CALLS: [(&str, &[&str]); 6] = [
    ("SYS_MODULE", &["init_module", "finit_module", "delete_module"]),
    ("SYS_BOOT", &["reboot", "kexec_load", "kexec_file_load"]),
    ("SYS_CHROOT", &["chroot", "setns"]),
    ("SYS_PACCT", &["acct"]),
    ("BPF", &["bpf"]),
    ("PERFMON", &["perf_event_open", "bpf"]),
];

pub(super) fn lint(lints: &mut Lints<'_>) {
    let Some(line) = lints.document.spec.seccomp.as_ref().map(|at| at.line) else {
        return;
    };
    let function = match demanded(lints.floor) {
        Ok(Some(function)) => function,
        Ok(None) => return,
        Err(problem) => return lints.warn(line, format!("spec.seccomp cannot be met: {problem}")),
    };
    let refused = |call: &str| is_refused(&function, call);
    // The filter is loaded before the workload's execve, by the runtime and by the launcher alike.
    if refused("execve") {
        lints.warn(line, "spec.seccomp denies execve: no container that it applies to can start");
    }
    let Some(allow) = lints.floor.capabilities.met().allow else {
        return;
    };
    let void: Vec<&str> = CALLS
        .iter()
        .filter(|(name, calls)| {
            allow.iter().any(|capability| capability.to_string() == *name)
                && calls.iter().all(|call| refused(call))
        })
        .map(|(name, _)| *name)
        .collect();
    if !void.is_empty() {
        let line = lints.document.spec.capabilities.as_ref().map_or(line, |at| at.line);
        lints.warn(
            line,
            format!(
                "spec.capabilities allows {}, and spec.seccomp denies every call that it is for",
                void.join(", ")
            ),
        );
    }
}

/// Whether the floor's filter refuses a call, whatever its arguments.
pub(super) fn denies(floor: &Floor, call: &str) -> bool {
    matches!(demanded(floor), Ok(Some(function)) if is_refused(&function, call))
}

fn is_refused(function: &Function, call: &str) -> bool {
    function.always(call).is_some_and(|action| action.is_refusal())
        || !function.architectures().contains(&Arch::native())
}

/// The filter that a container gets which asks for none and has every capability that is allowed.
fn demanded(floor: &Floor) -> Result<Option<Function>, String> {
    let allow: BTreeSet<Capability> = match floor.capabilities.met().allow {
        Some(allow) => allow,
        None => Capability::all().collect(),
    };
    let bounding: Vec<String> = allow.iter().map(|name| format!("CAP_{name}")).collect();
    let spec = json!({"process": {"capabilities": {"bounding": bounding}}});
    let facts = Facts::of("", &spec);
    // A kernel newer than any condition in a profile.
    let node = Node { kernel: (u32::MAX, 0), ..Node::default() };
    let asked = Asked { spec: &spec, facts: &facts, node: &node, bounding: None };
    let Some(finding) = floor.seccomp.met().tighten(&asked).into_iter().next() else {
        return Ok(None);
    };
    let Some(Edit::Set(_, section)) = finding.remedy.as_deref().and_then(<[Edit]>::first) else {
        return Err(finding.allowed);
    };
    read(section).map(Some)
}

fn read(section: &Value) -> Result<Function, String> {
    Profile::from_oci(section)
        .and_then(|profile| Function::of(&profile, Reading::Runtime))
        .map_err(|error| error.to_string())
}
