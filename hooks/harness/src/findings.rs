//! What is to be thought of a report: pure, so that it can be tested without a runtime.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::driver::{CANARY, PRELOAD};
use crate::{Case, Did, Phase, Report, Seen};

/// From here on a hook is slow, in milliseconds: each start of a container waits for it.
const SLOW: u64 = 500;

/// Something to know about a hook, or about a runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Whether the hook or the runtime is at fault.
    pub about: About,
    /// A name that does not change, such as `inherits-ld-preload`.
    pub name: String,
    /// The runtime; none where it is the same with all.
    pub runtime: Option<String>,
    /// The phase; none where it is the same in all.
    pub phase: Option<Phase>,
    /// What was seen, and what to do.
    pub text: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Good to know.
    Note,
    /// It will make trouble.
    Warning,
    /// It does not work, or lets a container reach the host.
    Error,
}

/// Whom a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum About {
    /// The hook that was tested.
    Hook,
    /// The runtime, whatever the hook.
    Runtime,
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.severity, self.name)?;
        let places = [self.runtime.clone(), self.phase.map(|phase| phase.to_string())];
        let places: Vec<String> = places.into_iter().flatten().collect();
        if !places.is_empty() {
            write!(formatter, " ({})", places.join(", "))?;
        }
        write!(formatter, ": {}", self.text)
    }
}

