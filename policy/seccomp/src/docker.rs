//! The containerd/Docker form of a profile: rules that depend on capabilities, architecture and kernel.
//! Fields and meaning: moby profiles/seccomp/seccomp.go (v24) and docs of `docker run --security-opt seccomp=`; Podman's
//! file (containers/common pkg/seccomp/types.go) has errors by name beside their numbers.

use std::collections::BTreeSet;
use std::str::FromStr;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::profile::{self, RawCondition, Rule};
use super::{Action, Arch, Profile, SeccompError};

/// What a conditional profile is resolved for; the architecture is the machine's own.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The container's bounding set, `CAP_...` names.
    pub caps: &'a BTreeSet<String>,
    /// Major and minor version of the running kernel.
    pub kernel: (u32, u32),
}

/// A profile in the containerd/Docker format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct DockerProfile {
    raw: Raw,
    rules: Vec<(Rule, Filter, Filter)>,
}

impl DockerProfile {
    /// The OCI section for one container.
    ///
    /// # Errors
    /// None today beyond what reading has checked; kept for values that only the target can judge.
    pub fn resolve(&self, target: &Target<'_>) -> Result<Profile, SeccompError> {
        let native = Arch::native();
        let rules = self
            .rules
            .iter()
            .filter(|(_, includes, excludes)| {
                includes.all(target, native) && !excludes.any(target, native)
            })
            .map(|(rule, _, _)| rule.clone())
            .collect();
        Ok(Profile {
            default: Action::parse(
                "defaultAction",
                &self.raw.default_action,
                errno(
                    "defaultErrno",
                    self.raw.default_errno_ret,
                    self.raw.default_errno.as_deref(),
                )?,
            )?,
            architectures: self.architectures(native)?,
            flags: self.raw.flags.as_deref().map(profile::flags).transpose()?,
            listener: profile::listener(
                self.raw.listener_path.clone(),
                self.raw.listener_metadata.clone(),
            )?,
            rules,
        })
    }

    /// True when the profile uses nothing that the OCI form lacks.
    pub(super) fn is_plain(&self) -> bool {
        self.raw.arch_map.is_none()
            && self.raw.default_errno.is_none()
            && self.raw.syscalls.iter().flatten().all(|r| {
                r.comment.is_none()
                    && r.errno.is_none()
                    && r.name.is_none()
                    && r.includes.is_none()
                    && r.excludes.is_none()
            })
    }

    fn architectures(&self, native: Arch) -> Result<BTreeSet<Arch>, SeccompError> {
        if let Some(names) = &self.raw.architectures {
            return profile::architectures(names);
        }
        let Some(entry) =
            self.raw.arch_map.iter().flatten().find(|e| e.architecture == native.oci())
        else {
            return Ok(BTreeSet::new());
        };
        let mut set =
            profile::architectures(entry.sub_architectures.as_deref().unwrap_or_default())?;
        set.insert(native);
        Ok(set)
    }
}

/// `includes` or `excludes` of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Filter {
    caps: Vec<String>,
    arches: Vec<String>,
    kernel: Option<(u32, u32)>,
}

impl Filter {
    /// moby: every named capability, one of the named architectures, at least the named kernel.
    fn all(&self, target: &Target<'_>, native: Arch) -> bool {
        self.caps.iter().all(|cap| target.caps.contains(cap))
            && (self.arches.is_empty() || self.arches.iter().any(|a| a == native.goarch()))
            && self.kernel.is_none_or(|kernel| target.kernel >= kernel)
    }

    /// moby: any one of what is named.
    fn any(&self, target: &Target<'_>, native: Arch) -> bool {
        self.caps.iter().any(|cap| target.caps.contains(cap))
            || self.arches.iter().any(|a| a == native.goarch())
            || self.kernel.is_some_and(|kernel| target.kernel >= kernel)
    }

