//! Trial runs of seccomp in the kernel's own log: the calls that an audited rule would deny are made, and logged.
//!
//! Where an audited clause says `log: true`, the container's filter answers `SCMP_ACT_LOG` in place of
//! `SCMP_ACT_ALLOW` for those calls. The kernel then makes the call and writes a line of type SECCOMP (1326) to
//! the audit daemon, or to its own log where there is none: pid, program, call and architecture. A container
//! that has no filter gets one that does nothing else. It needs no `no_new_privs`: the runtime loads it
//! before it gives up CAP_SYS_ADMIN, as it does every profile of a container without that bit; under Landlock
//! the launcher does, and there the bit is set.
//!
//! It is a service to who tries a policy out, and never a reason to refuse: what cannot be logged exactly
//! is not, and the record says why.

use crate::controls::seccomp::Seccomp;
use crate::controls::{Asked, Rule};
use crate::decide::Request;
use crate::floor::{Clause, Floor, Source};
use crate::seccomp::{Logging, Profile, compile, compile_as_written};
use crate::spec::edit::Edit;
use crate::verdict::{Admission, Audit, KernelLog};

const FIELD: &str = "linux.seccomp";

/// Puts what the kernel is to log into an admission's filter, and says so in `audit`. The admission's own word
/// of the seccomp section stays what was decided.
///
/// `check` is given the profile, and whether the launcher loads it and not the runtime; where it finds that
/// the profile cannot be loaded, nothing is logged.
pub fn ask(
    request: &Request<'_>,
    admission: &mut Admission,
    audited: &Floor,
    audit: &mut Audit,
    check: impl FnOnce(&Profile, bool) -> Result<(), String>,
) {
    let clauses: Vec<&Clause<Seccomp>> =
        audited.seccomp.clauses().iter().filter(|clause| clause.rule.logs()).collect();
    let Some(first) = clauses.first() else { return };
    let source = &first.source;
    if !request.node.logs_seccomp {
        audit.notes.push(format!(
            "{source} asks that the kernel logs what it would deny, and this node's kernel does not: \
             /proc/sys/kernel/seccomp/actions_logged has no \"log\" (sysctl kernel.seccomp.actions_logged); \
             nothing is logged"
        ));
        return;
    }
    let launcher = !admission.launch.is_empty();
    let made = logging(request, admission, &clauses).and_then(|logging| {
        logging
            .map_or(Ok(None), |logging| check(&logging.profile, launcher).map(|()| Some(logging)))
    });
    match made {
        Ok(None) => {}
        Ok(Some(logging)) => {
            for arch in &logging.not_covered {
                audit.notes.push(format!(
                    "{source} would kill every call of {}; not all of them are logged",
                    arch.oci()
                ));
            }
            if !logging.left_out.is_empty() {
                let names: Vec<&str> = logging.left_out.iter().map(String::as_str).collect();
                audit.notes.push(format!(
                    "{source} would deny some of {}, and others are denied already; none of them is logged, since                      32-bit programs would lose what is allowed of them",
                    names.join(", ")
                ));
            }
            if logging.syscalls.is_empty() {
                return;
            }
            put(admission, logging.profile, launcher);
            let policies: Vec<Source> =
                clauses.iter().map(|clause| clause.source.clone()).collect();
            audit.kernel_log =
                Some(KernelLog { syscalls: logging.syscalls, beyond: logging.beyond, policies });
        }
        Err(why) => audit.notes.push(format!(
            "{source} asks that the kernel logs what it would deny; nothing is logged: {why}"
        )),
    }
}

/// Whether a profile can be loaded, for those who do not know the runtime: whether it compiles to what it says.
///
/// # Errors
/// What is wrong with it.
pub fn compiles(profile: &Profile, launcher: bool) -> Result<(), String> {
    let program = if launcher { compile(profile) } else { compile_as_written(profile) };
    program.map(drop).map_err(|error| error.to_string())
}

fn logging(
    request: &Request<'_>,
    admission: &Admission,
    clauses: &[&Clause<Seccomp>],
) -> Result<Option<Logging>, String> {
    let rule = clauses.iter().fold(Seccomp::top(), |met, clause| met.meet(&clause.rule));
    let mut spec = admission.spec.clone();
    if let Some(section) = &admission.seccomp {
        Edit::Set(FIELD.to_owned(), section.clone()).apply(&mut spec);
    }
    let Request { facts, node, exec, .. } = *request;
    rule.logging(&Asked { exec, ..Asked::of(&spec, facts, node) })
        .map_err(|error| error.to_string())
}

