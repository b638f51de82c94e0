//! `hooks`: programs that the runtime runs as root at points of the container's life (runtime-spec,
//! config.md).
//!
//! A hook without an environment gets the runtime's own, or for some the container's, where
//! `LD_PRELOAD` names a library of the image (CVE-2025-23266). For `startContainer` runc takes an
//! empty environment for an absent one (libcontainer/configs, SetDefaultEnv), so each gets a variable.
//!
//! A hook without a `timeout` that hangs keeps the create, and whoever waits for it, for ever.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value, json};

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
    /// How long a hook may take at most, in seconds. One without a `timeout`, or with a longer one, gets
    /// this; the runtime kills it then, and fails what it was doing. Left out, any time.
    #[serde(default)]
    #[schemars(with = "Option<u32>", range(min = 1))]
    pub max_timeout_seconds: Option<NonZeroU32>,
}

/// The rule of one policy or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hooks {
    /// What may run.
    pub allow: AllowLists<Hook>,
    /// How long at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_timeout_seconds: Option<NonZeroU32>,
}

/// A program that may be a hook. It must be a regular file that only root can write, or its `owner`. Its
/// arguments are the caller's: list no interpreter, and no program that runs what it is told.
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
    /// The uid that the file must belong to. Left out, root (0). Another may change the file and the
    /// folders above it at any time, and it is run as root: name only who is as good as root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
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
        if let Some(digest) = &self.sha256 {
            write!(formatter, " (sha256 {})", digest.0)?;
        }
        match self.owner {
            Some(owner) => write!(formatter, " (of uid {owner})"),
            None => Ok(()),
        }
    }
}

impl From<HooksDocument> for Hooks {
    fn from(document: HooksDocument) -> Self {
        Hooks {
            allow: AllowLists::from_document(document.allow),
            max_timeout_seconds: document.max_timeout_seconds,
        }
    }
}

impl Rule for Hooks {
    const CONTROL: &'static str = "hooks";
    const SCOPE: Scope = Scope::Container;

    fn top() -> Self {
        Hooks { allow: AllowLists::all(), max_timeout_seconds: None }
    }

    fn meet(&self, other: &Self) -> Self {
        let limits = [self.max_timeout_seconds, other.max_timeout_seconds];
        Hooks {
            allow: self.allow.meet(&other.allow),
            max_timeout_seconds: limits.into_iter().flatten().min(),
        }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        if self.allow.is_all() && self.max_timeout_seconds.is_none() {
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
            let mut tightened = match self.may_run(hook, asked.node) {
                Ok(hook) => hook.clone(),
                Err(allowed) => {
                    found.push((format!("{field}[{index}]"), hook.clone(), allowed));
                    continue;
                }
            };
            for (member, value, allowed) in self.corrections(hook, asked.node) {
                found.push((field.to_owned(), hook.clone(), allowed));
                tightened.insert(member.to_owned(), value);
            }
            kept.push(Value::Object(tightened));
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

    /// The hook, where its program may run; else what may.
    fn may_run<'a>(&self, hook: &'a Value, node: &Node) -> Result<&'a Map<String, Value>, String> {
        let object = hook.as_object().ok_or_else(|| "an object that names a program".to_owned())?;
        if self.allow.is_all() {
            return Ok(object);
        }
        let program = Program::of(hook, node)
            .ok_or_else(|| "a regular file that only root, or its owner, can write".to_owned())?;
        if self.allow.allow(|entry| entry.is(&program)) {
            return Ok(object);
        }
        let listed = self.allow.in_words();
        Err(match program.owner {
            0 => listed,
            owner => {
                format!("{listed}; this one belongs to uid {owner}, which its entry must name")
            }
        })
    }

    /// What the hook must have in place of what it has, and why.
    fn corrections(&self, hook: &Value, node: &Node) -> Vec<(&'static str, Value, String)> {
        let mut found = Vec::new();
        let program = Program::of(hook, node).filter(|_| !self.allow.is_all());
        if let Some(env) = program.map(|program| self.environment(hook, &program))
            && view::at(hook, "env") != Some(&env)
        {
            found.push(("env", env, "an environment of its own, of allowed variables".to_owned()));
        }
        if let Some(most) = self.max_timeout_seconds {
            let seconds = view::at(hook, "timeout").and_then(Value::as_u64);
            // runtime-spec: greater than zero.
            if !seconds.is_some_and(|seconds| (1..=u64::from(most.get())).contains(&seconds)) {
                let allowed = format!("a timeout of 1 to {most} seconds");
                found.push(("timeout", json!(most), allowed));
            }
        }
        found
    }

