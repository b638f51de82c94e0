//! What this node has configured, and the places that coaming owns on it.

use std::path::{Path, PathBuf};

use coaming_config::{CONFIG_FILE, Caller, Configuration, Rootless, User};
use coaming_policy::demands::Demands;
use coaming_policy::document::{BuiltIn, Directory, DocumentError, read_directory};
use coaming_policy::facts::Facts;
use coaming_policy::snapshot::SnapshotError;

use crate::break_glass::{self, Found, Waiver};
use crate::clock::{self, Clock};
use crate::in_force::{Access, Chosen, InForce, Keeper};
use crate::journal::{self, Journal};
use crate::pod_labels::PodLabels;

/// The folder of everything that lives as long as the machine is up; of an ordinary user's containers it is in his own
/// runtime directory, see [`state`].
pub const STATE: &str = "/run/coaming";
/// The folder of the set of policies in force.
pub const KEPT: &str = "/var/lib/coaming/policy";
/// Taken by whoever renews it.
pub const LOCK: &str = "/run/coaming/policy.lock";
/// The launcher on the host; it is mounted into containers.
pub const LAUNCHER: &str = "/usr/libexec/coaming/coaming-init";
/// The program that asks containerd for a pod's labels.
pub(crate) const LABELS: &str = "/usr/libexec/coaming/coaming-labels";
/// The OCI hook on the host.
pub const HOOK: &str = "/usr/libexec/coaming/coaming-hook";

/// Where the state of this caller's containers is kept.
pub fn state() -> PathBuf {
    Caller::of_this_process().map_or(STATE.into(), state_of)
}

/// Where this caller's journal is: what an ordinary user starts is in one of his own.
pub fn journal() -> PathBuf {
    Caller::of_this_process().map_or(journal::FOLDER.into(), journal_of)
}

fn journal_of(caller: Caller) -> PathBuf {
    match caller {
        Caller::Root => journal::FOLDER.into(),
        Caller::User(_) => state_of(caller).join("journal"),
    }
}

fn state_of(caller: Caller) -> PathBuf {
    caller.user().map_or_else(|| STATE.into(), |user| user.runtime_directory().join("coaming"))
}

/// The configuration as the wrapper of one name reads it.
#[derive(Debug, Clone)]
pub struct Node {
    configuration: Configuration,
    /// The name that the wrapper was called by.
    name: String,
    caller: Caller,
}

impl Node {
    /// Reads the configuration; an absent file is all defaults.
    ///
    /// # Errors
    /// What is wrong with the file, with its place; that it cannot be told who calls.
    pub fn load(name: &str) -> Result<Node, DocumentError> {
        let caller = Caller::of_this_process()?;
        Ok(Node { configuration: Configuration::load()?, name: name.to_owned(), caller })
    }

    /// All defaults, for what passes without any policy.
    pub fn default_for(name: &str) -> Node {
        let caller = Caller::of_this_process().unwrap_or(Caller::Root);
        Node { configuration: Configuration::default(), name: name.to_owned(), caller }
    }

    /// The ordinary user who calls, whose containers are held to the floor by his own leave.
    pub fn user(&self) -> Option<User> {
        self.caller.user()
    }

    /// Where the state of this caller's containers is kept.
    pub fn state(&self) -> PathBuf {
        state_of(self.caller)
    }

    /// Whether this caller's containers may start.
    ///
    /// # Errors
    /// [`DocumentError::Untrusted`] for an ordinary user where the configuration wants none.
    pub fn check_caller(&self) -> Result<(), DocumentError> {
        match (self.user(), self.configuration.rootless) {
            (Some(User { uid, .. }), Rootless::Refuse) => Err(DocumentError::Untrusted {
                path: CONFIG_FILE.to_owned(),
                problem: format!(
                    "rootless is \"refuse\", and uid {uid} is not root: an ordinary user's containers do not \
                     start on this node; run them as root, or by another runtime"
                ),
            }),
            _ => Ok(()),
        }
    }

    /// What the record and the caller's log say of an ordinary user's container.
    fn advisory(&self) -> Option<String> {
        let uid = self.user()?.uid;
        Some(format!(
            "advisory: the container belongs to uid {uid}, who could start it without coaming; what is enforced is \
             so by that user's leave"
        ))
    }

    /// The same with another built-in floor beneath all policies.
    #[must_use]
    pub fn above(mut self, floor: BuiltIn) -> Node {
        self.configuration.runtimes.remove(&self.name);
        self.configuration.floor = floor;
        self
    }

    /// The name that the wrapper was called by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The real runtime behind this name, if there is one.
    pub fn runtime(&self) -> Option<PathBuf> {
        self.configuration.runtime(&self.name)
    }

    /// The whole of it.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
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
        self.keeper().in_force(self.allowed(access))
    }

    /// A user keeps no set for the node.
    fn allowed(&self, access: Access) -> Access {
        if self.user().is_some() { Access::Look } else { access }
    }

    /// Today's demands upon a container: the built-in floor, met with every policy that selects it; with the set
    /// whose demands they are. Where that goes by labels, those of the container's pod are looked up and put among
    /// the facts. `runtime_root` is the runtime's state directory, where it is known.
    ///
    /// # Errors
    /// See [`Node::in_force`].
    pub fn demanding(
        &self,
        facts: &mut Facts,
        access: Access,
        runtime_root: Option<&Path>,
    ) -> Result<(InForce, Demands), DocumentError> {
        let mut in_force = self.in_force(access)?;
        // What is damaged is found out, and made anew, below.
        let goes_by_labels = in_force.goes_by_labels().unwrap_or(true);
        let unlabelled = match goes_by_labels && !facts.has_all_labels() && self.user().is_none() {
            true => {
                let (state, configuration) = (self.state(), &self.configuration);
                let labels = PodLabels { state: &state, runtime_root, configuration }.of(facts);
                let (labels, problem) =
                    labels.map_or_else(|why| (None, Some(why)), |found| (found, None));
                *facts = facts.clone().labelled(labels);
                problem
            }
            false => None,
        };
        let mut demands = match self.demands_of(&in_force, facts) {
            Ok(demands) => demands,
            // A part of the snapshot is damaged that no start before has read.
            Err(_) => {
                in_force = self.keeper().anew(self.allowed(access))?;
                self.demands_of(&in_force, facts)?
            }
        };
        demands.notes.extend(unlabelled.map(|why| {
            format!(
                "the labels of the pod are not known: {why}. Policies that go by labels apply as if it had them, and \
                 waivers as if it had not"
            )
        }));
        if let Some(advisory) = self.advisory() {
            demands.notes.push(advisory.clone());
            demands.alarms.push(advisory);
        }
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

    /// The journal, and whether nothing starts that cannot be written down in it.
    pub fn journal(&self) -> (Journal, bool) {
        let coaming_config::Journal { required, max_files } = self.configuration.journal;
        (Journal::at(&journal_of(self.caller), max_files), required)
    }

    /// The directory of policies.
    pub fn policy_directory(&self) -> &Path {
        &self.configuration.policy_directory
    }
}

fn damaged(error: SnapshotError) -> DocumentError {
    DocumentError::Untrusted { path: KEPT.to_owned(), problem: error.to_string() }
}
