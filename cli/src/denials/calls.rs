//! Why a system call was denied.

use coaming_policy::controls::seccomp::Seccomp;
use coaming_policy::controls::{Asked, Node, Rule};
use coaming_policy::facts::Facts;
use coaming_policy::floor::Source;
use coaming_policy::seccomp::{Arch, Function, Profile, Reading, called, deny_profile};
use coaming_policy::spec::edit::Edit;
use coaming_shim::host;
use coaming_shim::record::Record;
use serde_json::{Value, json};

use super::cause::{Cause, Change, is_written, place};
use super::danger;

/// Calls that Landlock's rules over ports take away by a filter of their own (`launch.rs` of the policy).
const BESIDE_LANDLOCK: [&str; 7] = [
    "socket",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
];

/// A call's name and architecture, for people.
pub(super) fn in_words(arch: u32, number: u32) -> String {
    match called(arch, number) {
        Some((arch, name)) if arch == Arch::native() => name.to_owned(),
        Some((arch, name)) => format!("{name} ({})", arch.oci()),
        None => format!("call {number} of architecture {arch:#x}"),
    }
}

pub(super) fn cause(token: u32, number: u32, record: &Record) -> Cause {
    let Some((arch, name)) = called(token, number) else {
        return Cause {
            others: vec![
                "a call that this libseccomp does not know; profiles that allow by name deny it"
                    .to_owned(),
            ],
            ..Cause::default()
        };
    };
    let mut cause = Cause { caution: danger::of_call(name), ..Cause::default() };
    let mut maybe = Vec::new();
    for clause in record.floor.seccomp.clauses() {
        match denies(&clause.rule, record, arch, name) {
            Denies::No => {}
            Denies::ByArguments => maybe.push((&clause.rule, &clause.source)),
            Denies::Call | Denies::Architecture => {
                cause.add(&clause.rule, &clause.source, record, arch, name);
            }
        }
    }
    // Some for their arguments, which the record does not have: only where nothing denies it whatever they are.
    if cause.policies.is_empty() {
        for (rule, source) in maybe {
            cause.add(rule, source, record, arch, name);
        }
    }
    let ports = record.floor.landlock.clauses().iter();
    let ports: Vec<&Source> = ports
        .filter(|clause| {
            clause
                .rule
                .layers()
                .iter()
                .any(coaming_policy::controls::landlock::Layer::restricts_tcp)
        })
        .map(|clause| &clause.source)
        .collect();
    if cause.policies.is_empty() && BESIDE_LANDLOCK.contains(&name) && !ports.is_empty() {
        cause.others.push(format!(
            "{name} goes around Landlock's rules over ports (MPTCP, SMC, TCP Fast Open, io_uring), and is denied beside them"
        ));
        cause.policies.extend(ports.into_iter().cloned());
    }
    if cause.policies.is_empty() {
        cause.others.push(own_profile(record, arch, name));
    }
    cause
}

impl Cause {
    fn add(&mut self, rule: &Seccomp, source: &Source, record: &Record, arch: Arch, name: &str) {
        if self.policies.contains(source) {
            return;
        }
        self.policies.push(source.clone());
        if !is_written(source) || source.field != "spec.seccomp" {
            let control = source.field.strip_prefix("spec.").unwrap_or("seccomp").to_owned();
            return self.waiver(record, source, &control);
        }
        let words = written(rule);
        let mut changes = Vec::new();
        if words.denied.iter().any(|denied| denied == name) {
            let left: Vec<&str> =
                words.denied.iter().map(String::as_str).filter(|denied| *denied != name).collect();
            changes.push(Change {
                at: place(source),
                what: format!(
                    "take {name} out of spec.seccomp.denySyscalls of policy {}",
                    source.policy
                ),
                fragment: Some(match left.is_empty() {
                    true => "# spec.seccomp.denySyscalls: none is left".to_owned(),
                    false => format!("denySyscalls: [{}]", left.join(", ")),
                }),
            });
        }
        if name == "socket" && words.families {
            changes.push(Change {
                at: place(source),
                what: format!(
                    "take the family out of spec.seccomp.denySocketFamilies of policy {} (which one it was, the \
                     record does not say)",
                    source.policy
                ),
                fragment: None,
            });
        }
        for profile in words.profiles {
            // A file is named with its digest.
            let Some((file, _)) = profile.split_once('@') else {
                if changes.is_empty() {
                    self.waiver(record, source, "seccomp");
                }
                continue;
            };
            if changes.is_empty() {
                changes.push(Change {
                    at: format!("{file}, which {} names", place(source)),
                    what: format!("allow {name} in the profile of policy {}", source.policy),
                    fragment: Some(format!(
                        "{{\"names\": [\"{name}\"], \"action\": \"SCMP_ACT_ALLOW\"}}"
                    )),
                });
            }
        }
        if changes.is_empty() {
            changes.push(Change {
                at: place(source),
                what: format!(
                    "add {} to spec.seccomp.architectures of policy {}",
                    arch.oci(),
                    source.policy
                ),
                fragment: None,
            });
        }
        self.changes.extend(changes);
    }
}

