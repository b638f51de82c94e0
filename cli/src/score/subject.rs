//! What is scored: a spec with the filters and Landlock layers that are really loaded.

use std::collections::BTreeSet;
use std::path::Path;

use coaming_policy::controls::landlock::Layer;
use coaming_policy::controls::{Joined, Node, Rule, Support};
use coaming_policy::decide::{Door, Request, decide};
use coaming_policy::facts::Facts;
use coaming_policy::json;
use coaming_policy::launch::{Launch, is_reserved};
use coaming_policy::seccomp::{Arch, Function, Profile, Reading};
use coaming_policy::spec::edit::Edit;
use coaming_policy::spec::view;
use coaming_policy::verdict::{Admission, Refusal, Verdict};
use coaming_shim::bundle::Bundle;
use coaming_shim::host;
use coaming_shim::record::Record;
use nix::unistd::geteuid;
use serde_json::Value;

use crate::demanded::Demanding;
use crate::error::CommandError;

/// A container as it would start, or as it runs.
pub(super) struct Subject {
    spec: Value,
    filters: Filters,
    layers: Vec<Layer>,
    /// The capabilities of every set together.
    capabilities: BTreeSet<String>,
    /// Sysctls that are set for it by its sandbox.
    sysctls: Vec<String>,
    /// The types of namespaces in which it is the node's.
    shared: BTreeSet<&'static str>,
    user_namespace: bool,
    /// Whether the launcher loads its filter over TCP, which denies io_uring too.
    without_io_uring: bool,
}

/// The filters of system calls, all of which a call must pass.
pub(super) enum Filters {
    None,
    NotUnderstood,
    Some(Vec<Function>),
}

const NAMESPACES: [&str; 6] = ["pid", "network", "ipc", "uts", "mount", "cgroup"];

impl Subject {
    /// A request as it is asked. `beside` are specs whose sysctls count for it too.
    pub(super) fn asked(spec: &Value, node: &Node, beside: &[&Value]) -> Subject {
        let filter = view::at(spec, "linux.seccomp").cloned();
        Subject::new(spec.clone(), node, beside, Filters::of(filter), Vec::new())
    }

    /// A request under policy, or why it does not start.
    pub(super) fn enforced(
        id: &str,
        spec: &Value,
        node: &Node,
        beside: &[&Value],
        demanding: &Demanding,
    ) -> Result<Result<Subject, Refusal>, CommandError> {
        let admit = |spec: &Value| -> Result<Verdict, CommandError> {
            let facts = Facts::of(id, spec).labelled(node.pod_labels.clone());
            let floor = demanding.of(&facts).map_err(CommandError::Policy)?.floor;
            let request = Request { door: Door::Create, spec, facts: &facts, node, exec: None };
            Ok(decide(&request, &floor))
        };
        let mut beside_enforced = Vec::new();
        for spec in beside {
            match admit(spec)? {
                Verdict::Admit(admission) => beside_enforced.push(admission.spec),
                // Where a pod's sandbox does not start, nothing of the pod does.
                Verdict::Refuse(refusal) => return Ok(Err(refusal)),
            }
        }
        let beside: Vec<&Value> = beside_enforced.iter().collect();
        Ok(match admit(spec)? {
            Verdict::Refuse(refusal) => Err(refusal),
            Verdict::Admit(admission) => Ok(Subject::admitted(*admission, node, &beside)),
        })
    }

    /// What starts of an admitted request.
    pub(super) fn admitted(admission: Admission, node: &Node, beside: &[&Value]) -> Subject {
        let filters = Filters::loaded(&admission.launch, admission.seccomp);
        Subject::new(admission.spec, node, beside, filters, admission.launch.layers)
    }

    fn new(
        spec: Value,
        node: &Node,
        beside: &[&Value],
        filters: Filters,
        layers: Vec<Layer>,
    ) -> Subject {
        let sets = view::at(&spec, "process.capabilities").cloned().unwrap_or_default();
        let capabilities = ["bounding", "effective", "permitted", "inheritable", "ambient"]
            .into_iter()
            .flat_map(|set| view::strings(&sets, set))
            .map(str::to_uppercase)
            .collect();
        let sysctls = beside
            .iter()
            .copied()
            .chain([&spec])
            .flat_map(|spec| view::entries(spec, "linux.sysctl"))
            .map(|(name, _)| name.to_owned())
            .collect();
        let shared = NAMESPACES.into_iter().filter(|kind| is_hosts(&spec, node, kind)).collect();
        let user_namespace = !is_hosts(&spec, node, "user");
        Subject {
            spec,
            filters,
            layers,
            capabilities,
            sysctls,
            shared,
            user_namespace,
            without_io_uring: false,
        }
    }

    pub(super) fn spec(&self) -> &Value {
        &self.spec
    }

    pub(super) fn filters(&self) -> &Filters {
        &self.filters
    }

    pub(super) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    pub(super) fn sysctls(&self) -> impl Iterator<Item = &str> {
        self.sysctls.iter().map(String::as_str)
    }

    pub(super) fn has_capability(&self, name: &str) -> bool {
        self.capabilities.contains(name)
    }

