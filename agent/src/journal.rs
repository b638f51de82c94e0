//! The node's journal as Kubernetes Events: refusals, containers that lack a control, processes wider than their floor.
//!
//! The journal is what counts; Events are for whoever looks at a pod. They are few by construction: each thing of a pod once in a while, and
//! of one node no more than some a minute.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coaming_shim::journal::event::{Container, Event, Line, Proof};
use coaming_shim::journal::{JournalError, read};
use serde_json::{Value, json};

use crate::report::short;

/// How long the same is not said again of the same pod.
const AGAIN: Duration = Duration::from_secs(600);
/// How many can be said at once, and then one each so often.
const BURST: u32 = 20;
const EACH: Duration = Duration::from_secs(60);
/// The most that is remembered of what was said.
const MAX_SAID: usize = 2000;

/// What is said of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The pod's namespace and name.
    pub pod: (String, String),
    /// The container.
    pub container: String,
    /// In a word.
    pub reason: &'static str,
    /// In a sentence.
    pub message: String,
}

/// Follows a journal from where it stands.
#[derive(Debug)]
pub struct Follower {
    folder: PathBuf,
    /// The last line that was seen.
    seq: u64,
    /// The last file as it was then.
    seen: Option<(PathBuf, u64)>,
}

impl Follower {
    /// Follows the journal of a folder; what stands there already is not told again.
    pub fn of(folder: &Path) -> Follower {
        let mut follower = Follower { folder: folder.to_owned(), seq: 0, seen: None };
        // Whatever cannot be read now is told when it can be.
        let _ = follower.new_lines();
        follower
    }

    /// The lines since the last look.
    ///
    /// # Errors
    /// A journal that cannot be read.
    pub fn new_lines(&mut self) -> Result<Vec<Line>, JournalError> {
        let files = read::files(&self.folder)?;
        let Some(last) = files.last() else { return Ok(Vec::new()) };
        let length = std::fs::metadata(&last.path).map_or(0, |metadata| metadata.len());
        let now = Some((last.path.clone(), length));
        if now == self.seen {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        // Most often the last file alone; after a file was begun, the one before too.
        for file in files.iter().rev() {
            let bytes = file.read()?;
            for line in read::lines(&bytes).0.into_iter().rev() {
                match read::parse(line) {
                    Ok(line) if line.seq <= self.seq => break,
                    Ok(line) => found.push(line),
                    Err(_) => {}
                }
            }
            if file.first <= self.seq.saturating_add(1) || self.seq == 0 {
                break;
            }
        }
        found.reverse();
        if let Some(line) = found.last() {
            self.seq = line.seq;
        }
        self.seen = now;
        Ok(found)
    }
}

/// What a line says of a pod, if it is something to be told.
pub fn told(line: &Line) -> Option<Told> {
    match &line.event {
        Event::Refused(refused) => {
            let why = match refused.reasons.first() {
                Some(because) => {
                    let policy = because.policy.as_deref().unwrap_or("coaming");
                    let more = refused.reasons.len().saturating_sub(1);
                    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
                    format!(
                        "{} ({}): allowed is {}; policy {policy}{more}",
                        because.control, because.field, because.allowed
                    )
                }
                None => refused.error.clone().unwrap_or_default(),
            };
            of(
                &refused.decision.container,
                "Refused",
                format!("{} refused: {why}", refused.operation),
            )
        }
        Event::Created(decision) if !decision.degraded.is_empty() => of(
            &decision.container,
            "Degraded",
            format!(
                "started without what the node cannot give in full: {}",
                decision.degraded.join(", ")
            ),
        ),
        Event::Proved(proved) if proved.outcome == Proof::Mismatch => {
            let wider: Vec<&str> =
                proved.mismatches.iter().map(|wider| wider.what.as_str()).collect();
            let killed = if proved.killed { "; it was killed" } else { "" };
            of(
                &proved.container,
                "Mismatch",
                format!("wider than its floor: {}{killed}", wider.join(", ")),
            )
        }
        _ => None,
    }
}

fn of(container: &Container, reason: &'static str, message: String) -> Option<Told> {
    // Annotations say which pod it is: what cannot be a name is not asked of the API server.
    let name = |name: &Option<String>| name.clone().filter(|name| is_name(name));
    Some(Told {
        pod: (name(&container.namespace)?, name(&container.pod)?),
        container: short(container.container.as_deref().unwrap_or_default(), 253),
        reason,
        message: short(&message, 900),
    })
}

fn is_name(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'.';
    !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(allowed)
        && !name.starts_with('.')
        && !name.contains("..")
}

impl Told {
    /// The Event as it is created.
    pub fn event(&self, node: &str, seq: u64, now: &str) -> Value {
        let (namespace, pod) = &self.pod;
        let container = &self.container;
        let name: String = pod.chars().take(200).collect();
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": format!("{}.coaming.{seq:x}", name.trim_end_matches(['-', '.'])), "namespace": namespace},
            "type": "Warning",
            "reason": self.reason,
            "message": self.message,
            "involvedObject": {
                "apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": pod,
                "fieldPath": format!("spec.containers{{{container}}}"),
            },
            "source": {"component": "coaming", "host": node},
            "reportingComponent": "coaming.dev/agent",
            "reportingInstance": node,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        })
    }
}

/// How much is said.
#[derive(Debug)]
pub struct Limit {
    /// What was said, and when, since the agent began.
    said: BTreeMap<(String, String, &'static str, String), Duration>,
    tokens: u32,
    /// When the last token came.
    filled: Duration,
}

impl Default for Limit {
    fn default() -> Limit {
        Limit { said: BTreeMap::new(), tokens: BURST, filled: Duration::ZERO }
    }
}

impl Limit {
    /// Whether something may be said now, a time since the agent began; it then counts as said.
    pub fn lets(&mut self, told: &Told, now: Duration) -> bool {
        while self.tokens < BURST && now.saturating_sub(self.filled) >= EACH {
            self.tokens += 1;
            self.filled += EACH;
        }
        if self.tokens == BURST {
            self.filled = now;
        }
        self.said.retain(|_, at| now.saturating_sub(*at) < AGAIN);
        let (namespace, pod) = told.pod.clone();
        let key = (namespace, pod, told.reason, told.message.clone());
        if self.tokens == 0 || self.said.len() >= MAX_SAID || self.said.contains_key(&key) {
            return false;
        }
        self.tokens -= 1;
        self.said.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests;
