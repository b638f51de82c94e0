//! Denials in the kernel's own log, where a policy asks for them ([`LogDenials`](crate::controls::log_denials)).
//!
//! The filter is loaded with `SECCOMP_FILTER_FLAG_LOG`, by the launcher or by the runtime, and the launcher's Landlock
//! layers with `LANDLOCK_RESTRICT_SELF_LOG_NEW_EXEC_ON`, without which nothing is logged after the
//! workload's execve. What is denied stays what it was.
//!
//! It is no protection, so a container starts without it where it cannot be had, and the record says why.
//! Nor is the launcher used for the sake of it: where there is no Landlock, the runtime loads the filter
//! without the gap that the launcher has ([`crate::launch`]).

use crate::controls::log_denials::Logged;
use crate::decide::Request;
use crate::floor::{Floor, Source};
use crate::seccomp::Profile;
use crate::spec::edit::Edit;
use crate::spec::view;
use crate::verdict::Admission;

const SECCOMP: &str = "linux.seccomp";
/// The Landlock ABI that brought logging (landlock(7), "VERSIONS"); Linux 6.15.
pub const LOGGING_ABI: u32 = 7;

/// Asks the kernel for what the floor wants logged. The admission's own word of the seccomp section stays
/// what was decided.
///
/// `flag` says whether the runtime takes `SECCOMP_FILTER_FLAG_LOG`, and if not, why.
pub fn ask(
    request: &Request<'_>,
    admission: &mut Admission,
    floor: &Floor,
    flag: Result<(), String>,
) {
    if let Some(source) = asker(floor, Logged::Seccomp)
        && let Err(why) = of_calls(request, admission, flag)
    {
        admission
            .notes
            .push(format!("{source} asks for a log of denied calls; none is logged: {why}"));
    }
    if let Some(source) = asker(floor, Logged::Landlock)
        && !admission.launch.layers.is_empty()
    {
        let abi = request.node.landlock_abi;
        admission.launch.log_denials = abi >= LOGGING_ABI;
        if abi < LOGGING_ABI {
            admission.notes.push(format!(
                "{source} asks for a log of what Landlock denies; nothing is logged: this kernel's Landlock \
                 has ABI {abi}, and logs from ABI {LOGGING_ABI} on (Linux 6.15)"
            ));
        }
    }
}

/// Who asks first that a control's denials are logged.
fn asker(floor: &Floor, logged: Logged) -> Option<&Source> {
    let mut clauses = floor.log_denials.clauses().iter();
    clauses.find(|clause| clause.rule.has(logged)).map(|clause| &clause.source)
}

