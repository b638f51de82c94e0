//! What a system call costs under the filter that a container asks for, under the one into which coaming merges it with
//! the floor, and under both stacked, as two loaders would leave them.
//!
//! The kernel notes once, when a filter is loaded, which calls it lets through whatever their arguments are
//! (kernel/seccomp.c, `seccomp_cache_prepare`), for all filters of a process together. Such calls cost a look into a
//! bitmap, under one filter as under two: getpid, read and openat here. What depends on arguments runs through every
//! filter each time: there one merged filter is cheaper than two.

use std::process::Command;

use coaming_integration::cri::{ContainerSpec, Pod, Profile};
use coaming_integration::{Error, Node, binaries, images};
use serde_json::Value;

use crate::table::{Table, spread};

const CALLS: [&str; 4] = ["getpid", "read", "openat+close", "personality"];
/// Each filter's turn, and how many calls it makes in it.
const ROUNDS: usize = 31;
const TIMES: &str = "40000";

/// # Errors
/// The harness's own.
pub(crate) fn measure(node: &Node) -> Result<Table, Error> {
    let folder = tempfile::tempdir().map_err(|source| Error::Io {
        operation: "create",
        object: "a folder".to_owned(),
        source,
    })?;
    let folder = folder.path();
    let asked = folder.join("asked.json");
    std::fs::write(&asked, runtime_default(node)?.to_string()).map_err(|source| Error::Io {
        operation: "write",
        object: asked.display().to_string(),
        source,
    })?;
    said(
        Command::new(binaries::oracle()?)
            .args(["plan", "--out"])
            .arg(folder)
            .arg(&asked)
            .arg("builtin:runtime-default"),
    )?;
    let settings: [(&str, &[&str]); 4] = [
        ("no filter", &[]),
        ("asked", &["one"]),
        ("merged", &["both"]),
        ("stacked", &["one", "other"]),
    ];
    // Taken in turns: what else the machine does then falls on all alike.
    let mut rounds = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        for ((_, filters), times) in settings.iter().zip(&mut rounds) {
            let mut command = Command::new(binaries::probe()?);
            command.args(["cost", TIMES]).args(filters.iter().map(|name| folder.join(name)));
            let costs: Value = serde_json::from_str(&said(&mut command)?)
                .map_err(|error| Error::Unavailable(format!("no costs: {error}")))?;
            let of = |call: &&str| costs.get(*call).and_then(Value::as_f64).unwrap_or(f64::NAN);
            times.push(CALLS.each_ref().map(of));
        }
    }
    let mut table = Table::new(
        format!(
            "A system call under seccomp, ns of processor time, p50 of {ROUNDS} times {TIMES} calls in turn"
        ),
        &CALLS,
    );
    for ((name, _), times) in settings.iter().zip(&rounds) {
        table.row(*name, each_call(times, |middle, _, _| middle));
    }
    let [_, asked, merged, stacked] = &rounds;
    for (name, times) in [("merged", merged), ("stacked", stacked)] {
        let ratios: Vec<[f64; 4]> = times
            .iter()
            .zip(asked)
            .map(|(times, asked)| {
                std::array::from_fn(|at| at_or_nan(times, at) / at_or_nan(asked, at))
            })
            .collect();
        let pick: [(&str, Pick); 3] = [
            ("p50", |middle, _, _| middle),
            ("min", |_, least, _| least),
            ("max", |_, _, most| most),
        ];
        for (of, pick) in pick {
            table.row(format!("{name}/asked {of}"), each_call(&ratios, pick));
        }
    }
    Ok(table)
}

type Pick = fn(f64, f64, f64) -> f64;

fn each_call(times: &[[f64; 4]], pick: Pick) -> [f64; 4] {
    std::array::from_fn(|at| {
        let mut values: Vec<f64> = times.iter().map(|row| at_or_nan(row, at)).collect();
        let [middle, least, most] = spread(&mut values);
        pick(middle, least, most)
    })
}

fn at_or_nan(row: &[f64; 4], at: usize) -> f64 {
    row.get(at).copied().unwrap_or(f64::NAN)
}

/// The profile that containerd gives a pod that asks for RuntimeDefault.
fn runtime_default(node: &Node) -> Result<Value, Error> {
    let cri = node.cri()?;
    let sandbox = cri.run_pod(&Pod { host_network: true, ..Pod::new("costs", "runc") })?;
    let spec = ContainerSpec {
        seccomp: Some(Profile::RuntimeDefault),
        ..ContainerSpec::new("main", images::BUSYBOX, ["sleep", "100000"])
    };
    let id = cri.launch(&sandbox, &spec)?;
    let bundle = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}");
    let config = node.world().read(format!("{bundle}/config.json"))?;
    let config: Value = serde_json::from_str(&config)
        .map_err(|error| Error::Unavailable(format!("config.json: {error}")))?;
    cri.remove_pod(&sandbox)?;
    config
        .pointer("/linux/seccomp")
        .cloned()
        .ok_or_else(|| Error::Unavailable("RuntimeDefault gave no seccomp".to_owned()))
}

/// What a program of the host printed.
fn said(command: &mut Command) -> Result<String, Error> {
    let shown = format!("{command:?}");
    let output = command.output().map_err(|source| Error::Io {
        operation: "run",
        object: shown.clone(),
        source,
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let (code, stdout) = (output.status.code().unwrap_or(-1), text(&output.stdout));
    Err(Error::Command { command: shown, code, stdout, stderr: text(&output.stderr) })
}
