//! Control by control: enforced, degraded or impossible here; and the demands of policies that cannot be met.

use std::collections::BTreeMap;
use std::path::Path;

use coaming_config::Configuration;
use coaming_policy::controls::{Node, Rule, Support};
use coaming_policy::document::Directory;
use coaming_policy::floor::{Bound, Floor, Visitor};
use coaming_shim::apparmor::ROOT;
use coaming_shim::selinux;
use serde::Serialize;

use super::Kernel;

/// What a node gives of a control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum State {
    /// All of it.
    Enforced,
    /// Some of it.
    Degraded,
    /// None of it.
    Impossible,
}

/// One control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Control {
    pub(crate) control: &'static str,
    pub(crate) state: State,
    /// By what, or what is missing.
    pub(crate) because: String,
}

/// Paths that containers' defaults mask, and that a kernel may not have.
const MASKED: [&str; 9] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/firmware",
];
/// The last capability that coaming can name: CAP_CHECKPOINT_RESTORE (linux/capability.h).
const LAST_KNOWN: u32 = 40;

/// Every control, in the order in which they are applied.
pub(crate) fn controls(kernel: &Kernel) -> Vec<Control> {
    let mut names = Names(Vec::new());
    Floor::default().visit(&mut names);
    names
        .0
        .into_iter()
        .map(|control| {
            let (state, because) = kernel.gives(control);
            Control { control, state, because }
        })
        .collect()
}

struct Names(Vec<&'static str>);

impl Visitor for Names {
    fn control<R: Rule>(&mut self, _bound: &Bound<R>) {
        self.0.push(R::CONTROL);
    }
}

impl Kernel {
    fn gives(&self, control: &str) -> (State, String) {
        let untried = |what: &str| {
            let why = self.untried.as_deref().unwrap_or("the trial failed");
            (State::Impossible, format!("{what}: {why}"))
        };
        let tried = self.untried.is_none();
        match control {
            "seccomp" if !tried => untried("filters could not be tried"),
            "seccomp" => self.seccomp(),
            "landlock" if !tried => untried("rulesets could not be tried"),
            "landlock" => self.landlock(),
            "noNewPrivileges" => match self.trials.no_new_privileges {
                true => (State::Enforced, "prctl(2) sets it, and it stays".to_owned()),
                false => untried("it could not be set"),
            },
            "appArmor" => self.app_armor(),
            "seLinux" => match (self.module("selinux"), self.se_linux_enforces) {
                ((State::Enforced, _), Some(false)) => (
                    State::Degraded,
                    "SELinux is permissive: it logs, and denies nothing".to_owned(),
                ),
                (given, _) => given,
            },
            "capabilities" => match self.last_capability {
                Some(last) if last > LAST_KNOWN => (
                    State::Degraded,
                    format!(
                        "the kernel has capabilities up to number {last}, coaming names those up to {LAST_KNOWN}; \
                         no runtime gives one that has no name"
                    ),
                ),
                Some(last) => {
                    (State::Enforced, format!("capabilities up to number {last}, all with names"))
                }
                None => (State::Enforced, "by the runtime".to_owned()),
            },
            "maskedPaths" => {
                let missing: Vec<&str> =
                    MASKED.into_iter().filter(|path| !Path::new(path).exists()).collect();
                let because = match missing.is_empty() {
                    true => "mounts in the container's own mount namespace".to_owned(),
                    false => format!("not here, and so not masked: {}", missing.join(", ")),
                };
                (State::Enforced, because)
            }
            "hostNamespaces" => match &self.trials.user_namespaces {
                Some(why) if tried => (
                    State::Enforced,
                    format!(
                        "no user namespace can be made here ({why}): pods with hostUsers: false do not start"
                    ),
                ),
                _ => match &self.idmapped_mounts {
                    None => (
                        State::Enforced,
                        "user namespaces can be made, and mounts mapped".to_owned(),
                    ),
                    Some(why) => (
                        State::Enforced,
                        format!(
                            "user namespaces can be made, and mounts not mapped ({why}): pods with hostUsers: false do not start"
                        ),
                    ),
                },
            },
            "resources" => (State::Enforced, format!("cgroups {}", self.cgroups)),
            "devices" => match self.cgroups {
                "v2" => {
                    (State::Enforced, "by a BPF program on the container's cgroup (v2)".to_owned())
                }
                version => {
                    (State::Enforced, format!("by the devices controller (cgroups {version})"))
                }
            },
            _ => (
                State::Enforced,
                "in the container's spec; no feature of the kernel is needed".to_owned(),
            ),
        }
    }

    fn seccomp(&self) -> (State, String) {
        let trials = &self.trials;
        if !trials.seccomp_filter || !self.seccomp_kills {
            let what = if trials.seccomp_filter {
                "a filter that kills does not"
            } else {
                "no filter can be loaded"
            };
            return (State::Impossible, what.to_owned());
        }
        let missing = missing(&trials.seccomp_flags).chain(missing(&trials.seccomp_actions));
        let missing: Vec<&str> = missing.collect();
        let logged = match self.actions_logged.iter().any(|action| action == "errno") {
            true => "",
            false => {
                "; kernel.seccomp.actions_logged has no errno, so that denied calls leave no trace"
            }
        };
        if missing.is_empty() {
            return (
                State::Enforced,
                format!("filters load, answer and kill, with every flag and action{logged}"),
            );
        }
        (
            State::Degraded,
            format!("filters load and answer, without {}{logged}", missing.join(", ")),
        )
    }

    fn landlock(&self) -> (State, String) {
        let trials = &self.trials;
        if trials.landlock_abi == 0 {
            let because =
                "this kernel has no Landlock, or it is not among its security modules (lsm=)";
            return (State::Impossible, because.to_owned());
        }
        let abi = trials.landlock_abi;
        if !trials.landlock_effect {
            return (
                State::Impossible,
                format!("ABI {abi}, and a ruleset keeps nothing from a process"),
            );
        }
        let missing: Vec<&str> = missing(&trials.landlock_rights).collect();
        match missing.is_empty() {
            true => (
                State::Enforced,
                format!("ABI {abi}, with every right that coaming names, and it holds"),
            ),
            false => (State::Degraded, format!("ABI {abi}, without {}", missing.join(", "))),
        }
    }

    /// Whether profiles deny here, whether they stack, and who compiles those that come with policies.
    fn app_armor(&self) -> (State, String) {
        let (state, because) = self.module("apparmor");
        if state != State::Enforced {
            return (state, because);
        }
        let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
        match read("/sys/module/apparmor/parameters/mode") {
            Ok(mode) if mode != "enforce" => {
                return (
                    State::Degraded,
                    format!("the whole kernel's AppArmor is in mode {mode}: it denies nothing"),
                );
            }
            _ => {}
        }
        let stacks = match read(&format!("{ROOT}/features/domain/stack")).as_deref() {
            Ok("yes") => "profiles can be stacked",
            _ => "profiles cannot be stacked: a pod's own that is not allowed is refused",
        };
        let parser =
            Configuration::load().ok().and_then(|configuration| configuration.app_armor_parser());
        let compiles = match parser {
            Some(parser) => format!("policies' profiles are compiled by {}", parser.display()),
            None => "without apparmor_parser, of policies' profiles those are loaded that were compiled ahead".to_owned(),
        };
        (state, format!("{because}; {stacks}; {compiles}"))
    }

    fn module(&self, name: &str) -> (State, String) {
        let active = match self.security_modules.is_empty() {
            true => "none is listed there; is securityfs mounted?".to_owned(),
            false => self.security_modules.join(", "),
        };
        match self.security_modules.iter().any(|module| module == name) {
            true => (State::Enforced, format!("{name} is among the kernel's security modules")),
            false => (
                State::Impossible,
                format!("{name} is not among the kernel's security modules ({active})"),
            ),
        }
    }
}

fn missing(tried: &BTreeMap<String, bool>) -> impl Iterator<Item = &str> {
    tried.iter().filter(|(_, is_there)| !**is_there).map(|(name, _)| name.as_str())
}

/// A demand of a policy that this node cannot meet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Unmet {
    pub(crate) policy: String,
    pub(crate) file: String,
    pub(crate) line: u64,
    pub(crate) field: String,
    /// What cannot be enforced, and why.
    pub(crate) lost: String,
    /// Whether containers start all the same (`bestEffort`).
    pub(crate) best_effort: bool,
}

