//! The cluster's objects as far as they are the agent's: policies, waivers, and ConfigMaps with profiles or a signature.

use std::collections::BTreeMap;

use serde_json::Value;

/// The label of ConfigMaps that are the agent's.
pub const LABEL: &str = "coaming.dev/part-of-policy";
/// Its value where a ConfigMap holds profiles.
pub const PROFILES: &str = "profiles";
/// Its value where one holds the manifest of the set and its signature.
pub const SIGNATURE: &str = "signature";

/// The kinds of objects that are policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A policy.
    Policy,
    /// A waiver.
    Waiver,
}

impl Kind {
    /// As it stands in documents.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Policy => "Policy",
            Kind::Waiver => "Waiver",
        }
    }

    /// As it stands in the API server's paths.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Policy => "policies",
            Kind::Waiver => "waivers",
        }
    }
}

/// All that a cluster holds for its nodes, as it was last heard.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cluster {
    /// The specs of policies and waivers, by kind and name.
    pub documents: BTreeMap<(Kind, String), Value>,
    /// ConfigMaps, by name.
    pub maps: BTreeMap<String, ConfigMap>,
}

/// A ConfigMap of the agent's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigMap {
    /// The value of [`LABEL`].
    pub part: String,
    /// Its keys and texts.
    pub data: BTreeMap<String, String>,
    /// Whether it has `binaryData`, which no profile is.
    pub binary: bool,
}

impl Cluster {
    /// Takes an object as it stands in a file, for rendering without an API server.
    ///
    /// # Errors
    /// What is not known, in words.
    pub fn take(&mut self, object: &Value) -> Result<(), String> {
        let text = |place: &str| object.pointer(place).and_then(Value::as_str).unwrap_or_default();
        let name = text("/metadata/name").to_owned();
        let kind = match (text("/apiVersion"), text("/kind")) {
            ("coaming.dev/v1alpha1", "Policy") => Kind::Policy,
            ("coaming.dev/v1alpha1", "Waiver") => Kind::Waiver,
            ("v1", "ConfigMap") => {
                let labels = object.pointer("/metadata/labels");
                let part = labels.and_then(|labels| labels.get(LABEL)).and_then(Value::as_str);
                let data = object.get("data").unwrap_or(&Value::Null);
                let binary = object.get("binaryData").is_some();
                let map = ConfigMap::of(part.unwrap_or_default(), data, binary);
                if self.maps.insert(name.clone(), map).is_some() {
                    return Err(format!("the ConfigMap {name:?} stands there twice"));
                }
                return Ok(());
            }
            ("v1", "List") => {
                let items = object.get("items").and_then(Value::as_array).into_iter().flatten();
                return items.into_iter().try_for_each(|item| self.take(item));
            }
            (version, kind) => {
                return Err(format!(
                    "{version} {kind} {name:?} is none of the agent's: Policy and Waiver of coaming.dev/v1alpha1, and \
                     ConfigMap with the label {LABEL}"
                ));
            }
        };
        let spec = object.get("spec").cloned().unwrap_or(Value::Null);
        match self.documents.insert((kind, name.clone()), spec) {
            None => Ok(()),
            Some(_) => Err(format!("the {} {name:?} stands there twice", kind.name())),
        }
    }
}

impl ConfigMap {
    /// A ConfigMap by its label and what stands under `data`.
    pub fn of(part: &str, data: &Value, binary: bool) -> ConfigMap {
        let data = data.as_object().into_iter().flatten();
        let data = data.filter_map(|(key, text)| Some((key.clone(), text.as_str()?.to_owned())));
        ConfigMap { part: part.to_owned(), data: data.collect(), binary }
    }
}
