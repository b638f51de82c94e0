//! What this node has configured, and the places that coaming owns on it.

use std::path::{Path, PathBuf};

use coaming_config::Configuration;
use coaming_policy::builtin;
use coaming_policy::demands::Demands;
use coaming_policy::document::{Directory, DocumentError, read_directory};
use coaming_policy::facts::Facts;

use crate::clock::{self, Clock};

/// The folder of everything that lives as long as the machine is up.
pub const STATE: &str = "/run/coaming";
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

    /// The policies in force.
    ///
    /// # Errors
    /// The first thing that is wrong in the directory.
    pub fn policies(&self) -> Result<Directory, DocumentError> {
        read_directory(&self.configuration.policy_directory)
    }

    /// Today's demands upon a container: the built-in floor, met with every policy that selects it.
    ///
    /// # Errors
    /// See [`Node::policies`].
    pub fn demands(&self, facts: &Facts) -> Result<Demands, DocumentError> {
        self.demands_of(&self.policies()?, facts)
    }

    /// The same of policies that were read before.
    ///
    /// # Errors
    /// Those of the built-in floor: none that a build which passed its tests can meet.
    pub fn demands_of(
        &self,
        policies: &Directory,
        facts: &Facts,
    ) -> Result<Demands, DocumentError> {
        let which = self.configuration.floor_for(&self.name);
        let beneath = (which.name(), builtin::floor(which)?);
        // Nothing but a waiver's end depends on the time.
        let now = if policies.waivers().next().is_some() { clock::now() } else { Clock::default() };
        let mut demands = Demands::upon(facts, policies, beneath, now.moment);
        demands.notes.extend(now.note);
        Ok(demands)
    }

    /// The directory of policies.
    pub fn policy_directory(&self) -> &Path {
        &self.configuration.policy_directory
    }
}