/// What policies demand and this node cannot give.
pub(crate) fn unmet(directory: &Directory, node: &Node) -> Vec<Unmet> {
    let mut demands = Demands { node, unmet: Vec::new() };
    for (_, floor) in directory.floors() {
        floor.visit(&mut demands);
        // Of SELinux it depends on the policy that the kernel has.
        let source = floor.se_linux.clauses().first().map(|clause| &clause.source);
        demands.unmet.extend(source.into_iter().flat_map(|source| {
            let unmet = |lost| Unmet {
                policy: source.policy.clone(),
                file: source.file.clone(),
                line: source.line,
                field: source.field.clone(),
                lost,
                best_effort: false,
            };
            selinux::ahead(floor).into_iter().map(unmet)
        }));
    }
    demands.unmet.sort_by(|a, b| (&a.file, a.line, &a.lost).cmp(&(&b.file, b.line, &b.lost)));
    demands.unmet.dedup();
    demands.unmet
}

struct Demands<'a> {
    node: &'a Node,
    unmet: Vec<Unmet>,
}

impl Visitor for Demands<'_> {
    fn control<R: Rule>(&mut self, bound: &Bound<R>) {
        for clause in bound.clauses() {
            if let Support::Partial { lost, .. } = clause.rule.support(self.node) {
                self.unmet.push(Unmet {
                    policy: clause.source.policy.clone(),
                    file: clause.source.file.clone(),
                    line: clause.source.line,
                    field: clause.source.field.clone(),
                    lost,
                    best_effort: clause.best_effort,
                });
            }
        }
    }
}
