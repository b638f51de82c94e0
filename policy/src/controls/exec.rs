//! `exec`: which processes may join a container that runs, as whom and with what.
//!
//! A command is judged word by word, never as one string: `["sh", "-c", "*"]` is three words, and what
//! a shell makes of the third is the shell's affair.
//!
//! Whether a kubelet's probe or lifecycle hook asks or a person does cannot be told here. The kubelet asks
//! by CRI's `ExecSync`, `kubectl exec` by `Exec`; containerd starts both through one function, with the
//! container's own process, the words of the command, an id drawn at random and no word of which it
//! was (internal/cri/server/container_execsync.go, `execInternal`). What differs is a terminal or standard
//! input, which `ExecSync` does not have, and a `kubectl exec` without `-i` and `-t` has not either. And
//! who reaches CRI may call either.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Value, json};

use super::capabilities::Capabilities;
use super::glob::Glob;
use super::user::User;
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
    /// As whom such a process may run, beyond what `user` says of every process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// What counts besides for a process with a terminal or standard input: less than for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_interactive: Option<LimitsDocument>,
}

/// What a policy writes of interactive execs alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsDocument {
    /// The commands that may be executed with a terminal or standard input, as in `exec.commands`; both
    /// lists must allow one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<BTreeSet<Command>>,
    /// The capabilities that such a process may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// As whom such a process may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
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

/// The rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exec {
    /// Whether a terminal is allowed.
    pub terminal: bool,
    /// Whether a terminal or standard input is.
    pub interactive: bool,
    /// What counts for every exec.
    pub always: Limits,
    /// What counts besides for one with a terminal or standard input.
    pub when_interactive: Limits,
}

/// What an exec may run, with what and as whom: every list of commands must have one that matches, since
/// the common part of two lists of patterns is no list of patterns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// The lists of each policy that has one.
    pub commands: BTreeSet<BTreeSet<Command>>,
    /// The ceiling of capabilities.
    pub capabilities: Capabilities,
    /// The users and groups.
    pub user: User,
}

impl From<ExecDocument> for Exec {
    fn from(document: ExecDocument) -> Self {
        let ExecDocument { commands, terminal, interactive, capabilities, user, .. } = document;
        Exec {
            terminal,
            interactive,
            always: LimitsDocument { commands, capabilities, user }.into(),
            when_interactive: document.when_interactive.unwrap_or_default().into(),
        }
    }
}

impl From<LimitsDocument> for Limits {
    fn from(document: LimitsDocument) -> Self {
        Limits {
            commands: document.commands.into_iter().collect(),
            capabilities: document.capabilities.unwrap_or_else(Capabilities::top),
            user: document.user.unwrap_or_else(User::top),
        }
    }
}

impl Limits {
    fn meet(&self, other: &Self) -> Self {
        Limits {
            commands: &self.commands | &other.commands,
            capabilities: self.capabilities.meet(&other.capabilities),
            user: self.user.meet(&other.user),
        }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
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
        findings.extend(self.user.tighten(asked));
        findings.extend(self.capabilities.tighten(asked));
        findings
    }
}

impl Rule for Exec {
    const CONTROL: &'static str = "exec";
    const SCOPE: Scope = Scope::Exec;

    fn top() -> Self {
        ExecDocument { terminal: true, interactive: true, ..ExecDocument::default() }.into()
    }

    fn meet(&self, other: &Self) -> Self {
        Exec {
            terminal: self.terminal && other.terminal,
            interactive: self.interactive && other.interactive,
            always: self.always.meet(&other.always),
            when_interactive: self.when_interactive.meet(&other.when_interactive),
        }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        let mut findings = Vec::new();
        let terminal = view::at(asked.spec, "process.terminal") == Some(&Value::Bool(true));
        if terminal && !(self.terminal && self.interactive) {
            findings.push(refused("process.terminal", json!(true), "no terminal".to_owned()));
        }
        let stdin = asked.exec.is_some_and(|exec| exec.stdin);
        if stdin && !self.interactive {
            let allowed = "no standard input (an exec without -i)".to_owned();
            findings.push(refused("process", json!("standard input"), allowed));
        }
        if terminal || stdin {
            // Together, since of two remedies for one field the second would undo the first.
            findings.extend(self.always.meet(&self.when_interactive).tighten(asked));
        } else {
            findings.extend(self.always.tighten(asked));
        }
        findings
    }

    fn verify(&self, _seen: &Seen) -> Vec<Mismatch> {
        // What is seen is the container's first process, of which the rule says nothing.
        Vec::new()
    }
}

