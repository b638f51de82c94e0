//! `coaming status`: every container of the node that crossed the gate, and whether it still is what
//! policy demands today.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use coaming_policy::controls::Rule;
use coaming_policy::document::{DocumentError, Waived};
use coaming_policy::facts::{ContainerType, Door, Facts};
use coaming_policy::floor::{Bound, Floor, Visitor};
use coaming_policy::verdict::Degraded;
use coaming_shim::config::{Node, state};
use coaming_shim::in_force::{Access, InForce};
use coaming_shim::record::Record;
use serde::Serialize;

use crate::error::CommandError;
use crate::kernel::{KernelView, Standing};
use crate::output::{self, Format, Outcome, count};
use crate::policy_state::PolicyState;
use crate::records::{self, Records};

/// Show every container of this node that was created through coaming, and how it stands to today's policy.
///
/// A policy that has changed since holds a container from its next start on (and each exec into it from
/// now on): such containers are `outdated`. Where the policy directory is not in force as it is, the answer
/// says so and why, and it lists the waivers for emergencies. `proven`: the kernel's word of the process held
/// when it was started; `drift`: the process is wider than its floor now. Exit codes: 0 all is well, 1 a process is wider
/// than its floor, the policy directory is not in force, or, with --outdated, some container is outdated, 2
/// there is no answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Show only containers that were created before the policy of today.
    #[arg(long)]
    outdated: bool,
    /// Where coaming keeps its records.
    #[arg(long, value_name = "DIR", default_value_os_t = state(), hide = true)]
    state: PathBuf,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    policy: PolicyState,
    containers: Vec<Container>,
    /// Records that this version cannot read; their containers are not shown.
    unreadable: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    id: String,
    created: String,
    runtime: String,
    /// Whether an ordinary user started it, who could have done without coaming.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    advisory: bool,
    facts: Facts,
    degraded: Vec<Degraded>,
    waived: Vec<Waived>,
    /// How many fields audited policies would have changed or refused.
    audited: usize,
    /// Policies that demand of it today what they did not when it was created.
    outdated: Vec<String>,
    /// What the kernel says of its first process.
    kernel: KernelView,
    /// What was proved of it, and whether it is wider now.
    proof: Standing,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    let Records { found, unreadable } = records::read_all(&arguments.state.join("containers"))?;
    // Read once: every container is held against the same policies.
    let node = Node::load("coaming-runc").map_err(CommandError::Policy)?;
    let in_force = match node.in_force(Access::Look) {
        Err(error) if !found.is_empty() => return Err(CommandError::Policy(error)),
        in_force => in_force,
    };
    let policy = PolicyState::of(&node, in_force.as_ref());
    let mut containers = Vec::with_capacity(found.len());
    if let Ok(in_force) = &in_force {
        for record in found {
            let container = Container::of(record, in_force, &arguments.state);
            containers.push(container.map_err(CommandError::Policy)?);
        }
    }
    if arguments.outdated {
        containers.retain(|container| !container.outdated.is_empty());
    }
    let wider = containers.iter().any(|container| container.kernel.is_wider());
    let outdated = arguments.outdated && !containers.is_empty();
    let astray = !policy.is_in_force();
    let report = Report { policy, containers, unreadable };
    match arguments.output {
        Format::Text => report.show(out)?,
        Format::Json => output::json(&report, out)?,
    }
    Ok(if wider || outdated || astray { Outcome::Findings } else { Outcome::Fine })
}

impl Container {
    fn of(record: Record, policies: &InForce, base: &Path) -> Result<Container, DocumentError> {
        // Records of earlier versions do not say it.
        let wrapper = if record.wrapper.is_empty() { "coaming-runc" } else { &record.wrapper };
        let today =
            Node::load(wrapper)?.demands_of(policies, &record.facts_for(Door::Create))?.floor;
        let kernel = KernelView::of(&record);
        Ok(Container {
            created: record.created(),
            outdated: demanding_more(&record.floor, &today),
            proof: Standing::of(&record, base, &kernel),
            kernel,
            audited: record.audit.changes.len() + record.audit.refusals.len(),
            id: record.id,
            runtime: record.runtime,
            advisory: record.advisory,
            facts: record.facts,
            degraded: record.degraded,
            waived: record.waived,
        })
    }

