//! `make bench`: starts under coaming and without it, side by side (`starts.rs`). Then the stock shim and coaming's, both
//! with coaming's wrapper behind them: memory per pod, creates at once, execs, and the way of a large output. Then what a
//! system call costs under the merged filter, and what many policies cost a start.
//!
//! `COAMING_BENCH_PEERS` names those of the starts that are compared, with `;` between them. `COAMING_BENCH_ONLY` names those to run (`starts density creates execs output syscalls policies`); `COAMING_BENCH_STARTS`
//! is the number of rounds of starts (60), `COAMING_BENCH_PODS` that of pods (50), `COAMING_BENCH_CREATES` that of creates at
//! once (24). `COAMING_BENCH_OUT` is the folder for JSON and plots (`target/bench`).

mod creates;
mod density;
mod flow;
mod policies;
mod report;
mod starts;
mod syscalls;
mod table;
mod timeline;

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
    let newest = |which: fn(&Runtime) -> bool| {
        let of = PAIRS.into_iter().rfind(|(_, runtime)| which(runtime));
        of.ok_or_else(|| Error::Unavailable("no containerd with runc and crun".to_owned()))
    };
    let (containerd, runc) = newest(|runtime| matches!(runtime, Runtime::Runc(_)))?;
    let (_, crun) = newest(|runtime| matches!(runtime, Runtime::Crun(_)))?;
    let setting = setting(containerd)?;
    table::say(&format!("{setting:#}\n"))?;
    if wanted("starts") {
        let rounds = number("COAMING_BENCH_STARTS", 60);
        let measured = starts::measure(containerd, (runc, crun), rounds)?;
        measured.figures.iter().try_for_each(|figure| table::say(&figure.text()))?;
        let folder = std::env::var_os("COAMING_BENCH_OUT").unwrap_or("target/bench".into());
        report::keep(&measured, &setting, folder.as_ref())?;
    }
    shims(containerd, runc)?;
    let after = leftovers::footprint()?;
    if after == before {
        return Ok(());
    }
    let left: Vec<_> = after.symmetric_difference(&before).collect();
    Err(Error::Unavailable(format!("the machine is not as it was: {left:#?}")))
}

/// What is measured of the two shims on one node.
fn shims(containerd: Containerd, runtime: Runtime) -> Result<(), Error> {
    let node = Node::start(NodeConfig::new(containerd, runtime))?;
    node.world().install_coaming()?;
    node.world().write("/etc/coaming/config.toml", configuration(runtime, "node"), 0o644)?;
    type Measure = fn(&Node) -> Result<Table, Error>;
    let all: [(&str, Measure); 6] = [
        ("density", |node| density::measure(node, number("COAMING_BENCH_PODS", 50))),
        ("creates", |node| creates::measure(node, number("COAMING_BENCH_CREATES", 24))),
        ("execs", flow::execs),
        ("output", flow::output),
        ("syscalls", syscalls::measure),
        ("policies", |node| policies::measure(node.config().runtime)),
    ];
    let mut all = all.into_iter().filter(|(name, _)| wanted(name));
    all.try_for_each(|(_, measure)| measure(&node)?.show())
}

/// Whether what has this name is to be measured.
fn wanted(name: &str) -> bool {
    std::env::var("COAMING_BENCH_ONLY")
        .map_or(true, |only| only.split([' ', ',']).any(|one| one == name))
}

/// The machine, and the versions of what is measured.
fn setting(containerd: Containerd) -> Result<serde_json::Value, Error> {
    let read = |path: &str| {
        std::fs::read_to_string(path).map_err(|source| Error::Io {
            operation: "read",
            object: path.to_owned(),
            source,
        })
    };
    let cpus = read("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let version = env!("CARGO_PKG_VERSION");
    let packages: Vec<String> =
        containerd.suite().fetched_versions().lines().map(str::to_owned).collect();
    Ok(serde_json::json!({
        "processor": model.trim_start_matches(['\t', ' ', ':']),
        "processors": cpus.matches("processor\t").count(),
        "kernel": read("/proc/sys/kernel/osrelease")?.trim(),
        "packages": packages,
        "coaming": version,
    }))
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn name(door: Door) -> &'static str {
    if door.is_shim() { "coaming" } else { "stock" }
}
