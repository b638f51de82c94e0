//! Containers whose runtime no wrapper stands before: their records, which hooks make and remove.
//!
//! A hook is told the container's id, its bundle and its first process, and not where the runtime keeps its
//! state. So the bundle stands in that folder's place: with the id it names a container, at each of its hooks.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use coaming_hooks::state::{State as Told, StateError as ToldError};
use coaming_policy::document::{DocumentError, Waived};
use coaming_policy::facts::Facts;
use coaming_policy::floor::Floor;
use coaming_policy::spec::view;
use coaming_policy::verdict::{Admission, Audit, Degraded};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use serde::Deserialize;
use serde_json::Value;

use crate::config::{self, Node};
use crate::proof::Process;
use crate::record::{self, Filters, Record};
use crate::state::{State, StateError};

/// The name by which policies, records and the journal know such containers (`match.runtimes`).
pub const NAME: &str = "coaming-hook";
/// The largest record that is read, in bytes.
const MAX_RECORD: u64 = 8 << 20;

/// The state of a container that a hook was told of.
pub(crate) fn state_of(node: &Node, told: &Told) -> State {
    State::of(&node.state(), &told.bundle, &told.id)
}

/// Whether the container's hooks need a record of it: to prove it, or to remove the record again. Podman runs
/// poststop hooks of hooks.d by itself (libpod, `postDeleteHooks`); they are not in the spec.
pub(crate) fn has_record(spec: &Value) -> bool {
    [("hooks.poststart", "prove"), ("hooks.poststop", "forget")].iter().any(|(list, verb)| {
        view::items(spec, list).iter().any(|hook| {
            view::text(hook, "path") == Some(config::HOOK)
                && view::strings(hook, "args").nth(1) == Some(*verb)
        })
    })
}

/// The runtime that has called this hook, as far as the kernel can name its file. For people: nothing rests on it.
pub(crate) fn runtime() -> String {
    let path = format!("/proc/{}/exe", std::os::unix::process::parent_id());
    // crun runs from a sealed copy of itself, which has no path.
    let file = std::fs::read_link(path).ok().filter(|file| file.exists());
    file.map_or_else(|| "unknown".to_owned(), |file| file.display().to_string())
}

/// What was decided of a container, as the record keeps it.
pub(crate) struct Decided {
    pub(crate) facts: Facts,
    pub(crate) floor: Floor,
    pub(crate) admission: Admission,
    pub(crate) degraded: Vec<Degraded>,
    pub(crate) waived: Vec<Waived>,
    pub(crate) audit: Audit,
    pub(crate) notes: Vec<String>,
}

/// Writes the record of a container that was admitted.
///
/// # Errors
/// [`StateError`].
pub(crate) fn keep(
    node: &Node,
    told: &Told,
    first: Process,
    decided: Decided,
) -> Result<(), StateError> {
    let state = state_of(node, told);
    // The hook may be there twice, as of both `prestart` and `createRuntime`.
    if Record::read(&state).is_ok_and(|record| record.first_process == Some(first)) {
        state.remove();
    }
    state.reserve_for(first)?;
    let Decided { facts, floor, admission, degraded, waived, audit, notes } = decided;
    let spec = admission.spec;
    let record = Record {
        version: record::VERSION,
        id: told.id.clone(),
        wrapper: NAME.to_owned(),
        advisory: node.user().is_some(),
        runtime: runtime(),
        runtime_root: told.bundle.display().to_string(),
        bundle: told.bundle.display().to_string(),
        created_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs()),
        facts,
        changes: Vec::new(),
        degraded,
        waived,
        audit,
        notes,
        process: spec.get("process").cloned().unwrap_or_default(),
        seccomp: admission.seccomp,
        bounding: view::strings(&spec, "process.capabilities.bounding")
            .map(str::to_owned)
            .collect(),
        plan: None,
        launcher: None,
        filters: Some(Filters::of(&spec, 0)),
        preserved: 0,
        first_process: Some(first),
        floor,
        exec_floor: None,
        update_floor: None,
    };
    record.write(&state).inspect_err(|_| state.remove())
}

