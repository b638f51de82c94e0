//! `SeccompProfile` objects of the Security Profiles Operator, as they are kept in repositories and given by `kubectl get`.
//!
//! Read from the operator's types, api/seccompprofile v1alpha1, v1beta1 and v1, and from what its daemon makes of them
//! (internal/pkg/daemon/seccompprofile): it writes `spec` down as JSON, in which absent, empty and zero are one. So an
//! `errnoRet` of 0 is none, an empty list of flags is no list, and a condition without a value compares with 0.
//!
//! What the operator would not install, or only together with other objects, is refused: a base profile, which is joined
//! to this one in the cluster, a profile that is disabled, and the parts of a recording.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::profile::{self, Profile, RawCondition, Rule};
use super::{Action, Arch, SeccompError};

/// The API group, before the slash and the version.
const GROUP: &str = "security-profiles-operator.x-k8s.io";
const VERSIONS: [&str; 3] = ["v1alpha1", "v1beta1", "v1"];
/// The label of what a node recorded and the operator has yet to merge (api/profilebase).
const PARTIAL: &str = "spo.x-k8s.io/partial";
/// The operator's word for the machine's own architecture.
const NATIVE: &str = "SCMP_ARCH_NATIVE";

/// The profile, if the bytes look like an object of Kubernetes and not like the JSON of a profile.
pub(super) fn read(bytes: &[u8]) -> Option<Result<Profile, SeccompError>> {
    let parsed = match bytes.iter().find(|byte| !byte.is_ascii_whitespace())? {
        b'{' => {
            // Whatever else is wrong with it, this is no object of Kubernetes.
            let head: Head = serde_json::from_slice(bytes).ok()?;
            head.api_version.as_ref().or(head.kind.as_ref())?;
            serde_json::from_slice(bytes).map_err(|error| error.to_string())
        }
        // The beginnings of other JSON values, for which the JSON reader has the better words.
        b'[' | b'"' => return None,
        _ => from_yaml(bytes),
    };
    Some(parsed.map_err(|reason| SeccompError::Parse { reason }).and_then(Object::profile))
}

fn from_yaml(bytes: &[u8]) -> Result<Object, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let options = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Object> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
            let error = error.without_snippet();
            let line = error.render().lines().next().unwrap_or_default().to_owned();
            format!("neither JSON nor a SeccompProfile object in YAML: {line}")
        })?;
    let count = documents.len();
    let mut documents = documents.into_iter();
    match (documents.next(), documents.next()) {
        (Some(object), None) => Ok(object),
        _ => Err(format!("{count} YAML documents; a profile file holds one SeccompProfile object")),
    }
}

/// What tells an object of Kubernetes from the JSON of a profile.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<IgnoredAny>,
    kind: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Object {
    api_version: String,
    kind: String,
    #[serde(default)]
    metadata: Metadata,
    spec: Spec,
    /// What the operator found; nothing of it is part of the profile.
    #[serde(default, rename = "status")]
    _status: Option<IgnoredAny>,
}

