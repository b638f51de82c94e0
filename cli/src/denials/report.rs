//! Denials as they are shown.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use coaming_audit::{Answer, Denial, Stamp, Subject};
use coaming_shim::record::Record;
use serde::Serialize;

use super::calls;
use super::cause::{Cause, Causes};
use super::tie::Tie;
use crate::error::CommandError;
use crate::output::{BAD, CAREFUL, STRONG, count, printable, styled};

/// The last second that RFC 3339 can name, of the year 9999.
const LATEST: u64 = 253_402_300_799;

/// The answer.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Equal denials are one, with their number.
    #[serde(serialize_with = "counted")]
    denials: BTreeMap<Found, Times>,
    /// How many were of processes in no container, and are not shown.
    pub(super) outside: usize,
    /// What is not seen, and why.
    pub(super) notes: Vec<String>,
}

/// A denial with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Found {
    container: Owner,
    denied: Subject,
    /// What was denied, in words.
    what: String,
    comm: Option<String>,
    exe: Option<String>,
    cause: Option<Cause>,
    #[serde(skip)]
    stamp: Shown,
    #[serde(skip)]
    pid: Pid,
}

/// Whose it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase", tag = "state", rename_all_fields = "camelCase")]
enum Owner {
    Known { id: String, namespace: Option<String>, pod: Option<String>, name: Option<String> },
    Unknown { why: String },
    None,
}

/// When and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Times {
    times: u64,
    first: String,
    last: String,
    /// The last process.
    pid: Option<u32>,
}

/// What tells two denials apart that are shown as one.
#[derive(Debug, Clone, Copy)]
struct Shown(Stamp);
#[derive(Debug, Clone, Copy)]
struct Pid(Option<u32>);

macro_rules! all_alike {
    ($($kind:ty),*) => {
        $(impl PartialEq for $kind {
            fn eq(&self, _: &Self) -> bool {
                true
            }
        }
        impl Eq for $kind {}
        impl PartialOrd for $kind {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl Ord for $kind {
            fn cmp(&self, _: &Self) -> std::cmp::Ordering {
                std::cmp::Ordering::Equal
            }
        })*
    };
}
all_alike!(Shown, Pid);

impl Found {
    pub(super) fn of(
        denial: Denial,
        tie: &Tie,
        containers: &[Record],
        causes: &mut Causes,
    ) -> Found {
        let known = match tie {
            Tie::Container(place) => containers.get(*place).map(|record| (*place, record)),
            _ => None,
        };
        let mut denied = denial.subject;
        // Each exec is a domain of its own; they are told apart by nothing else.
        if let (Subject::Landlock { domain, .. }, Some(_)) = (&mut denied, known) {
            *domain = 0;
        }
        let cause = known.map(|(place, record)| causes.of(&denied, place, record));
        let record = known.map(|(_, record)| record);
        let what = in_words(&denied);
        Found {
            container: Owner::of(tie, record),
            what,
            denied,
            comm: denial.comm,
            exe: denial.exe,
            cause,
            stamp: Shown(denial.stamp),
            pid: Pid(denial.pid),
        }
    }

    /// As a document of its own.
    pub(super) fn document(&self) -> Result<serde_json::Value, serde_json::Error> {
        let mut document = serde_json::to_value(self)?;
        if let Some(object) = document.as_object_mut() {
            object.insert("time".to_owned(), time(self.stamp.0).into());
            object.insert("pid".to_owned(), self.pid.0.into());
        }
        Ok(document)
    }

    /// As lines for people.
    pub(super) fn show(&self, times: Option<u64>, out: &mut dyn Write) -> Result<(), CommandError> {
        let times = times
            .filter(|times| *times > 1)
            .map_or(String::new(), |times| format!(" {times} times"));
        let by = match (&self.comm, self.pid.0) {
            (Some(comm), Some(pid)) => format!("{} (pid {pid})", printable(comm)),
            (Some(comm), None) => printable(comm),
            (None, Some(pid)) => format!("pid {pid}"),
            (None, None) => "a process".to_owned(),
        };
        writeln!(
            out,
            "{}  {}",
            time(self.stamp.0),
            styled(STRONG, &printable(&self.container.to_string()))
        )?;
        writeln!(out, "  {}{times} to {by}", styled(BAD, &printable(&self.what)))?;
        let Some(cause) = &self.cause else { return Ok(()) };
        for policy in &cause.policies {
            writeln!(out, "  denied by  {}", printable(&policy.to_string()))?;
        }
        for other in &cause.others {
            writeln!(out, "  denied by  {}", printable(other))?;
        }
        for change in &cause.changes {
            writeln!(out, "  to allow   {}: {}", printable(&change.at), printable(&change.what))?;
            for line in change.fragment.iter().flat_map(|fragment| fragment.lines()) {
                writeln!(out, "               {}", printable(line))?;
            }
        }
        if let Some(caution) = cause.caution.filter(|_| !cause.changes.is_empty()) {
            writeln!(out, "  {}    {caution}", styled(CAREFUL, "careful"))?;
        }
        Ok(())
    }
}

impl Report {
    pub(super) fn add(&mut self, found: Found) {
        let (stamp, pid) = (time(found.stamp.0), found.pid.0);
        // The newest stands for all.
        let times = match self.denials.remove(&found) {
            None => Times { times: 1, first: stamp.clone(), last: stamp, pid },
            Some(before) => Times { times: before.times + 1, last: stamp, pid, ..before },
        };
        self.denials.insert(found, times);
    }

    pub(super) fn show(&self, out: &mut dyn Write) -> Result<(), CommandError> {
        let mut newest: Vec<(&Found, &Times)> = self.denials.iter().collect();
        newest.sort_by_key(|(found, _)| found.stamp.0);
        for (found, times) in newest {
            found.show(Some(times.times), out)?;
            writeln!(out)?;
        }
        let all: u64 = self.denials.values().map(|times| times.times).sum();
        let all = usize::try_from(all).unwrap_or(usize::MAX);
        writeln!(out, "{}", count(all, "denial", "denials"))?;
        if self.outside > 0 {
            writeln!(
                out,
                "{} of processes in no container: see --all",
                count(self.outside, "denial", "denials")
            )?;
        }
        for note in &self.notes {
            writeln!(out, "{}", printable(note))?;
        }
        Ok(())
    }
}

impl Owner {
    fn of(tie: &Tie, record: Option<&Record>) -> Owner {
        let Some(record) = record else {
            return match tie {
                Tie::Unknown(why) => Owner::Unknown { why: why.clone() },
                _ => Owner::None,
            };
        };
        let value = |fact: &Option<coaming_policy::facts::Fact>| {
            fact.as_ref().map(|fact| fact.value.clone())
        };
        Owner::Known {
            id: record.id.clone(),
            namespace: value(&record.facts.namespace),
            pod: value(&record.facts.pod),
            name: value(&record.facts.container),
        }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Owner::Known { id, namespace, pod, name } => {
                for part in [namespace, pod, name].into_iter().flatten() {
                    write!(formatter, "{part}/")?;
                }
                write!(formatter, "{id}")
            }
            Owner::Unknown { why } => write!(formatter, "container unknown: {why}"),
            Owner::None => formatter.write_str("in no container"),
        }
    }
}

