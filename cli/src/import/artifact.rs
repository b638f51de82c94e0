//! A seccomp profile in an OCI image layout, as KEP-6061 proposes it: one manifest with the media type
//! below for its config or its artifact type, and one layer, which is the profile of the runtime spec as
//! it is. The proposal is not merged; what it says may change.

use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

const PROFILE: &str = "application/vnd.cncf.seccomp-profile.config.v1+json";
/// The largest profile of the proposal, and the largest manifest that is read here, in bytes.
const MAX_PROFILE: u64 = 1 << 20;
const MAX_MANIFEST: u64 = 1 << 20;

/// The profile of a layout.
pub(super) fn profile(folder: &Path) -> Result<Vec<u8>, String> {
    if !folder.join("oci-layout").is_file() {
        return Err("a folder without the file oci-layout is no OCI image layout; name files of Kubernetes objects or profiles one by one".to_owned());
    }
    let index = super::read(&folder.join("index.json"), MAX_MANIFEST)
        .map_err(|error| format!("index.json: {error}"))?;
    let index: Value =
        serde_json::from_slice(&index).map_err(|error| format!("index.json: {error}"))?;
    let manifest = only(&index, "manifests", "index.json")?;
    let bytes = blob(folder, manifest, MAX_MANIFEST)?;
    let manifest: Value =
        serde_json::from_slice(&bytes).map_err(|error| format!("the manifest: {error}"))?;
    let types = ["/artifactType", "/config/mediaType"];
    let found: Vec<&str> =
        types.iter().filter_map(|place| manifest.pointer(place)?.as_str()).collect();
    if !found.contains(&PROFILE) {
        return Err(format!(
            "an artifact of the type {}, not {PROFILE}",
            found.first().copied().unwrap_or("(none)")
        ));
    }
    blob(folder, only(&manifest, "layers", "the manifest")?, MAX_PROFILE)
}

/// The one entry of a list.
fn only<'a>(value: &'a Value, list: &str, of: &str) -> Result<&'a Value, String> {
    match value.get(list).and_then(Value::as_array).map(Vec::as_slice) {
        Some([one]) => Ok(one),
        Some(some) => Err(format!("{of} has {} {list}, and a profile has one", some.len())),
        None => Err(format!("{of} has no {list}")),
    }
}

/// The blob of a descriptor, if it is what its digest says.
fn blob(folder: &Path, descriptor: &Value, most: u64) -> Result<Vec<u8>, String> {
    let digest = descriptor.get("digest").and_then(Value::as_str).unwrap_or_default();
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() != 64 || !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(format!("the digest {digest:?} is none of SHA-256"));
    }
    let bytes = super::read(&folder.join("blobs/sha256").join(hex), most)
        .map_err(|error| format!("blobs/sha256/{hex}: {error}"))?;
    let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if found != hex {
        return Err(format!("blobs/sha256/{hex} has another digest, sha256:{found}"));
    }
    Ok(bytes)
}
