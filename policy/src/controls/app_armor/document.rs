//! What a policy writes of AppArmor, and the profiles that it brings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::text::Brought;
use super::{AppArmor, builtin, generate};
use crate::controls::allow_list::AllowLists;
use crate::controls::glob::Glob;
use crate::controls::seccomp::ProfileError;
use crate::document::DocumentError;
use crate::floor::Floor;

/// The AppArmor profiles that a container may ask for, by the names under which they are loaded in
/// the node's kernel. A container that names none, or `unconfined` (Kubernetes: `appArmorProfile:
/// {type: Unconfined}`), is not confined, and counts as asking for `unconfined`. Of several profiles
/// that are stacked (`a//&b`), each confines, and it is enough if one of them is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AppArmorDocument {
    /// The profile for a container that asks for none, or for one that is not allowed. Always
    /// allowed. Without it such a container is refused. A name: `coaming-default`, which is built in, or
    /// that of a profile that the node has loaded. Or a profile that comes with the policy, as
    /// `{file: profiles/payments.aa}`, or `{generated: true}`, one made of the policy's own rules. What comes with
    /// the policy is loaded before its first use, under a name that carries its digest.
    #[serde(default)]
    pub default: Option<DefaultProfile>,
    /// Names of allowed profiles; `*` stands for any run of characters. `unconfined` is allowed only
    /// where it is listed by that name. Left out, every profile is allowed, and being unconfined is
    /// not.
    #[serde(default)]
    pub allow: Option<BTreeSet<Glob>>,
    /// `true`: a profile that the container asks for and that is not allowed stays, and the default is stacked
    /// with it, so that both confine. `false`: the default takes its place. Default: `true`.
    #[serde(default)]
    pub stack: Option<bool>,
}

/// The default profile.
#[derive(Debug, Clone, PartialEq, Eq, schemars::JsonSchema)]
#[serde(untagged)]
pub enum DefaultProfile {
    /// A name in the kernel, or `coaming-default`.
    Name(String),
    /// One that comes with the policy.
    Brought(BroughtProfile),
}

/// A profile that comes with the policy: one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BroughtProfile {
    /// A file with one AppArmor profile: a path below the policy's directory, in a folder of it.
    #[serde(default)]
    pub file: Option<String>,
    /// `true`: a profile made of this policy's `landlock`, `capabilities` and `seccomp.denySocketFamilies`, so
    /// that both modules enforce one set of rules. `coaming apparmor generate` prints it.
    #[serde(default)]
    pub generated: bool,
}

/// Read by hand: an untagged enum loses the names of fields that are not known.
impl<'de> Deserialize<'de> for DefaultProfile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = DefaultProfile;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a profile's name, {file: PATH} or {generated: true}")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<DefaultProfile, E> {
        Ok(DefaultProfile::Name(name.to_owned()))
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<DefaultProfile, M::Error> {
        let brought = BroughtProfile::deserialize(MapAccessDeserializer::new(map))?;
        if brought.file.is_some() == brought.generated {
            return Err(de::Error::custom(
                "a default that comes with the policy is either {file: PATH} or {generated: true}",
            ));
        }
        Ok(DefaultProfile::Brought(brought))
    }
}

impl AppArmor {
    /// Reads the profile that a document names. `others` is what else the policy demands, for a profile that is
    /// made of it, under the policy's name.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn load(
        document: AppArmorDocument,
        policy: &str,
        others: &Floor,
        read: &mut dyn FnMut(&str) -> Result<Vec<u8>, DocumentError>,
    ) -> Result<AppArmor, ProfileError> {
        let AppArmorDocument { default, allow, stack } = document;
        let brought = match &default {
            Some(DefaultProfile::Name(name)) => builtin(name).cloned(),
            Some(DefaultProfile::Brought(BroughtProfile { file: Some(file), .. })) => {
                let bytes = read(file).map_err(ProfileError::File)?;
                let wrong = |error: String| ProfileError::Content(format!("{file}: {error}"));
                let text = std::str::from_utf8(&bytes)
                    .map_err(|_| wrong("not UTF-8; save it as UTF-8".to_owned()))?;
                Some(Brought::read(text).map_err(wrong)?)
            }
            Some(DefaultProfile::Brought(_)) => {
                let text = generate::generate(policy, others).map_err(ProfileError::Content)?;
                Some(Brought::read(&text).map_err(ProfileError::Content)?)
            }
            None => None,
        };
        let name = match (&brought, default) {
            (Some(brought), _) => Some(brought.kernel_name.clone()),
            (None, Some(DefaultProfile::Name(name))) => Some(name),
            (None, _) => None,
        };
        let mut allow = allow.unwrap_or_else(|| "*".parse().into_iter().collect());
        allow.extend(name.as_deref().and_then(|name| name.parse().ok()));
        let profiles = brought.map(|brought| (brought.kernel_name, brought.text));
        Ok(AppArmor {
            defaults: name.into_iter().collect(),
            allow: AllowLists::of(allow),
            stack: stack.unwrap_or(true),
            profiles: profiles.into_iter().collect::<BTreeMap<_, _>>(),
        })
    }
}
