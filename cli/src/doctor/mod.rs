//! `coaming doctor`: whether every start on this node goes through the gate, what its kernel gives, and whether
//! coaming itself is in order.

pub(crate) mod handlers;
mod kernel;
mod own;
mod program;
mod runtimes;
mod show;
mod sockets;

use std::io::Write;
use std::path::PathBuf;

use coaming_config::Configuration;
use coaming_shim::config::{Node, STATE};
use coaming_shim::in_force::Access;
use serde::Serialize;

use crate::error::CommandError;
use crate::output::{self, Format, Outcome};
use crate::policy_state::PolicyState;

use handlers::{Ends, Found, Ours, Root};
use kernel::{Control, Kernel, State, Trial, Unmet};
use own::{Check, Grade};
use runtimes::Known;

/// Look over this node: which handlers of containerd, CRI-O, Docker and Podman end at coaming and which go around
/// it, what the kernel gives of each control, and whether coaming itself is in order.
///
/// Each handler is named with the line of configuration that says where it ends; what counts is the program that is
/// executed, and not its name. The kernel's features are tried, in a child process. Nothing is changed. Run it as
/// root: much of what it reads is root's alone. Exit codes: 0 all is well, 1 something is not, 2 there is no
/// answer.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What `containerd config dump` printed, in place of containerd's own files.
    #[arg(long, value_name = "FILE")]
    containerd_config: Option<PathBuf>,
    /// The root of the tree whose configuration is read.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
    /// A trial that the doctor makes in a child.
    #[arg(long, value_enum, hide = true)]
    trial: Option<Trial>,
    /// The form of the answer.
    #[arg(long, value_enum, default_value_t)]
    output: Format,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// What is wrong, most of all first; the rest of the answer has it too.
    problems: Vec<String>,
    #[serde(flatten)]
    found: Found,
    runtimes: Vec<Known>,
    kernel: Kernel,
    controls: Vec<Control>,
    /// Demands of the policies that this node cannot meet.
    unmet: Vec<Unmet>,
    checks: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<PolicyState>,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Outcome, CommandError> {
    if let Some(trial) = arguments.trial {
        kernel::run_child(trial, out)?;
        return Ok(Outcome::Fine);
    }
    let report = Report::of(arguments);
    match arguments.output {
        Format::Text => show::show(&report, out)?,
        Format::Json => output::json(&report, out)?,
    }
    Ok(if report.problems.is_empty() { Outcome::Fine } else { Outcome::Findings })
}

impl Report {
    fn of(arguments: &Arguments) -> Report {
        let root = Root::new(&arguments.root);
        let mut checks = Vec::new();
        let node = Node::load("coaming-runc");
        let configuration = match &node {
            Ok(node) => node.configuration().clone(),
            Err(error) => {
                checks.push(Check::wrong("configuration", error.to_string(), None));
                Configuration::default()
            }
        };
        let mut found = Found::on(
            &root,
            &Ours::on(&root, &configuration),
            arguments.containerd_config.as_deref(),
        );
        found.notes.extend(sockets::mounted(&PathBuf::from(STATE)));
        let kernel = Kernel::examine();
        let mut unmet = Vec::new();
        let mut policy = None;
        if let Ok(node) = &node {
            // What is wrong with the directory is in the policy's state.
            if let Ok(directory) = node.policies() {
                unmet = kernel::unmet(&directory, &kernel.node);
            }
            policy = Some(PolicyState::of(node, node.in_force(Access::Look).as_ref()));
        }
        checks.extend(own::checks(&configuration));
        let controls = kernel::controls(&kernel);
        let runtimes = runtimes::known(&configuration);
        let mut report = Report {
            problems: Vec::new(),
            found,
            runtimes,
            kernel,
            controls,
            unmet,
            checks,
            policy,
        };
        report.problems = report.all_problems();
        report
    }

    fn all_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for handler in self.found.handlers.iter().filter(|handler| handler.ends == Ends::Around) {
            let default = if handler.default { ", the default one" } else { "" };
            problems.push(format!(
                "{}'s handler {}{default}, goes around coaming ({}): {}",
                handler.manager.name(),
                handler.name,
                handler.place,
                handler.because
            ));
        }
        problems.extend(
            self.found
                .unreadable
                .iter()
                .map(|file| format!("what it says is not known, since it cannot be read: {file}")),
        );
        problems.extend(self.runtimes.iter().filter_map(Known::problem));
        problems.extend(self.unmet.iter().filter(|unmet| !unmet.best_effort).map(|unmet| {
            format!(
                "policy {} ({}:{}): {}: {}; its containers do not start here",
                unmet.policy, unmet.file, unmet.line, unmet.field, unmet.lost
            )
        }));
        if let Some(why) = &self.kernel.untried {
            problems.push(why.clone());
        }
        for control in ["seccomp", "noNewPrivileges"] {
            // Every floor needs these two.
            let given = self.controls.iter().find(|given| given.control == control);
            if let Some(given) = given.filter(|given| given.state == State::Impossible) {
                problems.push(format!("{control} cannot be enforced: {}", given.because));
            }
        }
        let wrong = self.checks.iter().filter(|check| check.grade == Grade::Wrong);
        problems.extend(wrong.map(|check| format!("{}: {}", check.what, check.found)));
        if self.policy.as_ref().is_some_and(|policy| !policy.is_in_force()) {
            problems.push(
                "the folder of policies is not in force as it is; `coaming status` says why"
                    .to_owned(),
            );
        }
        problems
    }
}
