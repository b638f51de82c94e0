//! Merged is the stricter of both, at every point looked at: random pairs of profiles, and each real one with each.

use std::ffi::OsString;

use coaming_integration::{Error, Suite, can_run};
use serde_json::Value;

use crate::oracle::{number, refused, run};
use crate::profiles;

/// The pairs and points of a run; `make oracle` makes more of them.
fn share() -> (u64, u64) {
    let read = |name| std::env::var(name).ok().and_then(|value: String| value.parse().ok());
    (
        read("COAMING_ORACLE_PAIRS").unwrap_or(600),
        read("COAMING_ORACLE_POINTS").unwrap_or(3_000_000),
    )
}

#[test]
fn random_pairs() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let (pairs, points) = share();
    for suite in Suite::ALL {
        // Of refused pairs no point is looked at, so that a few more are asked for.
        let asked = points + points / 10;
        let words = ["random", "--pairs", &pairs.to_string(), "--points", &asked.to_string()]
            .map(str::to_owned);
        let (report, right) = run(suite, words)?;
        eprintln!("{suite}: {report:#}");
        assert!(right, "{report:#}");
        assert_eq!(number(&report, "wrong"), 0, "{report:#}");
        assert_eq!(number(&report, "pairs"), pairs);
        assert!(number(&report, "points") >= points, "{report:#}");
        assert!(refused(&report) * 100 < pairs * 5, "too many pairs are refused: {report:#}");
        assert!(number(&report, "longest") <= 4096);
        few_are_stricter(&report);
    }
    Ok(())
}

#[test]
fn real_pairs() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let folder = tempfile::tempdir().unwrap();
    let profiles = profiles::all(folder.path())?;
    for suite in Suite::ALL {
        let mut words: Vec<OsString> = vec!["real".into(), "--points".into(), "1000000".into()];
        words.extend(profiles.iter().map(OsString::from));
        let (report, right) = run(suite, words)?;
        eprintln!("{suite}: {report:#}");
        assert!(right && number(&report, "wrong") == 0, "{report:#}");
        assert_eq!(number(&report, "pairs"), profiles.len().pow(2) as u64);
        assert_eq!(refused(&report), 0, "{report:#}");
        few_are_stricter(&report);
        // One filter each, which the kernel takes.
        let filters = report["filters"].as_object().unwrap();
        assert_eq!(filters.len(), profiles.len().pow(2), "{report:#}");
        for (pair, filter) in filters {
            assert!((1..=4096).contains(&number(filter, "instructions")), "{pair}: {filter}");
        }
    }
    Ok(())
}

/// Merges that are wrong on purpose: an oracle that takes one for right is worth nothing.
#[test]
fn a_wrong_merge_is_found() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for wrong in ["concatenate", "log-is-allow", "lower-halves", "union-of-architectures"] {
        let words = ["random", "--pairs", "150", "--points", "700000", "--wrong", wrong];
        let (report, right) = run(Suite::Bookworm, words)?;
        eprintln!("{wrong}: {} points wrong", report["wrong"]);
        assert!(!right && number(&report, "wrong") > 0, "{wrong}: {report:#}");
    }
    // What others have done to real profiles.
    let [one, other] = [profiles::builtin(), profiles::own("no-devices")];
    let words: [OsString; 5] =
        ["real".into(), "--wrong".into(), "concatenate".into(), one.into(), other.into()];
    let (report, right) = run(Suite::Bookworm, words)?;
    assert!(!right && number(&report, "wrong") > 100, "{report:#}");
    Ok(())
}

/// The exceptions that one list of rules for all architectures forces are exceptions. An architecture that is given up is
/// so with all its calls, as x32 is wherever a condition on `socket` (containerd 1.7 and later) meets `socketcall`.
fn few_are_stricter(report: &Value) {
    let points = number(report, "points");
    let few = number(report, "stricterConditions") + number(report, "stricterMultiplexers");
    assert!(few * 50 < points, "{report:#}");
    assert!(number(report, "givenUp") * 5 < points, "{report:#}");
}
