//! What this node has configured, and the places that coaming owns on it.

use std::path::{Path, PathBuf};

use coaming_config::Configuration;
use coaming_policy::demands::Demands;
use coaming_policy::document::{Directory, DocumentError, read_directory};
use coaming_policy::facts::Facts;
use coaming_policy::snapshot::SnapshotError;

use crate::break_glass::{self, Found, Waiver};
use crate::clock::{self, Clock};
use crate::in_force::{Access, Chosen, InForce, Keeper};

/// The folder of everything that lives as long as the machine is up.
pub const STATE: &str = "/run/coaming";
/// The folder of the set of policies in force.
pub const KEPT: &str = "/var/lib/coaming/policy";
/// Taken by whoever renews it.
pub const LOCK: &str = "/run/coaming/policy.lock";
/// The launcher on the host; it is mounted into containers.
pub const LAUNCHER: &str = "/usr/libexec/coaming/coaming-init";
/// The OCI hook on the host.
pub const HOOK: &str = "/usr/libexec/coaming/coaming-hook";

/// The configuration as the wrapper of one name reads it.
#[derive(Debug, Clone)]
pub struct Node {
    configuration: Configuration,
    /// The name that the wrapper was called by.
    name: String,
}

impl Node {
    /// Reads the configuration; an absent file is all defaults.
    ///
    /// # Errors
    /// What is wrong with the file, with its place.
    pub fn load(name: &str) -> Result<Node, DocumentError> {
        Ok(Node { configuration: Configuration::load()?, name: name.to_owned() })
    }

    /// All defaults, for what passes without any policy.
    pub fn default_for(name: &str) -> Node {
        Node { configuration: Configuration::default(), name: name.to_owned() }
    }

    /// The name that the wrapper was called by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The real runtime behind this name, if there is one.
    pub fn runtime(&self) -> Option<PathBuf> {
        self.configuration.runtime(&self.name)
    }

    /// The policies that the directory holds now, in force or not.
    ///
    /// # Errors
    /// The first thing that is wrong in the directory.
    pub fn policies(&self) -> Result<Directory, DocumentError> {
        read_directory(&self.configuration.policy_directory)
    }

    /// Who keeps the set in force.
    pub fn keeper(&self) -> Keeper {
        Keeper::of(&self.configuration)
    }

    /// The set in force.
    ///
    /// # Errors
    /// What is wrong with the directory, where no set could hold instead.
    pub fn in_force(&self, access: Access) -> Result<InForce, DocumentError> {
        self.keeper().in_force(access)
    }

    /// Today's demands upon a container: the built-in floor, met with every policy that selects it.
    ///
    /// # Errors
    /// See [`Node::in_force`].
    pub fn demands(&self, facts: &Facts, access: Access) -> Result<Demands, DocumentError> {
        self.demanding(facts, access).map(|(_, demands)| demands)
    }

    /// The same, with the set whose demands they are.
    ///
    /// # Errors
    /// See [`Node::in_force`].
    pub fn demanding(
        &self,
        facts: &Facts,
        access: Access,
    ) -> Result<(InForce, Demands), DocumentError> {
        let in_force = self.in_force(access)?;
        if let Ok(demands) = self.demands_of(&in_force, facts) {
            return Ok((in_force, demands));
        }
        // A part of the snapshot is damaged that no start before has read.
        let in_force = self.keeper().anew(access)?;
        let demands = self.demands_of(&in_force, facts)?;
        Ok((in_force, demands))
    }

    /// The same of a set that was read before.
    ///
    /// # Errors
    /// A damaged snapshot.
    pub fn demands_of(&self, in_force: &InForce, facts: &Facts) -> Result<Demands, DocumentError> {
        let which = self.configuration.floor_for(&self.name);
        let chosen = in_force.select(facts, which).map_err(damaged)?;
        let Chosen { mut selection, beneath, has_waivers } = chosen;
        let emergencies = Found::in_folder(Path::new(break_glass::FOLDER));
        // Nothing but a waiver's end depends on the time.
        let now = match has_waivers || !emergencies.is_empty() {
            true => clock::now(),
            false => Clock::default(),
        };
        let waivers = emergencies.waivers(&self.configuration.policy, now.moment);
        let (granted, refused) = break_glass::choose(waivers, facts);
        selection.waivers.extend(granted);
        let mut demands = Demands::of(facts, selection, (which.name(), beneath), now.moment);
        let alarm = in_force.alarm();
        demands.notes.extend(alarm.iter().chain(&in_force.notes).cloned());
        demands.notes.extend(refused.into_iter().chain(now.note));
        demands.alarms.extend(alarm);
        Ok(demands)
    }

    /// Whether what a set has for a container may depend on the door through which a request comes.
    ///
    /// # Errors
    /// A damaged snapshot.
    pub fn tells_doors_apart(&self, in_force: &InForce) -> Result<bool, DocumentError> {
        in_force.tells_doors_apart().map_err(damaged)
    }

    /// The waivers for emergencies, and whether they are honoured now.
    pub fn break_glass(&self) -> Vec<Waiver> {
        let found = Found::in_folder(Path::new(break_glass::FOLDER));
        if found.is_empty() {
            return Vec::new();
        }
        found.waivers(&self.configuration.policy, clock::now().moment)
    }

    /// The directory of policies.
    pub fn policy_directory(&self) -> &Path {
        &self.configuration.policy_directory
    }
}

fn damaged(error: SnapshotError) -> DocumentError {
    DocumentError::Untrusted { path: KEPT.to_owned(), problem: error.to_string() }
}
