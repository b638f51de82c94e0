//! The fixtures: `fixtures.yaml`, read strictly.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::node::Kind;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fixtures {
    pub(crate) version: String,
    /// How many files upstream has, by level and verdict.
    upstream: BTreeMap<Level, BTreeMap<Verdict, usize>>,
    /// Why a node does not see something, by short names.
    pub(crate) unseen: BTreeMap<String, String>,
    minimal: BTreeMap<Level, Value>,
    pub(crate) fixtures: Vec<Fixture>,
    pub(crate) ours: Vec<Fixture>,
}

/// A pod, relative to its level's minimal one, and what is said of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Fixture {
    /// Upstream's name of the check.
    pub(crate) check: String,
    file: String,
    pub(crate) verdict: Verdict,
    pub(crate) levels: Vec<Level>,
    #[serde(default)]
    pod: Value,
    #[serde(default)]
    container: Value,
    #[serde(default)]
    init_container: Value,
    #[serde(default)]
    annotations: Value,
    /// The controls that refuse it.
    #[serde(default)]
    pub(crate) by: BTreeSet<String>,
    /// The kind of node on which they do; all where there is none.
    #[serde(default)]
    pub(crate) on: Option<Kind>,
    #[serde(default)]
    pub(crate) unseen: Option<String>,
    #[serde(default)]
    unseen_at: Option<Vec<Level>>,
    #[serde(default)]
    pub(crate) mounted: Vec<String>,
    #[serde(default)]
    pub(crate) image: Option<Image>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    Baseline,
    Restricted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Pass,
    Fail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Image {
    Root,
}

impl Fixtures {
    pub(crate) fn read() -> Fixtures {
        serde_saphyr::from_str(include_str!("fixtures.yaml"))
            .unwrap_or_else(|error| panic!("{error}"))
    }

    /// The manifest.
    pub(crate) fn pod(&self, fixture: &Fixture, level: Level) -> Value {
        let mut spec = self.minimal[&level].clone();
        merge(&mut spec, &fixture.pod);
        merge(&mut spec["containers"][0], &fixture.container);
        merge(&mut spec["initContainers"][0], &fixture.init_container);
        let mut metadata = json!({"name": "fixture"});
        if !fixture.annotations.is_null() {
            metadata["annotations"] = fixture.annotations.clone();
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    }

    /// The pod with all its volumes mounted in its container; nothing where it has none.
    pub(crate) fn with_volumes_mounted(&self, mut pod: Value) -> Option<Value> {
        let volumes = pod["spec"]["volumes"].as_array()?;
        let mounts: Vec<Value> = volumes
            .iter()
            .map(|volume| json!({"name": volume["name"], "mountPath": format!("/mnt/{}", volume["name"])}))
            .collect();
        pod["spec"]["containers"][0]["volumeMounts"] = mounts.into();
        Some(pod)
    }
}

impl Fixture {
    pub(crate) fn name(&self) -> String {
        format!("{:?}/{}", self.verdict, self.file).to_lowercase()
    }

    pub(crate) fn is_unseen_at(&self, level: Level) -> bool {
        self.unseen.is_some()
            && self.unseen_at.as_ref().is_none_or(|levels| levels.contains(&level))
    }
}

/// RFC 7386; a patch that is null at the top is none.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return };
    if !into.is_object() {
        *into = Map::new().into();
    }
    let Value::Object(into) = into else { return };
    for (key, value) in patch {
        match value {
            Value::Null => drop(into.shift_remove(key)),
            Value::Object(_) => merge(into.entry(key.as_str()).or_insert(Value::Null), value),
            other => drop(into.insert(key.clone(), other.clone())),
        }
    }
}

#[test]
fn every_file_of_upstream_is_here_once() {
    let fixtures = Fixtures::read();
    let mut files: BTreeMap<Level, BTreeMap<Verdict, BTreeSet<&str>>> = BTreeMap::new();
    for fixture in &fixtures.fixtures {
        for level in &fixture.levels {
            let of_level = files.entry(*level).or_default().entry(fixture.verdict).or_default();
            assert!(of_level.insert(&fixture.file), "{} stands twice", fixture.name());
        }
    }
    let counted: BTreeMap<Level, BTreeMap<Verdict, usize>> = files
        .into_iter()
        .map(|(level, of)| {
            (level, of.into_iter().map(|(verdict, names)| (verdict, names.len())).collect())
        })
        .collect();
    assert_eq!(counted, fixtures.upstream);
}

#[test]
fn a_fixture_that_fails_is_refused_by_something_or_unseen_for_a_reason() {
    let fixtures = Fixtures::read();
    let mut used = BTreeSet::new();
    for fixture in fixtures.fixtures.iter().chain(&fixtures.ours) {
        let name = fixture.name();
        for level in &fixture.levels {
            let judged = fixture.is_unseen_at(*level) || !fixture.by.is_empty();
            assert!(fixture.verdict == Verdict::Pass || judged, "{name}");
            let idle =
                fixture.unseen_at.is_none() && fixture.unseen.is_some() && !fixture.by.is_empty();
            assert!(!idle, "{name} is unseen, and refused by something");
        }
        if let Some(why) = &fixture.unseen {
            assert!(fixtures.unseen.contains_key(why), "{name}: {why} is no reason");
            used.insert(why.clone());
        }
    }
    let reasons: BTreeSet<String> = fixtures.unseen.keys().cloned().collect();
    assert_eq!(used, reasons);
}
