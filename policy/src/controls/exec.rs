//! `exec`: which processes may join a container that runs, and with what.
//!
//! A command is judged word by word, never as one string: `["sh", "-c", "*"]` is three words, and what
//! a shell makes of the third is the shell's affair. Whether a kubelet's probe or a person asks cannot
//! be told here: both come through CRI with the same words.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Value, json};

use super::capabilities::Capabilities;
use super::glob::Glob;
use super::{Asked, Finding, Mismatch, Rule, Scope};
use crate::proc::Seen;
use crate::spec::view;

/// What a policy writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecDocument {
    /// The commands that may be executed, each a list of words. `*` in a word stands for any run of
    /// characters; `...` as the last word for any further words. Left out: every command; `[]`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<BTreeSet<Command>>,
    /// `false`: no terminal (`kubectl exec -t`).
    #[serde(default = "allowed")]
    pub terminal: bool,
    /// `false`: neither a terminal nor standard input (`kubectl exec -i`).
    #[serde(default = "allowed")]
    pub interactive: bool,
    /// The capabilities that such a process may have, beyond what `capabilities` says of every
    /// process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
}

fn allowed() -> bool {
    true
}

/// A command as a list of words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Command(#[schemars(length(min = 1))] Vec<Glob>);

/// As the last word of a command: any further words.
const REST: &str = "...";

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = Vec::<Glob>::deserialize(deserializer)?;
        let Some((last, before)) = words.split_last() else {
            return Err(de::Error::custom("a command has at least one word, its program"));
        };
        if before.is_empty() && last.as_str() == REST {
            return Err(de::Error::custom(
                "a command begins with its program; leave commands out to allow every command",
            ));
        }
        if before.iter().any(|word| word.as_str() == REST) {
            return Err(de::Error::custom("... stands for further words, and so only at the end"));
        }
        Ok(Command(words))
    }
}

impl Command {
    fn matches(&self, arguments: &[&str]) -> bool {
        let (words, open) = match self.0.split_last() {
            Some((last, before)) if last.as_str() == REST => (before, true),
            _ => (self.0.as_slice(), false),
        };
        let enough =
            if open { arguments.len() >= words.len() } else { arguments.len() == words.len() };
        enough && words.iter().zip(arguments).all(|(word, argument)| word.matches(argument))
    }
}

impl fmt::Display for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.0.iter().map(Glob::as_str).collect();
        write!(formatter, "{words:?}")
    }
}

/// The rule: every list of commands must have one that matches, since the common part of two lists of
/// patterns is no list of patterns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exec {
    /// The lists of each policy that has one.
    pub commands: BTreeSet<BTreeSet<Command>>,
    /// Whether a terminal is allowed.
    pub terminal: bool,
    /// Whether a terminal or standard input is.
    pub interactive: bool,
    /// The ceiling of capabilities.
    pub capabilities: Capabilities,
}

impl From<ExecDocument> for Exec {
    fn from(document: ExecDocument) -> Self {
        Exec {
            commands: document.commands.into_iter().collect(),
            terminal: document.terminal,
            interactive: document.interactive,
            capabilities: document.capabilities.unwrap_or_else(Capabilities::top),
        }
    }
}

impl Rule for Exec {
    const CONTROL: &'static str = "exec";
    const SCOPE: Scope = Scope::Exec;

    fn top() -> Self {
        Exec {
            commands: BTreeSet::new(),
            terminal: true,
            interactive: true,
            capabilities: Capabilities::top(),
        }
    }

    fn meet(&self, other: &Self) -> Self {
        Exec {
            commands: &self.commands | &other.commands,
            terminal: self.terminal && other.terminal,
            interactive: self.interactive && other.interactive,
            capabilities: self.capabilities.meet(&other.capabilities),
        }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        let refused = |field: &str, asked: Value, allowed: String| Finding {
            field: field.to_owned(),
            asked,
            allowed,
            remedy: None,
        };
        let mut findings = Vec::new();
        let arguments: Vec<&str> = view::strings(asked.spec, "process.args").collect();
        for list in &self.commands {
            if !list.iter().any(|command| command.matches(&arguments)) {
                let allowed = match list.len() {
                    0 => "no command".to_owned(),
                    _ => list.iter().map(Command::to_string).collect::<Vec<_>>().join(" or "),
                };
                findings.push(refused("process.args", json!(arguments), allowed));
            }
        }
        let terminal = view::at(asked.spec, "process.terminal") == Some(&Value::Bool(true));
        if terminal && !(self.terminal && self.interactive) {
            findings.push(refused("process.terminal", json!(true), "no terminal".to_owned()));
        }
        if asked.exec.is_some_and(|exec| exec.stdin) && !self.interactive {
            let allowed = "no standard input (an exec without -i)".to_owned();
            findings.push(refused("process", json!("standard input"), allowed));
        }
        findings.extend(self.capabilities.tighten(asked));
        findings
    }