fn refused(field: &str, asked: Value, allowed: String) -> Finding {
    Finding { field: field.to_owned(), asked, allowed, remedy: None }
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
            rule.tighten(&Asked { exec, ..Asked::of(&spec, &facts, &node) }).is_empty()
        };
        let (no_terminal, neither) =
            (rule(json!({"terminal": false})), rule(json!({"interactive": false})));
        assert!(within(&no_terminal, false, true) && !within(&no_terminal, true, true));
        assert!(within(&neither, false, false));
        assert!(!within(&neither, false, true) && !within(&neither, true, false));
    }

    #[test]
    fn users_are_those_of_the_rule_whoever_the_container_runs_as() {
        let rule = rule(json!({"user": {"runAsNonRoot": true,
            "runAsUser": {"ranges": [{"min": 0, "max": 999}]}}}));
        let within =
            |user: Value| is_within(&rule, &json!({"process": {"user": user, "capabilities": {}}}));
        assert!(within(json!({"uid": 65, "gid": 0})));
        for user in [json!({"uid": 0}), json!({}), json!({"uid": 1000}), json!(null)] {
            assert!(!within(user.clone()), "{user}");
        }
    }

    #[test]
    fn interactive_execs_are_held_to_more() {
        let rule = rule(json!({
            "commands": [["sh", "..."], ["ls", "..."]],
            "capabilities": {"allow": ["KILL", "CHOWN"]},
            "whenInteractive": {"commands": [["sh"]], "capabilities": {"allow": ["KILL", "BPF"]},
                "user": {"runAsNonRoot": true}},
        }));
        let (facts, node) = request();
        let held = json!({"bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_BPF"]});
        let found = |args: Value, uid: u32, terminal: bool, stdin: bool| -> Vec<String> {
            let spec = json!({"process": {"args": args, "terminal": terminal,
                "user": {"uid": uid}, "capabilities": held}});
            let exec = Some(Executing { bounding: &[], stdin });
            let asked = Asked { exec, ..Asked::of(&spec, &facts, &node) };
            let describe = |finding: Finding| match finding.remedy {
                None => finding.field,
                Some(remedy) => format!("{remedy:?}"),
            };
            rule.tighten(&asked).into_iter().map(describe).collect()
        };
        let plain = found(json!(["ls", "/"]), 0, false, false);
        assert_eq!(plain.len(), 1, "{plain:?}");
        assert!(plain[0].contains("CAP_CHOWN") && !plain[0].contains("CAP_BPF"), "{plain:?}");
        for (terminal, stdin) in [(true, false), (false, true), (true, true)] {
            let fields = found(json!(["ls", "/"]), 0, terminal, stdin);
            assert_eq!(fields[..2], ["process.args", "process.user.uid"], "{fields:?}");
            let allowed = found(json!(["sh"]), 7, terminal, stdin);
            assert_eq!(allowed.len(), 1, "{allowed:?}");
            assert!(allowed[0].contains("CAP_KILL"), "{allowed:?}");
            for lost in ["CAP_CHOWN", "CAP_BPF"] {
                assert!(!allowed[0].contains(lost), "what both allow, and no more: {allowed:?}");
            }
        }
    }

    #[test]
    fn unknown_fields_are_refused_at_every_depth() {
        for document in [
            json!({"users": {}}),
            json!({"user": {"runAsNotRoot": true}}),
            json!({"whenInteractive": {"terminal": false}}),
            json!({"whenInteractive": {"user": {"runAsUser": [7]}}}),
        ] {
            assert!(
                serde_json::from_value::<ExecDocument>(document.clone()).is_err(),
                "{document}"
            );
        }
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
            let limits = || {
                let commands =
                    [json!(["sh"]), json!(["sh", "..."]), json!(["ls", "*"]), json!(["s*"])];
                let commands =
                    proptest::option::weighted(0.4, subsequence(commands.to_vec(), 1..=3));
                let capabilities =
                    proptest::option::of(subsequence(vec!["KILL", "CHOWN", "BPF"], 0..=3));
                let ranges = |max: u32| json!({"ranges": [{"min": 5, "max": max}]});
                let users = [
                    json!({"runAsNonRoot": true}),
                    json!({"runAsUser": ranges(9)}),
                    json!({"runAsUser": ranges(30), "runAsGroup": ranges(30)}),
                    json!({"supplementalGroups": ranges(9)}),
                    json!({"supplementalGroups": ranges(30)}),
                ];
                let user = proptest::option::weighted(0.3, select(users.to_vec()));
                (commands, capabilities, user).prop_map(|(commands, allow, user)| {
                    let capabilities = allow.map(|allow| json!({"allow": allow}));
                    json!({"commands": commands, "capabilities": capabilities, "user": user})
                })
            };
            let interactive = proptest::option::weighted(0.5, limits());
            let allowed = || select(vec![true, true, false]);
            let rules = (limits(), allowed(), allowed(), interactive).prop_map(
                |(mut document, terminal, interactive, limits)| {
                    document["terminal"] = json!(terminal);
                    document["interactive"] = json!(interactive);
                    document["whenInteractive"] = json!(limits);
                    rule(document)
                },
            );
            let args =
                select(vec![json!(["sh"]), json!(["sh"]), json!(["sh", "-c"]), json!(["ls", "/"])]);
            let held = subsequence(vec!["CAP_KILL", "CAP_CHOWN", "CAP_BPF"], 0..=3);
            let groups = subsequence(vec![0, 7, 15], 0..=3);
            let terminal = proptest::bool::weighted(0.4);
            let specs = (args, terminal, held, select(vec![0, 7, 7, 15]), groups).prop_map(
                |(args, terminal, held, uid, groups)| {
                    json!({"process": {"args": args, "terminal": terminal,
                        "user": {"uid": uid, "gid": uid, "additionalGids": groups},
                        "capabilities": {"bounding": held, "effective": held}}})
                },
            );
            (rules.boxed(), specs.boxed())
        }
    }
}
