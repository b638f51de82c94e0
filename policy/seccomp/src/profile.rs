//! The OCI form of a profile: `linux.seccomp` of the runtime spec (config-linux.md, "Seccomp").

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Action, Arch, SeccompError};

/// An OCI `linux.seccomp` section. Unknown fields, actions, operators, architectures and flags are refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct Profile {
    pub(super) default: Action,
    /// Empty: the native architecture alone. Runtimes always add the native one.
    pub(super) architectures: BTreeSet<Arch>,
    /// `None` is not the empty set: runtimes then choose SPEC_ALLOW (runc 1.1, libcontainer/specconv; crun 1.8).
    pub(super) flags: Option<BTreeSet<Flag>>,
    pub(super) listener: Option<Listener>,
    pub(super) rules: Vec<Rule>,
}

/// Where a runtime would send the notification descriptor of `SCMP_ACT_NOTIFY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// A unix socket, connected to by the runtime as root.
    pub path: String,
    /// An opaque string sent along.
    pub metadata: Option<String>,
}

/// A flag of seccomp(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flag {
    /// Accepted, and without effect: runc and crun synchronise threads anyway.
    Tsync,
    /// Log every answer but ALLOW.
    Log,
    /// Do not switch off speculative store bypass.
    SpecAllow,
    /// With NOTIFY only.
    WaitKillableRecv,
}

/// One entry of `syscalls`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) names: Vec<String>,
    pub(super) action: Action,
    pub(super) conditions: Vec<Condition>,
}

/// A condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Condition {
    /// 0 to 5.
    pub(super) index: usize,
    pub(super) test: Test,
}

/// What an argument is held against, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Ne(u64),
    Lt(u64),
    Le(u64),
    Eq(u64),
    Ge(u64),
    Gt(u64),
    /// `argument & mask == value`. In OCI profiles `value` is the mask and `valueTwo` the value: the spec does not
    /// say, runc and crun hand the two to libseccomp in that order.
    MaskedEq {
        mask: u64,
        value: u64,
    },
}

impl Profile {
    /// Reads the value of `linux.seccomp`.
    ///
    /// # Errors
    /// [`SeccompError::Parse`] for a wrong shape, [`SeccompError::Value`] for a wrong value, naming the rule.
    pub fn from_oci(value: &serde_json::Value) -> Result<Self, SeccompError> {
        let raw: Raw = serde_json::from_value(value.clone())
            .map_err(|e| SeccompError::Parse { reason: format!("linux.seccomp: {e}") })?;
        Self::try_from(raw)
    }

    /// The value for `linux.seccomp`. Defaults (errno 1) are written out.
    pub fn to_oci(&self) -> serde_json::Value {
        // Serialising plain structs with string keys into a Value cannot fail.
        serde_json::to_value(Raw::from(self.clone())).unwrap_or(serde_json::Value::Null)
    }

    /// What every syscall without a rule gets.
    pub fn default_action(&self) -> Action {
        self.default
    }

    /// The architectures as written; empty means native.
    pub fn architectures(&self) -> &BTreeSet<Arch> {
        &self.architectures
    }

    /// The listener socket, if the profile names one.
    pub fn listener(&self) -> Option<&Listener> {
        self.listener.as_ref()
    }

    /// True when any answer is `SCMP_ACT_NOTIFY`.
    pub fn notifies(&self) -> bool {
        self.default == Action::Notify || self.rules.iter().any(|r| r.action == Action::Notify)
    }

    /// The flags for seccomp(2) when the filter is loaded by someone other than the runtime
    /// (TSYNC left out: it would change what a failing load returns, and the loader has one thread).
    pub fn kernel_flags(&self) -> u32 {
        const LOG: u32 = 1 << 1;
        const SPEC_ALLOW: u32 = 1 << 2;
        let Some(flags) = &self.flags else {
            return SPEC_ALLOW;
        };
        flags.iter().fold(0, |bits, flag| {
            bits | match flag {
                Flag::Log => LOG,
                Flag::SpecAllow => SPEC_ALLOW,
                Flag::Tsync | Flag::WaitKillableRecv => 0,
            }
        })
    }

    /// The same profile, loaded so that the kernel logs the calls that it denies (`SECCOMP_FILTER_FLAG_LOG`).
    /// Flags that count where none is written are written out.
    #[must_use]
    pub fn logging_denials(&self) -> Profile {
        let mut flags = self.flags.clone().unwrap_or_else(|| BTreeSet::from([Flag::SpecAllow]));
        flags.insert(Flag::Log);
        Profile { flags: Some(flags), ..self.clone() }
    }

    /// The architectures that a filter of this profile covers.
    pub(super) fn covered(&self) -> BTreeSet<Arch> {
        let mut set = self.architectures.clone();
        set.insert(Arch::native());
        set
    }
}

