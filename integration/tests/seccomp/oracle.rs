//! `seccomp-oracle`, one binary, under the libseccomp of each Debian suite.

use std::ffi::OsStr;
use std::process::Command;

use coaming_integration::{Error, Suite, binaries};
use serde_json::Value;

/// What it found, and whether all was right.
pub(crate) fn run<A: AsRef<OsStr>>(
    suite: Suite,
    args: impl IntoIterator<Item = A>,
) -> Result<(Value, bool), Error> {
    let libraries = suite.libraries();
    let output = Command::new(libraries.join("ld-linux-x86-64.so.2"))
        .arg("--library-path")
        .arg(&libraries)
        .arg(binaries::oracle()?)
        .args(args)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{:?}: {stderr}", output.status);
    let report = serde_json::from_slice(&output.stdout).unwrap();
    Ok((report, output.status.success()))
}

pub(crate) fn number(report: &Value, field: &str) -> u64 {
    report[field].as_u64().unwrap_or_else(|| panic!("no {field} in {report:#}"))
}

/// Pairs that coaming gives no filter for.
pub(crate) fn refused(report: &Value) -> u64 {
    let reasons = report["refused"].as_object().unwrap();
    reasons.values().filter_map(Value::as_u64).sum()
}
