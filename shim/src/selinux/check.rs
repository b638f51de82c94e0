//! Whether what was decided can work under the policy that the kernel has, asked before the runtime is.
//!
//! A runtime says `write /proc/self/attr/exec: invalid argument` for a type that is not known, and `operation
//! not permitted` where a program may not be the first of a domain.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use coaming_policy::controls::se_linux::context::Context;
use coaming_policy::floor::Floor;
use coaming_policy::spec::view;
use coaming_policy::verdict::{Admission, Degraded, Reason};
use serde_json::json;

use super::kernel::{Kernel, own_context};
use super::{LABEL, labels};
use crate::config;

/// What no container may do, whatever it is for; a type that may is not confined. Each with the initial
/// context of what it is done to.
const PRIVILEGES: [(&str, &str, &str); 4] = [
    ("security", "security", "load_policy"),
    ("security", "security", "setenforce"),
    ("kernel", "system", "module_load"),
    ("kernel", "process", "ptrace"),
];
/// What the kernel asks of a domain for a program by which it is entered.
const TO_ENTER: [&str; 5] = ["entrypoint", "execute", "read", "open", "map"];

/// Asks the kernel about the context that a container is to have; what it will not have is a reason to
/// refuse, or noted in `admission` where every policy that demands it says `bestEffort`.
pub(crate) fn check(admission: &mut Admission, floor: &Floor, runtime: &Path) -> Vec<Reason> {
    let Some(kernel) = Kernel::here() else { return Vec::new() };
    let Some(label) = view::text(&admission.spec, LABEL).map(str::to_owned) else {
        return Vec::new();
    };
    let question = Question {
        kernel: &kernel,
        label: &label,
        floor,
        launcher: !admission.launch.is_empty(),
        no_new_privileges: view::flag(&admission.spec, "process.noNewPrivileges"),
        runtime: Some(runtime),
    };
    match question.answers() {
        Ok(Answers { reasons, unconfined: None }) => reasons,
        Ok(Answers { mut reasons, unconfined: Some(why) }) => {
            let clauses = floor.se_linux.clauses();
            if !clauses.is_empty() && clauses.iter().all(|clause| clause.best_effort) {
                admission.degraded.extend(clauses.iter().map(|clause| Degraded {
                    control: "seLinux".to_owned(),
                    lost: why.clone(),
                    policy: clause.source.clone(),
                }));
            } else {
                reasons.push(question.reason(format!("a type that confines: {why}")));
            }
            reasons
        }
        Err(error) => vec![question.reason(format!(
            "what the node's kernel can be asked about, and it does not answer: {error}; coaming-runc needs the \
             permission `security compute_av` and `security check_context` (packaging/selinux/coaming.cil)"
        ))],
    }
}

/// What would keep the containers of a policy from starting under its default types, asked ahead. Whether the
/// runtime may go over to them is not asked: it runs in another domain than whoever asks.
pub fn ahead(floor: &Floor) -> Vec<String> {
    let Some(kernel) = Kernel::here() else { return Vec::new() };
    let rule = floor.se_linux.met();
    let one = |set: &Option<BTreeSet<String>>, usual: &str| match set {
        Some(set) if !set.contains(usual) => set.first().cloned().unwrap_or_default(),
        _ => usual.to_owned(),
    };
    let mut told = Vec::new();
    for kind in &rule.defaults {
        let (user, role) = (one(&rule.users, "system_u"), one(&rule.roles, "system_r"));
        let label = format!("{user}:{role}:{kind}:s0");
        let launcher = !floor.landlock.is_empty();
        let question = Question {
            kernel: &kernel,
            label: &label,
            floor,
            launcher,
            no_new_privileges: false,
            runtime: None,
        };
        let lost = match question.answers() {
            Ok(Answers { reasons, unconfined }) => {
                reasons.into_iter().map(|reason| reason.allowed).chain(unconfined).collect()
            }
            Err(error) => vec![format!("the node's kernel cannot be asked about it: {error}")],
        };
        told.extend(
            lost.into_iter()
                .map(|lost| format!("containers in {label} would be refused, allowed is {lost}")),
        );
    }
    told
}

struct Question<'a> {
    kernel: &'a Kernel,
    label: &'a str,
    floor: &'a Floor,
    launcher: bool,
    no_new_privileges: bool,
    /// None where what asks is not what would become the runtime.
    runtime: Option<&'a Path>,
}

struct Answers {
    reasons: Vec<Reason>,
    /// Why the type does not confine, where it does not.
    unconfined: Option<String>,
}

