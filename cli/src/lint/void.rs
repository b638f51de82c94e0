//! Rules that another rule makes void.

use coaming_policy::controls::Rule;
use coaming_policy::controls::capabilities::Capability;
use coaming_policy::controls::landlock::Layer;
use coaming_policy::controls::read_only_root::ReadOnlyRootFilesystem;
use coaming_policy::floor::{Bound, Floor, Source};
use coaming_policy::seccomp::Function;

use super::seccomp;
use super::set::{Found, field};

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

pub(super) fn lint(floor: &Floor, lints: &mut Found) {
    let Some(allow) = floor.capabilities.met().allow else { return };
    let Some(ceiling) = stated(&floor.capabilities) else { return };
    let names: Vec<String> = allow.iter().map(Capability::to_string).collect();
    let filter = seccomp::filter(floor, &floor.seccomp.met()).ok().flatten();
    if let (Some(function), Some(denies)) = (&filter, stated(&floor.seccomp)) {
        lint_capabilities(&names, &ceiling, function, &denies, lints);
    }
    if names.iter().any(|name| name == "SYS_ADMIN") {
        lint_mounts(floor, &ceiling, filter.as_ref(), lints);
    }
}

fn lint_capabilities(
    allowed: &[String],
    ceiling: &Source,
    function: &Function,
    denies: &Source,
    lints: &mut Found,
) {
    let void: Vec<&str> = CALLS
        .iter()
        .filter(|(name, calls)| {
            allowed.iter().any(|allowed| allowed == name)
                && calls.iter().all(|call| seccomp::is_refused(function, call))
        })
        .map(|(name, _)| *name)
        .collect();
    if !void.is_empty() {
        let denies = field(denies, ceiling);
        let void = void.join(", ");
        lints.warn(
            ceiling,
            format!(
                "spec.capabilities allows {void}, and {denies} denies every call that it is for"
            ),
        );
    }
}

/// Masks, read-only paths and a read-only root are mounts: who may mount has them away.
fn lint_mounts(floor: &Floor, ceiling: &Source, filter: Option<&Function>, lints: &mut Found) {
    // A process in a Landlock domain with file rights cannot mount or unmount.
    if floor.landlock.met().layers().iter().any(Layer::restricts_files) {
        return;
    }
    let denied = |call: &str| filter.is_some_and(|filter| seccomp::is_refused(filter, call));
    let paths = [stated(&floor.masked_paths), stated(&floor.readonly_paths)];
    if !denied("umount2")
        && let Some(at) = paths.into_iter().flatten().next()
    {
        let (of, ceiling) = (&at.field, field(ceiling, &at));
        lints.warn(
            &at,
            format!(
                "{of} does not hold against SYS_ADMIN, which {ceiling} allows: it can unmount them; \
                 leave SYS_ADMIN out, or list mount, umount2 and their like under \
                 spec.seccomp.denySyscalls"
            ),
        );
    }
    let read_only = floor.read_only_root_filesystem.met() == ReadOnlyRootFilesystem(true);
    if read_only
        && !(denied("mount") && denied("mount_setattr"))
        && let Some(at) = stated(&floor.read_only_root_filesystem)
    {
        let ceiling = field(ceiling, &at);
        lints.warn(
            &at,
            format!(
                "spec.readOnlyRootFilesystem does not hold against SYS_ADMIN, which {ceiling} allows: it can \
                 mount the root writable again; leave SYS_ADMIN out, or list mount, mount_setattr and \
                 their like under spec.seccomp.denySyscalls"
            ),
        );
    }
}

/// Where a rule stands that demands something, and is the control's own.
fn stated<R: Rule>(bound: &Bound<R>) -> Option<Source> {
    let own = format!("spec.{}", R::CONTROL);
    let mut clauses = bound.clauses().iter();
    let clause = clauses.find(|clause| clause.source.field == own && clause.rule != R::top());
    clause.map(|clause| clause.source.clone())
}
