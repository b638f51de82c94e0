//! Merges that are wrong on purpose. An oracle that does not find them would find nothing.

use std::collections::BTreeSet;

use coaming_seccomp::{Arch, Profile, SeccompError};
use serde_json::{Value, json};

use crate::compare::{Merged, merge};
use crate::runtime;

/// Which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Wrong {
    /// The rules of one profile after those of the other, under the stricter default: what libseccomp then keeps of two
    /// rules is the first.
    Concatenate,
    /// Of LOG and ALLOW the laxer one.
    LogIsAllow,
    /// Conditions are compared in 32 bits.
    LowerHalves,
    /// An architecture that either profile covers.
    UnionOfArchitectures,
}

impl Wrong {
    /// # Errors
    /// Those of the right merge; libseccomp's count as [`SeccompError::Unsupported`].
    pub(crate) fn merge(self, a: &Value, b: &Value) -> Result<Merged, SeccompError> {
        match self {
            Wrong::Concatenate => concatenate(a, b),
            Wrong::LogIsAllow => {
                merge(&each_action(a, log_is_allow), &each_action(b, log_is_allow))
            }
            Wrong::LowerHalves => merge(&lower_halves(a), &lower_halves(b)),
            Wrong::UnionOfArchitectures => {
                let all: BTreeSet<String> = [a, b].into_iter().flat_map(architectures).collect();
                merge(&with(a, "architectures", json!(all)), &with(b, "architectures", json!(all)))
            }
        }
    }
}

fn concatenate(a: &Value, b: &Value) -> Result<Merged, SeccompError> {
    let [one, other] = [Profile::from_oci(a)?, Profile::from_oci(b)?];
    let stricter = if one.default_action() <= other.default_action() { a } else { b };
    let both = BTreeSet::from_iter(architectures(b));
    let shared: Vec<String> = architectures(a).filter(|arch| both.contains(arch)).collect();
    let rules = |of: &Value| of.get("syscalls").and_then(Value::as_array).cloned();
    let all: Vec<Value> = [a, b].into_iter().filter_map(rules).flatten().collect();
    let section = with(&with(stricter, "architectures", json!(shared)), "syscalls", json!(all));
    let program = runtime::compile(&section).map_err(|error| SeccompError::Unsupported {
        what: "the rules of both".to_owned(),
        why: error.to_string(),
    })?;
    let mut arches: BTreeSet<Arch> = shared.iter().filter_map(|name| Arch::parse(name)).collect();
    arches.insert(Arch::native());
    // Twice, so that nothing is compiled again.
    Ok(Merged { section, arches, programs: vec![program.clone(), program] })
}

fn log_is_allow(action: &str) -> &str {
    if action == "SCMP_ACT_LOG" { "SCMP_ACT_ALLOW" } else { action }
}

fn each_action(section: &Value, change: fn(&str) -> &str) -> Value {
    map(section, &|key, value| match (key, value.as_str()) {
        ("action" | "defaultAction", Some(action)) => Some(change(action).into()),
        _ => None,
    })
}

fn lower_halves(section: &Value) -> Value {
    map(section, &|key, value| match (key, value.as_u64()) {
        ("value" | "valueTwo", Some(value)) => Some((value & 0xffff_ffff).into()),
        _ => None,
    })
}

fn architectures(section: &Value) -> impl Iterator<Item = String> {
    let names = section.get("architectures").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(str::to_owned)
}

fn with(section: &Value, key: &str, value: Value) -> Value {
    let mut section = section.clone();
    if let Some(section) = section.as_object_mut() {
        section.insert(key.to_owned(), value);
    }
    section
}

fn map(value: &Value, change: &dyn Fn(&str, &Value) -> Option<Value>) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| map(item, change)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| {
                (key.clone(), change(key, value).unwrap_or_else(|| map(value, change)))
            })
            .collect(),
        _ => value.clone(),
    }
}
