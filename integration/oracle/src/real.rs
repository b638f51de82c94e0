//! Profiles that people run, from files: each met with each.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use coaming_seccomp::{Source, Target, builtin};
use serde_json::Value;

use crate::Error;

/// What containerd gives a container (oci/spec.go, `defaultUnixCaps`), for profiles that depend on it.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// The profile of a file, in either format, or a built-in one (`builtin:NAME`), as an OCI section.
pub(crate) fn read(path: &Path) -> Result<Value, Error> {
    let caps: BTreeSet<String> = CAPABILITIES.map(str::to_owned).into();
    let target = Target { caps: &caps, kernel: (6, 1) };
    let name = path.to_string_lossy();
    let profile = match name.strip_prefix("builtin:") {
        Some(name) => builtin(name)
            .ok_or_else(|| Error::Section { what: format!("no built-in {name}") })?
            .resolve(&target)?,
        None => {
            let bytes = fs::read(path)
                .map_err(|source| Error::Io { object: path.display().to_string(), source })?;
            Source::parse(&bytes)?.resolve(&target)?
        }
    };
    Ok(profile.to_oci())
}

/// What a file is called in the output.
pub(crate) fn name(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}
