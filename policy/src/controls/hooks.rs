//! `hooks`: programs that the runtime runs as root at points of the container's life (runtime-spec,
//! config.md).
//!
//! A hook without an environment gets the runtime's own, or for some the container's, where
//! `LD_PRELOAD` names a library of the image (CVE-2025-23266). For `startContainer` runc takes an
//! empty environment for an absent one (libcontainer/configs, SetDefaultEnv), so each gets a variable.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Value, json};

use super::allow_list::AllowLists;
use super::{Asked, Finding, Mismatch, Node, Rule, Scope};
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const LISTS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// The environment of a hook that is given no other.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The OCI hooks that may run, as device vendors and CDI add them. Others are removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HooksDocument {
    /// The programs that may be hooks. An empty list allows none. Left out, all are allowed.
    #[serde(default)]
    pub allow: Option<BTreeSet<Hook>>,
}

/// The rule of one policy or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hooks {
    /// What may run.
    pub allow: AllowLists<Hook>,
}

/// A program that may be a hook. It must be a regular file that only root can write. Its arguments
/// are the caller's: list no interpreter, and no program that runs what it is told.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// The program's absolute path, exactly as the spec names it.
    #[serde(deserialize_with = "absolute")]
    pub path: String,
    /// The SHA-256 that its content must have, 64 hexadecimal digits. Left out, any content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub sha256: Option<Digest>,
    /// The names of variables that may be in its environment. Others are removed, and a hook without
    /// any gets a fixed `PATH`. Variables of the dynamic loader (`LD_PRELOAD`) run the caller's code.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub env: BTreeSet<String>,
}

fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let path = String::deserialize(deserializer)?;
    if path.starts_with('/') {
        return Ok(path);
    }
    Err(de::Error::custom(format!("the hook's path {path:?} is not absolute")))
}

/// A SHA-256 in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Digest(String);

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?.to_ascii_lowercase();
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Digest(text))
        } else {
            Err(de::Error::custom(format!("{text:?} is not a SHA-256 of 64 hexadecimal digits")))
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.path)?;
        match &self.sha256 {
            Some(digest) => write!(formatter, " (sha256 {})", digest.0),
            None => Ok(()),
        }
    }
}

impl From<HooksDocument> for Hooks {
    fn from(document: HooksDocument) -> Self {
        Hooks { allow: AllowLists::from_document(document.allow) }
    }
}

impl Rule for Hooks {
    const CONTROL: &'static str = "hooks";
    const SCOPE: Scope = Scope::Container;

    fn top() -> Self {
        Hooks { allow: AllowLists::all() }
    }

    fn meet(&self, other: &Self) -> Self {
        Hooks { allow: self.allow.meet(&other.allow) }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        if self.allow.is_all() {
            return Vec::new();
        }
        LISTS.iter().flat_map(|list| self.beyond(asked, &format!("hooks.{list}"))).collect()
    }

    fn verify(&self, _seen: &Seen) -> Vec<Mismatch> {
        // A hook has run before there is a process to look at.
        Vec::new()
    }
}

impl Hooks {
    fn beyond(&self, asked: &Asked<'_>, field: &str) -> Vec<Finding> {
        let hooks = view::items(asked.spec, field);
        let mut kept = Vec::with_capacity(hooks.len());
        let mut found = Vec::new();
        for (index, hook) in hooks.iter().enumerate() {
            let Some((path, digest)) = program(hook, asked.node) else {
                let allowed = "a regular file that only root can write".to_owned();
                found.push((format!("{field}[{index}]"), hook.clone(), allowed));
                continue;
            };
            if !self.allow.allow(|entry| entry.is(path, digest)) {
                found.push((format!("{field}[{index}]"), hook.clone(), self.allow.in_words()));
                continue;
            }
            let env = self.environment(hook, path, digest);
            if view::at(hook, "env") != Some(&env) {
                let allowed = "an environment of its own, of allowed variables".to_owned();
                found.push((field.to_owned(), hook.clone(), allowed));
            }
            let mut hook = hook.clone();
            if let Value::Object(hook) = &mut hook {
                hook.insert("env".to_owned(), env);
            }
            kept.push(hook);
        }
        let remedy = vec![Edit::Set(field.to_owned(), kept.into())];
        found
            .into_iter()
            .map(|(field, asked, allowed)| Finding {
                field,
                asked,
                allowed,
                remedy: Some(remedy.clone()),
            })
            .collect()
    }