/// The container's first process, as the runtime tells; none where it does not, or where it has ended.
pub(crate) fn process(told: &Told) -> Option<Process> {
    u32::try_from(told.pid).ok().filter(|pid| *pid > 0).and_then(Process::of)
}

/// Why a record stays.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    /// What the runtime wrote to stdin is no state of a container.
    #[error(
        "coaming: a container's state on stdin {0}; a runtime writes it, so run this as a hook"
    )]
    State(#[from] ToldError),
    /// It cannot be told whose containers these are.
    #[error("coaming cannot read its configuration: {0}")]
    Configuration(#[from] DocumentError),
}

/// Removes the record of the container whose state `input` has, if there is one.
///
/// # Errors
/// [`ForgetError`].
pub fn forget(input: impl Read) -> Result<(), ForgetError> {
    let told = Told::read(input)?;
    let node = Node::load(NAME)?;
    state_of(&node, &told).remove();
    Ok(())
}

/// What is read of a record.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Crossed {
    id: String,
    runtime_root: String,
    bundle: String,
}

/// Whether this very config.json is what the wrapper made of a container of this id: it has the wrapper's
/// own poststop hook, which names the record, and the record names the id and the bundle. Only root
/// writes either.
pub(crate) fn has_crossed(spec: &Value, id: &str, bundle: &Path, state: &Path) -> bool {
    view::items(spec, "hooks.poststop").iter().any(|hook| {
        if view::text(hook, "path") != Some(config::HOOK) {
            return false;
        }
        let words: Vec<&str> = view::strings(hook, "args").collect();
        let named = words.windows(2).find_map(|pair| match pair {
            [flag, folder] if *flag == "--record" => Some(Path::new(*folder)),
            _ => None,
        });
        named.is_some_and(|folder| names(folder, id, bundle, state))
    })
}

fn names(folder: &Path, id: &str, bundle: &Path, state: &Path) -> bool {
    if folder.parent() != Some(&state.join("containers")) {
        return false;
    }
    let Some(record) = read_record(folder) else { return false };
    record.id == id
        && Path::new(&record.bundle) == bundle
        // By text too: no record of another folder stands in for this one.
        && State::of(state, Path::new(&record.runtime_root), id).private == folder
}

fn read_record(folder: &Path) -> Option<Crossed> {
    let file = File::options()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK)
        .open(folder.join(crate::record::FILE))
        .ok()?;
    let mut bytes = Vec::new();
    file.take(MAX_RECORD).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_config_that_the_wrapper_wrote_for_this_container_has_crossed() {
        let base = tempfile::tempdir().unwrap();
        let kept = State::of(base.path(), Path::new("/run/runc"), "c");
        fs::create_dir_all(&kept.private).unwrap();
        let record = json!({"id": "c", "runtimeRoot": "/run/runc", "bundle": "/b", "more": 1});
        fs::write(kept.private.join("record.json"), record.to_string()).unwrap();
        let with = |path: &str, folder: &Path| {
            let args = ["coaming-hook", "poststop", "--record", folder.to_str().unwrap()];
            json!({"hooks": {"poststop": [{"path": path, "args": args}]}})
        };
        let crossed = |spec: &Value, id: &str, bundle: &str| {
            has_crossed(spec, id, Path::new(bundle), base.path())
        };
        let own = with(config::HOOK, &kept.private);
        assert!(crossed(&own, "c", "/b"));
        assert!(!crossed(&own, "d", "/b") && !crossed(&own, "c", "/other"));
        assert!(!crossed(&json!({}), "c", "/b"), "a record alone says nothing of this config.json");
        assert!(!crossed(&with("/usr/bin/other", &kept.private), "c", "/b"));
        // Another folder with the same record in it.
        let copy = base.path().join("containers/copy");
        fs::create_dir(&copy).unwrap();
        fs::copy(kept.private.join("record.json"), copy.join("record.json")).unwrap();
        assert!(!crossed(&with(config::HOOK, &copy), "c", "/b"));
        let elsewhere = tempfile::tempdir().unwrap();
        fs::copy(kept.private.join("record.json"), elsewhere.path().join("record.json")).unwrap();
        assert!(!crossed(&with(config::HOOK, elsewhere.path()), "c", "/b"));
    }
}