/// What there is to say, the worst first.
pub fn of(report: &Report) -> Vec<Finding> {
    let mut findings = of_file(report);
    for case in &report.cases {
        let mut found = Found { case, findings: &mut findings };
        found.of_case(report);
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

fn of_file(report: &Report) -> Vec<Finding> {
    let program = &report.program;
    let finding = |severity, name: &str, text: String| Finding {
        severity,
        about: About::Hook,
        name: name.to_owned(),
        runtime: None,
        phase: None,
        text,
    };
    let mut findings = Vec::new();
    if program.mode & 0o022 != 0 {
        let text = format!(
            "{} has mode {:04o}: others than its owner can write what runs as root; chmod go-w",
            program.path,
            program.mode & 0o7777
        );
        findings.push(finding(Severity::Error, "writable-by-others", text));
    }
    if program.uid != 0 {
        let text = format!("{} belongs to uid {}, and runs as root", program.path, program.uid);
        findings.push(finding(Severity::Warning, "not-roots", text));
    }
    findings
}

struct Found<'a> {
    case: &'a Case,
    findings: &'a mut Vec<Finding>,
}

impl Found<'_> {
    fn add(&mut self, severity: Severity, about: About, name: &str, text: String) {
        let finding = Finding {
            severity,
            about,
            name: name.to_owned(),
            runtime: Some(self.case.runtime.display().to_string()),
            phase: Some(self.case.phase),
            text,
        };
        self.findings.push(finding);
    }

    fn of_case(&mut self, report: &Report) {
        let case = self.case;
        let Some(seen) = &case.seen else {
            let said = case.calls.iter().rev().find_map(|call| call.stderr.lines().last());
            let said = said.unwrap_or("it says nothing");
            let text = format!("the runtime does not run a hook of this phase: {said}");
            return self.add(Severity::Error, About::Runtime, "not-run", text);
        };
        if case.runs > 1 {
            let text = format!("the runtime ran it {} times", case.runs);
            self.add(Severity::Warning, About::Runtime, "run-again", text);
        }
        self.of_surroundings(seen, report.program.is_loaded);
        match &case.did {
            Some(did) => self.of_deeds(did),
            None => {
                let text = "it did not end, and was killed when its timeout was over".to_owned();
                self.add(Severity::Error, About::Hook, "hangs", text);
            }
        }
        self.of_runtime(seen);
        for left in &case.left {
            let text = format!("still there after the container was deleted: {left}");
            self.add(Severity::Warning, About::Hook, "left-over", text);
        }
    }

    fn of_surroundings(&mut self, seen: &Seen, is_loaded: bool) {
        if seen.environment.iter().any(|variable| variable == PRELOAD) {
            let (severity, what) = match is_loaded {
                true => (Severity::Error, "an image's library runs in it, as root"),
                false => (Severity::Note, "it is static, and does not mind"),
            };
            let text = format!(
                "the container's environment reaches it, LD_PRELOAD too: {what} (CVE-2025-23266); give the \
                 hook an env in the spec"
            );
            // In a startContainer hook the image's own program runs in the container: nothing is lost.
            let severity = match self.case.phase {
                Phase::StartContainer => Severity::Note,
                _ => severity,
            };
            self.add(severity, About::Hook, "inherits-ld-preload", text);
        }
        if seen.environment.iter().any(|variable| variable.starts_with(CANARY)) {
            let text = "it gets the environment that the runtime was started with; give the hook an env in \
                        the spec"
                .to_owned();
            self.add(Severity::Note, About::Hook, "inherits-the-runtimes-environment", text);
        }
    }

    fn of_deeds(&mut self, did: &Did) {
        use Severity::{Error, Note, Warning};
        if let Some(why) = &did.not_executed {
            let text = format!("it cannot be executed: {why}");
            return self.add(Error, About::Hook, "not-executed", text);
        }
        let said = did.stderr.trim().lines().last().unwrap_or("it says nothing").to_owned();
        match (did.exit, did.signal) {
            (Some(0), _) => {}
            (Some(code), _) => {
                let text = format!("it exits with {code}: {said}");
                self.add(Error, About::Hook, "fails", text);
            }
            (None, signal) => {
                let text = format!("signal {} ends it: {said}", signal.unwrap_or_default());
                self.add(Error, About::Hook, "dies", text);
            }
        }
        if !did.left_behind.is_empty() {
            let names = did.left_behind.join(", ");
            let text = format!("it leaves processes behind: {names}");
            self.add(Warning, About::Hook, "leaves-a-process", text);
        }
        if did.holds_output {
            let text = "what it leaves behind holds its standard output or error open: a runtime that reads \
                        them to the end, as runc does, waits for that process"
                .to_owned();
            self.add(Error, About::Hook, "holds-its-output", text);
        }
        if did.milliseconds >= SLOW {
            let text = format!("it takes {} ms; every container waits that long", did.milliseconds);
            self.add(Warning, About::Hook, "slow", text);
        }
        if !did.stdout.is_empty() {
            let text = "it writes to standard output, which no runtime shows anybody".to_owned();
            self.add(Note, About::Hook, "writes-to-stdout", text);
        }
        if did.exit == Some(0) && !did.stderr.is_empty() {
            let text = "it writes to standard error and succeeds: no runtime shows that to anybody"
                .to_owned();
            self.add(Note, About::Hook, "writes-to-stderr", text);
        }
        if !did.read_state {
            let text =
                "it does not read its standard input, where the state is; a runtime that writes a \
                        large one gets SIGPIPE or EPIPE"
                    .to_owned();
            self.add(Note, About::Hook, "does-not-read-state", text);
        }
        for (kind, changes) in &did.changes {
            let mut shown: Vec<String> =
                changes.iter().take(3).map(|one| format!("{} {}", one.how, one.what)).collect();
            if changes.len() > shown.len() {
                shown.push(format!("and {} more", changes.len() - shown.len()));
            }
            let text = format!("{kind}: {}", shown.join("; "));
            self.add(Note, About::Hook, "changes", text);
        }
    }

    fn of_runtime(&mut self, seen: &Seen) {
        use Severity::{Note, Warning};
        let phase = self.case.phase;
        for problem in &seen.state.problems {
            self.add(Note, About::Runtime, "state", format!("the state on stdin: {problem}"));
        }
        let expected = if phase.is_in_container() { "container" } else { "runtime" };
        if seen.namespaces.get("mnt").is_some_and(|whose| whose != expected) {
            let text =
                format!("its mount namespace is not the {expected}'s, as the runtime-spec says");
            self.add(Note, About::Runtime, "namespaces", text);
        }
        if phase.is_in_container() {
            let leaks = seen.descriptors.iter().filter(|(number, _)| **number > 2);
            let leaks: Vec<String> = leaks.map(|(number, to)| format!("{number} ({to})")).collect();
            if !leaks.is_empty() {
                let text = format!("descriptors are open in it: {}", leaks.join(", "));
                self.add(Note, About::Runtime, "descriptors", text);
            }
        }
        if self.case.on_hang.as_ref().is_some_and(|hang| !hang.is_honoured) {
            let text = "the runtime does not end a hook when its timeout is over".to_owned();
            self.add(Warning, About::Runtime, "timeout-ignored", text);
        }
        let creates = !matches!(phase, Phase::Poststart | Phase::Poststop);
        if let Some(failure) = self.case.on_failure.as_ref().filter(|_| creates) {
            match &failure.failed {
                None => {
                    let text =
                        "the container starts although the hook fails: it can guard nothing here";
                    self.add(Warning, About::Runtime, "failure-ignored", text.to_owned());
                }
                Some(_) if !failure.message_shown => {
                    let text = "what a hook that fails writes to standard error is not in the runtime's error";
                    self.add(Note, About::Runtime, "message-lost", text.to_owned());
                }
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Changed, OnFailure, OnHang, Program};

    fn report() -> Report {
        let seen = Seen {
            namespaces: BTreeMap::from([("mnt".to_owned(), "runtime".to_owned())]),
            ..Seen::default()
        };
        let did = Did { exit: Some(0), read_state: true, ..Did::default() };
        let case = Case {
            runtime: "/usr/bin/runc".into(),
            version: "runc version 1".to_owned(),
            phase: Phase::CreateRuntime,
            seen: Some(seen),
            did: Some(did),
            runs: 1,
            calls: Vec::new(),
            on_failure: Some(OnFailure {
                failed: Some("create".to_owned()),
                message_shown: true,
                status: None,
            }),
            on_hang: Some(OnHang {
                timeout_seconds: 2,
                is_honoured: true,
                failed: Some("create".to_owned()),
                milliseconds: 2000,
            }),
            left: Vec::new(),
        };
        let program = Program { path: "/h".to_owned(), uid: 0, mode: 0o100_755, is_loaded: true };
        Report { program, cases: vec![case] }
    }

    /// The names of what is found after a change.
    fn after(change: impl FnOnce(&mut Report, &mut Seen, &mut Did)) -> Vec<(String, Severity)> {
        let mut report = report();
        let mut seen = report.cases[0].seen.take().unwrap();
        let mut did = report.cases[0].did.take().unwrap();
        change(&mut report, &mut seen, &mut did);
        report.cases[0].seen = Some(seen);
        report.cases[0].did = Some(did);
        of(&report).into_iter().map(|finding| (finding.name, finding.severity)).collect()
    }

    #[test]
    fn a_good_hook_has_no_finding() {
        assert_eq!(after(|_, _, _| {}), []);
    }

    #[test]
    fn each_fault_has_its_finding() {
        use Severity::{Error, Note, Warning};
        type Change = fn(&mut Report, &mut Seen, &mut Did);
        let table: [(Change, &str, Severity); 17] = [
            (|_, seen, _| seen.environment.push(PRELOAD.to_owned()), "inherits-ld-preload", Error),
            (
                |report, seen, _| {
                    seen.environment.push(PRELOAD.to_owned());
                    report.program.is_loaded = false;
                },
                "inherits-ld-preload",
                Note,
            ),
            (
                |_, seen, _| seen.environment.push(format!("{CANARY}=1")),
                "inherits-the-runtimes-environment",
                Note,
            ),
            (|_, _, did| did.exit = Some(3), "fails", Error),
            (|_, _, did| (did.exit, did.signal) = (None, Some(11)), "dies", Error),
            (|_, _, did| did.not_executed = Some("no".to_owned()), "not-executed", Error),
            (|_, _, did| did.left_behind.push("sleep".to_owned()), "leaves-a-process", Warning),
            (|_, _, did| did.holds_output = true, "holds-its-output", Error),
            (|_, _, did| did.milliseconds = 700, "slow", Warning),
            (|_, _, did| did.stdout = "x".to_owned(), "writes-to-stdout", Note),
            (|_, _, did| did.stderr = "x".to_owned(), "writes-to-stderr", Note),
            (|_, _, did| did.read_state = false, "does-not-read-state", Note),
            (
                |_, _, did| {
                    let one = Changed { how: "added".to_owned(), what: "/x".to_owned() };
                    did.changes.insert("file".to_owned(), vec![one]);
                },
                "changes",
                Note,
            ),
            (|_, seen, _| seen.state.problems.push("x".to_owned()), "state", Note),
            (
                |_, seen, _| {
                    seen.namespaces.insert("mnt".to_owned(), "container".to_owned());
                },
                "namespaces",
                Note,
            ),
            (|report, _, _| report.program.mode = 0o100_757, "writable-by-others", Error),
            (|report, _, _| report.program.uid = 5, "not-roots", Warning),
        ];
        for (change, name, severity) in table {
            assert_eq!(after(change), [(name.to_owned(), severity)]);
        }
    }

    #[test]
    fn what_the_runtime_does_is_told_apart() {
        let failed = |name: &str, change: fn(&mut Case)| {
            let mut report = report();
            change(&mut report.cases[0]);
            let findings = of(&report);
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].name, name);
            findings[0].about
        };
        use About::{Hook, Runtime};
        assert_eq!(failed("not-run", |case| case.seen = None), Runtime);
        assert_eq!(failed("run-again", |case| case.runs = 2), Runtime);
        assert_eq!(failed("hangs", |case| case.did = None), Hook);
        assert_eq!(failed("left-over", |case| case.left.push("process x".to_owned())), Hook);
        let hang = |case: &mut Case| case.on_hang.as_mut().unwrap().is_honoured = false;
        assert_eq!(failed("timeout-ignored", hang), Runtime);
        let goes_on = |case: &mut Case| case.on_failure.as_mut().unwrap().failed = None;
        assert_eq!(failed("failure-ignored", goes_on), Runtime);
        let silent = |case: &mut Case| case.on_failure.as_mut().unwrap().message_shown = false;
        assert_eq!(failed("message-lost", silent), Runtime);
    }
}
