//! `-info`: what this shim and the runtime behind it can do.
//!
//! containerd 2.x asks before it makes pods with user namespaces or recursive read-only mounts.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use coaming_config::{Configuration, PROGRAMS};
use containerd_shim_protos::types::introspection::{RuntimeInfo, RuntimeVersion};
use protobuf::well_known_types::any::Any;
use protobuf::{Message, MessageField};

use super::{RUNTIME, VerbError};
use crate::options::Options;
use crate::runtime;

/// As containerd's typeurl names `features.Features` of the runtime specification.
const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";
/// Options are short.
const LARGEST: u64 = 1 << 20;

/// The answer to `-info`; the options come on standard input.
pub(super) fn info(input: impl Read) -> Result<Vec<u8>, VerbError> {
    let mut bytes = Vec::new();
    input
        .take(LARGEST)
        .read_to_end(&mut bytes)
        .map_err(|error| VerbError::io("reading the options from", "standard input", error))?;
    let any = if bytes.is_empty() {
        None
    } else {
        let any = Any::parse_from_bytes(&bytes)
            .map_err(|error| VerbError::Other(format!("the options on standard input: {error}")))?;
        Some(any)
    };
    let configuration = Configuration::load()?;
    let options = Options::decode(any.as_ref())?;
    let wrapper = runtime::wrapper(&options.binary_name, &configuration, Path::new(PROGRAMS))?;
    let version = RuntimeVersion {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..RuntimeVersion::default()
    };
    let info = RuntimeInfo {
        name: RUNTIME.to_owned(),
        version: MessageField::some(version),
        options: any.into(),
        features: features(&wrapper).into(),
        ..RuntimeInfo::default()
    };
    info.write_to_bytes().map_err(|error| VerbError::Other(format!("the answer: {error}")))
}

/// What the runtime says of itself. A runtime without `features`, as older ones are, has none; that is no error.
fn features(wrapper: &Path) -> Option<Any> {
    let output = Command::new(wrapper)
        .arg("features")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let is_object = || {
        let text = std::str::from_utf8(&output.stdout).ok()?;
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).ok()
    };
    if !output.status.success() || is_object().is_none() {
        return None;
    }
    Some(Any { type_url: FEATURES.to_owned(), value: output.stdout, ..Any::default() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_runtimes_features_are_handed_on_as_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("runtime");
        let says = |script: &str| {
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            features(&program)
        };
        let any = says("[ \"$*\" = features ] && echo '{\"ociVersionMin\":\"1.0.0\"}'").unwrap();
        assert_eq!(any.type_url, FEATURES);
        assert_eq!(any.value, b"{\"ociVersionMin\":\"1.0.0\"}\n");
        assert!(says("echo unknown command >&2; exit 1").is_none());
        assert!(says("echo usage: runtime").is_none());
        assert!(features(&directory.path().join("none")).is_none());
    }
}
