//! Lints of waivers: those that end soon or have ended, and those that waive nothing.

use std::collections::BTreeSet;

use coaming_policy::document::{Directory, Moment, SOON, WaiverDocument};

use super::{Warning, selection};

/// A waiver that holds for longer than this, in seconds, is hardly one.
const LONG: u64 = 366 * 24 * 60 * 60;

/// The lints of the waivers of a file or directory.
pub(crate) fn waivers(read: &Directory, now: Moment) -> Vec<Warning> {
    let mut found = Vec::new();
    for (file, waiver) in read.waivers() {
        let warnings = ends(waiver, now)
            .into_iter()
            .chain(waives_nothing(waiver, read))
            .chain(selection::waiver(&waiver.spec.selector.value));
        found.extend(warnings.map(|message| Warning {
            lint: "waiver",
            file: file.to_owned(),
            line: Some(waiver.metadata.line),
            policy: None,
            message: format!("waiver {}: {message}", waiver.metadata.value.name),
            fatal: false,
        }));
    }
    found
}

fn ends(waiver: &WaiverDocument, now: Moment) -> Option<String> {
    let (end, owner) = (waiver.end(), &waiver.spec.owner.value);
    let left = end.0.saturating_sub(now.0);
    match left {
        0 => Some(format!(
            "ended at {end} and waives nothing; remove it, or ask {owner} for another"
        )),
        left if left <= SOON => Some(format!("ends at {end}; its owner is {owner}")),
        left if left > LONG => Some(format!(
            "holds until {end}, for more than a year; a demand that is waived for so long is one that the \
             policy should not make of these containers"
        )),
        _ => None,
    }
}

/// A name that is not there, or controls that none of the policies states.
fn waives_nothing(waiver: &WaiverDocument, read: &Directory) -> Option<String> {
    const BUILT_IN: [&str; 2] = ["baseline", "node"];
    let known: BTreeSet<&str> = read.names().map(|(name, _)| name).collect();
    let named = waiver.spec.policies.as_ref();
    if let Some(missing) = named
        .into_iter()
        .flatten()
        .find(|name| !known.contains(name.as_str()) && !BUILT_IN.contains(&name.as_str()))
    {
        return Some(format!("spec.policies names {missing}, and there is no such policy here"));
    }
    let meant = |name: &str| named.is_none_or(|named| named.contains(name));
    if named.is_some_and(|named| BUILT_IN.iter().any(|name| named.contains(*name))) {
        return None;
    }
    let stated: BTreeSet<String> = read
        .floors()
        .filter(|(document, _)| meant(&document.metadata.value.name))
        .flat_map(|(_, floor)| floor.fields())
        .collect();
    let idle: Vec<&str> = waiver
        .spec
        .waives
        .value
        .iter()
        .filter(|control| !stated.contains(&format!("spec.{control}")))
        .map(String::as_str)
        .collect();
    // Of a file by itself nothing can be said of policies in others.
    (!idle.is_empty() && !known.is_empty())
        .then(|| format!("waives {}, which no policy that it is for states here", idle.join(", ")))
}