/// What a rule says, as its document does.
struct Written {
    denied: Vec<String>,
    families: bool,
    profiles: Vec<String>,
}

fn written(rule: &Seccomp) -> Written {
    let tree = serde_json::to_value(rule).unwrap_or_default();
    let keys = |field: &str| -> Vec<String> {
        let object = tree.get(field).and_then(Value::as_object);
        object.into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    let list = |field: &str| tree.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
    let names = list("denySyscalls").into_iter();
    Written {
        denied: names.filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        families: !list("denySocketFamilies").is_empty(),
        profiles: [keys("floors"), keys("defaults")].concat(),
    }
}

/// What a rule denies of a call.
#[derive(Debug, PartialEq, Eq)]
enum Denies {
    No,
    /// For some arguments.
    ByArguments,
    Call,
    /// Every call of its architecture.
    Architecture,
}

fn denies(rule: &Seccomp, record: &Record, arch: Arch, name: &str) -> Denies {
    let Some(function) = filter(rule, record) else { return Denies::No };
    if arch != Arch::native() && !function.architectures().contains(&arch) {
        return Denies::Architecture;
    }
    match function.always(name) {
        Some(answer) if answer.is_refusal() => Denies::Call,
        Some(_) => Denies::No,
        None => Denies::ByArguments,
    }
}

/// The filter that a rule alone would have given the container.
fn filter(rule: &Seccomp, record: &Record) -> Option<Function> {
    let mut spec = json!({"process": {"capabilities": {"bounding": record.bounding}}});
    let asked_none = record
        .changes
        .iter()
        .any(|change| change.field == "linux.seccomp" && change.asked.is_null());
    if !asked_none {
        // As if it had asked for everything: what is left is the rule's.
        Edit::Set("linux.seccomp".to_owned(), deny_profile(&[], &[]).ok()?.to_oci())
            .apply(&mut spec);
    }
    let facts = Facts::of(&record.id, &spec);
    let node = Node { kernel: host::examine(&Value::Null).kernel, ..Node::default() };
    let asked = Asked::of(&spec, &facts, &node);
    let finding = rule.tighten(&asked).into_iter().next()?;
    let Edit::Set(_, section) = finding.remedy?.into_iter().next()? else { return None };
    function(&section)
}

fn function(section: &Value) -> Option<Function> {
    Function::of(&Profile::from_oci(section).ok()?, Reading::Runtime).ok()
}

fn own_profile(record: &Record, arch: Arch, name: &str) -> String {
    let enforced = record.seccomp.as_ref().and_then(function);
    let denied = enforced.is_some_and(|function| {
        !function.architectures().contains(&arch)
            || function.always(name).is_none_or(|answer| answer.is_refusal())
    });
    match denied {
        true => "the profile that the container asked for itself (its pod's seccompProfile); no policy denies it".to_owned(),
        false => "no clause of the container's floor, and not its own profile: a filter that a program loaded itself".to_owned(),
    }
}