    /// `namespace/pod/container`, as far as it is known.
    fn name(&self) -> String {
        let facts = &self.facts;
        let own = match facts.container_type {
            ContainerType::Sandbox => Some("(sandbox)"),
            ContainerType::Container => facts.container.as_ref().map(|fact| fact.value.as_str()),
        };
        let value =
            |fact| Option::map(fact, |fact: &coaming_policy::facts::Fact| fact.value.as_str());
        let parts: Vec<&str> = [value(facts.namespace.as_ref()), value(facts.pod.as_ref()), own]
            .into_iter()
            .flatten()
            .collect();
        if parts.is_empty() { "-".to_owned() } else { parts.join("/") }
    }

    fn state(&self) -> String {
        let mut states = Vec::new();
        match &self.kernel {
            KernelView::Unknown { .. } => states.push("not running".to_owned()),
            KernelView::Created { .. } => states.push("created".to_owned()),
            KernelView::Running { .. } if self.kernel.is_wider() => {
                states.push("DRIFT: WIDER THAN ITS FLOOR".to_owned());
            }
            KernelView::Running { .. } if !self.degraded.is_empty() => {
                let controls: BTreeSet<&str> =
                    self.degraded.iter().map(|degraded| degraded.control.as_str()).collect();
                let controls: Vec<&str> = controls.into_iter().collect();
                states.push(format!("degraded ({})", controls.join(", ")));
            }
            KernelView::Running { .. } => states.push("enforced".to_owned()),
        }
        if matches!(self.kernel, KernelView::Running { .. }) {
            states.push(self.proof.in_words());
        }
        if self.advisory {
            states.push("advisory".to_owned());
        }
        if !self.waived.is_empty() {
            let name = |waived: &Waived| match waived.break_glass {
                Some(_) => format!("BREAK-GLASS {}", waived.waiver),
                None => waived.waiver.clone(),
            };
            let names: Vec<String> = self.waived.iter().map(name).collect();
            states.push(format!("waived ({})", names.join(", ")));
        }
        if self.audited > 0 {
            states.push(format!("audited ({})", count(self.audited, "finding", "findings")));
        }
        if !self.outdated.is_empty() {
            states.push(format!("outdated ({})", self.outdated.join(", ")));
        }
        states.join(", ")
    }
}

impl Report {
    fn show(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        const ID: usize = 12;
        let rows: Vec<[String; 4]> = self
            .containers
            .iter()
            .map(|container| {
                let id = container.id.chars().take(ID).collect();
                [id, container.name(), container.created.clone(), container.state()]
            })
            .collect();
        output::table(out, ["CONTAINER", "NAME", "CREATED", "STATE"], rows)?;
        let outdated =
            self.containers.iter().filter(|container| !container.outdated.is_empty()).count();
        let containers = count(self.containers.len(), "container", "containers");
        match outdated {
            0 => writeln!(out, "{containers}")?,
            some => writeln!(out, "{containers}, {some} created before the policy of today")?,
        }
        self.policy.show(out)?;
        for file in &self.unreadable {
            writeln!(out, "not understood, and so not shown: {file}")?;
        }
        Ok(())
    }
}

/// The policies with a clause in `today` that is not in `then`. What has been taken back since is no
/// reason to start a container anew.
pub(crate) fn demanding_more(then: &Floor, today: &Floor) -> Vec<String> {
    let mut known = Clauses::default();
    then.visit(&mut known);
    let mut wanted = Clauses::default();
    today.visit(&mut wanted);
    let known: BTreeSet<&String> = known.0.values().flatten().collect();
    let more = |clauses: &BTreeSet<String>| clauses.iter().any(|clause| !known.contains(clause));
    wanted.0.iter().filter(|(_, clauses)| more(clauses)).map(|(policy, _)| policy.clone()).collect()
}

/// Each policy's clauses as text, without their places: a policy that was moved or commented demands
/// what it did.
#[derive(Default)]
struct Clauses(BTreeMap<String, BTreeSet<String>>);

impl Visitor for Clauses {
    fn control<R: Rule>(&mut self, bound: &Bound<R>) {
        for clause in bound.clauses() {
            let text = format!("{} {:?} {:?}", R::CONTROL, clause.action, clause.rule);
            self.0.entry(clause.source.policy.clone()).or_default().insert(text);
        }
    }
}