    /// What of the hook's environment is allowed; never empty.
    fn environment(&self, hook: &Value, program: &Program<'_>) -> Value {
        let allowed = |variable: &&str| {
            let name = variable.split('=').next().unwrap_or_default();
            *variable == PATH
                || self.allow.allow(|entry| entry.is(program) && entry.env.contains(name))
        };
        let kept: Vec<&str> = view::strings(hook, "env").filter(allowed).collect();
        if kept.is_empty() { json!([PATH]) } else { json!(kept) }
    }
}

impl Hook {
    fn is(&self, program: &Program<'_>) -> bool {
        self.path == program.path
            && self.sha256.as_ref().is_none_or(|wanted| wanted.0 == program.digest)
            && self.owner.unwrap_or(0) == program.owner
    }
}

/// A hook's program, as the node has it.
struct Program<'a> {
    path: &'a str,
    digest: &'a str,
    owner: u32,
}

impl<'a> Program<'a> {
    /// `None` where it is no file that its owner alone can write.
    fn of(hook: &'a Value, node: &'a Node) -> Option<Program<'a>> {
        let path = view::text(hook, "path")?;
        let digest = node.hook_digests.get(path)?;
        Some(Program { path, digest, owner: node.hook_owners.get(path).copied().unwrap_or(0) })
    }
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
    fn a_file_of_another_than_root_runs_only_where_its_owner_is_named() {
        let at = |owner: Value| {
            let rule = allow(&json!([{"path": "/home/user/hook", "owner": owner}]));
            let spec = hooked("poststop", json!({"path": "/home/user/hook", "env": [PATH]}));
            enforced(&rule, &spec)["hooks"]["poststop"] == spec["hooks"]["poststop"]
        };
        assert!(at(json!(1000)));
        assert!(!at(json!(1001)) && !at(json!(0)) && !at(json!(null)));
        let spec = hooked("poststop", json!({"path": "/usr/bin/hook-a", "env": [PATH]}));
        let listed = |owner: u32| allow(&json!([{"path": "/usr/bin/hook-a", "owner": owner}]));
        assert!(is_within(&listed(0), &spec) && !is_within(&listed(1000), &spec));
    }

    #[test]
    fn a_hook_has_an_end() {
        let rule = |most: u32| Hooks { max_timeout_seconds: NonZeroU32::new(most), ..Hooks::top() };
        let after = |timeout: Value| {
            let hook = json!({"path": "/anything", "env": ["A=1"], "timeout": timeout});
            enforced(&rule(30), &hooked("prestart", hook))["hooks"]["prestart"][0].clone()
        };
        for timeout in [json!(null), json!(0), json!(-1), json!(31), json!(1.5), json!("5")] {
            let hook = json!({"path": "/anything", "env": ["A=1"], "timeout": 30});
            assert_eq!(after(timeout.clone()), hook, "{timeout}");
        }
        assert_eq!(after(json!(5))["timeout"], json!(5));
        assert_eq!(rule(30).meet(&rule(7)), rule(7));
        assert_eq!(rule(30).meet(&Hooks::top()), rule(30));
        assert!(serde_json::from_value::<HooksDocument>(json!({"maxTimeoutSeconds": 0})).is_err());
        // What is no hook at all is none to give an end to.
        assert_eq!(
            enforced(&rule(1), &hooked("poststop", json!("x")))["hooks"]["poststop"],
            json!([])
        );
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
                json!({"path": "/home/user/hook", "owner": 1000}),
                json!({"path": "/usr/bin/hook-a", "owner": 1000}),
            ];
            let lists = proptest::option::of(subsequence(entries.to_vec(), 0..=6));
            let rules = (lists, select(vec![None, None, Some(5), Some(30)])).prop_map(
                |(entries, seconds)| Hooks {
                    max_timeout_seconds: seconds.and_then(NonZeroU32::new),
                    ..entries.map_or_else(Hooks::top, |entries| allow(&json!(entries)))
                },
            );
            let env =
                select(vec![json!(null), json!(["A=1", "B=2"]), json!([PATH]), json!(["A=1"])]);
            let known = vec!["/usr/bin/hook-a", "/usr/bin/hook-b", "/x", "/home/user/hook"];
            let paths = subsequence(known, 0..=4);
            let timeout = select(vec![json!(5), json!(10), json!(null), json!(0)]);
            let specs = (paths, env, timeout).prop_map(|(paths, env, timeout)| {
                let hook = |path| json!({"path": path, "env": env, "timeout": timeout});
                let hooks: Vec<Value> = paths.into_iter().map(hook).collect();
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
