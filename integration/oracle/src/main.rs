//! `seccomp-oracle`: holds merged seccomp filters against the profiles that they were merged from, each answered rule by
//! rule. It says which libseccomp it runs with, and is run once with each.
//!
//! What it finds is one JSON object on standard output. It ends with 1 when a filter is wrong.

mod answer;
mod bpf;
mod compare;
mod machine;
mod plan;
mod points;
mod random;
mod ranges;
mod real;
mod rules;
mod runtime;
mod wrong;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand};
use coaming_seccomp::SeccompError;
use serde_json::{Value, json};

use crate::compare::{Merged, Tally, merge};
use crate::random::Random;
use crate::wrong::Wrong;

#[derive(Parser)]
#[command(about = "Holds merged seccomp filters against the rules that they were merged from")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Random pairs of profiles.
    Random {
        /// How many pairs.
        #[arg(long, default_value_t = 2000)]
        pairs: u64,
        /// At how many points in all.
        #[arg(long, default_value_t = 10_000_000)]
        points: u64,
        /// The seed of the first pair; the next has the next. By the clock when not given, and in the report.
        #[arg(long)]
        seed: Option<u64>,
        /// A merge that is wrong, to see it found.
        #[arg(long)]
        wrong: Option<Wrong>,
    },
    /// Each of these profiles with each, itself included.
    Real {
        /// OCI sections, files in Docker's format, or `builtin:runtime-default`.
        profiles: Vec<PathBuf>,
        /// At how many points in all.
        #[arg(long, default_value_t = 1_000_000)]
        points: u64,
        #[arg(long)]
        seed: Option<u64>,
        /// A merge that is wrong, to see it found.
        #[arg(long)]
        wrong: Option<Wrong>,
    },
    /// The random pair of a seed, and what it is merged into.
    Show { seed: u64 },
    /// Ranges across the upper half, as libseccomp compiles them and as coaming does.
    Ranges,
    /// One profile, or two merged: the OCI section, the program, syscalls to try under it and what they are to meet.
    Plan {
        /// Where to write `section.json`, `program`, `tries` and `wants`; also the programs of `one`, the `other` and
        /// `both` as a runtime gets them from libseccomp, before it adds anything.
        #[arg(long)]
        out: PathBuf,
        /// Profiles as in `real`, or `random:SEED` for a random pair.
        #[arg(required = true)]
        profiles: Vec<PathBuf>,
        /// Errnos that no syscall has, from 1000 on.
        #[arg(long)]
        distinct: bool,
    },
}

/// What can go wrong, other than a filter.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("a profile: {what}")]
    Section { what: String },
    #[error("libseccomp: {0}")]
    Library(String),
    #[error("coaming: {0}")]
    Coaming(#[from] SeccompError),
    #[error("{object}: {source}")]
    Io { object: String, source: std::io::Error },
}

fn main() -> ExitCode {
    let result = run(Arguments::parse().command).and_then(|(report, right)| {
        writeln!(std::io::stdout(), "{report:#}")
            .map_err(|source| Error::Io { object: "standard output".to_owned(), source })?;
        Ok(right)
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "seccomp-oracle: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result<(Value, bool), Error> {
    match command {
        Command::Random { pairs, points, seed, wrong } => {
            let seed = seed.unwrap_or_else(clock);
            let mut tally = Tally::default();
            for pair in 0..pairs {
                let mut random = Random::new(seed.wrapping_add(pair));
                let (a, b) = random::pair(&mut random);
                let each = points.checked_div(pairs).unwrap_or(0);
                tally.pair((&a, &b), merged_by(wrong), each, &mut random)?;
            }
            report(&tally, seed, json!({}))
        }
        Command::Real { profiles, points, seed, wrong } => {
            let seed = seed.unwrap_or_else(clock);
            let profiles = profiles
                .iter()
                .map(|path| Ok((real::name(path), real::read(path)?)))
                .collect::<Result<Vec<_>, Error>>()?;
            let (mut tally, mut random) = (Tally::default(), Random::new(seed));
            let each = points / (profiles.len().pow(2) as u64).max(1);
            let mut sizes = serde_json::Map::new();
            for (one, a) in &profiles {
                for (other, b) in &profiles {
                    let merged = tally.pair((a, b), merged_by(wrong), each, &mut random)?;
                    let sizes_of = merged.and_then(|merged| {
                        let rules = merged.section.get("syscalls")?.as_array()?.len();
                        let arches: Vec<&str> = merged.arches.iter().map(|a| a.oci()).collect();
                        Some(json!({
                            "instructions": merged.programs.first()?.len(),
                            "rules": rules,
                            "architectures": arches.join(" "),
                        }))
                    });
                    sizes.insert(format!("{one} & {other}"), sizes_of.unwrap_or(Value::Null));
                }
            }
            report(&tally, seed, json!({ "filters": sizes }))
        }
        Command::Show { seed } => {
            let (a, b) = random::pair(&mut Random::new(seed));
            let merged = match merge(&a, &b) {
                Ok(merged) => merged.section,
                Err(error) => error.to_string().into(),
            };
            Ok((json!({"one": a, "other": b, "merged": merged}), true))
        }
        Command::Ranges => {
            let counts = ranges::count()?;
            let right = counts.get("coamingWrong").and_then(Value::as_u64) == Some(0);
            Ok((with_library(counts)?, right))
        }
        Command::Plan { out, profiles, distinct } => {
            Ok((with_library(plan::write(&out, &profiles, distinct)?)?, true))
        }
    }
}

fn merged_by(wrong: Option<Wrong>) -> impl Fn(&Value, &Value) -> Result<Merged, SeccompError> {
    move |a, b| wrong.map_or_else(|| merge(a, b), |wrong| wrong.merge(a, b))
}

fn report(tally: &Tally, seed: u64, more: Value) -> Result<(Value, bool), Error> {
    let mut report =
        serde_json::to_value(tally).map_err(|error| Error::Section { what: error.to_string() })?;
    if let (Some(report), Value::Object(more)) = (report.as_object_mut(), more) {
        report.insert("seed".to_owned(), seed.into());
        let stricter = tally.stricter_conditions + tally.stricter_multiplexers + tally.given_up;
        #[allow(clippy::cast_precision_loss)] // far below 2^52
        let share = 100.0 * stricter as f64 / tally.points.max(1) as f64;
        report.insert("stricterPercent".to_owned(), format!("{share:.2}").into());
        report.extend(more);
    }
    Ok((with_library(report)?, tally.wrong == 0))
}

fn with_library(mut report: Value) -> Result<Value, Error> {
    let version = libseccomp::ScmpVersion::current().map_err(|e| Error::Library(e.to_string()))?;
    if let Some(report) = report.as_object_mut() {
        report.insert("libseccomp".to_owned(), version.to_string().into());
    }
    Ok(report)
}

fn clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs() << 20 | u64::from(now.subsec_micros())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    std::fs::write(path, bytes)
        .map_err(|source| Error::Io { object: path.display().to_string(), source })
}
