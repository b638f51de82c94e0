//! Whose process it was: from a pid or a Landlock domain to a container that coaming knows.
//!
//! Nothing is guessed. A process is tied to a container by its cgroup, of which the part that carries the
//! container's id must be where the container's first process is too: the name alone is the client's choice. A
//! pid that was given anew since is told by its process's start time. Of a process that has ended, all that is
//! known is what was seen of it before.

use std::collections::HashMap;

use coaming_audit::{Denial, Event, Stamp, Subject};
use coaming_shim::proof::Process;
use coaming_shim::record::Record;

use super::process::{Processes, Running};

/// Ids of at least this length are made by programs, and not by people: 64 hexadecimal digits are usual.
const LONG: usize = 32;
/// The most that is remembered of processes, and of domains.
const MAX_REMEMBERED: usize = 64 * 1024;
/// How much later than a record a process may seem to have begun, for the clock's sake, in milliseconds.
const SLACK: u64 = 50;

/// To whom a denial belongs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tie {
    /// A container: its place among the records.
    Container(usize),
    /// A process that is in none.
    Outside,
    /// It cannot be told, and why.
    Unknown(String),
}

/// What is known of whose process is whose.
#[derive(Debug)]
pub(super) struct Ties {
    processes: Processes,
    /// By pid, with the start time of the process that was seen.
    pids: HashMap<u32, (Running, Tie)>,
    /// By Landlock domain: the process that made it.
    domains: HashMap<u64, (u32, Stamp)>,
    owners: HashMap<u64, Tie>,
}

impl Ties {
    pub(super) fn over(processes: Processes) -> Ties {
        Ties { processes, pids: HashMap::new(), domains: HashMap::new(), owners: HashMap::new() }
    }

    /// Looks at a process at once, while it may still be there. Whether it is a container's.
    pub(super) fn see(&mut self, pid: u32, stamp: Stamp, records: &[Record]) -> bool {
        matches!(self.of_pid(pid, stamp, records), Tie::Container(_))
    }

    /// Containers came and went: what is remembered stays with those that it was of.
    pub(super) fn moved(&mut self, before: &[Record], now: &[Record]) {
        let place = |tie: &Tie| match tie {
            Tie::Container(place) => {
                let record = before.get(*place)?;
                let key = |record: &Record| {
                    (record.id.clone(), record.runtime_root.clone(), record.created_at)
                };
                let now = now.iter().position(|other| key(other) == key(record))?;
                Some(Tie::Container(now))
            }
            // In none that was known then.
            _ => None,
        };
        self.pids.retain(|_, (_, tie)| place(tie).map(|moved| *tie = moved).is_some());
        self.owners.retain(|_, tie| place(tie).map(|moved| *tie = moved).is_some());
    }

    /// Remembers who made the domains that an event names.
    pub(super) fn learn(&mut self, event: &Event, records: &[Record]) {
        for (domain, pid) in event.domains() {
            if self.domains.len() >= MAX_REMEMBERED {
                self.domains.clear();
            }
            self.domains.insert(domain, (pid, event.stamp));
            let tie = self.of_pid(pid, event.stamp, records);
            self.own(domain, tie);
        }
    }

    pub(super) fn of(&mut self, denial: &Denial, records: &[Record]) -> Tie {
        let mut of_pid = denial.pid.map(|pid| self.of_pid(pid, denial.stamp, records));
        if let (Some(Tie::Unknown(_)), Some(parent)) = (&of_pid, denial.parent)
            && let tie @ Tie::Container(_) = self.of_pid(parent, denial.stamp, records)
        {
            // A child is where its parent is: out of a container's cgroup only the node's root moves it.
            of_pid = Some(tie);
        }
        let Subject::Landlock { domain, .. } = &denial.subject else {
            return of_pid
                .unwrap_or_else(|| Tie::Unknown("the record names no process".to_owned()));
        };
        let domain = *domain;
        match of_pid {
            // What joins a domain never leaves it.
            Some(tie @ Tie::Container(_)) => {
                self.own(domain, tie.clone());
                return tie;
            }
            Some(Tie::Outside) => return Tie::Outside,
            _ => {}
        }
        if let Some(tie) = self.owners.get(&domain) {
            return tie.clone();
        }
        match self.domains.get(&domain).copied() {
            Some((pid, stamp)) => self.of_pid(pid, stamp, records),
            None => of_pid.unwrap_or_else(|| {
                Tie::Unknown(format!(
                    "the record names no process, and none that tells who made domain {domain:x} was read"
                ))
            }),
        }
    }

    fn own(&mut self, domain: u64, tie: Tie) {
        if matches!(tie, Tie::Container(_)) {
            if self.owners.len() >= MAX_REMEMBERED {
                self.owners.clear();
            }
            self.owners.insert(domain, tie);
        }
    }

