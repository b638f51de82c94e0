//! The record of a container: what it asked, what it got, and the floor it was created under.

use std::time::{Duration, UNIX_EPOCH};

use coaming_policy::document::Waived;
use coaming_policy::facts::{AssertedBy, Door, Fact, Facts};
use coaming_policy::floor::Floor;
use coaming_policy::verdict::{Audit, Change, Degraded};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::state::{State, StateError};

/// The record's file in the container's private state.
pub const FILE: &str = "record.json";
/// The last second that RFC 3339 can name, of the year 9999.
const LATEST: u64 = 253_402_300_799;

/// The record. An exec is held to [`Record::floor`] and to today's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// The record's own version; 1.
    pub version: u32,
    /// The container's id.
    pub id: String,
    /// The name that the wrapper was called by, which chooses the built-in floor.
    #[serde(default)]
    pub wrapper: String,
    /// The runtime that was handed off to.
    pub runtime: String,
    /// The runtime's state directory.
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
    /// The floor that the container was created under.
    pub floor: Floor,
    /// What execs are held to besides today's floor, where policies told the doors apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec_floor: Option<Floor>,
    /// The same of updates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_floor: Option<Floor>,
}

impl Record {
    /// Reads a container's record.
    ///
    /// # Errors
    /// [`StateError::Unknown`] where there is none; an unreadable one is an I/O error: neither is
    /// ever taken for a container without a floor.
    pub fn read(state: &State) -> Result<Record, StateError> {
        let bytes = state.read_private(FILE)?;
        serde_json::from_slice(&bytes).map_err(|error| StateError::Io {
            operation: "understand",
            path: state.private.join(FILE),
            error: error.into(),
        })
    }

    /// Writes the record.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn write(&self, state: &State) -> Result<(), StateError> {
        let bytes = serde_json::to_vec(self).map_err(|error| StateError::Io {
            operation: "write",
            path: state.private.join(FILE),
            error: error.into(),
        })?;
        state.write_private(FILE, &bytes)
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
