//! `make bench`: the stock shim and coaming's, on one node in one run: memory per pod, creates at once, execs, and the
//! way of a large output. Both have coaming's wrapper behind them, so that what differs is the shim. Then what a system
//! call costs under the merged filter, and what a thousand policies cost a start.
//!
//! `COAMING_BENCH_PODS` is the number of pods (50), `COAMING_BENCH_CREATES` that of creates at once (24).

mod creates;
mod density;
mod flow;
mod policies;
mod syscalls;
mod table;

use std::process::ExitCode;

use coaming_integration::{
    Containerd, Door, Error, Node, NodeConfig, PAIRS, Runtime, configuration, leftovers,
};

use crate::table::Table;

/// The two that are compared.
const DOORS: [Door; 2] = [Door::Wrapper, Door::ShimPath];

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Error> {
    if !coaming_integration::can_run()? {
        return Err(Error::Unavailable("nothing was measured".to_owned()));
    }
    let before = leftovers::footprint()?;
    let (containerd, runtime): (Containerd, Runtime) = PAIRS
        .into_iter()
        .rfind(|(_, runtime)| matches!(runtime, Runtime::Runc(_)))
        .ok_or_else(|| Error::Unavailable("no containerd with runc".to_owned()))?;
    let node = Node::start(NodeConfig::new(containerd, runtime))?;
    node.world().install_coaming()?;
    node.world().write("/etc/coaming/config.toml", configuration(runtime, "node"), 0o644)?;
    eprintln!("{containerd} with {runtime}: {}", node.cri()?.version()?);
    for table in [
        density::measure(&node, number("COAMING_BENCH_PODS", 50))?,
        creates::measure(&node, number("COAMING_BENCH_CREATES", 24))?,
        flow::execs(&node)?,
        flow::output(&node)?,
        syscalls::measure(&node)?,
        policies::measure(runtime)?,
    ] {
        Table::show(&table)?;
    }
    drop(node);
    let after = leftovers::footprint()?;
    if after == before {
        return Ok(());
    }
    let left: Vec<_> = after.symmetric_difference(&before).collect();
    Err(Error::Unavailable(format!("the machine is not as it was: {left:#?}")))
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn name(door: Door) -> &'static str {
    if door.is_shim() { "coaming" } else { "stock" }
}
