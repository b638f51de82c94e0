//! The record of a container: what it asked, what it got, and the floor it was created under.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use coaming_policy::document::Waived;
use coaming_policy::facts::{AssertedBy, Door, Fact, Facts};
use coaming_policy::floor::Floor;
use coaming_policy::proc::Seen;
use coaming_policy::spec::view;
use coaming_policy::verdict::{Audit, Change, Degraded};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::config;
use crate::proof::{Process, ProgramFile};
use crate::state::{State, StateError};

/// The record's file in the container's private state.
pub const FILE: &str = "record.json";
/// The version of records. It is raised whenever what a field says changes its meaning: a new field needs no other, since who does not
/// know it refuses the record.
pub const VERSION: u32 = 1;
/// The last second that RFC 3339 can name, of the year 9999.
const LATEST: u64 = 253_402_300_799;

/// The record. An exec is held to [`Record::floor`] and to today's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// The record's own version, [`VERSION`].
    #[serde(deserialize_with = "known_version")]
    pub version: u32,
    /// The container's id.
    pub id: String,
    /// The name that the wrapper was called by, which chooses the built-in floor.
    #[serde(default)]
    pub wrapper: String,
    /// Whether an ordinary user called, who could start it without coaming.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub advisory: bool,
    /// The runtime that was handed off to.
    pub runtime: String,
    /// The runtime's state directory; where no wrapper stands before the runtime, the bundle in its place.
    pub runtime_root: String,
    /// The bundle.
    pub bundle: String,
    /// When the verdict was given, seconds since 1970 (UTC).
    pub created_at: u64,
    /// What was known of the container.
    pub facts: Facts,
    /// What was asked and not given.
    pub changes: Vec<Change>,
    /// What was demanded and could not be enforced here.
    pub degraded: Vec<Degraded>,
    /// What was demanded and does not count, by leave of a waiver.
    #[serde(default)]
    pub waived: Vec<Waived>,
    /// What audited policies would have done.
    #[serde(default)]
    pub audit: Audit,
    /// What an operator should know besides.
    pub notes: Vec<String>,
    /// The process as enforced, before the launcher's arguments.
    pub process: Value,
    /// The seccomp section as enforced, whoever loads it.
    pub seccomp: Option<Value>,
    /// The bounding set that the container was created with.
    pub bounding: Vec<String>,
    /// The digest of what the launcher does; `None` where it is not used.
    pub plan: Option<String>,
    /// The launcher's file: an upgrade leaves the old one in the containers that have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launcher: Option<ProgramFile>,
    /// How many seccomp filters its first process has; `None` in the record of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Filters>,
    /// How many descriptors its first process was to have beyond stdio.
    #[serde(default)]
    pub preserved: u32,
    /// Its first process as the runtime named it to a hook, where no wrapper stands before the runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_process: Option<Process>,
    /// The floor that the container was created under.
    pub floor: Floor,
    /// What execs are held to besides today's floor, where policies told the doors apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec_floor: Option<Floor>,
    /// The same of updates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_floor: Option<Floor>,
}

/// How many seccomp filters a process has, by who loads them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Filters {
    /// Those that the runtime has itself, from whoever called it.
    pub inherited: u32,
    /// Those that the runtime loads.
    pub runtime: u32,
    /// Those that the launcher loads.
    pub launcher: u32,
}

impl Filters {
    /// Those of a container of this spec, before the launcher with its plan.
    pub fn of(spec: &Value, launcher: usize) -> Filters {
        // Of a section without a default action runc takes no notice (libcontainer/specconv, SetupSeccomp).
        let runtime =
            view::text(spec, "linux.seccomp.defaultAction").is_some_and(|a| !a.is_empty());
        Filters {
            inherited: Filters::own(),
            runtime: u32::from(runtime),
            launcher: u32::try_from(launcher).unwrap_or(u32::MAX),
        }
    }

    /// Those of this process, which the runtime that it becomes will have.
    pub fn own() -> u32 {
        let mut seen = Seen::default();
        seen.read_status(&std::fs::read_to_string("/proc/self/status").unwrap_or_default());
        seen.seccomp_filters
    }
}

/// A record of a later version may say with the same words that less is allowed: nothing is made of it.
fn known_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let version = u32::deserialize(deserializer)?;
    if version == VERSION {
        return Ok(version);
    }
    Err(D::Error::custom(format!(
        "the record is of version {version}, and this coaming knows version {VERSION} alone: another coaming made the \
         container; have that one in place again, or create the container anew"
    )))
}

impl Record {
    /// The files that the launcher may be in this container, none where processes do not go through it.
    pub fn launchers(&self) -> Vec<ProgramFile> {
        let today = || ProgramFile::of(Path::new(config::LAUNCHER));
        match self.plan {
            Some(_) => self.launcher.into_iter().chain(today()).collect(),
            None => Vec::new(),
        }
    }

