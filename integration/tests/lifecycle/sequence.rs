//! The events of a scenario: each process's in their order, and that a container's own exit is the last of its exits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use coaming_integration::Error;
use coaming_integration::task_api::Event;

use crate::stage::Stage;

/// An event that is due has come by then, or never comes.
const LIMIT: Duration = Duration::from_secs(20);

/// The stock shim of containerd 2.1 sometimes ends with a deletion still to be told, which then never is.
const FORGIVEN: Duration = Duration::from_secs(1);

/// An event that nobody expects is waited for no longer.
const SETTLE: Duration = Duration::from_millis(100);

pub(crate) fn write_down(stage: &Stage<'_>, made: &[String]) -> Result<(), Error> {
    let (started, deleted) = (stage.started(), stage.deleted());
    let (end, forgiven) = (Instant::now() + LIMIT, Instant::now() + FORGIVEN);
    let is_all = || {
        let events = stage.events.of(stage.namespace());
        let has = |topic: &str, name: &str, exec: &str| {
            let id = stage.id(name);
            events.iter().any(|event| {
                let process = if event.process == id { "" } else { &event.process };
                event.topic == topic && event.container == id && process == exec
            })
        };
        started.iter().all(|(name, exec)| has("/tasks/exit", name, exec))
            && ((stage.is_stock() && Instant::now() > forgiven)
                || deleted.keys().all(|name| has("/tasks/delete", name, "")))
    };
    while !is_all() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(SETTLE);
    let events = stage.events.of(stage.namespace());
    for name in made {
        let id = stage.id(name);
        let own: Vec<&Event> = events.iter().filter(|event| event.container == id).collect();
        for (process, mut told) in by_process(stage, &id, &own) {
            if let Some(answers) = deleted.get(name)
                && process.is_empty()
                && stage.is_stock()
            {
                told = with_deletions(&told, answers);
            }
            stage.note(&format!("events {name} {process}"), told.join(", "));
        }
        if own.iter().any(|event| event.process != id && event.topic == "/tasks/exit") {
            let last = own.iter().rfind(|event| event.topic == "/tasks/exit");
            let is_init = last.is_some_and(|event| event.process == id || event.process.is_empty());
            stage.note(
                &format!("last exit of {name}"),
                if is_init { "init's" } else { "an exec's" },
            );
        }
    }
    Ok(())
}

/// What is told of a container, life by life, each with its deletion as it was answered where none was told.
fn with_deletions(told: &[String], answers: &[String]) -> Vec<String> {
    let mut all = Vec::<String>::new();
    let mut answers = answers.iter();
    let close = |all: &mut Vec<String>, answer: Option<&String>| {
        let is_told = all.last().is_some_and(|last| last.starts_with("delete"));
        all.extend(answer.filter(|_| !is_told).cloned());
    };
    for event in told {
        if event.starts_with("create") && !all.is_empty() {
            close(&mut all, answers.next());
        }
        all.push(event.clone());
    }
    close(&mut all, answers.next());
    all
}

/// Each process's events, in words; the first process's name is empty.
fn by_process(stage: &Stage<'_>, id: &str, events: &[&Event]) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::<String, Vec<String>>::new();
    for event in events {
        let process = if event.process == id { "" } else { &event.process };
        let words = match event.topic.trim_start_matches("/tasks/") {
            topic @ ("exit" | "delete") => {
                let dated = if event.dated { "" } else { " undated" };
                format!("{topic} {} by {}{dated}", event.status, stage.who(event.pid))
            }
            topic @ ("create" | "start" | "exec-started") => {
                format!("{topic} {}", stage.who(event.pid))
            }
            topic => topic.to_owned(),
        };
        all.entry(process.to_owned()).or_default().push(words);
    }
    all
}
