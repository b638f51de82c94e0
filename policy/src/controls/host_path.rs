//! Paths of the host, compared by their components.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::glob;

/// A path of the host, with everything below it. `*` stands for any run of characters within one
/// component (`/var/lib/kubelet/pods/*/volumes`), and a component `$(podUID)` for the uid of the
/// container's pod, as the runtime's client says it; outside a pod, or where annotations contradict each
/// other, for nothing. A component `$(rootlessUser)` stands for any name where an ordinary user starts the
/// container (rootless Podman and Docker), who reaches there only what is his; where root does, for nothing.
/// `/` is the whole host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct HostPath(#[schemars(regex(pattern = "^/"))] String);

impl HostPath {
    /// Whether `path` is this path or below it. A path with `..` is below none, since what it leads
    /// to depends on links; a relative one is below `/` alone.
    pub fn holds(&self, path: &str, variables: Variables<'_>) -> bool {
        if self.0 == "/" {
            return true;
        }
        if !path.starts_with('/') || components(path).any(|component| component == "..") {
            return false;
        }
        let mut asked = components(path);
        components(&self.0).all(|pattern| {
            asked.next().is_some_and(|component| match pattern {
                POD_UID => variables.pod_uid == Some(component),
                ROOTLESS_USER => variables.rootless,
                pattern => glob::matches(pattern, component),
            })
        })
    }
}

/// What variables stand for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Variables<'a> {
    /// The uid of the container's pod.
    pub pod_uid: Option<&'a str>,
    /// Whether an ordinary user starts the container.
    pub rootless: bool,
}

/// The component that stands for the uid of the container's pod, as Kubernetes writes variables.
const POD_UID: &str = "$(podUID)";
/// The component that stands for any name where an ordinary user calls.
const ROOTLESS_USER: &str = "$(rootlessUser)";
const VARIABLES: [&str; 2] = [POD_UID, ROOTLESS_USER];

/// The components of a path, without what says nothing (`//`, `/./`, a slash at the end).
pub(super) fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|component| !component.is_empty() && *component != ".")
}

impl FromStr for HostPath {
    type Err = String;

    fn from_str(path: &str) -> Result<Self, String> {
        if !path.starts_with('/') {
            return Err(format!("the path {path:?} is not absolute"));
        }
        if components(path).any(|component| component == "..") {
            return Err(format!("the path {path:?} holds .., which leads elsewhere through links"));
        }
        let components: Vec<&str> = components(path).collect();
        let variable =
            components.iter().find(|part| part.contains("$(") && !VARIABLES.contains(part));
        if let Some(variable) = variable {
            return Err(format!(
                "the path {path:?} holds {variable:?}; of variables there are {}, each as a whole component",
                VARIABLES.join(" and ")
            ));
        }
        Ok(HostPath(format!("/{}", components.join("/"))))
    }
}

impl<'de> Deserialize<'de> for HostPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for HostPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_is_at_or_below_it() {
        let holds = |pattern: &str, path: &str| {
            let variables = Variables { pod_uid: Some("7f"), rootless: false };
            pattern.parse::<HostPath>().unwrap().holds(path, variables)
        };
        assert!(holds("/srv//data/", "/srv/data"));
        assert!(holds("/srv/data", "/srv/./data//x"));
        assert!(holds("/pods/*/volumes", "/pods/1/volumes/x"));
        assert!(holds("/", "relative") && holds("/", "/../x"));
        assert!(!holds("/srv/data", "/srv/database"));
        assert!(!holds("/srv/data", "/srv"));
        assert!(!holds("/srv/data", "/srv/data/../../etc"));
        assert!(!holds("/srv/data", "srv/data"));
        assert!(!holds("/pods/*/volumes", "/pods/1/2/volumes"));
        assert!(holds("/pods/$(podUID)", "/pods/7f/volumes/x"));
        for other in ["/pods/7e/volumes", "/pods", "/pods/$(podUID)/volumes", "/pods/*"] {
            assert!(!holds("/pods/$(podUID)", other), "{other}");
        }
        let own: HostPath = "/pods/$(podUID)".parse().unwrap();
        let nobody = Variables::default();
        assert!(!own.holds("/pods/7f", nobody) && !own.holds("/pods/$(podUID)", nobody));
        let user: HostPath = "/run/user/$(rootlessUser)/containers".parse().unwrap();
        let rootless = Variables { pod_uid: None, rootless: true };
        assert!(user.holds("/run/user/1000/containers/x", rootless));
        assert!(!user.holds("/run/user/1000/bus", rootless));
        assert!(!user.holds("/run/user/1000/containers/x", nobody), "root's containers");
        assert!("/pods/$(podUid)".parse::<HostPath>().is_err());
        assert!("/pods/x$(podUID)".parse::<HostPath>().is_err());
        assert!("srv".parse::<HostPath>().is_err() && "/a/../b".parse::<HostPath>().is_err());
    }
}