impl Flag {
    const ALL: [(Flag, &'static str); 4] = [
        (Flag::Tsync, "SECCOMP_FILTER_FLAG_TSYNC"),
        (Flag::Log, "SECCOMP_FILTER_FLAG_LOG"),
        (Flag::SpecAllow, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"),
        (Flag::WaitKillableRecv, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"),
    ];

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(flag, _)| *flag)
    }

    /// The OCI name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(flag, _)| *flag == self).map_or("", |(_, name)| name)
    }
}

/// The JSON as it is; `null` and absent are the same, as they are to Go.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    default_action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default_errno_ret: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    architectures: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flags: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listener_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listener_metadata: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    syscalls: Option<Vec<RawRule>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawRule {
    names: Vec<String>,
    action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    args: Option<Vec<RawCondition>>,
}

/// An entry of `args`; the same in both formats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawCondition {
    pub(super) index: u32,
    pub(super) value: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) value_two: u64,
    pub(super) op: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde asks for
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl TryFrom<Raw> for Profile {
    type Error = SeccompError;

    fn try_from(raw: Raw) -> Result<Self, SeccompError> {
        let rules = raw.syscalls.unwrap_or_default();
        Ok(Self {
            default: Action::parse("defaultAction", &raw.default_action, raw.default_errno_ret)?,
            architectures: architectures(raw.architectures.as_deref().unwrap_or_default())?,
            flags: raw.flags.as_deref().map(flags).transpose()?,
            listener: listener(raw.listener_path, raw.listener_metadata)?,
            rules: rules
                .into_iter()
                .enumerate()
                .map(|(i, r)| rule(i, r.names, &r.action, r.errno_ret, &r.args.unwrap_or_default()))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl From<Profile> for Raw {
    fn from(profile: Profile) -> Self {
        let (listener_path, listener_metadata) = match profile.listener {
            Some(listener) => (Some(listener.path), listener.metadata),
            None => (None, None),
        };
        Self {
            default_action: profile.default.name().to_owned(),
            default_errno_ret: profile.default.errno(),
            architectures: Some(profile.architectures)
                .filter(|set| !set.is_empty())
                .map(|set| set.iter().map(|a| a.oci().to_owned()).collect()),
            flags: profile.flags.map(|set| set.iter().map(|f| f.name().to_owned()).collect()),
            listener_path,
            listener_metadata,
            syscalls: Some(profile.rules)
                .filter(|rules| !rules.is_empty())
                .map(|rules| rules.into_iter().map(RawRule::from).collect()),
        }
    }
}

impl From<Rule> for RawRule {
    fn from(rule: Rule) -> Self {
        let args: Vec<_> = rule.conditions.iter().map(RawCondition::from).collect();
        Self {
            names: rule.names,
            action: rule.action.name().to_owned(),
            errno_ret: rule.action.errno(),
            args: Some(args).filter(|args| !args.is_empty()),
        }
    }
}

impl From<&Condition> for RawCondition {
    fn from(condition: &Condition) -> Self {
        let (op, value, value_two) = match condition.test {
            Test::Ne(v) => ("SCMP_CMP_NE", v, 0),
            Test::Lt(v) => ("SCMP_CMP_LT", v, 0),
            Test::Le(v) => ("SCMP_CMP_LE", v, 0),
            Test::Eq(v) => ("SCMP_CMP_EQ", v, 0),
            Test::Ge(v) => ("SCMP_CMP_GE", v, 0),
            Test::Gt(v) => ("SCMP_CMP_GT", v, 0),
            Test::MaskedEq { mask, value } => ("SCMP_CMP_MASKED_EQ", mask, value),
        };
        Self {
            index: u32::try_from(condition.index).unwrap_or(u32::MAX),
            value,
            value_two,
            op: op.to_owned(),
        }
    }
}

/// Reads one entry of `syscalls`, of either format.
pub(super) fn rule(
    at: usize,
    names: Vec<String>,
    action: &str,
    errno: Option<u32>,
    args: &[RawCondition],
) -> Result<Rule, SeccompError> {
    let Some(first) = names.first() else {
        return Err(SeccompError::value(
            format!("rule {at}"),
            "no syscall is named; remove the rule",
        ));
    };
    let place = format!("rule {at} ({first}{})", if names.len() > 1 { ", ..." } else { "" });
    if names.iter().any(String::is_empty) {
        return Err(SeccompError::value(place, "an empty syscall name"));
    }
    let action = Action::parse(&place, action, errno)?;
    let conditions = args
        .iter()
        .enumerate()
        .map(|(n, arg)| condition(&format!("{place}, args[{n}]"), arg))
        .collect::<Result<_, _>>()?;
    Ok(Rule { names, action, conditions })
}

fn condition(place: &str, raw: &RawCondition) -> Result<Condition, SeccompError> {
    let index = usize::try_from(raw.index).unwrap_or(usize::MAX);
    if index > 5 {
        return Err(SeccompError::value(
            place,
            format!("index {index}: a syscall has arguments 0 to 5"),
        ));
    }
    let test = match raw.op.as_str() {
        "SCMP_CMP_NE" => Test::Ne(raw.value),
        "SCMP_CMP_LT" => Test::Lt(raw.value),
        "SCMP_CMP_LE" => Test::Le(raw.value),
        "SCMP_CMP_EQ" => Test::Eq(raw.value),
        "SCMP_CMP_GE" => Test::Ge(raw.value),
        "SCMP_CMP_GT" => Test::Gt(raw.value),
        "SCMP_CMP_MASKED_EQ" => Test::MaskedEq { mask: raw.value, value: raw.value_two },
        other => {
            return Err(SeccompError::value(
                place,
                format!(
                    "unknown operator {other:?}; one of SCMP_CMP_NE, _LT, _LE, _EQ, _GE, _GT, _MASKED_EQ"
                ),
            ));
        }
    };
    Ok(Condition { index, test })
}

pub(super) fn architectures(names: &[String]) -> Result<BTreeSet<Arch>, SeccompError> {
    names
        .iter()
        .map(|name| {
            Arch::parse(name).ok_or_else(|| {
                SeccompError::value(
                    "architectures",
                    format!("unknown architecture {name:?}; OCI names look like SCMP_ARCH_X86_64"),
                )
            })
        })
        .collect()
}

pub(super) fn flags(names: &[String]) -> Result<BTreeSet<Flag>, SeccompError> {
    names
        .iter()
        .map(|name| {
            Flag::parse(name).ok_or_else(|| {
                let known = Flag::ALL.map(|(_, name)| name).join(", ");
                SeccompError::value("flags", format!("unknown flag {name:?}; one of {known}"))
            })
        })
        .collect()
}

pub(super) fn listener(
    path: Option<String>,
    metadata: Option<String>,
) -> Result<Option<Listener>, SeccompError> {
    // Go writes and reads an absent string as "".
    match (path.filter(|p| !p.is_empty()), metadata.filter(|m| !m.is_empty())) {
        (None, None) => Ok(None),
        (Some(path), metadata) => Ok(Some(Listener { path, metadata })),
        (None, Some(_)) => Err(SeccompError::value("listenerMetadata", "set without listenerPath")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_section_survives_the_round_trip() {
        let value = json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG"],
            "listenerPath": "/run/agent.sock", "listenerMetadata": "m",
            "syscalls": [
                {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 0x7e02_0000_u64, "op": "SCMP_CMP_MASKED_EQ"}]},
                {"names": ["open"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13,
                 "args": [{"index": 1, "value": u64::MAX, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}]}
            ]
        });
        let profile = Profile::from_oci(&value).unwrap();
        assert_eq!(profile.to_oci(), value);
        assert_eq!(profile.listener().unwrap().path, "/run/agent.sock");
        assert_eq!(profile.kernel_flags(), 2);
        assert!(!profile.notifies());
        let again: Profile =
            serde_json::from_str(&serde_json::to_string(&profile).unwrap()).unwrap();
        assert_eq!(again, profile);
    }

    #[test]
    fn errors_name_rule_syscall_argument_and_remedy() {
        let wrong = |rule: serde_json::Value| {
            Profile::from_oci(&json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
                .unwrap_err()
                .to_string()
        };
        let error = wrong(json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_XX"}]}));
        assert!(
            error.contains("rule 0 (socket), args[0]") && error.contains("SCMP_CMP_NE"),
            "{error}"
        );
        let error = wrong(json!({"names": ["socket"], "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]}));
        assert!(error.contains("index 6"), "{error}");
        let error = wrong(json!({"names": [], "action": "SCMP_ACT_ERRNO"}));
        assert!(error.contains("no syscall is named"), "{error}");
        let error = wrong(json!({"names": ["a"], "action": "SCMP_ACT_ERRNO", "Args": []}));
        assert!(error.contains("Args"), "{error}");
        let error = wrong(json!({"names": ["a"], "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}]}));
        assert!(error.contains("-1"), "{error}");
    }

    #[test]
    fn architectures_and_flags_are_known_names() {
        for extra in [
            json!({"architectures": ["x86"]}),
            json!({"flags": ["LOG"]}),
            json!({"listenerMetadata": "m"}),
            json!({"defaultErrnoRet": 1}),
        ] {
            let mut value = json!({"defaultAction": "SCMP_ACT_ALLOW"});
            value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            assert!(Profile::from_oci(&value).is_err(), "{value}");
        }
        let minimal =
            Profile::from_oci(&json!({"defaultAction": "SCMP_ACT_KILL", "syscalls": null}))
                .unwrap();
        assert_eq!(minimal.default_action(), Action::KillThread);
        assert!(minimal.covered().contains(&Arch::native()));
        assert_eq!(minimal.kernel_flags(), 4, "no flags at all means SPEC_ALLOW to runtimes");
    }
}
