//! A cluster's objects as the files of one set.
//!
//! All policies and waivers become one file, so that a single rename brings all of them: a start sees the set
//! before it or the set after it. The profiles that they name lie in a folder whose name is their digest, and the
//! policies are made to name them there; a folder is never changed once it stands. What is written is a function of the
//! objects alone: the same objects give the same bytes on every node, and on the machine where somebody signs them.

mod text;

use std::collections::{BTreeMap, BTreeSet};

use coaming_config::trust::MAX_FILE_BYTES;
use coaming_policy::document::{MANIFEST, SIGNATURE as SIGNATURE_FILE, Sources};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::objects::{Cluster, ConfigMap, Kind, PROFILES, SIGNATURE};

/// The file of policies and waivers.
pub const FILE: &str = "kubernetes.yaml";
/// The folder of profiles.
pub const FOLDER: &str = "kubernetes";
/// The first line of [`FILE`], by which the agent knows its own.
pub const HEAD: &str =
    "# Written by coaming-agent of the cluster's objects. What is changed here is written over.\n";

/// The most policies and waivers together.
const MAX_DOCUMENTS: usize = 4096;
/// The most profiles, and what they may come to in bytes.
const MAX_PROFILES: usize = 1024;
const MAX_PROFILE_BYTES: usize = 16 * 1024 * 1024;
/// How deep an object may be; no field of a policy is half as deep.
const MAX_DEPTH: usize = 32;

/// Why an object keeps the whole set from being written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Kind and name; none where it is of no single object.
    pub object: Option<String>,
    /// What is wrong with it, and what to do.
    pub message: String,
}

/// A set as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The content of [`FILE`]; empty where there are neither policies nor waivers.
    pub documents: Vec<u8>,
    /// Profiles, by their paths below the policy directory.
    pub profiles: BTreeMap<String, Vec<u8>>,
    /// The folder that the profiles are in, below [`FOLDER`]; none where there are none.
    pub generation: Option<String>,
    /// The manifest and its signature, where somebody signed the set.
    pub signed: Option<(Vec<u8>, Vec<u8>)>,
    /// How many policies.
    pub policies: usize,
    /// How many waivers.
    pub waivers: usize,
}

/// Renders a cluster's objects.
///
/// # Errors
/// Everything that is wrong with them.
pub fn render(cluster: &Cluster) -> Result<Rendered, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut made = Rendered::default();
    let files = profiles(cluster, &mut faults);
    let generation = (!files.is_empty()).then(|| generation(&files));
    if cluster.documents.len() > MAX_DOCUMENTS {
        faults.push(of_none(format!(
            "{} policies and waivers, more than the {MAX_DOCUMENTS} that a set may have; put several rules into one policy",
            cluster.documents.len()
        )));
        return Err(faults);
    }
    let mut whole = String::new();
    for ((kind, name), spec) in &cluster.documents {
        let object = format!("{} {}", kind.name(), shown(name));
        match document(*kind, name, spec, &files, generation.as_deref()) {
            Ok(Document { text, named }) => {
                whole.push_str("---\n");
                whole.push_str(&text);
                whole.push('\n');
                made.profiles.extend(named);
            }
            Err(message) => faults.push(Fault { object: Some(object), message }),
        }
        match kind {
            Kind::Policy => made.policies += 1,
            Kind::Waiver => made.waivers += 1,
        }
    }
    if !whole.is_empty() {
        made.documents = format!("{HEAD}{whole}").into_bytes();
    }
    if made.documents.len() as u64 > MAX_FILE_BYTES {
        faults.push(of_none(format!(
            "the policies come to {} bytes, more than the {MAX_FILE_BYTES} that a node reads of a file; share rules between \
             them by `include`, or profiles",
            made.documents.len()
        )));
    }
    // A profile that nothing names is no part of a set, and is not written.
    made.generation = generation.filter(|_| !made.profiles.is_empty());
    made.signed = signed(cluster, &mut faults);
    if faults.is_empty() { Ok(made) } else { Err(faults) }
}

