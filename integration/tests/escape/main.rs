//! What each control forbids, attempted from inside real containers: it works under the stock runtime and fails under
//! coaming, in a container's first process and in an exec, under every containerd with every runtime.
//!
//! The table says what is attempted, control by control; `drive` runs one group of it on one node; `spec` is how
//! containers ask for too much.

// All of this crate is tests, helpers included.
#![allow(clippy::panic, clippy::indexing_slicing)]

mod attempts;
mod case;
mod drive;
mod engines;
mod ground;
mod known;
mod matrix;
mod page;
mod rebuilt;
mod refusals;
mod results;
mod runtime_file;
mod spec;
mod stage;
mod table;
mod ways;

use std::collections::BTreeSet;

use coaming_integration::{Containerd, Door, Error, PAIRS, Runtime, can_run};

use case::{Ours, Stock};
use ground::Ground;

#[test]
fn containerd_1_6_runc() -> Result<(), Error> {
    escape(0)
}

#[test]
fn containerd_1_6_crun() -> Result<(), Error> {
    escape(1)
}

#[test]
fn containerd_1_7_runc() -> Result<(), Error> {
    escape(2)
}

#[test]
fn containerd_1_7_crun() -> Result<(), Error> {
    escape(3)
}

#[test]
fn containerd_2_runc() -> Result<(), Error> {
    escape(4)
}

#[test]
fn containerd_2_crun() -> Result<(), Error> {
    escape(5)
}

/// Every group of the table on one pair. All that differs from the table is told at once: one surprise must not hide
/// the next.
fn escape(pair: usize) -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let (containerd, runtime): (Containerd, Runtime) = PAIRS[pair];
    let ground = Ground::prepare(containerd, runtime, Door::of_pair(pair))?;
    let (rows, mut surprises) = matrix::hold(&ground)?;
    surprises.extend(page::differences(&rows, matrix::Place::callers(&ground), &[]));
    let (rebuilt, wrong) = rebuilt::hold(&ground)?;
    surprises.extend(wrong);
    results::keep(&format!("{containerd} with {runtime}"), &rows, &rebuilt)?;
    for group in table::groups() {
        surprises.extend(drive::group(&ground, group)?);
    }
    for refusal in refusals::ALL {
        surprises.extend(refusals::hold(&ground, refusal)?);
    }
    surprises.extend(refusals::best_effort_is_recorded(&ground)?);
    assert!(surprises.is_empty(), "{containerd} with {runtime}:\n{}", surprises.join("\n"));
    Ok(())
}

macro_rules! names {
    ($($field:ident: $rule:ty,)*) => {
        [$(stringify!($field)),*]
    };
}

#[test]
fn every_control_has_a_case() {
    let shown: BTreeSet<&str> = table::groups()
        .flat_map(|group| group.cases)
        .filter(|case| case.stock == Stock::Allowed && case.ours != Ours::Kept)
        .map(|case| case.control)
        .chain(refusals::ALL.iter().map(|refusal| refusal.control))
        // Of an exec alone, where it is refused before it starts: gate/exec_rules.rs.
        // Conditions refuse before anything starts: gate/selection.rs.
        // It forbids nothing: gate/denials.rs.
        .chain(["exec", "refuse", "logDenials"])
        .collect();
    for field in coaming_policy::for_each_control!(names) {
        let control = camel_case(field);
        assert!(shown.contains(control.as_str()), "no case shows what {control} forbids");
    }
}

#[test]
fn every_case_shows_something() {
    for group in table::groups() {
        for case in group.cases {
            let silent = match (case.stock, case.ours) {
                (Stock::Allowed, _) => false,
                (Stock::Answers(stock), Ours::Answers(ours)) => stock == ours,
                (Stock::Answers(_), Ours::Kept) => true,
                (Stock::Answers(_), _) => false,
                // Said to show nothing on kernels that lack it.
                (Stock::NotHere(_), _) => false,
            };
            assert!(!silent, "{}: {:?} shows nothing", group.name, case.see);
        }
    }
}

/// Documents name controls as JSON does.
fn camel_case(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(1);
        name + &head.to_uppercase() + tail
    })
}
