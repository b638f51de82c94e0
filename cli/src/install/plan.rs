//! What is to be written for one manager of containers, before any of it is.

use std::path::Path;

use coaming_config::{Configuration, PROGRAMS};

use super::kept::{Kept, digest};
use super::tree::{Seen, Tree};
use crate::doctor::handlers::{Manager, Ours, Root};

/// What was asked, and where.
pub(super) struct Context<'a> {
    pub(super) tree: &'a Tree,
    pub(super) root: &'a Root,
    pub(super) ours: &'a Ours,
    pub(super) configuration: &'a Configuration,
    pub(super) kept: &'a Kept,
    /// The name of the handler.
    pub(super) handler: &'a str,
    /// Whether it is to be the one that is taken where none is named.
    pub(super) default: bool,
    /// Whether it runs under coaming's own shim.
    pub(super) shim: bool,
    /// Whether a file of others may be replaced.
    pub(super) replace: bool,
    /// Whether what would break may break.
    pub(super) force: bool,
    /// containerd's configuration, where it is elsewhere.
    pub(super) config: Option<&'a str>,
}

/// What is to be done for one manager.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) manager: Manager,
    pub(super) changes: Vec<Change>,
    pub(super) check: Option<Check>,
    pub(super) notes: Vec<String>,
    /// Units of systemd of which the first that is active is restarted, for the change to count.
    pub(super) units: &'static [&'static str],
}

/// A file that is to be as it is here.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) path: String,
    pub(super) before: Option<Seen>,
    pub(super) after: Vec<u8>,
}

/// How the manager is asked what it makes of it.
#[derive(Debug)]
pub(super) enum Check {
    Containerd(super::containerd::Check),
    Crio { program: String, handler: String, wrapper: String },
    Docker { program: String },
    Podman { program: String, handler: String, wrapper: String },
}

/// Why nothing is done for a manager.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// It is not on this node, or starts no containers.
    Absent(String),
    /// It would not be right.
    Refused(String),
}

impl From<String> for Obstacle {
    fn from(why: String) -> Obstacle {
        Obstacle::Refused(why)
    }
}

impl Planned {
    pub(super) fn new(manager: Manager, units: &'static [&'static str]) -> Planned {
        Planned { manager, changes: Vec::new(), check: None, notes: Vec::new(), units }
    }
}

impl Context<'_> {
    /// A file of ours that is to be as `text` is.
    ///
    /// # Errors
    /// There is one that is not ours, or not as we wrote it.
    pub(super) fn own_file(&self, path: &str, text: String) -> Result<Option<Change>, Obstacle> {
        let before = self.tree.read_own(path)?;
        let after = text.into_bytes();
        match (&before, self.kept.entry(path)) {
            (Some(seen), Some(_)) if seen.bytes == after => Ok(None),
            (Some(seen), Some(entry)) if digest(&seen.bytes) != entry.sha256 => {
                Err(Obstacle::Refused(format!(
                    "{path} has been changed since coaming wrote it, and is left as it is; move it elsewhere and \
                     run this again"
                )))
            }
            (Some(seen), None) if seen.bytes != after => Err(Obstacle::Refused(format!(
                "{path} is there already, and coaming has not written it; move it elsewhere and run this again"
            ))),
            _ => Ok(Some(Change { path: path.to_owned(), before, after })),
        }
    }

    /// The wrapper before a runtime of this path or name.
    pub(super) fn wrapper(runtime: &str) -> String {
        let name = runtime.rsplit('/').next().unwrap_or_default();
        let wrapper = if name.contains("crun") { "coaming-crun" } else { "coaming-runc" };
        format!("{PROGRAMS}/{wrapper}")
    }

    /// A sentence where a wrapper, or the runtime behind it, is not there.
    ///
    /// # Errors
    /// On the running machine: its containers would not start.
    pub(super) fn check_wrapper(&self, wrapper: &str) -> Result<Option<String>, Obstacle> {
        let name = wrapper.rsplit('/').next().unwrap_or_default();
        let problem = if !self.tree.exists(wrapper) {
            format!("{wrapper} is not there; install coaming's programs first")
        } else if self.tree.is_machine() && self.configuration.runtime(name).is_none() {
            format!(
                "no runtime is behind {wrapper}: install it, or name it in /etc/coaming/config.toml"
            )
        } else {
            return Ok(None);
        };
        match self.tree.is_machine() && !self.force {
            true => Err(Obstacle::Refused(problem)),
            false => Ok(Some(problem)),
        }
    }

    /// As the default handler, the gate stands before the node's own agents too.
    ///
    /// # Errors
    /// They would be refused.
    pub(super) fn check_floor(&self, wrapper: &str) -> Result<(), Obstacle> {
        let name = wrapper.rsplit('/').next().unwrap_or_default();
        let floor = self.configuration.floor_for(name);
        if !self.default || self.force || floor == coaming_config::BuiltIn::Node {
            return Ok(());
        }
        Err(Obstacle::Refused(format!(
            "as the default handler {name} would stand before every container that names none, and its floor is \
             {}, under which privileged ones (network and storage agents) do not work: set floor = \"node\" in \
             /etc/coaming/config.toml first (--force to do without)",
            floor.name()
        )))
    }
}

/// Whether a program is one of the runtimes that the wrappers stand before.
pub(super) fn is_plain_runtime(program: &str) -> bool {
    let name = Path::new(program).file_name().and_then(|name| name.to_str());
    matches!(name, None | Some("" | "runc" | "crun"))
}