    fn verify(&self, _seen: &Seen) -> Vec<Mismatch> {
        // What is seen is the container's first process, of which the rule says nothing.
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::Executing;
    use crate::controls::laws::{Generated, is_within, request, touches_only};
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    fn rule(document: Value) -> Exec {
        serde_json::from_value::<ExecDocument>(document).unwrap().into()
    }

    fn may(rule: &Exec, args: &[&str]) -> bool {
        is_within(rule, &json!({"process": {"args": args, "capabilities": {}}}))
    }

    #[test]
    fn commands_are_judged_word_by_word() {
        let rule = rule(json!({"commands": [
            ["/bin/health"], ["pg_isready", "-h", "*"], ["nginx", "-s", "re*"], ["/bin/dump", "--db", "..."]
        ]}));
        for args in [
            &["/bin/health"][..],
            &["pg_isready", "-h", "db 1"],
            &["pg_isready", "-h", ""],
            &["nginx", "-s", "reload"],
            &["/bin/dump", "--db"],
            &["/bin/dump", "--db", "a", "b"],
        ] {
            assert!(may(&rule, args), "{args:?}");
        }
        for args in [
            &[][..],
            &["/bin/health", "-v"],
            &["/bin/health -v"],
            &["health"],
            &["/bin//health"],
            &["pg_isready", "-h"],
            &["pg_isready -h db"],
            &["pg_isready", "-h", "db", "--", "sh"],
            &["nginx", "-s", "stop"],
            &["/bin/dump"],
            &["sh", "-c", "/bin/health"],
        ] {
            assert!(!may(&rule, args), "{args:?}");
        }
    }

    #[test]
    fn of_two_lists_both_must_allow() {
        let a = rule(json!({"commands": [["sh", "-c", "*"], ["ls", "..."]]}));
        let b = rule(json!({"commands": [["ls"], ["sh", "-c", "date"]]}));
        let both = a.meet(&b);
        assert!(may(&both, &["ls"]) && may(&both, &["sh", "-c", "date"]));
        assert!(!may(&both, &["ls", "/"]) && !may(&both, &["sh", "-c", "id"]));
        assert!(!may(&rule(json!({"commands": []})), &["ls"]));
    }

    #[test]
    fn odd_commands_are_refused_when_they_are_read() {
        for commands in
            [json!([[]]), json!([["..."]]), json!([["a", "...", "b"]]), json!([[""]]), json!(["a"])]
        {
            let document = json!({"commands": commands});
            assert!(
                serde_json::from_value::<ExecDocument>(document.clone()).is_err(),
                "{document}"
            );
        }
    }

    #[test]
    fn terminals_and_standard_input_are_refused() {
        let (facts, node) = request();
        let within = |rule: &Exec, terminal: bool, stdin: bool| {
            let spec =
                json!({"process": {"args": ["sh"], "terminal": terminal, "capabilities": {}}});
            let exec = Some(Executing { bounding: &[], stdin });
            rule.tighten(&Asked { spec: &spec, facts: &facts, node: &node, exec }).is_empty()
        };
        let (no_terminal, neither) =
            (rule(json!({"terminal": false})), rule(json!({"interactive": false})));
        assert!(within(&no_terminal, false, true) && !within(&no_terminal, true, true));
        assert!(within(&neither, false, false));
        assert!(!within(&neither, false, true) && !within(&neither, true, false));
    }

    #[test]
    fn capabilities_are_taken_away() {
        let sets = ["bounding", "effective", "permitted"];
        let fields = sets.map(|set| format!("process.capabilities.{set}"));
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        touches_only(&rule(json!({"capabilities": {"allow": []}})), &fields);
    }

    impl Generated for Exec {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let commands = [json!(["sh"]), json!(["sh", "..."]), json!(["ls", "*"]), json!(["s*"])];
            let commands = proptest::option::weighted(0.4, subsequence(commands.to_vec(), 1..=3));
            let capabilities =
                proptest::option::of(subsequence(vec!["KILL", "CHOWN", "BPF"], 0..=3));
            let rules = (commands, any::<bool>(), select(vec![true, true, false]), capabilities)
                .prop_map(|(commands, terminal, interactive, allow)| {
                    let capabilities = allow.map(|allow| json!({"allow": allow}));
                    rule(json!({"commands": commands, "terminal": terminal,
                        "interactive": interactive, "capabilities": capabilities}))
                });
            let args =
                select(vec![json!(["sh"]), json!(["sh"]), json!(["sh", "-c"]), json!(["ls", "/"])]);
            let held = subsequence(vec!["CAP_KILL", "CAP_CHOWN", "CAP_BPF"], 0..=3);
            let specs = (args, select(vec![false, false, false, true]), held).prop_map(
                |(args, terminal, held)| {
                    json!({"process": {"args": args, "terminal": terminal,
                        "capabilities": {"bounding": held, "effective": held}}})
                },
            );
            (rules.boxed(), specs.boxed())
        }
    }
}
