//! `coaming-agent`: the program.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use coaming_agent::agent::{self, Place};
use coaming_agent::error::AgentError;
use coaming_agent::render;

/// Brings a cluster's policies to this node, and reports what became of them (docs/kubernetes.md).
#[derive(Debug, Parser)]
#[command(name = "coaming-agent", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch the API server, from within a pod on the node, until told to end.
    Run {
        /// The node's name.
        #[arg(long)]
        node: String,
        /// The namespace whose ConfigMaps with the label coaming.dev/part-of-policy are profiles and signatures.
        #[arg(long, default_value = "coaming-system")]
        namespace: String,
        /// Within how many seconds a change is reported; nodes of a fleet take places in it.
        #[arg(long, default_value_t = 120)]
        report_within: u64,
        /// Say nothing of refused and degraded containers as Events.
        #[arg(long)]
        no_events: bool,
    },
    /// Write the files that the agents would write, and their manifest, for somebody to sign.
    Render {
        /// Files with Policies, Waivers and labelled ConfigMaps, as YAML or JSON.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// A folder, which is not there yet.
        #[arg(long)]
        into: PathBuf,
        /// A folder of policies that stand on the nodes besides: the manifest lists all files of a directory.
        #[arg(long)]
        beside: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            agent::log(&error.to_string());
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<(), AgentError> {
    match command {
        Command::Render { files, into, beside } => render::render(&files, &into, beside.as_deref()),
        Command::Run { node, namespace, report_within, no_events } => {
            let place = Place::of_this_node()?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| AgentError::Client(error.to_string()))?;
            runtime.block_on(async {
                let client = kube::Client::try_default().await;
                let client = client.map_err(|error| AgentError::Client(error.to_string()))?;
                let settings = agent::Settings {
                    node,
                    namespace,
                    report_within,
                    after_failure: 30,
                    look: Duration::from_secs(30),
                    events: !no_events,
                    quiet: Duration::from_secs(1),
                };
                agent::run(client, place, settings, agent::terminated()?).await
            })
        }
    }
}