fn put(admission: &mut Admission, profile: Profile, launcher: bool) {
    if !launcher {
        Edit::Set(FIELD.to_owned(), profile.to_oci()).apply(&mut admission.spec);
        return;
    }
    // The container's own filter is the last of them.
    if admission.seccomp.is_some() {
        admission.launch.filters.pop();
    }
    admission.launch.filters.push(profile);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controls::Node;
    use crate::decide::{Door, audit, decide};
    use crate::document::parse_policies;
    use crate::facts::Facts;
    use crate::seccomp::{Action, Arch, Function, Reading};
    use crate::verdict::Verdict;

    struct Decided {
        admission: Admission,
        audit: Audit,
    }

    fn floor(spec: &str) -> Floor {
        let text = format!(
            "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: p}}\nspec: {spec}\n"
        );
        let policy = parse_policies("p.yaml", &text).unwrap().remove(0);
        policy.floor("p.yaml", &mut |_| panic!("no profiles")).unwrap()
    }

    fn decided(spec: &Value, enforced: &str, audited: &str, node: Node) -> Decided {
        let audited = floor(audited);
        let facts = Facts::of("c", spec);
        let node = Node { landlock_abi: 7, kernel: (6, 18), ..node };
        let request = Request { door: Door::Create, spec, facts: &facts, node: &node, exec: None };
        let Verdict::Admit(admission) = decide(&request, &floor(enforced)) else {
            panic!("refused")
        };
        let mut admission = *admission;
        let mut audit = audit(&request, &admission, &audited);
        ask(&request, &mut admission, &audited, &mut audit, compiles);
        Decided { admission, audit }
    }

    fn plain() -> Value {
        json!({"process": {"args": ["sh"]}, "linux": {},
            "mounts": [{"destination": "/dev", "type": "tmpfs"}]})
    }

    fn logs() -> Node {
        Node { logs_seccomp: true, ..Node::default() }
    }

    fn answer(profile: &Profile, name: &str) -> Action {
        let function = Function::of(profile, Reading::Runtime).unwrap();
        function.eval(Arch::native(), name, [0; 6])
    }

    const TRIED: &str = "{seccomp: {denySyscalls: [keyctl, mount], log: true}}";

    #[test]
    fn what_would_be_denied_is_logged_and_all_else_is_as_decided() {
        let Decided { admission, audit } = decided(&plain(), "{}", TRIED, logs());
        let section = admission.spec.pointer("/linux/seccomp").unwrap();
        let profile = Profile::from_oci(section).unwrap();
        assert_eq!(answer(&profile, "keyctl"), Action::Log);
        assert_eq!(answer(&profile, "read"), Action::Allow);
        assert_eq!(admission.seccomp, None, "what was decided is that there is no filter");
        let log = audit.kernel_log.unwrap();
        assert_eq!(log.syscalls, ["keyctl", "mount"].map(str::to_owned).into());
        assert_eq!(log.policies.first().unwrap().policy, "p");
        // What is enforced already is not logged.
        let given = "{seccomp: {denySyscalls: [mount]}}";
        let Decided { admission, audit } = decided(&plain(), given, TRIED, logs());
        let profile = Profile::from_oci(admission.spec.pointer("/linux/seccomp").unwrap()).unwrap();
        assert_eq!(answer(&profile, "keyctl"), Action::Log);
        assert_eq!(answer(&profile, "mount"), Action::Errno(1));
        assert_eq!(audit.kernel_log.unwrap().syscalls, ["keyctl".to_owned()].into());
        assert_ne!(admission.seccomp.as_ref(), admission.spec.pointer("/linux/seccomp"));
    }

    #[test]
    fn the_launcher_loads_it_where_it_loads_filters() {
        let given = "{landlock: {read: [/]}}";
        let before = decided(&plain(), given, "{}", logs()).admission;
        let Decided { admission, audit } = decided(&plain(), given, TRIED, logs());
        assert_eq!(admission.launch.filters.len(), before.launch.filters.len());
        assert_eq!(admission.seccomp, before.seccomp);
        let profile = admission.launch.filters.last().unwrap();
        assert_eq!(answer(profile, "keyctl"), Action::Log);
        // Landlock has mount denied already.
        assert_eq!(answer(profile, "mount"), Action::Errno(1));
        assert_eq!(audit.kernel_log.unwrap().syscalls, ["keyctl".to_owned()].into());
        assert!(admission.spec.pointer("/linux/seccomp").is_none());
    }

    #[test]
    fn nothing_is_logged_where_nobody_asks_or_nothing_would_be_denied() {
        let silent = "{seccomp: {denySyscalls: [keyctl]}}";
        let unheard = decided(&plain(), "{}", silent, logs());
        assert!(unheard.admission.spec.pointer("/linux/seccomp").is_none());
        assert_eq!(unheard.audit.kernel_log, None);
        // A policy that is enforced says nothing of logs, and one that asks nothing has none.
        for audited in ["{}", "{seccomp: {log: true}}"] {
            let Decided { admission, audit } = decided(&plain(), TRIED, audited, logs());
            assert_eq!(admission.seccomp.as_ref(), admission.spec.pointer("/linux/seccomp"));
            assert_eq!((audit.kernel_log, audit.notes), (None, Vec::new()));
        }
    }

    #[test]
    fn what_cannot_be_logged_is_told_and_changes_nothing() {
        let Decided { admission, audit } = decided(&plain(), "{}", TRIED, Node::default());
        assert!(admission.spec.pointer("/linux/seccomp").is_none());
        assert_eq!(audit.kernel_log, None);
        assert!(audit.notes.iter().any(|note| note.contains("actions_logged")), "{audit:?}");
        let mut listening = plain();
        listening["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": "/run/agent.sock",
            "syscalls": [{"names": ["chdir"], "action": "SCMP_ACT_NOTIFY"}]});
        let Decided { admission, audit } = decided(&listening, "{}", TRIED, logs());
        assert_eq!(admission.spec, listening);
        assert!(audit.notes.iter().any(|note| note.contains("listener")), "{audit:?}");
        let mut ranged = plain();
        ranged["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["chdir"], "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 0, "value": 7, "op": "SCMP_CMP_GT"}]}]});
        let Decided { admission, audit } = decided(&ranged, "{}", TRIED, logs());
        assert_eq!(admission.spec, ranged);
        assert!(audit.notes.iter().any(|note| note.contains("read alike")), "{audit:?}");
    }
}