    /// What of the hook's environment is allowed; never empty.
    fn environment(&self, hook: &Value, path: &str, digest: &str) -> Value {
        let allowed = |variable: &&str| {
            let name = variable.split('=').next().unwrap_or_default();
            *variable == PATH
                || self.allow.allow(|entry| entry.is(path, digest) && entry.env.contains(name))
        };
        let kept: Vec<&str> = view::strings(hook, "env").filter(allowed).collect();
        if kept.is_empty() { json!([PATH]) } else { json!(kept) }
    }
}

impl Hook {
    fn is(&self, path: &str, digest: &str) -> bool {
        self.path == path && self.sha256.as_ref().is_none_or(|wanted| wanted.0 == digest)
    }
}

/// The hook's program and its digest; `None` where it is no file that root alone can write.
fn program<'a>(hook: &'a Value, node: &'a Node) -> Option<(&'a str, &'a str)> {
    let path = view::text(hook, "path")?;
    Some((path, node.hook_digests.get(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced, is_within, touches_only};
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    fn allow(hooks: &Value) -> Hooks {
        serde_json::from_value::<HooksDocument>(json!({"allow": hooks})).unwrap().into()
    }

    fn digest(digit: &str) -> String {
        digit.repeat(64)
    }

    fn hooked(list: &str, hook: Value) -> Value {
        json!({"hooks": {list: [hook]}})
    }

    #[test]
    fn only_the_listed_program_stays() {
        let rule = allow(&json!([{"path": "/usr/bin/hook-a", "sha256": digest("A")},
            {"path": "/usr/bin/hook-b", "sha256": digest("0")}, {"path": "/usr/bin/gone"}]));
        for list in LISTS {
            let after = |path: &str| {
                let hook = json!({"path": path, "env": [PATH]});
                enforced(&rule, &hooked(list, hook))["hooks"][list].clone()
            };
            assert_eq!(after("/usr/bin/hook-a").as_array().map(Vec::len), Some(1));
            for path in ["/usr/bin/hook-b", "/usr/bin/gone", "/usr/bin/../bin/hook-a", ""] {
                assert_eq!(after(path), json!([]), "{path}");
            }
        }
    }

    #[test]
    fn no_hook_gets_the_runtimes_or_the_containers_environment() {
        let rule = allow(&json!([{"path": "/usr/bin/hook-a", "env": ["DEBUG"]}]));
        let after = |env: Value| {
            let hook = json!({"path": "/usr/bin/hook-a", "args": ["x"], "env": env});
            let after = enforced(&rule, &hooked("startContainer", hook));
            assert_eq!(after["hooks"]["startContainer"][0]["args"], json!(["x"]));
            after["hooks"]["startContainer"][0]["env"].clone()
        };
        for env in [json!(null), json!([]), json!("x"), json!(["LD_PRELOAD=/x", "PATH=/tmp"])] {
            assert_eq!(after(env), json!([PATH]));
        }
        assert_eq!(after(json!(["DEBUG=1", "LD_PRELOAD=/x"])), json!(["DEBUG=1"]));
    }

    #[test]
    fn a_digest_is_64_digits() {
        assert!(serde_json::from_value::<Digest>(json!(digest("F"))).is_ok());
        assert!(serde_json::from_value::<Digest>(json!("abc")).is_err());
        assert!(serde_json::from_value::<Hook>(json!({"path": "hook"})).is_err());
        assert!(is_within(&Hooks::top(), &hooked("prestart", json!({"path": "/x"}))));
    }

    impl Generated for Hooks {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let entries = [
                json!({"path": "/usr/bin/hook-a"}),
                json!({"path": "/usr/bin/hook-a", "sha256": digest("a"), "env": ["A"]}),
                json!({"path": "/usr/bin/hook-b", "env": ["A", "B"]}),
                json!({"path": "/usr/bin/hook-b", "sha256": digest("c")}),
            ];
            let rules =
                proptest::option::of(subsequence(entries.to_vec(), 0..=4)).prop_map(|entries| {
                    entries.map_or_else(Hooks::top, |entries| allow(&json!(entries)))
                });
            let env =
                select(vec![json!(null), json!(["A=1", "B=2"]), json!([PATH]), json!(["A=1"])]);
            let paths = subsequence(vec!["/usr/bin/hook-a", "/usr/bin/hook-b", "/x"], 0..=3);
            let specs = (paths, env).prop_map(|(paths, env)| {
                let hooks: Vec<Value> =
                    paths.into_iter().map(|path| json!({"path": path, "env": env})).collect();
                json!({"hooks": {"prestart": hooks, "poststop": hooks}})
            });
            (rules.boxed(), specs.boxed())
        }
    }

    #[test]
    fn changes_its_own_fields_alone() {
        touches_only(&allow(&json!([])), &["hooks.prestart", "hooks.poststop"]);
    }
}