    pub(super) fn has_user_namespace(&self) -> bool {
        self.user_namespace
    }

    /// Whether it is in the node's namespace of this type.
    pub(super) fn shares(&self, kind: &str) -> bool {
        self.shared.contains(kind)
    }

    /// Whether a call with these arguments passes every filter, in whatever architecture.
    pub(super) fn allows(&self, call: &str, args: [u64; 6]) -> bool {
        if self.without_io_uring && call.starts_with("io_uring_") {
            return false;
        }
        let Filters::Some(filters) = &self.filters else { return true };
        self.architectures()
            .iter()
            .any(|arch| filters.iter().all(|filter| !filter.eval(*arch, call, args).is_refusal()))
    }

    /// The architectures beside the machine's own whose calls are let through; `None` for all there are.
    pub(super) fn foreign_architectures(&self) -> Option<Vec<&'static str>> {
        let Filters::Some(_) = &self.filters else { return None };
        let foreign = self.architectures().into_iter().filter(|arch| *arch != Arch::native());
        Some(foreign.map(Arch::oci).collect())
    }

    /// Those that this machine runs and no filter is without.
    fn architectures(&self) -> Vec<Arch> {
        let foreign: &[Arch] = match Arch::native() {
            Arch::X86_64 => &[Arch::X86, Arch::X32],
            Arch::Aarch64 => &[Arch::Arm],
            _ => &[],
        };
        let covered = |arch: &Arch| match &self.filters {
            Filters::Some(filters) => {
                filters.iter().all(|filter| filter.architectures().contains(arch))
            }
            _ => true,
        };
        let foreign = foreign.iter().copied().filter(covered);
        std::iter::once(Arch::native()).chain(foreign).collect()
    }
}

impl Filters {
    fn of(section: Option<Value>) -> Filters {
        let Some(section) = section else { return Filters::None };
        match Profile::from_oci(&section) {
            Ok(profile) => Filters::all(std::iter::once(&profile)),
            Err(_) => Filters::NotUnderstood,
        }
    }

    /// What the launcher loads where it is used, and else the runtime.
    fn loaded(launch: &Launch, section: Option<Value>) -> Filters {
        if launch.filters.is_empty() {
            return Filters::of(section);
        }
        Filters::all(launch.filters.iter())
    }

    fn all<'a>(profiles: impl Iterator<Item = &'a Profile>) -> Filters {
        let functions: Result<Vec<Function>, _> =
            profiles.map(|profile| Function::of(profile, Reading::Runtime)).collect();
        functions.map_or(Filters::NotUnderstood, Filters::Some)
    }
}

fn is_hosts(spec: &Value, node: &Node, kind: &str) -> bool {
    let entries = view::items(spec, "linux.namespaces");
    let mut of_kind =
        entries.iter().filter(|entry| view::text(entry, "type") == Some(kind)).peekable();
    if of_kind.peek().is_none() {
        return true;
    }
    // As the control `hostNamespaces` takes them: what cannot be told is taken for the node's.
    of_kind.any(|entry| match view::text(entry, "path") {
        None => false,
        Some(path) => node.joins.get(path) != Some(&Joined::Other),
    })
}

/// A container of this node as it was created: its record, and the spec in its bundle.
pub(super) struct Kept {
    spec: Value,
    record: Record,
}

impl Kept {
    pub(super) fn read(record: Record) -> Result<Kept, CommandError> {
        let bundle = Bundle::open(Some(Path::new(&record.bundle)), geteuid())?;
        let config = bundle.path().join("config.json");
        let spec = json::parse_spec(&bundle.read_config()?.bytes)
            .map_err(|error| CommandError::Json { path: config, error })?;
        Ok(Kept { spec, record })
    }

    /// What is scored: the process without the launcher before it, and the filter whoever loads it.
    pub(super) fn subject(&self) -> Subject {
        let mut spec = self.spec.clone();
        Edit::Set("process".to_owned(), self.record.process.clone()).apply(&mut spec);
        let mounts: Vec<Value> = view::items(&spec, "mounts")
            .iter()
            .filter(|mount| !view::text(mount, "destination").is_some_and(is_reserved))
            .cloned()
            .collect();
        Edit::Set("mounts".to_owned(), mounts.into()).apply(&mut spec);
        let node = host::examine(&spec);
        let layers: Vec<Layer> = match &self.record.plan {
            Some(_) => self.layers(&node),
            None => Vec::new(),
        };
        let restricts_tcp = layers.iter().any(Layer::restricts_tcp);
        let filters = Filters::of(self.record.seccomp.clone());
        let mut subject = Subject::new(spec, &node, &[], filters, layers);
        subject.without_io_uring = restricts_tcp;
        subject
    }

    /// The Landlock layers of the floor that it was created under, as this kernel enforces them.
    fn layers(&self, node: &Node) -> Vec<Layer> {
        let met = self.record.floor.landlock.met();
        let enforced = match met.support(node) {
            Support::Full => met,
            Support::Partial { rule, .. } => rule,
        };
        enforced.layers().into_iter().collect()
    }
}

/// A path without `.`, `..`, and slashes that say nothing.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