    /// Reads a container's record.
    ///
    /// # Errors
    /// [`StateError::Unknown`] where there is none; an unreadable one is an I/O error: neither is
    /// ever taken for a container without a floor.
    pub fn read(state: &State) -> Result<Record, StateError> {
        state.read_document(FILE)
    }

    /// Writes the record.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn write(&self, state: &State) -> Result<(), StateError> {
        state.write_document(FILE, self)
    }

    /// What a request through a door is held to besides today's floor.
    pub fn floor_for(&self, door: Door) -> &Floor {
        let own = match door {
            Door::Create => None,
            Door::Exec => self.exec_floor.as_ref(),
            Door::Update => self.update_floor.as_ref(),
        };
        own.unwrap_or(&self.floor)
    }

    /// What is known of the container, for a request through a door.
    pub fn facts_for(&self, door: Door) -> Facts {
        let facts = self.facts.through(door);
        // Records of an older version have the name beside the facts.
        let runtime = facts.runtime.clone().or_else(|| {
            let named = !self.wrapper.is_empty();
            named.then(|| Fact {
                value: self.wrapper.clone(),
                others: Vec::new(),
                asserted_by: AssertedBy::Node,
            })
        });
        Facts { runtime, ..facts }
    }

    /// The runtime's own folder of the container.
    pub fn runtime_folder(&self) -> PathBuf {
        Path::new(&self.runtime_root).join(&self.id)
    }

    /// The container's first process: as a hook was told, or by the runtime's state.
    pub fn init(&self) -> Option<Process> {
        self.first_process.or_else(|| Process::of_container(&self.runtime_folder()))
    }

    /// Whether its first process still waits for `start`: runc and crun have a FIFO until it is opened. Of a
    /// runtime whose folder is not known, whether it has executed anything.
    pub fn waits(&self, init: &Process) -> bool {
        match self.first_process {
            Some(_) => init.stat().is_some_and(|stat| stat.not_executed),
            None => self.runtime_folder().join("exec.fifo").exists(),
        }
    }

    /// [`Record::created_at`] as RFC 3339.
    pub fn created(&self) -> String {
        let created = UNIX_EPOCH + Duration::from_secs(self.created_at.min(LATEST));
        humantime::format_rfc3339_seconds(created).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coaming_policy::document::parse_policies;
    use serde_json::json;

    fn floor(control: &str) -> Floor {
        let text = format!(
            "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: p}}\nspec: {{{control}: true}}\n"
        );
        let policy = parse_policies("p.yaml", &text).unwrap().remove(0);
        policy.floor("p.yaml", &mut |_| panic!("no profiles")).unwrap()
    }

    /// As a version wrote it that knew of no doors.
    fn old() -> Value {
        json!({
            "version": 1, "id": "c", "wrapper": "coaming-crun", "runtime": "/usr/bin/crun",
            "runtimeRoot": "/run/crun", "bundle": "/b", "createdAt": 0, "changes": [], "degraded": [],
            "facts": {"id": "c", "namespace": null, "pod": null, "podUid": null, "container": null,
                "image": null, "containerType": "container", "userNamespace": false},
            "notes": [], "process": {}, "seccomp": null, "bounding": [], "plan": null,
            "floor": floor("noNewPrivileges"),
        })
    }

    #[test]
    fn a_record_without_doors_holds_every_request_to_its_floor() {
        let record: Record = serde_json::from_value(old()).unwrap();
        for door in [Door::Create, Door::Exec, Door::Update] {
            assert_eq!(record.floor_for(door), &floor("noNewPrivileges"));
            let facts = record.facts_for(door);
            assert_eq!((facts.door, facts.runtime.unwrap().value.as_str()), (door, "coaming-crun"));
        }
        assert_eq!(serde_json::to_value(&record).unwrap().get("execFloor"), None);
    }

    #[test]
    fn a_record_of_another_version_or_with_words_that_are_not_known_is_not_read() {
        let mut newer = old();
        newer["version"] = json!(2);
        let error = serde_json::from_value::<Record>(newer).unwrap_err().to_string();
        assert!(
            error.contains("version 2") && error.contains("create the container anew"),
            "{error}"
        );
        let mut wordy = old();
        wordy["pardoned"] = json!([]);
        assert!(serde_json::from_value::<Record>(wordy).is_err());
    }

    #[test]
    fn each_door_has_its_floor() {
        let record = Record {
            exec_floor: Some(floor("readOnlyRootFilesystem")),
            update_floor: Some(Floor::default()),
            ..serde_json::from_value(old()).unwrap()
        };
        let read: Record = serde_json::from_slice(&serde_json::to_vec(&record).unwrap()).unwrap();
        assert_eq!(read, record);
        assert_eq!(read.floor_for(Door::Create), &floor("noNewPrivileges"));
        assert_eq!(read.floor_for(Door::Exec), &floor("readOnlyRootFilesystem"));
        assert_eq!(read.floor_for(Door::Update), &Floor::default());
    }
}
