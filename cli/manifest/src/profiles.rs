//! seccomp, AppArmor and SELinux (kubelet pkg/kubelet/kuberuntime/helpers.go, getSeccompProfile;
//! containerd internal/cri/sputil).

use std::collections::BTreeSet;

use coaming_seccomp::{Target, builtin};
use serde_json::Value;

use crate::error::ManifestError;
use crate::field::Field;
use crate::pod::Shared;
use crate::privileges::Privileges;

/// The profile that containerd loads for itself (internal/cri/server, appArmorDefaultProfileName).
const APP_ARMOR_DEFAULT: &str = "cri-containerd.apparmor.d";
/// The annotation from before AppArmor had a field (Kubernetes 1.30).
const APP_ARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// A profile as a manifest names it.
enum Kind<'a> {
    RuntimeDefault,
    Unconfined,
    Localhost(&'a str),
}

impl<'a> Kind<'a> {
    /// `seccompProfile` or `appArmorProfile`; nothing where it is absent.
    fn of(profile: &Field<'a>) -> Result<Option<Kind<'a>>, ManifestError> {
        if profile.is_absent() {
            return Ok(None);
        }
        let kind = profile.get("type")?;
        match kind.name()? {
            "RuntimeDefault" => Ok(Some(Kind::RuntimeDefault)),
            "Unconfined" => Ok(Some(Kind::Unconfined)),
            "Localhost" => Ok(Some(Kind::Localhost(profile.get("localhostProfile")?.name()?))),
            other => Err(kind.wrong(format!(
                "unknown type {other:?} (known: RuntimeDefault, Unconfined, Localhost)"
            ))),
        }
    }
}

/// `linux.seccomp` of a container; nothing where it has no filter.
pub(crate) fn seccomp(
    pod: &Shared<'_>,
    container: &Field<'_>,
    privileges: &Privileges,
    approximations: &mut Vec<String>,
) -> Result<Option<Value>, ManifestError> {
    let profile = pod.effective(container, "seccompProfile")?;
    let kind = Kind::of(&profile)?;
    if privileges.privileged {
        return Ok(None);
    }
    match kind {
        None if pod.settings.seccomp_default => {
            runtime_default(pod, &privileges.capabilities, approximations).map(Some)
        }
        None | Some(Kind::Unconfined) => Ok(None),
        Some(Kind::RuntimeDefault) => {
            runtime_default(pod, &privileges.capabilities, approximations).map(Some)
        }
        Some(Kind::Localhost(name)) => {
            let known = pod.settings.seccomp_profiles.get(name).cloned();
            if known.is_none() {
                approximations.push(format!(
                    "the seccomp profile {name} is a file of the node and not known; taken to allow everything"
                ));
            }
            Ok(known)
        }
    }
}

/// `linux.seccomp` for `RuntimeDefault`.
pub(crate) fn runtime_default(
    pod: &Shared<'_>,
    capabilities: &[String],
    approximations: &mut Vec<String>,
) -> Result<Value, ManifestError> {
    approximations.push(
        "RuntimeDefault is the profile of the node's containerd; coaming's runtime-default stands for it"
            .to_owned(),
    );
    let caps: BTreeSet<String> = capabilities.iter().cloned().collect();
    let target = Target { caps: &caps, kernel: pod.settings.kernel };
    let unusable = |why: String| pod.spec.wrong(format!("RuntimeDefault cannot be made: {why}"));
    let source = builtin("runtime-default").ok_or_else(|| unusable("not built in".to_owned()))?;
    match source.resolve(&target) {
        Ok(profile) => Ok(profile.to_oci()),
        Err(error) => Err(unusable(error.to_string())),
    }
}

/// `process.apparmorProfile`; nothing where there is none.
pub(crate) fn app_armor(
    pod: &Shared<'_>,
    container: &Field<'_>,
    name: &str,
    privileged: bool,
    approximations: &mut Vec<String>,
) -> Result<Option<String>, ManifestError> {
    let own = container.at(&["securityContext", "appArmorProfile"])?;
    let key = format!("{APP_ARMOR_ANNOTATION}{name}");
    let annotation = pod.metadata.at(&["annotations", &key])?;
    let of_pod = pod.security.get("appArmorProfile")?;
    let kind = match Kind::of(&own)? {
        Some(kind) => Some(kind),
        None => match annotation.string()? {
            Some("runtime/default") => Some(Kind::RuntimeDefault),
            Some("unconfined") => Some(Kind::Unconfined),
            Some(text) => match text.strip_prefix("localhost/") {
                Some(profile) => Some(Kind::Localhost(profile)),
                None => {
                    return Err(annotation.wrong(format!(
                        "{text:?} is neither runtime/default nor unconfined nor localhost/PROFILE"
                    )));
                }
            },
            None => Kind::of(&of_pod)?,
        },
    };
    Ok(match kind {
        Some(Kind::Localhost(profile)) => {
            approximations.push(format!(
                "the AppArmor profile {profile} must be loaded on the node; where it is not, the kubelet starts nothing"
            ));
            Some(profile.to_owned())
        }
        Some(Kind::Unconfined) => None,
        Some(Kind::RuntimeDefault) if !privileged => Some(APP_ARMOR_DEFAULT.to_owned()),
        None if !privileged && pod.settings.app_armor => Some(APP_ARMOR_DEFAULT.to_owned()),
        Some(Kind::RuntimeDefault) | None => None,
    })
}

/// The labels of a process and of its files, where a manifest asks for any.
pub(crate) fn se_linux(
    options: &Field<'_>,
    approximations: &mut Vec<String>,
) -> Result<Option<(String, String)>, ManifestError> {
    if options.is_absent() {
        return Ok(None);
    }
    let part = |key: &str, default: &str| -> Result<String, ManifestError> {
        Ok(options.get(key)?.string()?.unwrap_or(default).to_owned())
    };
    let (user, level) = (part("user", "system_u")?, part("level", "s0")?);
    let (role, kind) = (part("role", "system_r")?, part("type", "container_t")?);
    approximations.push(
        "SELinux labels are made where SELinux is enabled, with the node's defaults for what is not named"
            .to_owned(),
    );
    Ok(Some((
        format!("{user}:{role}:{kind}:{level}"),
        format!("{user}:object_r:container_file_t:{level}"),
    )))
}