impl Rendered {
    /// The digest of all that is written.
    pub fn digest(&self) -> String {
        let mut whole = Sha256::new();
        let signed = self.signed.iter().flat_map(|(manifest, signature)| {
            [(MANIFEST, manifest.as_slice()), (SIGNATURE_FILE, signature.as_slice())]
        });
        let profiles = self.profiles.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        for (name, bytes) in
            [(FILE, self.documents.as_slice())].into_iter().chain(profiles).chain(signed)
        {
            whole.update(Sha256::digest(name));
            whole.update(Sha256::digest(bytes));
        }
        hex(&whole.finalize())
    }

    /// The set as a policy directory's sources, beside what stands there that is not the agent's.
    pub fn beside(&self, local: &Sources) -> Sources {
        let mut whole = local.clone();
        if !self.documents.is_empty() {
            whole.files.insert(FILE.to_owned(), self.documents.clone());
        }
        whole.profiles.extend(self.profiles.clone());
        if let Some((manifest, signature)) = &self.signed {
            whole.manifest = Some(manifest.clone());
            whole.signature = Some(signature.clone());
        }
        whole
    }
}

/// A policy or waiver as it is written, with the profiles that it names.
struct Document {
    text: String,
    named: BTreeMap<String, Vec<u8>>,
}

/// One policy or waiver as a document, judged by itself as a node's reader judges a file.
fn document(
    kind: Kind,
    name: &str,
    spec: &Value,
    files: &BTreeMap<String, String>,
    generation: Option<&str>,
) -> Result<Document, String> {
    if !is_name(name) {
        return Err("its name is not one: 1 to 253 lower-case letters, digits, - and ., as Kubernetes has them".to_owned());
    }
    if depth(spec, 0) > MAX_DEPTH {
        return Err(format!("it is deeper than {MAX_DEPTH} levels; no policy is"));
    }
    let mut spec = spec.clone();
    let mut alone = Sources::default();
    rename_profiles(&mut spec, &mut |named: &str| {
        let text = files.get(named)?;
        let place = format!("{FOLDER}/{}/{named}", generation?);
        alone.profiles.insert(place.clone(), text.clone().into_bytes());
        Some(place)
    });
    // In this order: the reader of documents wants `kind` before `spec`.
    let head = json!({"apiVersion": "coaming.dev/v1alpha1", "kind": kind.name(), "metadata": {"name": name}});
    let text = text::document(&head, &spec)?;
    alone.files.insert(format!("{}.{name}", kind.name()), text.clone().into_bytes());
    // What only the node has is looked for there, with the whole set.
    match alone.replay() {
        Err(error) if !named_elsewhere(&error.to_string()) => Err(error.to_string()),
        _ => Ok(Document { text, named: alone.profiles }),
    }
}

/// Whether a policy names a profile that no ConfigMap brings.
fn named_elsewhere(error: &str) -> bool {
    error.contains("not among the profiles that were kept")
}

/// Makes a policy name profiles where they are written.
fn rename_profiles(spec: &mut Value, place: &mut dyn FnMut(&str) -> Option<String>) {
    let mut rename = |value: Option<&mut Value>| {
        if let Some(value) = value
            && let Some(renamed) = value.as_str().and_then(&mut *place)
        {
            *value = Value::String(renamed);
        }
    };
    for pointer in
        ["/seccomp/default", "/seccomp/floor", "/landlock/profile", "/appArmor/default/file"]
    {
        rename(spec.pointer_mut(pointer));
    }
    let modules = spec.pointer_mut("/seLinux/modules").and_then(Value::as_array_mut);
    modules.into_iter().flatten().for_each(|module| rename(Some(module)));
}

