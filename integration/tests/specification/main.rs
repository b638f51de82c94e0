//! The table of fields held against the specification itself: the JSON schema as Debian packages it, and the types of the
//! crate `oci-spec`, which may know a newer version. Neither is copied here; both are read where they are installed.

// All of this file is tests, helpers included.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod schema;
mod types;

use std::collections::BTreeSet;
use std::path::PathBuf;

use coaming_integration::can_run;
use coaming_policy::spec::table::{Decision, FIELDS, decision};

/// Rows of fields that are in the specification (v1.3.0, config.md) and in neither source.
const NEWER: [&str; 1] = ["freebsd"];
/// Fields of the crate that the specification does not have: mappings beside `linux`, and names in another case.
const OF_THE_CRATE: [&str; 4] =
    ["uidMappings", "gidMappings", "linux.intelRdt.enableCmt", "linux.intelRdt.enableMbm"];

/// Places in the table's notation: `mounts[].options`, `linux.rdma{}.hcaObjects`.
type Places = BTreeSet<String>;

fn schema() -> Places {
    let places = schema::places(&cache().join("specification/schema")).unwrap();
    places.iter().map(|place| in_maps(place)).collect()
}

fn types() -> Places {
    let mut places = types::places("oci-spec").unwrap();
    let own = |place: &str| {
        OF_THE_CRATE.iter().any(|own| {
            place.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
        })
    };
    places.retain(|place| !own(place));
    places
}

/// The place with keys for `{}` where the table has a map: the schema lists the keys of
/// `linux.timeOffsets`, and the specification's own types have a map there, as the table has.
fn in_maps(place: &str) -> String {
    let maps = FIELDS.iter().filter_map(|(field, _)| field.strip_suffix("{}"));
    for map in maps {
        let Some(rest) = place.strip_prefix(map).and_then(|rest| rest.strip_prefix('.')) else {
            continue;
        };
        let below = rest.find(['.', '[', '{']).map_or("", |end| &rest[end..]);
        return format!("{map}{{}}{below}");
    }
    place.to_owned()
}

fn cache() -> PathBuf {
    std::env::var_os("COAMING_INTEGRATION_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/coaming-integration"), PathBuf::from)
}

/// Places without a row, besides those below a place for other platforms.
fn missing(places: &Places) -> Vec<&String> {
    let other_platform = |place: &str| {
        FIELDS.iter().any(|(field, decision)| {
            let rest = place.strip_prefix(field);
            *decision == Decision::NotLinux
                && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', '{']))
        })
    };
    places.iter().filter(|place| decision(place).is_none() && !other_platform(place)).collect()
}

#[test]
fn every_field_of_the_schema_has_a_row() {
    if !can_run().unwrap() {
        return;
    }
    let places = schema();
    assert!(places.len() > 250, "the schema was not understood: {places:?}");
    assert_eq!(missing(&places), Vec::<&String>::new());
}

#[test]
fn every_field_of_the_newest_types_has_a_row() {
    let places = types();
    assert!(places.len() > 250, "the types were not understood: {places:?}");
    assert_eq!(missing(&places), Vec::<&String>::new());
}

#[test]
fn every_row_is_a_field_of_the_specification() {
    if !can_run().unwrap() {
        return;
    }
    let known: Places = schema().into_iter().chain(types()).collect();
    let unknown: Vec<&str> = FIELDS
        .iter()
        .map(|(field, _)| *field)
        .filter(|field| !known.contains(*field) && !NEWER.contains(field))
        .collect();
    assert_eq!(unknown, Vec::<&str>::new());
    let needless: Vec<&&str> = NEWER.iter().filter(|field| known.contains(**field)).collect();
    assert_eq!(needless, Vec::<&&str>::new(), "these are known now");
}

#[test]
fn a_field_that_the_table_lacks_is_noticed() {
    let places =
        ["process.args", "linux.newThing", "windows.newThing", "linux.resources.cpu.newThing"];
    let places = places.map(str::to_owned).into();
    assert_eq!(missing(&places), ["linux.newThing", "linux.resources.cpu.newThing"]);
}
