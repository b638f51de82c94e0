//! A profile as the rules that it consists of, answered by going through them: no patterns, no tables, no libseccomp.
//! This is what merged filters are held against.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::Value;

use crate::answer::{self, ENOSYS, KILL_THREAD, stricter};
use crate::machine::{ALL, MULTIPLEXERS, Machine};
use crate::{Error, points};

/// A profile, by syscall.
pub(crate) struct Rules {
    default: u32,
    machines: Vec<&'static Machine>,
    calls: HashMap<String, Vec<Rule>>,
    /// For each of [`ALL`] the highest number that is named, where runc's ENOSYS begins above it.
    last: Vec<Option<u32>>,
    /// The strictest answer of each sub-call of a multiplexer, as soon as it was asked for.
    strictest: OnceLock<HashMap<(&'static str, bool), u32>>,
}

/// One rule, as far as it concerns one syscall.
#[derive(Clone)]
pub(crate) struct Rule {
    pub(crate) action: u32,
    pub(crate) tests: Vec<Test>,
}

/// A condition on one argument, in the words of the OCI section.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Test {
    pub(crate) index: usize,
    pub(crate) value: u64,
    #[serde(default)]
    pub(crate) value_two: u64,
    pub(crate) op: Operator,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Operator {
    #[serde(rename = "SCMP_CMP_NE")]
    Ne,
    #[serde(rename = "SCMP_CMP_LT")]
    Lt,
    #[serde(rename = "SCMP_CMP_LE")]
    Le,
    #[serde(rename = "SCMP_CMP_EQ")]
    Eq,
    #[serde(rename = "SCMP_CMP_GE")]
    Ge,
    #[serde(rename = "SCMP_CMP_GT")]
    Gt,
    /// `value` is the mask (runc, libcontainer/seccomp; crun, src/libcrun/seccomp.c).
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEq,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Section {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    syscalls: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    names: Vec<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Vec<Test>,
}

impl Rules {
    /// Reads an OCI section.
    pub(crate) fn of(section: &Value) -> Result<Rules, Error> {
        let wrong = |what: String| Error::Section { what };
        let section: Section =
            Section::deserialize(section).map_err(|error| wrong(error.to_string()))?;
        let action = |name: &str, data| {
            answer::parse(name, data).ok_or_else(|| wrong(format!("unknown action {name}")))
        };
        let mut machines: Vec<&Machine> = Machine::native().into_iter().collect();
        for name in &section.architectures {
            let machine = Machine::named(name)
                .ok_or_else(|| wrong(format!("no architecture {name} here")))?;
            if !machines.contains(&machine) {
                machines.push(machine);
            }
        }
        let mut calls: HashMap<String, Vec<Rule>> = HashMap::new();
        for entry in section.syscalls {
            let rule = Rule { action: action(&entry.action, entry.errno_ret)?, tests: entry.args };
            for name in entry.names {
                calls.entry(name).or_default().push(rule.clone());
            }
        }
        let default = action(&section.default_action, section.default_errno_ret)?;
        let highest = |machine: &Machine| calls.keys().filter_map(|n| machine.number(n)).max();
        // runc's libcontainer/seccomp/patchbpf leaves permissive defaults alone, and those that are ENOSYS already.
        let has_stub = answer::refuses(default) && default != ENOSYS;
        let last = ALL.iter().map(|m| highest(m).filter(|_| has_stub)).collect();
        Ok(Rules { default, machines, calls, last, strictest: OnceLock::new() })
    }

    /// The answer to one syscall, as a runtime would have the kernel give it.
    pub(crate) fn answer(&self, machine: &Machine, nr: u32, args: [u64; 6]) -> u32 {
        if !self.covers(machine) {
            return KILL_THREAD;
        }
        if self.is_beyond(machine, nr) {
            return ENOSYS;
        }
        let Some(name) = machine.name(nr) else {
            return self.default;
        };
        if machine.multiplexes && MULTIPLEXERS.iter().any(|(mux, _, _)| *mux == name) {
            return self.through_multiplexer(machine, name, args);
        }
        self.call(machine.narrow, name, args)
    }

    pub(crate) fn covers(&self, machine: &Machine) -> bool {
        self.machines.contains(&machine)
    }

    /// The number is above all that the profile names, so that runc answers ENOSYS.
    pub(crate) fn is_beyond(&self, machine: &Machine, nr: u32) -> bool {
        let at = ALL.iter().position(|other| other == machine);
        at.and_then(|at| self.last.get(at).copied().flatten()).is_some_and(|last| nr > last)
    }

    /// The rules on one syscall.
    pub(crate) fn on(&self, name: &str) -> &[Rule] {
        self.calls.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The strictest of the rules that apply. libseccomp's answer may depend on their order, where they differ; then no
    /// answer but the strictest is safe.
    fn call(&self, narrow: bool, name: &str, args: [u64; 6]) -> u32 {
        let rules = self.on(name);
        if !narrow {
            return self.strictest_of(rules, args, u64::MAX);
        }
        // libseccomp cuts constants in half there, so that some match that could not; or they are out of reach.
        let args = args.map(|arg| arg & LOW);
        stricter(self.strictest_of(rules, args, u64::MAX), self.strictest_of(rules, args, LOW))
    }

    fn strictest_of(&self, rules: &[Rule], args: [u64; 6], constants: u64) -> u32 {
        let applying = rules.iter().filter(|rule| rule.applies(args, constants));
        applying.map(|rule| rule.action).reduce(stricter).unwrap_or(self.default)
    }

    /// `socketcall` and `ipc` have rules of their own, or are as strict as the call that they stand for can be: its
    /// arguments lie behind a pointer.
    fn through_multiplexer(&self, machine: &Machine, name: &str, args: [u64; 6]) -> u32 {
        let own = self.call(machine.narrow, name, args);
        let rules = self.on(name);
        let plain = |rule: &Rule| rule.tests.is_empty();
        if !rules.is_empty() && rules.iter().all(plain) && own != self.default {
            return own;
        }
        let args = if machine.narrow { args.map(|arg| arg & LOW) } else { args };
        let strictest = self.strictest.get_or_init(|| self.strictest_of_all());
        let mut derived = self.default;
        for (mux, selector, calls) in MULTIPLEXERS {
            let [first, ..] = args;
            for (number, call) in calls.iter().filter(|_| mux == name) {
                let Some(action) = strictest.get(&(call, machine.narrow)) else { continue };
                let refusal = answer::action(*action) < answer::action(self.default);
                let selected = if refusal { first & selector } else { first };
                if selected == *number {
                    derived = *action;
                }
            }
        }
        if rules.is_empty() { derived } else { stricter(own, derived) }
    }

    fn strictest_of_all(&self) -> HashMap<(&'static str, bool), u32> {
        let calls = MULTIPLEXERS.iter().flat_map(|(_, _, calls)| *calls).map(|(_, name)| *name);
        let both = calls.flat_map(|name| [(name, false), (name, true)]);
        both.filter(|(name, _)| !self.on(name).is_empty())
            .map(|(name, narrow)| {
                let points = points::corners(&[self.on(name)]);
                let answers = points.into_iter().map(|args| self.call(narrow, name, args));
                ((name, narrow), answers.reduce(stricter).unwrap_or(self.default))
            })
            .collect()
    }

    /// The syscalls that have rules with conditions.
    pub(crate) fn conditional(&self) -> BTreeSet<&str> {
        let has = |rules: &[Rule]| rules.iter().any(|rule| !rule.tests.is_empty());
        self.calls.iter().filter(|(_, rules)| has(rules)).map(|(name, _)| name.as_str()).collect()
    }
}

const LOW: u64 = 0xffff_ffff;

impl Rule {
    /// On the first argument: equal to this.
    pub(crate) fn selecting(value: u64) -> Rule {
        let test = Test { index: 0, value, value_two: 0, op: Operator::Eq };
        Rule { action: answer::ALLOW, tests: vec![test] }
    }

    fn applies(&self, args: [u64; 6], constants: u64) -> bool {
        let indices: BTreeSet<usize> = self.tests.iter().map(|test| test.index).collect();
        let mut holds = self.tests.iter().map(|test| test.holds(args, constants));
        // Runtimes make two rules of two conditions on one argument (runc, libcontainer/seccomp, `matchCall`).
        if indices.len() < self.tests.len() { holds.any(|yes| yes) } else { holds.all(|yes| yes) }
    }
}

impl Test {
    fn holds(&self, args: [u64; 6], constants: u64) -> bool {
        let argument = args.get(self.index).copied().unwrap_or_default();
        let (value, two) = (self.value & constants, self.value_two & constants);
        match self.op {
            Operator::Ne => argument != value,
            Operator::Lt => argument < value,
            Operator::Le => argument <= value,
            Operator::Eq => argument == value,
            Operator::Ge => argument >= value,
            Operator::Gt => argument > value,
            Operator::MaskedEq => argument & value == two,
        }
    }

    /// It looks at the upper half of the argument.
    pub(crate) fn is_wide(&self) -> bool {
        self.op != Operator::MaskedEq || self.value > LOW || self.value_two > LOW
    }
}