/// The profiles of all ConfigMaps, as `MAP/KEY`.
fn profiles(cluster: &Cluster, faults: &mut Vec<Fault>) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folded = BTreeSet::new();
    let mut total = 0;
    let maps = cluster.maps.iter().filter(|(_, map)| map.part != SIGNATURE);
    for (name, ConfigMap { part, data, binary }) in maps {
        let mut fault = |message: String| {
            faults.push(Fault { object: Some(format!("ConfigMap {}", shown(name))), message });
        };
        if part != PROFILES {
            fault(format!(
                "its label says {}, and the agent knows {PROFILES} and {SIGNATURE}",
                shown(part)
            ));
            continue;
        }
        if *binary {
            fault("it has binaryData; profiles are text, under data".to_owned());
        }
        if !is_name(name) {
            fault("its name is not one: lower-case letters, digits, - and .".to_owned());
            continue;
        }
        for (key, text) in data {
            if !is_key(key) {
                fault(format!(
                    "its key {} is no name of a file: letters, digits, -, _ and ., no .. in front",
                    shown(key)
                ));
            } else if !folded.insert(format!("{name}/{}", key.to_ascii_lowercase())) {
                fault(format!("its key {key:?} differs from another only in the case of letters"));
            } else if text.len() as u64 > MAX_FILE_BYTES {
                fault(format!(
                    "its key {key:?} has {} bytes; a node reads {MAX_FILE_BYTES}",
                    text.len()
                ));
            } else {
                total += text.len();
                files.insert(format!("{name}/{key}"), text.clone());
            }
        }
    }
    if files.len() > MAX_PROFILES || total > MAX_PROFILE_BYTES {
        faults.push(of_none(format!(
            "{} profiles of {total} bytes; a set may have {MAX_PROFILES}, of {MAX_PROFILE_BYTES} bytes together",
            files.len()
        )));
    }
    files
}

/// The manifest and the signature, where one ConfigMap brings them.
fn signed(cluster: &Cluster, faults: &mut Vec<Fault>) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut maps = cluster.maps.iter().filter(|(_, map)| map.part == SIGNATURE);
    let (name, map) = maps.next()?;
    let object = Some(format!("ConfigMap {}", shown(name)));
    if let Some((other, _)) = maps.next() {
        let message = format!("{} brings a signature too; a set has one", shown(other));
        faults.push(Fault { object, message });
        return None;
    }
    match (map.data.get(MANIFEST), map.data.get(SIGNATURE_FILE)) {
        (Some(manifest), Some(signature)) => {
            Some((manifest.clone().into_bytes(), signature.clone().into_bytes()))
        }
        _ => {
            let message = format!(
                "it lacks {MANIFEST} or {SIGNATURE_FILE}; write both with `coaming-agent render` and minisign"
            );
            faults.push(Fault { object, message });
            None
        }
    }
}

fn generation(files: &BTreeMap<String, String>) -> String {
    let mut whole = Sha256::new();
    for (name, text) in files {
        whole.update(Sha256::digest(name));
        whole.update(Sha256::digest(text));
    }
    hex(&whole.finalize()).chars().take(32).collect()
}

/// Whether a name is one of Kubernetes' for such objects (a DNS subdomain). Kubernetes says so too; that it is what
/// it says it is, the agent does not take from it.
fn is_name(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.';
    let ends = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    name.len() <= 253
        && name.bytes().all(allowed)
        && ends(name.as_bytes().first())
        && ends(name.as_bytes().last())
        && !name.contains("..")
}

/// Whether a key of a ConfigMap can be a file's name.
fn is_key(key: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    !key.is_empty() && key.len() <= 200 && key.bytes().all(allowed) && !key.starts_with('.')
}

fn depth(value: &Value, above: usize) -> usize {
    if above > MAX_DEPTH {
        return above;
    }
    let below = |values: &mut dyn Iterator<Item = &Value>| {
        values.map(|value| depth(value, above + 1)).max()
    };
    match value {
        Value::Array(items) => below(&mut items.iter()),
        Value::Object(fields) => below(&mut fields.values()),
        _ => None,
    }
    .unwrap_or(above)
}

fn of_none(message: String) -> Fault {
    Fault { object: None, message }
}

/// A name that may be anything, for a message.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(80).collect();
    if is_name(name) && short.len() == name.len() { short } else { format!("{short:?}") }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
