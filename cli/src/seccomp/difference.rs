//! `coaming seccomp diff`: the answer.

use std::collections::BTreeSet;
use std::io::Write;

use coaming_policy::seccomp::{Arch, Diff, Flag};
use serde_json::{Value, json};

use crate::error::CommandError;
use crate::output::{self, Format, Outcome};

pub(super) fn show(
    diff: &Diff,
    format: Format,
    out: &mut dyn Write,
) -> Result<Outcome, CommandError> {
    match format {
        Format::Json => output::json(&in_json(diff), out)?,
        Format::Text if diff.is_empty() => writeln!(out, "no difference")?,
        Format::Text => write!(out, "{diff}")?,
    }
    Ok(if diff.is_empty() { Outcome::Fine } else { Outcome::Findings })
}

fn in_json(diff: &Diff) -> Value {
    let arches = |set: &BTreeSet<Arch>| set.iter().map(|arch| arch.oci()).collect::<Vec<_>>();
    let flags = |set: &BTreeSet<Flag>| set.iter().map(|flag| flag.name()).collect::<Vec<_>>();
    let calls = diff.calls.iter().map(|call| {
        json!({
            "syscalls": call.syscalls,
            "architectures": call.architectures.iter().map(|arch| arch.oci()).collect::<Vec<_>>(),
            "when": call.when,
            "a": call.ours.to_string(),
            "b": call.theirs.to_string(),
        })
    });
    let boundaries = diff
        .boundaries
        .iter()
        .map(|(arch, a, b)| json!({"architecture": arch.oci(), "a": a, "b": b}));
    json!({
        "default": diff.default.map(|(a, b)| json!({"a": a.to_string(), "b": b.to_string()})),
        "architectures": {"a": arches(&diff.only_ours), "b": arches(&diff.only_theirs)},
        "flags": {"a": flags(&diff.flags_ours), "b": flags(&diff.flags_theirs)},
        "enosysAbove": boundaries.collect::<Vec<_>>(),
        "syscalls": calls.collect::<Vec<_>>(),
    })
}
