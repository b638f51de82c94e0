//! Which policies are asked for their demands: the node's, or those of a path with a built-in floor
//! beneath them.

use std::path::PathBuf;

use coaming_policy::builtin;
use coaming_policy::demands::Demands;
use coaming_policy::document::{BuiltIn, Directory, DocumentError, Moment, read_directory};
use coaming_policy::facts::Facts;
use coaming_shim::config::Node;
use coaming_shim::in_force::{Access, InForce};

/// How a command says which policies it means.
#[derive(Debug, clap::Args)]
pub(crate) struct Choice {
    /// The name under which the wrapper would be called; it chooses the runtime and the built-in
    /// floor.
    #[arg(long, value_name = "NAME", default_value = "coaming-runc", conflicts_with = "container")]
    runtime: String,
    /// Policies to take in place of the node's: a file or a directory, beneath them the floor of --floor.
    #[arg(long, value_name = "PATH", conflicts_with = "container")]
    policy: Option<PathBuf>,
    /// The built-in floor beneath --policy.
    #[arg(long, value_enum, default_value_t, requires = "policy")]
    floor: FloorName,
}

/// The built-in floors by their names.
#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
pub(crate) enum FloorName {
    #[default]
    Baseline,
    Node,
}

/// Policies that were read, for any number of containers.
pub(crate) struct Demanding {
    wrapper: String,
    policies: Policies,
}

enum Policies {
    /// Those of a path, with a built-in floor beneath them.
    Read(Directory, BuiltIn),
    /// Those in force.
    Node(Box<Node>, Box<InForce>),
}

impl Choice {
    /// Reads them.
    pub(crate) fn read(&self) -> Result<Demanding, DocumentError> {
        if let Some(path) = &self.policy {
            let policies =
                if path.is_dir() { read_directory(path)? } else { Directory::of_file(path)? };
            return Ok(Demanding {
                wrapper: self.runtime.clone(),
                policies: Policies::Read(policies, BuiltIn::from(self.floor)),
            });
        }
        let node = Node::load(&self.runtime)?;
        let in_force = node.in_force(Access::Look)?;
        Ok(Demanding {
            wrapper: self.runtime.clone(),
            policies: Policies::Node(Box::new(node), Box::new(in_force)),
        })
    }
}

impl Demanding {
    /// What they demand of a container today.
    pub(crate) fn of(&self, facts: &Facts) -> Result<Demands, DocumentError> {
        match &self.policies {
            Policies::Read(policies, which) => {
                let beneath = (which.name(), builtin::floor(*which)?);
                Ok(Demands::upon(facts, policies, beneath, Moment::now()))
            }
            Policies::Node(node, in_force) => node.demands_of(in_force, facts),
        }
    }

    /// The name under which the wrapper would be called.
    pub(crate) fn wrapper(&self) -> &str {
        &self.wrapper
    }

    /// The runtime that would be handed off to, where the node's policies are asked.
    pub(crate) fn runtime(&self) -> Option<String> {
        match &self.policies {
            Policies::Read(..) => None,
            Policies::Node(node, _) => node.runtime().map(|path| path.display().to_string()),
        }
    }
}

impl From<FloorName> for BuiltIn {
    fn from(name: FloorName) -> BuiltIn {
        match name {
            FloorName::Baseline => BuiltIn::Baseline,
            FloorName::Node => BuiltIn::Node,
        }
    }
}
