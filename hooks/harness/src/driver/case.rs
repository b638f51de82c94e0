//! One runtime with one phase: the hook's own run, one that fails, and one that hangs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;

use super::bundle::{Bundle, Tools};
use super::runtime::Runtime;
use crate::recorder::{MESSAGE, namespaces};
use crate::{Call, Case as Answer, Did, OnFailure, OnHang, Phase, Request, Seen, sys};

/// The `timeout` of the hook that hangs, in seconds.
const HANG: u32 = 2;
/// How long a runtime may take besides, at most.
const SLACK: Duration = Duration::from_secs(8);

pub(super) struct Case<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) phase: Phase,
    pub(super) tools: &'a Tools,
    pub(super) request: &'a Request,
}

/// A container's life.
struct Life {
    calls: Vec<Call>,
    seen: Option<Seen>,
    did: Option<Did>,
    runs: usize,
    /// After the verb that failed.
    status: Option<String>,
    /// How long a startContainer hook took after `start` had returned.
    settled: Option<Duration>,
    left: Vec<String>,
}

impl Case<'_> {
    pub(super) fn run(&self) -> Result<Answer, String> {
        let timeout = self.request.timeout_seconds;
        let life = self.live("run", timeout)?;
        let failing = self.live("fail", HANG)?;
        let hanging = self.live("hang", HANG)?;
        let Life { calls, seen, did, runs, left, .. } = life;
        Ok(Answer {
            runtime: self.runtime.path.clone(),
            version: self.runtime.version.clone(),
            phase: self.phase,
            on_failure: failing.seen.as_ref().map(|_| OnFailure {
                failed: failing.failed().map(|call| call.verb.clone()),
                message_shown: failing.calls.iter().any(|call| call.stderr.contains(MESSAGE)),
                status: failing.status.clone(),
            }),
            on_hang: hanging.seen.as_ref().and_then(|_| hanging.on_hang()),
            seen,
            did,
            runs,
            calls,
            left: of_the_hook(left, &failing.left),
        })
    }

    fn live(&self, mode: &str, timeout: u32) -> Result<Life, String> {
        let id = format!("{}-{mode}", self.phase.name().to_lowercase());
        let bundle = self.tools.bundle(&id, self.phase, mode, timeout, self.request)?;
        let limit = Duration::from_secs(u64::from(timeout)) + SLACK;
        let mut life = self.drive(&id, &bundle, limit)?;
        // Whatever happened: the container goes.
        self.runtime.call(&["delete", "--force", &id], limit)?;
        life.left = self.left(&id);
        life.runs = (0..100).take_while(|n| record_path(&bundle, "seen", *n).exists()).count();
        life.did = read(&bundle, "did");
        let container = life.seen.take();
        life.seen = read::<Seen>(&bundle, "seen").map(|seen| self.attribute(seen, container));
        self.tools.remove(&bundle);
        Ok(life)
    }

    /// create, start, kill and delete, as far as they go.
    fn drive(&self, id: &str, bundle: &Bundle, limit: Duration) -> Result<Life, String> {
        let mut life = Life {
            calls: Vec::new(),
            seen: None,
            did: None,
            runs: 0,
            status: None,
            settled: None,
            left: Vec::new(),
        };
        let pid_file = bundle.path.join("pid").display().to_string();
        let path = bundle.path.display().to_string();
        let create = ["create", "--bundle", &path, "--pid-file", &pid_file, id];
        for words in [&create[..], &["start", id], &["kill", id, "KILL"], &["delete", id]] {
            let call = self.runtime.call(words, limit)?;
            let goes_on = call.code == Some(0);
            life.calls.push(call);
            if !goes_on {
                life.status = self.runtime.status(id, limit)?;
                break;
            }
            match words.first() {
                // Its namespaces are there now, whatever becomes of it.
                Some(&"create") => {
                    let pid = fs::read_to_string(&pid_file).unwrap_or_default();
                    let namespaces = namespaces(pid.trim());
                    life.seen = Some(Seen { namespaces, ..Seen::default() });
                }
                Some(&"start") if self.phase == Phase::StartContainer => {
                    life.settled = Some(self.wait_until_done(id, bundle, limit)?);
                }
                Some(&"kill") => self.wait_until_stopped(id, limit)?,
                _ => {}
            }
        }
        Ok(life)
    }

    /// Waits for a startContainer hook, whose container goes on or stops after it.
    fn wait_until_done(
        &self,
        id: &str,
        bundle: &Bundle,
        limit: Duration,
    ) -> Result<Duration, String> {
        let started = Instant::now();
        while started.elapsed() < limit && !record_path(bundle, "did", 0).exists() {
            sys::reap();
            if matches!(self.runtime.status(id, limit)?.as_deref(), None | Some("stopped")) {
                break;
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(started.elapsed())
    }

    fn wait_until_stopped(&self, id: &str, limit: Duration) -> Result<(), String> {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            sys::reap();
            match self.runtime.status(id, limit)?.as_deref() {
                None | Some("stopped") => return Ok(()),
                Some(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
        Ok(())
    }

    /// Says whose the hook's namespaces are.
    fn attribute(&self, seen: Seen, container: Option<Seen>) -> Seen {
        let ours = namespaces("self");
        let theirs = container.map(|container| container.namespaces).unwrap_or_default();
        let named = seen.namespaces.iter().map(|(kind, identity)| {
            let whose = match identity {
                identity if ours.get(kind) == Some(identity) => "runtime",
                identity if theirs.get(kind) == Some(identity) => "container",
                _ => "other",
            };
            (kind.clone(), whose.to_owned())
        });
        Seen { namespaces: named.collect::<BTreeMap<_, _>>(), ..seen.clone() }
    }

    /// What is still there of the container. Processes are ended.
    fn left(&self, id: &str) -> Vec<String> {
        let mut left = Vec::new();
        if let Some(folder) = self.runtime.kept(id) {
            left.push(format!("the runtime's state {}", folder.display()));
            let _ = fs::remove_dir_all(folder);
        }
        for (pid, name) in processes() {
            left.push(format!("process {name}"));
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        for _ in 0..100 {
            if !sys::reap() {
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        for folder in cgroups(&self.tools.cgroup(id)) {
            left.push(format!("cgroup {}", folder.display()));
            // A process that has just been killed may still be in it.
            for _ in 0..100 {
                if fs::remove_dir(&folder).is_ok() {
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        left
    }
}

impl Life {
    fn failed(&self) -> Option<&Call> {
        self.calls.iter().find(|call| call.code != Some(0))
    }

    fn on_hang(&self) -> Option<OnHang> {
        // The verb that ran the hook is the one that took as long.
        let call = self.calls.iter().max_by_key(|call| call.milliseconds)?;
        let seconds = Duration::from_secs(u64::from(HANG));
        // runc's start waits for a startContainer hook, crun's does not.
        let took = Duration::from_millis(call.milliseconds).max(self.settled.unwrap_or_default());
        Some(OnHang {
            timeout_seconds: HANG,
            is_honoured: !call.hung && took >= seconds && took < seconds + SLACK / 2,
            failed: self.failed().map(|call| call.verb.clone()),
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// What is left of the hook's own run and not of one in which the hook does not run: that is the runtime's
/// doing.
fn of_the_hook(left: Vec<String>, besides: &[String]) -> Vec<String> {
    let plain = |text: &String| text.replace("-run", "").replace("-fail", "");
    left.into_iter().filter(|one| !besides.iter().any(|other| plain(other) == plain(one))).collect()
}

fn record_path(bundle: &Bundle, name: &str, number: usize) -> std::path::PathBuf {
    bundle.records.join(format!("{name}-{number}.json"))
}

fn read<T: DeserializeOwned>(bundle: &Bundle, name: &str) -> Option<T> {
    let bytes = fs::read(record_path(bundle, name, 0)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The processes of this PID namespace, but for this one, which is its first.
fn processes() -> Vec<(i32, String)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let (before, after) = stat.rsplit_once(") ")?;
            let name = before.split_once('(')?.1.to_owned();
            (pid != 1 && !after.starts_with('Z')).then_some((pid, name))
        })
        .collect()
}

/// The folders of a cgroup, in each hierarchy that has it.
fn cgroups(name: &str) -> Vec<std::path::PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path());
    let places = hierarchies.chain([top.to_owned()]).map(|folder| folder.join(name));
    places.filter(|folder| folder.is_dir()).collect()
}