    fn of_pid(&mut self, pid: u32, stamp: Stamp, records: &[Record]) -> Tie {
        if !self.processes.is_the_nodes {
            return Tie::Unknown(
                "/proc is not that of the node: run it in the node's own pid namespace".to_owned(),
            );
        }
        let Some(running) = self.processes.running(pid) else {
            return self.of_ended(pid, stamp, records);
        };
        if self.processes.began(running.start) > stamp.millis.saturating_add(SLACK) {
            return self.of_ended(pid, stamp, records);
        }
        if let Some((seen, tie)) = self.pids.get(&pid)
            && *seen == running
            && matches!(tie, Tie::Container(_))
        {
            return tie.clone();
        }
        let Some(cgroups) = self.processes.cgroups(pid) else {
            return self.of_ended(pid, stamp, records);
        };
        // Another process may have been given the pid while it was looked at.
        if self.processes.running(pid) != Some(running) {
            return self.of_ended(pid, stamp, records);
        }
        let tie = self.of_cgroups(&cgroups, records);
        if self.pids.len() >= MAX_REMEMBERED {
            self.pids.clear();
        }
        self.pids.insert(pid, (running, tie.clone()));
        tie
    }

    /// A process that has ended: as it was seen before, or as a runtime names it.
    fn of_ended(&self, pid: u32, stamp: Stamp, records: &[Record]) -> Tie {
        let began_before =
            |start| self.processes.began(start) <= stamp.millis.saturating_add(SLACK);
        if let Some((seen, tie)) = self.pids.get(&pid)
            && began_before(seen.start)
        {
            return tie.clone();
        }
        let is_first = |record: &Record| {
            first_of(record).is_some_and(|first| first.pid == pid && began_before(first.start))
        };
        let mut named = records.iter().enumerate().filter(|(_, record)| is_first(record));
        match (named.next(), named.next()) {
            (Some((place, _)), None) => Tie::Container(place),
            _ => Tie::Unknown("its process had ended before it could be looked at".to_owned()),
        }
    }

    fn of_cgroups(&self, cgroups: &[(String, String)], records: &[Record]) -> Tie {
        let mut found: Option<usize> = None;
        let mut unproven = None;
        for (controllers, path) in cgroups {
            // The outermost: below its own cgroup, a container may name others as it likes.
            let Some((end, id)) =
                parts(path).find(|(_, id)| records.iter().any(|record| record.id == *id))
            else {
                continue;
            };
            let own = path.get(..end).unwrap_or_default();
            let mut proven =
                records.iter().enumerate().filter(|(_, record)| record.id == id).filter(
                    |(_, record)| {
                        self.has_first_below(record, controllers, own).unwrap_or(id.len() >= LONG)
                    },
                );
            match (proven.next(), proven.next()) {
                (Some((place, _)), None) if found.is_none_or(|found| found == place) => {
                    found = Some(place);
                }
                (None, _) => {
                    unproven = Some(format!(
                        "its cgroup {path} carries the name of container {id}, whose first process is not there"
                    ));
                }
                _ => {
                    return Tie::Unknown(format!(
                        "its cgroup {path} is that of several containers"
                    ));
                }
            }
        }
        match (found, unproven) {
            (Some(place), _) => Tie::Container(place),
            (None, Some(why)) => Tie::Unknown(why),
            (None, None) => Tie::Outside,
        }
    }

    /// Whether the container's first process is in a cgroup or below it; `None` where it runs no more.
    fn has_first_below(&self, record: &Record, controllers: &str, path: &str) -> Option<bool> {
        let first = first_of(record)?;
        if self.processes.running(first.pid)?.start != first.start {
            return None;
        }
        let cgroups = self.processes.cgroups(first.pid)?;
        Some(cgroups.iter().any(|(theirs, at)| {
            theirs == controllers
                && at
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }))
    }
}

/// A container's first process, as its runtime names it.
fn first_of(record: &Record) -> Option<Process> {
    record.init()
}

/// The parts of a cgroup's path that may be a container's id: where each ends, and the id.
fn parts(path: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut end = 0;
    path.split('/').filter_map(move |part| {
        let start = end;
        end += part.len() + 1;
        let name = match part.strip_suffix(".scope") {
            // systemd's: the name of the one who asked, and the id (`cri-containerd-ID.scope`).
            Some(scope) => ["cri-containerd-", "crio-", "docker-", "libpod-"]
                .iter()
                .find_map(|prefix| scope.strip_prefix(prefix))
                .unwrap_or(scope),
            None => part,
        };
        (!name.is_empty()).then_some((start + part.len(), name))
    })
}
