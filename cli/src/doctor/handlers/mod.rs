//! Every way by which the managers of containers on this node start one, and whether it ends at coaming.
//!
//! What counts is the file that is executed and not its name. A manager's command line is not seen here, and
//! neither is what it has read before its file was changed.

mod containerd;
mod crio;
mod docker;
mod ours;
mod podman;
#[cfg(test)]
mod tests;
mod tree;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub(crate) use containerd::PLACES as CONTAINERD_PLACES;
pub(crate) use ours::Ours;
pub(crate) use tree::Root;

/// Who starts containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Manager {
    Containerd,
    #[serde(rename = "cri-o")]
    Crio,
    Docker,
    Podman,
}

impl Manager {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Manager::Containerd => "containerd",
            Manager::Crio => "cri-o",
            Manager::Docker => "docker",
            Manager::Podman => "podman",
        }
    }
}

/// Where a handler ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Ends {
    /// At coaming's shim, which calls the wrapper.
    Shim,
    /// At the wrapper.
    Wrapper,
    /// Somewhere else.
    Around,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    pub(crate) file: String,
    /// From 1; none where it is the file that does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(formatter, "{}:{line}", self.file),
            None => formatter.write_str(&self.file),
        }
    }
}

/// One way to start a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Handler {
    pub(crate) manager: Manager,
    pub(crate) name: String,
    /// Whether it is taken where none is named.
    pub(crate) default: bool,
    pub(crate) ends: Ends,
    /// What says so.
    pub(crate) place: Place,
    /// Why it ends there, in words.
    pub(crate) because: String,
    /// What would bring it to us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mend: Option<String>,
}

/// All that was found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Found {
    pub(crate) handlers: Vec<Handler>,
    /// Files that cannot be read or understood: what they say is not known.
    pub(crate) unreadable: Vec<String>,
    /// What an operator should know besides.
    pub(crate) notes: Vec<String>,
}

impl Found {
    /// `dump`: what `containerd config dump` printed, in place of containerd's files.
    pub(crate) fn on(root: &Root, ours: &Ours, dump: Option<&Path>) -> Found {
        let mut found = Found::default();
        containerd::find(root, ours, dump, &mut found);
        crio::find(root, ours, &mut found);
        docker::find(root, ours, &mut found);
        podman::find(root, ours, &mut found);
        found.other_runtimes(root, ours);
        found
    }

    /// Runtimes that whoever is root on the node can call: no configuration keeps them from it.
    fn other_runtimes(&mut self, root: &Root, ours: &Ours) {
        for name in ["runc", "crun", "youki", "runsc"] {
            if let Some(path) = root.in_path(name, &[])
                && !ours.is_wrapper(root, &path)
            {
                self.notes.push(format!(
                    "{path} can be called by root of this node without coaming, as any program can"
                ));
            }
        }
    }
}
