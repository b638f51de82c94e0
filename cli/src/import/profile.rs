//! Seccomp profiles as Docker, containerd and the OCI spec have them.

use std::path::Path;

use coaming_policy::controls::seccomp::{ProfileError, Seccomp, SeccompDocument};

use super::written::{Policy, Written, file_name};

/// Whether a file is a seccomp profile, and no object of Kubernetes.
pub(super) fn is_one(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(bytes)
        .is_ok_and(|value| value.get("defaultAction").is_some() && value.get("kind").is_none())
}

/// A policy under which every container is within the profile.
pub(super) fn import(
    path: &Path,
    bytes: Vec<u8>,
    namespaces: &[String],
    written: &mut Written,
) -> Result<(), String> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = file_name(&stem);
    let file = format!("profiles/{name}.json");
    check(&file, &bytes)?;
    written.policies.push(Policy {
        name: format!("seccomp-{name}"),
        from: format!("the seccomp profile {}", path.display()),
        namespaces: namespaces.to_vec(),
        images: Vec::new(),
        sandboxes: false,
        spec: demand(&file),
    });
    written.profiles.push((file, bytes));
    Ok(())
}

/// The lines of a policy that demand a profile.
pub(super) fn demand(file: &str) -> String {
    format!(
        "  seccomp:\n    # Met with the profile that a container asks for; only what both allow is allowed.\n    \
         floor: {file}\n"
    )
}

/// Whether a policy may name the profile.
pub(super) fn check(file: &str, bytes: &[u8]) -> Result<(), String> {
    let document = SeccompDocument { floor: Some(file.to_owned()), ..SeccompDocument::default() };
    match Seccomp::load(document, &mut |_| Ok(bytes.to_vec())) {
        Ok(_) => Ok(()),
        Err(ProfileError::Content(problem)) => Err(problem),
        Err(ProfileError::File(error)) => Err(error.to_string()),
    }
}