    fn parse(place: &str, raw: Option<&RawFilter>) -> Result<Self, SeccompError> {
        let Some(raw) = raw else {
            return Ok(Self::default());
        };
        let caps = raw.caps.clone().unwrap_or_default();
        if let Some(cap) = caps.iter().find(|cap| caps::Capability::from_str(cap).is_err()) {
            return Err(SeccompError::value(
                format!("{place}.caps"),
                format!("unknown capability {cap:?}; names look like CAP_SYS_ADMIN"),
            ));
        }
        let mut arches = raw.arches.clone().unwrap_or_default();
        // moby 20.10's own default profile spells it so.
        for arch in arches.iter_mut().filter(|arch| *arch == "mips3l64n32") {
            "mipsel64n32".clone_into(arch);
        }
        if let Some(arch) = arches.iter().find(|name| Arch::ALL.iter().all(|a| a.goarch() != *name))
        {
            return Err(SeccompError::value(
                format!("{place}.arches"),
                format!(
                    "unknown architecture {arch:?}; names are Go's: amd64, arm64, s390x, x86, ..."
                ),
            ));
        }
        let kernel = raw.min_kernel.as_deref().filter(|text| !text.is_empty());
        Ok(Self { caps, arches, kernel: kernel.map(|text| version(place, text)).transpose()? })
    }
}

/// The number of an error that may be given by number, by name, or by both, which must then agree.
fn errno(
    place: &str,
    number: Option<u32>,
    name: Option<&str>,
) -> Result<Option<u32>, SeccompError> {
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Ok(number);
    };
    // Linux has none above 133 (EHWPOISON).
    let named = (1..=133_u32).find(|number| {
        i32::try_from(*number).is_ok_and(|raw| format!("{:?}", Errno::from_raw(raw)) == name)
    });
    match (named, number) {
        (Some(named), None) => Ok(Some(named)),
        (Some(named), Some(number)) if named == number => Ok(Some(named)),
        (Some(named), Some(number)) => Err(SeccompError::value(
            place,
            format!("{name} is {named}, and beside it stands {number}; leave one of them out"),
        )),
        (None, _) => Err(SeccompError::value(
            place,
            format!("unknown error {name:?}; names look like EPERM or ENOSYS"),
        )),
    }
}

