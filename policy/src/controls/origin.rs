//! What is behind a mount's source that is itself a mount point of the kubelet's.
//!
//! A volume that is mounted with a `subPath` reaches the runtime as
//! `.../pods/UID/volume-subpaths/VOLUME/CONTAINER/INDEX`, to which the kubelet bind-mounts the folder of
//! the volume before (kubernetes, pkg/volume/util/subpath, `doBindSubPath`). What may be mounted is
//! what is behind that path.

use std::collections::BTreeSet;

use super::host_path::components;

/// The kubelet's folder of bind mounts, below that of a pod.
const SUBPATHS: &str = "volume-subpaths";
/// The kubelet's folder of pods.
const PODS: &str = "pods";
/// Volume, container, index: what the kubelet makes a mount point for.
const DEPTH: usize = 3;

/// One mount that a source reaches, by the paths of the same file or folder on the host that are no
/// mounts of a `subPath`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Absolute paths, of which each leads to the same. None where no path could be told for certain.
    pub paths: BTreeSet<String>,
}

/// Whether a source may lead to what a `subPath` names, so that the node must be asked for its origins.
pub fn may_lead_elsewhere(source: &str) -> bool {
    let parts: Vec<&str> = components(source).collect();
    // With a pod's folder come the mounts below it.
    is_below_subpaths(source) || matches!(parts.as_slice(), [.., PODS, _pod])
}

/// Whether a path lies at or below a folder for the mounts of `subPath`.
pub fn is_below_subpaths(path: &str) -> bool {
    components(path).any(|component| component == SUBPATHS)
}

/// Whether a path is one that the kubelet makes a mount point for a `subPath`, or below such a one. If it
/// is not in a mount of its own, nobody can tell what the runtime will find there.
pub fn is_subpath(path: &str) -> bool {
    components(path).skip_while(|component| *component != SUBPATHS).count() > DEPTH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_which_the_node_is_asked() {
        let pod = "/var/lib/kubelet/pods/7f";
        for source in
            ["", "/", "/volume-subpaths", "/volume-subpaths/v/c", "//volume-subpaths/v/./c/0/x"]
        {
            assert!(may_lead_elsewhere(&format!("{pod}{source}")), "{source}");
        }
        for source in ["/volumes/kubernetes.io~secret/s", "/etc-hosts", "/volume-subpathsx/v/c/0"] {
            assert!(!may_lead_elsewhere(&format!("{pod}{source}")), "{source}");
        }
        assert!(!may_lead_elsewhere("/etc") && !may_lead_elsewhere(""));
        assert!(
            is_subpath("/p/volume-subpaths/v/c/0") && is_subpath("/p/volume-subpaths/v/c//0/x")
        );
        assert!(!is_subpath("/p/volume-subpaths/v/c/.") && !is_subpath("/p/v/c/0"));
    }
}