fn in_words(subject: &Subject) -> String {
    match subject {
        Subject::Seccomp { arch, syscall, answer } => {
            let call = calls::in_words(*arch, *syscall);
            match answer {
                Answer::KillProcess | Answer::KillThread => format!("{call} killed it"),
                Answer::Log => format!("{call} would be denied"),
                _ => format!("{call} denied"),
            }
        }
        Subject::Landlock { blockers, path, port, .. } => {
            let to = match (path, port) {
                (Some(path), _) => format!(" {path}"),
                (None, Some(port)) => format!(" port {port}"),
                (None, None) => String::new(),
            };
            format!("{}{to} denied", blockers.join(", "))
        }
        Subject::AppArmor { operation, name, denied, .. } => {
            let part = |part: &Option<String>| {
                part.as_ref().map_or(String::new(), |part| format!(" {part}"))
            };
            format!("{operation}{}{} denied", part(name), part(denied))
        }
        Subject::SeLinux { target, class, permissions, path, .. } => {
            let at = path.as_deref().unwrap_or(target);
            format!("{} of {class} {at} denied", permissions.join(", "))
        }
    }
}

fn time(stamp: Stamp) -> String {
    let seconds = Duration::from_secs((stamp.millis / 1000).min(LATEST));
    humantime::format_rfc3339_seconds(UNIX_EPOCH + seconds).to_string()
}

/// Maps whose keys are documents are lists in JSON.
fn counted<S: serde::Serializer>(
    denials: &BTreeMap<Found, Times>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Counted<'a> {
        #[serde(flatten)]
        found: &'a Found,
        #[serde(flatten)]
        times: &'a Times,
    }
    serializer.collect_seq(denials.iter().map(|(found, times)| Counted { found, times }))
}
