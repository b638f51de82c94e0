//! What is to be tested.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A hook, and where it is to be tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Request {
    /// The runtimes, by absolute path; each is tried.
    pub runtimes: Vec<PathBuf>,
    /// The phases; each is tried with each runtime.
    pub phases: Vec<Phase>,
    /// A bundle whose config.json and root file system are taken in place of the harness's own. It is not
    /// changed.
    pub bundle: Option<PathBuf>,
    /// The hook's `timeout`, in seconds.
    pub timeout_seconds: u32,
    /// The hook's `env`; none leaves it out of the spec.
    pub env: Option<Vec<String>>,
    /// The hook's absolute path, and its arguments after that.
    pub hook: Vec<String>,
}

impl Request {
    /// A request with a time limit of ten seconds, the harness's own bundle and no `env`.
    pub fn new<R: Into<PathBuf>, H: Into<String>>(
        runtimes: impl IntoIterator<Item = R>,
        phases: impl IntoIterator<Item = Phase>,
        hook: impl IntoIterator<Item = H>,
    ) -> Request {
        Request {
            runtimes: runtimes.into_iter().map(Into::into).collect(),
            phases: phases.into_iter().collect(),
            bundle: None,
            timeout_seconds: 10,
            env: None,
            hook: hook.into_iter().map(Into::into).collect(),
        }
    }
}

/// A point of a container's life at which hooks run (runtime-spec 1.2, config.md, "POSIX-platform Hooks").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Deprecated; as `createRuntime`.
    Prestart,
    /// In the runtime's namespaces, before `pivot_root`.
    CreateRuntime,
    /// In the container's namespaces, before `pivot_root`.
    CreateContainer,
    /// In the container, before its program.
    StartContainer,
    /// In the runtime's namespaces, after the container's program was started.
    Poststart,
    /// In the runtime's namespaces, after the container was deleted.
    Poststop,
}

impl Phase {
    /// All of them, in the order of a container's life.
    pub const ALL: [Phase; 6] = [
        Phase::Prestart,
        Phase::CreateRuntime,
        Phase::CreateContainer,
        Phase::StartContainer,
        Phase::Poststart,
        Phase::Poststop,
    ];

    /// The name of its list in a spec.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Prestart => "prestart",
            Phase::CreateRuntime => "createRuntime",
            Phase::CreateContainer => "createContainer",
            Phase::StartContainer => "startContainer",
            Phase::Poststart => "poststart",
            Phase::Poststop => "poststop",
        }
    }

    /// The phase of this name.
    pub fn of(name: &str) -> Option<Phase> {
        Phase::ALL.into_iter().find(|phase| phase.name() == name)
    }

    /// Whether hooks of it run in the container's mount namespace.
    pub fn is_in_container(self) -> bool {
        matches!(self, Phase::CreateContainer | Phase::StartContainer)
    }

    /// The statuses that a state may have in it (runtime-spec, "Lifecycle").
    pub fn statuses(self) -> &'static [&'static str] {
        match self {
            Phase::Prestart | Phase::CreateRuntime | Phase::CreateContainer => {
                &["creating", "created"]
            }
            Phase::StartContainer => &["created"],
            Phase::Poststart => &["running"],
            Phase::Poststop => &["stopped"],
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_has_one_name() {
        for phase in Phase::ALL {
            assert_eq!(Phase::of(phase.name()), Some(phase));
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
        }
        assert_eq!(Phase::of("preStart"), None);
    }
}