impl Question<'_> {
    fn answers(&self) -> io::Result<Answers> {
        if !self.kernel.knows(self.label)? {
            let reasons = vec![self.reason(self.unknown()?)];
            return Ok(Answers { reasons, unconfined: None });
        }
        let mut reasons = Vec::new();
        if self.kernel.enforces() {
            if let Some(runtime) = self.runtime {
                reasons.extend(self.transition(runtime)?);
            }
            if self.launcher {
                reasons.extend(self.launcher()?);
            }
        }
        Ok(Answers { reasons, unconfined: self.unconfined()? })
    }

    fn unknown(&self) -> io::Result<String> {
        let kind = Context::parse(self.label).map(|context| context.kind);
        // A type is an object's, too, whatever users and roles there are.
        let known = match kind {
            Some(kind) => self.kernel.knows(&format!("system_u:object_r:{kind}:s0"))?,
            None => false,
        };
        Ok(match kind {
            Some(kind) if !known => format!(
                "contexts of the policy in the node's kernel, which has no type {kind}; load the module that it is in \
                 (`coaming load` for one of a coaming policy, `semodule -i` for any), or name another type"
            ),
            _ => "contexts of the policy in the node's kernel, which does not allow this user, role, type and level \
                  together (`seinfo -u -r -x` shows them); name others"
                .to_owned(),
        })
    }

    fn unconfined(&self) -> io::Result<Option<String>> {
        let rule = self.floor.se_linux.met();
        if !rule.demands_a_context() {
            return Ok(None);
        }
        if self.kernel.is_permissive(self.label)? {
            return Ok(Some(
                "the type of its context is permissive in the node's policy: what it may not do is logged, and done \
                 (`semanage permissive -d` ends that)"
                    .to_owned(),
            ));
        }
        if rule.unprivileged {
            for (target, class, permission) in PRIVILEGES {
                let target = self.kernel.initial(target)?;
                // Of a class that the policy does not have it tells nothing of the type.
                if self.kernel.has(class, permission)
                    && self.kernel.allows(self.label, &target, class, permission)?
                {
                    return Ok(Some(format!(
                        "the node's policy allows it {class}:{permission} on {target}, which no container needs"
                    )));
                }
            }
        }
        Ok(None)
    }

    /// The runtime goes over into the container's domain by execve. With `no_new_privs` on, or from a file
    /// system mounted nosuid, the kernel wants more than that (security/selinux/hooks.c,
    /// `check_nnp_nosuid`).
    fn transition(&self, runtime: &Path) -> io::Result<Option<Reason>> {
        let own = own_context()?;
        let runtime = labels::of_file(runtime)?;
        let domain = self.kernel.create(&own, &runtime, "process")?;
        if domain == self.label {
            return Ok(None);
        }
        if !self.kernel.allows(&domain, self.label, "process", "transition")? {
            return Ok(Some(self.reason(format!(
                "a context that the runtime's domain, {domain}, may go over to (process:transition)"
            ))));
        }
        let mut needed = Vec::new();
        if self.no_new_privileges {
            needed.push(("nnp_transition", "noNewPrivileges is on"));
        }
        if self.launcher {
            needed.push(("nosuid_transition", "the launcher's mount is nosuid"));
        }
        for (permission, why) in needed {
            // Without the capability of policies, only a type that is bounded by the runtime's will do, and whether it
            // is cannot be asked.
            let can = self.kernel.capability("nnp_nosuid_transition");
            if can && !self.kernel.allows(&domain, self.label, "process2", permission)? {
                return Ok(Some(self.reason(format!(
                    "a context that the runtime's domain, {domain}, may go over to where {why}: the node's policy \
                     lacks `(allow {} {} (process2 ({permission})))`; see packaging/selinux/coaming.cil",
                    kind(&domain),
                    kind(self.label),
                ))));
            }
        }
        Ok(None)
    }

    fn launcher(&self) -> io::Result<Option<Reason>> {
        let file = labels::of_file(Path::new(config::LAUNCHER))?;
        for permission in TO_ENTER {
            if !self.kernel.allows(self.label, &file, "file", permission)? {
                return Ok(Some(self.reason(format!(
                    "a context that may be entered by {} ({file}), which applies the policy's Landlock rules: the \
                     node's policy lacks file:{permission}; label the launcher container_ro_file_t (chcon -t, or the \
                     file contexts of packaging/selinux), or allow it",
                    config::LAUNCHER
                ))));
            }
        }
        Ok(None)
    }

    fn reason(&self, allowed: String) -> Reason {
        Reason {
            control: "seLinux".to_owned(),
            field: LABEL.to_owned(),
            asked: json!(self.label),
            allowed,
            policy: self.floor.se_linux.clauses().first().map(|clause| clause.source.clone()),
        }
    }
}

fn kind(context: &str) -> &str {
    Context::parse(context).map_or(context, |context| context.kind)
}