/// The fields of ObjectMeta (k8s.io/apimachinery, meta/v1). They are read to be known; labels alone say anything here.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Metadata {
    labels: Option<BTreeMap<String, String>>,
    name: Option<IgnoredAny>,
    generate_name: Option<IgnoredAny>,
    namespace: Option<IgnoredAny>,
    self_link: Option<IgnoredAny>,
    uid: Option<IgnoredAny>,
    resource_version: Option<IgnoredAny>,
    generation: Option<IgnoredAny>,
    creation_timestamp: Option<IgnoredAny>,
    deletion_timestamp: Option<IgnoredAny>,
    deletion_grace_period_seconds: Option<IgnoredAny>,
    annotations: Option<IgnoredAny>,
    owner_references: Option<IgnoredAny>,
    finalizers: Option<IgnoredAny>,
    managed_fields: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    default_action: String,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    listener_path: Option<String>,
    #[serde(default)]
    listener_metadata: Option<String>,
    #[serde(default)]
    syscalls: Option<Vec<Syscall>>,
    #[serde(default)]
    flags: Option<Vec<String>>,
    #[serde(default)]
    base_profile_name: Option<String>,
    /// `Enabled` or `Disabled`; before that it was a boolean.
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    disabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Syscall {
    names: Vec<String>,
    action: String,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Argument {
    index: u32,
    #[serde(default)]
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

impl Object {
    fn profile(self) -> Result<Profile, SeccompError> {
        let version = self.api_version.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix('/'));
        if !version.is_some_and(|version| VERSIONS.contains(&version)) {
            let problem = format!(
                "{:?}; a profile is an object of {GROUP}/v1beta1 (or {})",
                self.api_version,
                VERSIONS.join(", ")
            );
            return Err(SeccompError::value("apiVersion", problem));
        }
        if self.kind != "SeccompProfile" {
            let problem =
                format!("{:?}; the one kind that is read here is SeccompProfile", self.kind);
            return Err(SeccompError::value("kind", problem));
        }
        if self.metadata.labels.is_some_and(|labels| labels.contains_key(PARTIAL)) {
            return Err(refused(
                &format!("a SeccompProfile labelled {PARTIAL}"),
                "it is a part of a recording; take the profile that the operator merges from the parts",
            ));
        }
        self.spec.profile()
    }
}

impl Spec {
    fn profile(self) -> Result<Profile, SeccompError> {
        if let Some(base) = self.base_profile_name.filter(|name| !name.is_empty()) {
            return Err(refused(
                &format!("spec.baseProfileName {base:?}"),
                "the operator adds that profile's syscalls in the cluster, and it is not here. Copy its syscalls into \
                 spec.syscalls and remove baseProfileName, or take the profile that the operator wrote on a node, below \
                 /var/lib/kubelet/seccomp/operator",
            ));
        }
        match self.state.as_deref() {
            None | Some("" | "Enabled") if self.disabled != Some(true) => {}
            None | Some("" | "Enabled" | "Disabled") => {
                return Err(refused(
                    "a SeccompProfile that is disabled",
                    "the operator would not install it; enable it, or do not name it",
                ));
            }
            Some(other) => {
                let problem = format!("{other:?}; one of Enabled, Disabled");
                return Err(SeccompError::value("spec.state", problem));
            }
        }
        let names = self.architectures.unwrap_or_default();
        let (native, others): (Vec<String>, Vec<String>) =
            names.into_iter().partition(|name| name == NATIVE);
        let mut architectures = profile::architectures(&others)?;
        if !native.is_empty() {
            architectures.insert(Arch::native());
        }
        let flags = self.flags.filter(|flags| !flags.is_empty());
        let rules = self.syscalls.unwrap_or_default();
        Ok(Profile {
            default: Action::parse("spec.defaultAction", &self.default_action, None)?,
            architectures,
            flags: flags.as_deref().map(profile::flags).transpose()?,
            listener: profile::listener(self.listener_path, self.listener_metadata)?,
            rules: rules
                .into_iter()
                .enumerate()
                .map(|(at, rule)| rule.rule(at))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Syscall {
    fn rule(self, at: usize) -> Result<Rule, SeccompError> {
        let errno = self.errno_ret.filter(|errno| *errno != 0);
        let args: Vec<RawCondition> = self
            .args
            .unwrap_or_default()
            .into_iter()
            .map(|Argument { index, value, value_two, op }| RawCondition {
                index,
                value,
                value_two,
                op,
            })
            .collect();
        profile::rule(at, self.names, &self.action, errno, &args)
    }
}

fn refused(what: &str, why: &str) -> SeccompError {
    SeccompError::Unsupported { what: what.to_owned(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{Function, Reading, Source};

    const OBJECT: &str = r#"# a comment
apiVersion: security-profiles-operator.x-k8s.io/v1beta1
kind: SeccompProfile
metadata:
  name: payments
  namespace: shop
  annotations: {description: allowed calls}
spec:
  defaultAction: SCMP_ACT_ERRNO
  architectures: [SCMP_ARCH_NATIVE, SCMP_ARCH_X86]
  flags: []
  listenerPath: ""
  syscalls:
    - action: SCMP_ACT_ALLOW
      names: [read, write]
      errnoRet: 0
    - action: SCMP_ACT_ERRNO
      names: [clone3]
      errnoRet: 38
    - action: SCMP_ACT_ALLOW
      names: [personality]
      args:
        - {index: 0, op: SCMP_CMP_EQ}
        - {index: 1, value: 18446744073709551615, valueTwo: 8, op: SCMP_CMP_MASKED_EQ}
"#;

    fn profile(text: &str) -> Result<Profile, SeccompError> {
        match Source::parse(text.as_bytes())? {
            Source::Oci(profile) => Ok(profile),
            other => panic!("read as {other:?}"),
        }
    }

    /// The object with one member of one of its mappings put in place.
    fn with(pointer: &str, name: &str, value: Value) -> String {
        let mut object: Value = serde_saphyr::from_str(OBJECT).unwrap();
        object.pointer_mut(pointer).unwrap()[name] = value;
        object.to_string()
    }

    #[test]
    fn versions_words_and_listeners_are_those_of_the_operator() {
        let unheard = OBJECT.replace("/v1beta1", "/v9");
        assert!(profile(&unheard).unwrap_err().to_string().contains("apiVersion"));
        // A word that YAML 1.1 takes for a boolean is a name.
        let odd = with("/spec", "disabled", json!(false))
            .replace("\"disabled\":false", "\"disabled\":\"no\"");
        assert!(profile(&odd).is_err());
        assert!(profile(&OBJECT.replace("spec:\n", "spec:\n  disabled: no\n")).is_err());
        let listening = profile(&with("/spec", "listenerPath", json!("/run/agent.sock"))).unwrap();
        assert!(listening.listener().is_some());
        assert!(profile(OBJECT).unwrap().listener().is_none());
    }

    #[test]
    fn an_object_is_its_section_in_yaml_and_in_json() {
        let read = profile(OBJECT).unwrap();
        let native = Arch::native().oci();
        let mut arches = vec![native, "SCMP_ARCH_X86"];
        arches.sort_by_key(|name| Arch::parse(name));
        arches.dedup();
        let section = json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": arches,
            "syscalls": [
                {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [
                    {"index": 0, "value": 0, "op": "SCMP_CMP_EQ"},
                    {"index": 1, "value": u64::MAX, "valueTwo": 8, "op": "SCMP_CMP_MASKED_EQ"}]},
            ]
        });
        assert_eq!(read.to_oci(), section);
        assert_eq!(read, Profile::from_oci(&section).unwrap());
        assert!(Function::of(&read, Reading::Policy).is_ok());
        for version in VERSIONS {
            let json = with("", "apiVersion", json!(format!("{GROUP}/{version}")));
            assert_eq!(profile(&json).unwrap(), read, "{version}");
        }
    }

    #[test]
    fn what_a_cluster_adds_is_no_error() {
        let live = with(
            "",
            "status",
            json!({"status": "Installed", "localhostProfile": "operator/a.json"}),
        );
        assert!(profile(&live).is_ok());
        let meta = json!({"name": "a", "uid": "1", "generation": 3, "managedFields": [{}], "labels": {"a": "b"}});
        assert!(profile(&with("", "metadata", meta)).is_ok());
    }

    #[test]
    fn what_cannot_stand_by_itself_is_refused_with_a_remedy() {
        for (pointer, name, value, words) in [
            ("/spec", "baseProfileName", json!("runc-v1.2.0"), ["runc-v1.2.0", "spec.syscalls"]),
            ("/spec", "state", json!("Disabled"), ["disabled", "enable it"]),
            ("/spec", "disabled", json!(true), ["disabled", "enable it"]),
            ("/spec", "state", json!("Paused"), ["Paused", "Enabled"]),
            ("/metadata", "labels", json!({PARTIAL: "true"}), ["part of a recording", "merges"]),
            ("", "apiVersion", json!("v1"), ["\"v1\"", "v1beta1"]),
            ("", "kind", json!("List"), ["List", "SeccompProfile"]),
            ("/spec", "baseProfile", json!(""), ["baseProfile", "baseProfileName"]),
            ("/metadata", "labls", json!({}), ["labls", "labels"]),
            ("", "Spec", json!({}), ["Spec", "spec"]),
            ("/spec", "defaultErrnoRet", json!(1), ["defaultErrnoRet", "unknown field"]),
            ("/spec", "architectures", json!(["x86"]), ["x86", "SCMP_ARCH"]),
            ("/spec/syscalls/0", "errnoRet", json!(5), ["rule 0 (read", "returns no errno"]),
            ("/spec/syscalls/2/args/0", "index", json!(6), ["args[0]", "index 6"]),
        ] {
            let error = profile(&with(pointer, name, value)).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
        for fine in [json!(""), Value::Null] {
            assert!(profile(&with("/spec", "baseProfileName", fine)).is_ok());
        }
        assert!(profile(&with("/spec", "state", json!("Enabled"))).is_ok());
    }

    #[test]
    fn hostile_yaml_is_refused() {
        let twice = OBJECT.replace("spec:", "kind: SeccompProfile\nspec:");
        let two = format!("{OBJECT}---\n{OBJECT}");
        let mut bomb = "a: &a [x, x]\n".to_owned();
        for (old, new) in ('a'..='y').zip('b'..='z') {
            let all = vec![format!("*{old}"); 9].join(", ");
            bomb.push_str(&format!("{new}: &{new} [{all}]\n"));
        }
        let deep = "- ".repeat(100_000);
        for (text, word) in [
            (twice.as_str(), "uplicate"),
            (&two, "2 YAML documents"),
            ("# nothing\n", "0 YAML documents"),
            (&bomb, "neither JSON nor"),
            (&deep, "neither JSON nor"),
            ("defaultAction: SCMP_ACT_ALLOW\n", "neither JSON nor"),
            ("\u{0}", "neither JSON nor"),
        ] {
            let error = profile(text).unwrap_err().to_string();
            assert!(error.contains(word) && error.len() < 1000, "{error}");
        }
        assert!(Source::parse(&[0xff, 0xfe]).is_err());
    }
}
