//! In front of the hook: looks at what it is given, runs it, and looks at what has changed.
//!
//! It is static and heeds no environment, so it sees what the hook would see and nothing happens to it on
//! the way. Everything that the hook is given is passed on: descriptors, environment, working directory.

mod changes;
mod observe;
mod run;

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use crate::Phase;
use changes::Places;
pub(crate) use observe::namespaces;

/// What the failing hook writes to standard error.
pub(crate) const MESSAGE: &str = "coaming-hook-test: this hook fails by intent";
/// The largest state that is passed on, in bytes.
const MAX_STATE: u64 = 4 << 20;

/// How the recorder is called; its arguments, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    /// `run`, `fail` or `hang`.
    pub(crate) mode: String,
    /// The phase.
    pub(crate) phase: Phase,
    /// The folder of records.
    pub(crate) records: PathBuf,
    /// The container's root file system, as the host names it.
    pub(crate) rootfs: PathBuf,
    /// The folder that has the root file system's changed files.
    pub(crate) upper: PathBuf,
    /// The hook and its arguments.
    pub(crate) hook: Vec<String>,
}

impl Order {
    pub(crate) fn to_words(&self) -> Vec<String> {
        let path = |path: &Path| path.display().to_string();
        let mut words = vec!["record".to_owned(), self.mode.clone(), self.phase.name().to_owned()];
        words.extend([path(&self.records), path(&self.rootfs), path(&self.upper)]);
        words.extend(self.hook.iter().cloned());
        words
    }

    fn parse(words: &[String]) -> Option<Order> {
        let [mode, phase, records, rootfs, upper, hook @ ..] = words else { return None };
        let places = [records, rootfs, upper].map(PathBuf::from);
        let [records, rootfs, upper] = places;
        let phase = Phase::of(phase)?;
        Some(Order { mode: mode.clone(), phase, records, rootfs, upper, hook: hook.to_vec() })
    }
}

/// The role of the program that runs in the hook's place.
pub fn main(words: &[String]) -> ExitCode {
    let Some(order) = Order::parse(words).filter(|order| !order.hook.is_empty()) else {
        return ExitCode::from(2);
    };
    let mut state = Vec::new();
    let _ = std::io::stdin().lock().take(MAX_STATE).read_to_end(&mut state);
    let number = keep(&order.records, "seen", &observe::observe(&state, order.phase));
    match order.mode.as_str() {
        "fail" => {
            let _ = writeln!(std::io::stderr(), "{MESSAGE}");
            ExitCode::FAILURE
        }
        "hang" => loop {
            std::thread::sleep(Duration::from_secs(3600));
        },
        _ => {
            let places = Places::of(&order, &state);
            let before = places.look();
            let (mut did, code) = run::run(&order.hook, state);
            did.changes = changes::between(&before, &places.look());
            keep_as(&order.records, &format!("did-{number}"), &did);
            ExitCode::from(code)
        }
    }
}

/// Writes a record under the first number that is free, and says which.
fn keep(folder: &Path, name: &str, record: &impl Serialize) -> usize {
    let number = (0..100).find(|number| keep_as(folder, &format!("{name}-{number}"), record));
    number.unwrap_or(100)
}

fn keep_as(folder: &Path, name: &str, record: &impl Serialize) -> bool {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join(format!("{name}.json")));
    let Ok(mut file) = file else { return false };
    serde_json::to_vec(record).is_ok_and(|bytes| file.write_all(&bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_survives_its_words() {
        let order = Order {
            mode: "run".to_owned(),
            phase: Phase::Poststop,
            records: "/a/records".into(),
            rootfs: "/a/rootfs".into(),
            upper: "/a/upper".into(),
            hook: vec!["/bin/hook".to_owned(), "--flag".to_owned(), String::new()],
        };
        assert_eq!(Order::parse(order.to_words().get(1..).unwrap()), Some(order));
        assert_eq!(Order::parse(&["run".to_owned()]), None);
    }

    #[test]
    fn no_record_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(keep(folder.path(), "seen", &1), 0);
        assert_eq!(keep(folder.path(), "seen", &2), 1);
        assert_eq!(std::fs::read_to_string(folder.path().join("seen-0.json")).unwrap(), "1");
    }
}