fn version(place: &str, text: &str) -> Result<(u32, u32), SeccompError> {
    text.split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or_else(|| {
            SeccompError::value(
                format!("{place}.minKernel"),
                format!("{text:?} is not a kernel version; write two numbers, such as \"4.8\""),
            )
        })
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    default_action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default_errno_ret: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default_errno: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    architectures: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arch_map: Option<Vec<RawArchitecture>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flags: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listener_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listener_metadata: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    syscalls: Option<Vec<RawRule>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawArchitecture {
    architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawRule {
    /// The old singular form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    names: Option<Vec<String>>,
    action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errno: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    args: Option<Vec<RawCondition>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    includes: Option<RawFilter>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    excludes: Option<RawFilter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawFilter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caps: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arches: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_kernel: Option<String>,
}

impl TryFrom<Raw> for DockerProfile {
    type Error = SeccompError;

    fn try_from(raw: Raw) -> Result<Self, SeccompError> {
        if raw.architectures.is_some() && raw.arch_map.is_some() {
            return Err(SeccompError::value(
                "archMap",
                "architectures is set too; use one of the two",
            ));
        }
        for entry in raw.arch_map.iter().flatten() {
            profile::architectures(std::slice::from_ref(&entry.architecture))?;
            profile::architectures(entry.sub_architectures.as_deref().unwrap_or_default())?;
        }
        let rules = raw.syscalls.iter().flatten().enumerate().map(|(i, r)| conditional_rule(i, r));
        let profile = Self { rules: rules.collect::<Result<_, _>>()?, raw };
        // Everything that does not depend on the container is checked now, not at its start.
        profile.resolve(&Target { caps: &BTreeSet::new(), kernel: (0, 0) })?;
        Ok(profile)
    }
}

impl From<DockerProfile> for Raw {
    fn from(profile: DockerProfile) -> Self {
        profile.raw
    }
}

fn conditional_rule(at: usize, raw: &RawRule) -> Result<(Rule, Filter, Filter), SeccompError> {
    let names = match (&raw.name, &raw.names) {
        (Some(_), Some(_)) => {
            return Err(SeccompError::value(
                format!("rule {at}"),
                "both name and names; use names",
            ));
        }
        (Some(name), None) => vec![name.clone()],
        (None, names) => names.clone().unwrap_or_default(),
    };
    let rule = profile::rule(
        at,
        names,
        &raw.action,
        errno(&format!("rule {at}, errno"), raw.errno_ret, raw.errno.as_deref())?,
        raw.args.as_deref().unwrap_or_default(),
    )?;
    let place = format!("rule {at} ({})", rule.names.first().map_or("", String::as_str));
    let includes = Filter::parse(&format!("{place}, includes"), raw.includes.as_ref())?;
    let excludes = Filter::parse(&format!("{place}, excludes"), raw.excludes.as_ref())?;
    Ok((rule, includes, excludes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn caps(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&n| n.to_owned()).collect()
    }

    fn allowed(profile: &DockerProfile, held: &[&str], kernel: (u32, u32)) -> Vec<String> {
        let caps = caps(held);
        let resolved = profile.resolve(&Target { caps: &caps, kernel }).unwrap();
        resolved.rules.iter().flat_map(|r| r.names.clone()).collect()
    }

    #[test]
    fn rules_follow_capabilities_kernel_and_architecture() {
        let profile: DockerProfile = serde_json::from_value(json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "archMap": [
                {"architecture": Arch::native().oci(), "subArchitectures": ["SCMP_ARCH_X86"]},
                {"architecture": "SCMP_ARCH_S390X", "subArchitectures": ["SCMP_ARCH_S390"]}
            ],
            "syscalls": [
                {"names": ["read"], "action": "SCMP_ACT_ALLOW", "comment": "c", "includes": {}, "excludes": {}},
                {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
                {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN", "CAP_CHOWN"]}},
                {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38,
                 "excludes": {"caps": ["CAP_SYS_ADMIN"], "arches": ["mips3l64n32"]}},
                {"name": "sync", "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["mips"]}},
                {"names": ["kexec_load"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": [Arch::native().goarch()]}}
            ]
        }))
        .unwrap();
        assert_eq!(allowed(&profile, &[], (4, 4)), ["read", "clone3"]);
        assert_eq!(allowed(&profile, &["CAP_SYS_ADMIN"], (4, 8)), ["read", "ptrace"]);
        assert_eq!(
            allowed(&profile, &["CAP_SYS_ADMIN", "CAP_CHOWN"], (6, 1)),
            ["read", "ptrace", "mount"]
        );
        let none = caps(&[]);
        let resolved = profile.resolve(&Target { caps: &none, kernel: (6, 1) }).unwrap();
        assert_eq!(resolved.architectures, BTreeSet::from([Arch::native(), Arch::X86]));
        assert!(!profile.is_plain());
    }

    #[test]
    fn errors_have_numbers_or_names() {
        let resolved = |value: serde_json::Value| {
            let profile: DockerProfile = serde_json::from_value(value).unwrap();
            assert!(!profile.is_plain());
            profile.resolve(&Target { caps: &BTreeSet::new(), kernel: (6, 1) }).unwrap()
        };
        let profile = resolved(json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "defaultErrno": "ENOSYS", "syscalls": [
                {"names": ["bdflush"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "errno": "EPERM"},
                {"names": ["ipc"], "action": "SCMP_ACT_ERRNO", "errno": "EACCES", "includes": {}}]}));
        assert_eq!(profile.default_action(), Action::Errno(38));
        let actions: Vec<Action> = profile.rules.iter().map(|rule| rule.action).collect();
        assert_eq!(actions, [Action::Errno(1), Action::Errno(13)]);
    }

    #[test]
    fn mistakes_are_found_when_the_file_is_read() {
        let rule = |extra: serde_json::Value| {
            let mut rule = json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"});
            rule.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]})
        };
        for (value, word) in [
            (rule(json!({"includes": {"caps": ["CAP_SYS_ADMN"]}})), "CAP_SYS_ADMN"),
            (rule(json!({"includes": {"arches": ["x86_64"]}})), "x86_64"),
            (rule(json!({"includes": {"minKernel": "four"}})), "four"),
            (rule(json!({"includes": {"cap": []}})), "cap"),
            (rule(json!({"name": "write"})), "use names"),
            (rule(json!({"action": "ALLOW"})), "ALLOW"),
            (
                json!({"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "amd64"}]}),
                "amd64",
            ),
            (rule(json!({"action": "SCMP_ACT_ERRNO", "errno": "EPREM"})), "EPREM"),
            (
                rule(json!({"action": "SCMP_ACT_ERRNO", "errno": "EPERM", "errnoRet": 38})),
                "leave one",
            ),
        ] {
            let error = serde_json::from_value::<DockerProfile>(value).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
