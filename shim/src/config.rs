//! What this node has configured, and the places that coaming owns on it.

use std::io;
use std::path::{Path, PathBuf};

use coaming_policy::builtin;
use coaming_policy::document::{
    Directory, DocumentError, NodeConfiguration, read_directory, read_root_owned,
};
use coaming_policy::facts::Facts;
use coaming_policy::floor::Floor;

/// The node's configuration file. It is not found through any variable or flag: whoever can change
/// the caller's environment must not choose the policy.
pub const CONFIG_FILE: &str = "/etc/coaming/config.yaml";
/// The folder of everything that lives as long as the machine is up.
pub const STATE: &str = "/run/coaming";
/// The launcher on the host; it is mounted into containers.
pub const LAUNCHER: &str = "/usr/libexec/coaming/coaming-init";
/// The OCI hook on the host.
pub const HOOK: &str = "/usr/libexec/coaming/coaming-hook";

/// Where distributions put runtimes; taken in this order when the configuration names none.
const RUNTIME_FOLDERS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// The configuration as the wrapper of one name reads it.
#[derive(Debug, Clone)]
pub struct Node {
    configuration: NodeConfiguration,
    /// The name that the wrapper was called by.
    name: String,
}

impl Node {
    /// Reads the configuration; an absent file is all defaults.
    ///
    /// # Errors
    /// What is wrong with the file, with its place.
    pub fn load(name: &str) -> Result<Node, DocumentError> {
        let path = Path::new(CONFIG_FILE);
        let configuration = match read_root_owned(path) {
            Ok(bytes) => NodeConfiguration::parse(CONFIG_FILE, &String::from_utf8_lossy(&bytes))?,
            Err(DocumentError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                NodeConfiguration::default()
            }
            Err(error) => return Err(error),
        };
        Ok(Node { configuration, name: name.to_owned() })
    }

    /// All defaults, for what passes without any policy.
    pub fn default_for(name: &str) -> Node {
        Node { configuration: NodeConfiguration::default(), name: name.to_owned() }
    }

    /// The real runtime behind this name, if there is one.
    pub fn runtime(&self) -> Option<PathBuf> {
        if let Some(runtime) = self.configuration.runtimes.get(&self.name) {
            return Some(runtime.path.clone().into());
        }
        let program = match self.name.as_str() {
            "coaming-runc" => "runc",
            "coaming-crun" => "crun",
            _ => return None,
        };
        RUNTIME_FOLDERS.iter().map(|folder| Path::new(folder).join(program)).find(|p| p.exists())
    }

    /// The policies in force.
    ///
    /// # Errors
    /// The first thing that is wrong in the directory.
    pub fn policies(&self) -> Result<Directory, DocumentError> {
        read_directory(Path::new(&self.configuration.policy_directory))
    }

    /// Today's floor for a container: the built-in one, met with every policy that selects it.
    ///
    /// # Errors
    /// See [`Node::policies`].
    pub fn floor(&self, facts: &Facts) -> Result<Floor, DocumentError> {
        let builtin = builtin::floor(self.configuration.floor_for(&self.name))?;
        Ok(builtin.meet(&self.policies()?.floor_for(facts)))
    }

    /// The directory of policies.
    pub fn policy_directory(&self) -> &str {
        &self.configuration.policy_directory
    }
}