fn of_calls(
    request: &Request<'_>,
    admission: &mut Admission,
    flag: Result<(), String>,
) -> Result<(), String> {
    let section = view::at(&admission.spec, SECCOMP);
    if admission.launch.filters.is_empty() && section.is_none() {
        // No filter, no denial.
        return Ok(());
    }
    if !request.node.logs_denied_calls {
        return Err("/proc/sys/kernel/seccomp/actions_logged has no \"errno\" (sysctl \
                    kernel.seccomp.actions_logged)"
            .to_owned());
    }
    for filter in &mut admission.launch.filters {
        *filter = filter.logging_denials();
    }
    if let Some(section) = section {
        flag?;
        let profile = Profile::from_oci(section).map_err(|error| error.to_string())?;
        let mut written = profile.logging_denials().to_oci();
        let flags = written.get_mut("flags").map(serde_json::Value::take).unwrap_or_default();
        Edit::Set(format!("{SECCOMP}.flags"), flags).apply(&mut admission.spec);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controls::Node;
    use crate::decide::{Door, decide};
    use crate::document::parse_policies;
    use crate::facts::Facts;
    use crate::verdict::Verdict;

    fn admitted(policy: &str, node: Node, flag: Result<(), String>) -> Admission {
        let text = format!(
            "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: p}}\nspec: {policy}\n"
        );
        let policy = parse_policies("p.yaml", &text).unwrap().remove(0);
        let floor = policy.floor("p.yaml", &mut |_| panic!("no profiles")).unwrap();
        let spec = json!({"process": {"args": ["sh"]}, "linux": {},
            "mounts": [{"destination": "/dev", "type": "tmpfs"}]});
        let facts = Facts::of("c", &spec);
        let request =
            Request { door: Door::Create, spec: &spec, facts: &facts, node: &node, exec: None };
        let Verdict::Admit(admission) = decide(&request, &floor) else { panic!("refused") };
        let mut admission = *admission;
        ask(&request, &mut admission, &floor, flag);
        admission
    }

    fn node() -> Node {
        Node { landlock_abi: 7, logs_denied_calls: true, ..Node::default() }
    }

    const DENIES: &str = "seccomp: {denySyscalls: [keyctl]}";
    const LOG: u32 = 2;

    #[test]
    fn the_runtime_is_given_the_flag_and_what_is_denied_stays() {
        let asked = format!("{{{DENIES}, logDenials: [seccomp]}}");
        let with = admitted(&asked, node(), Ok(()));
        let without = admitted(&format!("{{{DENIES}}}"), node(), Ok(()));
        let mut section = with.spec.pointer("/linux/seccomp").unwrap().clone();
        // A floor's own filter has no flags, which is SPEC_ALLOW to runtimes.
        assert!(section["flags"].to_string().contains("SECCOMP_FILTER_FLAG_LOG"), "{section}");
        assert_eq!(Profile::from_oci(&section).unwrap().kernel_flags() & LOG, LOG);
        let before = without.spec.pointer("/linux/seccomp").unwrap();
        section["flags"] = before.get("flags").cloned().unwrap_or(Value::Null);
        if before.get("flags").is_none() {
            section.as_object_mut().unwrap().remove("flags");
        }
        assert_eq!(&section, before);
        assert_eq!((&with.seccomp, &with.notes), (&without.seccomp, &without.notes));
    }

    #[test]
    fn the_launcher_is_given_both() {
        let asked =
            format!("{{{DENIES}, landlock: {{connect: [443]}}, logDenials: [seccomp, landlock]}}");
        let admission = admitted(&asked, node(), Err("not asked".to_owned()));
        assert!(admission.launch.log_denials);
        assert_eq!(admission.launch.filters.len(), 2);
        for filter in &admission.launch.filters {
            assert_eq!(filter.kernel_flags() & LOG, LOG);
        }
        assert!(!admission.notes.iter().any(|note| note.contains("asks")), "{:?}", admission.notes);
        // Each is asked for by itself.
        let calls = "{landlock: {read: [/]}, logDenials: [seccomp]}";
        let calls = admitted(calls, node(), Ok(())).launch;
        assert!(!calls.log_denials && calls.filters.iter().all(|f| f.kernel_flags() & LOG != 0));
        let files =
            admitted("{landlock: {read: [/]}, logDenials: [landlock]}", node(), Ok(())).launch;
        assert!(files.log_denials && files.filters.iter().all(|f| f.kernel_flags() & LOG == 0));
        assert!(!admitted("{landlock: {read: [/]}}", node(), Ok(())).launch.log_denials);
    }

    #[test]
    fn what_cannot_be_had_is_told_and_refuses_nothing() {
        let calls = format!("{{{DENIES}, logDenials: [seccomp]}}");
        let deaf = Node { logs_denied_calls: false, ..node() };
        for (node, flag, words) in [
            (node(), Err("runc 1.1 takes no flags".to_owned()), "runc 1.1 takes no flags"),
            (deaf, Ok(()), "actions_logged"),
        ] {
            let admission = admitted(&calls, node, flag);
            assert!(
                admission.notes.iter().any(|note| note.contains(words)
                    && note.contains("policy p (p.yaml:4, spec.logDenials)")),
                "{:?}",
                admission.notes
            );
            let flags = admission.spec.pointer("/linux/seccomp/flags").map(Value::to_string);
            assert!(!flags.unwrap_or_default().contains("FLAG_LOG"));
        }
        let old = Node { landlock_abi: 4, ..node() };
        let admission = admitted(
            "{bestEffort: [landlock], landlock: {read: [/]}, logDenials: [landlock]}",
            old,
            Ok(()),
        );
        assert!(!admission.launch.log_denials);
        assert!(admission.notes.iter().any(|note| note.contains("ABI 4")), "{:?}", admission.notes);
    }

    #[test]
    fn without_a_filter_there_is_nothing_to_say() {
        let admission = admitted("{logDenials: [seccomp, landlock]}", node(), Err("x".to_owned()));
        assert!(admission.notes.is_empty() && admission.launch.is_empty(), "{:?}", admission.notes);
        assert!(admission.spec.pointer("/linux/seccomp").is_none());
    }
}
