//! The stock shim is the oracle: the same plays on it and on coaming's shim, both with coaming's wrapper behind them,
//! are answered alike, publish the same events in the same order, and leave nothing behind. What is not alike is in a
//! table, with its reason.

// All of this is tests, helpers included.
#![allow(clippy::panic, clippy::indexing_slicing)]

mod compare;
mod core_scheduling;
mod differences;
mod fifos;
mod residue;
mod restart;
mod scenarios;
mod sequence;
mod stage;
mod transcript;

use std::collections::BTreeSet;

use coaming_integration::{Containerd, Error, Runtime, Suite, can_run};

use compare::{Play, plays};

#[test]
fn containerd_1_6() -> Result<(), Error> {
    alike(Containerd::V1_6, Runtime::Runc(Suite::Bookworm))
}

#[test]
fn containerd_1_7() -> Result<(), Error> {
    alike(Containerd::V1_7, Runtime::Crun(Suite::Trixie))
}

#[test]
fn containerd_2() -> Result<(), Error> {
    alike(Containerd::V2, Runtime::Runc(Suite::Sid))
}

fn alike(containerd: Containerd, runtime: Runtime) -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let surprises = plays(containerd, runtime, Play::StockAndOurs)?;
    assert!(surprises.is_empty(), "{containerd} with {runtime}:\n{}", surprises.join("\n"));
    Ok(())
}

/// That the comparison tells shims apart, not the weather.
#[test]
#[ignore = "says nothing of coaming; for those who add scenarios"]
fn the_stock_shim_is_like_itself() -> Result<(), Error> {
    let pair = std::env::var("COAMING_PAIR").ok().and_then(|pair| pair.parse::<usize>().ok());
    for (number, (containerd, runtime)) in coaming_integration::PAIRS.into_iter().enumerate() {
        if pair.is_some_and(|pair| pair != number) {
            continue;
        }
        if !can_run()? {
            return Ok(());
        }
        let surprises = plays(containerd, runtime, Play::StockTwice)?;
        assert!(surprises.is_empty(), "{containerd} with {runtime}:\n{}", surprises.join("\n"));
    }
    Ok(())
}

#[test]
fn there_are_enough_scenarios_and_each_has_a_name() {
    let all = scenarios::all();
    let mut names: BTreeSet<&str> = all.iter().map(|scenario| scenario.name).collect();
    assert_eq!(names.len(), all.len());
    assert!(names.insert(restart::name()));
    assert!(all.len() >= 60, "{}", all.len());
    for difference in differences::ALL {
        assert!(names.contains(difference.scenario), "{}", difference.scenario);
        assert!(!difference.why.is_empty());
    }
}
