//! `mounts`: what a container's spec mounts from where and to where (runtime-spec, config.md).
//!
//! A source is judged as the spec names it. Links that lead elsewhere are resolved by containerd and
//! the kubelet before they write it; a component of an allowed path that the container's user can
//! write makes the rule as weak as that path. Where the kubelet has bound a volume's `subPath`, what
//! is behind the source is judged too ([`origin`](super::origin)).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::allow_list::{AllowLists, intersection};
use super::host_path::{HostPath, Variables};
use super::mount_places::{is_usual, kind};
use super::origin::{Origin, is_below_subpaths};
use super::propagation::{Propagation, deserialize_closed, in_words};
use super::{Asked, Finding, Mismatch, Node, Rule, Scope};
use crate::facts::Fact;
use crate::proc::Seen;
use crate::spec::edit::Edit;
use crate::spec::view;

const FIELD: &str = "mounts";

/// What a container may mount. A mount that is not allowed is left out; one whose propagation is not
/// allowed gets the nearest that is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MountsDocument {
    /// The host's paths that may be mounted. Bind mounts are judged by it, the folders of overlays,
    /// and the source of everything that is no pseudo file system of the container's own. The
    /// kubelet's and the runtime's own folders must be among them: volumes, `/etc/hosts` and the
    /// pod's shared memory are bind mounts from there. What a `subPath` is of must be allowed as
    /// well: behind the kubelet's folder `volume-subpaths` may be any of a `hostPath`.
    #[serde(default)]
    pub host_paths: Option<HostPaths>,
    /// How mounts may propagate between container and host (Kubernetes: `mountPropagation`).
    #[serde(default)]
    pub propagation: Option<Propagations>,
    /// Leaves out mounts at or below `/proc`, `/sys` and `/dev`, other than those that the runtimes
    /// and the kubelet make there themselves, and proc, sysfs and cgroup file systems anywhere else:
    /// with them masked and read-only paths can be gone around.
    #[serde(default)]
    pub protect_destinations: bool,
    /// The types of file systems that may be mounted beyond those of every container (proc, sysfs,
    /// tmpfs, devpts, mqueue, cgroup, cgroup2, bind mounts and overlay).
    #[serde(default)]
    pub file_systems: Option<FileSystems>,
}

/// Paths of the host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostPaths {
    /// Absolute paths, each with everything below it; `*` stands for any run of characters within one
    /// component, and `$(podUID)` for the uid of the container's pod. An empty list allows none.
    pub allow: BTreeSet<HostPath>,
}

/// Propagations of mounts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Propagations {
    /// Of `slave`, `rslave` (Kubernetes: `HostToContainer`), `shared` and `rshared`
    /// (`Bidirectional`), those that are allowed; `shared` allows `slave` too, and `rshared` `rslave`.
    /// What passes no mounts always is.
    #[serde(deserialize_with = "deserialize_closed")]
    pub allow: BTreeSet<Propagation>,
}

/// Types of file systems.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FileSystems {
    /// Types as the kernel names them (`hugetlbfs`, `nfs4`), see filesystems(5).
    pub allow: BTreeSet<String>,
}

/// The rule of one policy or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mounts {
    /// Allowed paths of the host.
    pub host_paths: AllowLists<HostPath>,
    /// Allowed propagations; `None` allows all.
    pub propagation: Option<BTreeSet<Propagation>>,
    /// Whether the kernel's places are protected.
    pub protect_destinations: bool,
    /// Allowed types beyond the usual; `None` allows all.
    pub file_systems: Option<BTreeSet<String>>,
}

/// Pseudo file systems that hold nothing of the host's, with which every container is made. Each is
/// of the container's own namespaces, or empty.
const OWN: [&str; 7] = ["proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2"];

/// Options of overlay that name folders of the host (overlayfs.rst).
const OVERLAY_LAYERS: [&str; 5] = ["lowerdir", "lowerdir+", "datadir+", "upperdir", "workdir"];

/// Where Docker (daemon/oci_linux.go) and Podman (libpod/define `ContainerInitPath`, pkg/specgen; before 4.4 at /dev/init) mount the
/// program for `--init`, and Podman 5 that of a pod's own container.
const INIT_DESTINATIONS: [&str; 4] =
    ["/sbin/docker-init", "/run/podman-init", "/dev/init", "/catatonit"];

/// Where packages put that program: Docker's own, Debian's and Fedora's.
const INIT_SOURCES: [&str; 9] = [
    "/usr/bin/docker-init",
    "/usr/libexec/docker/docker-init",
    "/usr/libexec/podman/catatonit",
    "/usr/lib/podman/catatonit",
    "/usr/libexec/catatonit/catatonit",
    "/usr/bin/catatonit",
    "/usr/bin/tini",
    "/usr/bin/tini-static",
    "/usr/bin/dumb-init",
];

impl From<MountsDocument> for Mounts {
    fn from(document: MountsDocument) -> Self {
        Mounts {
            host_paths: AllowLists::from_document(document.host_paths.map(|paths| paths.allow)),
            propagation: document.propagation.map(|propagation| propagation.allow),
            protect_destinations: document.protect_destinations,
            file_systems: document.file_systems.map(|types| types.allow),
        }
    }
}

impl Rule for Mounts {
    const CONTROL: &'static str = "mounts";
    const SCOPE: Scope = Scope::Container;

    fn top() -> Self {
        MountsDocument::default().into()
    }

    fn meet(&self, other: &Self) -> Self {
        Mounts {
            host_paths: self.host_paths.meet(&other.host_paths),
            propagation: intersection(self.propagation.as_ref(), other.propagation.as_ref()),
            protect_destinations: self.protect_destinations || other.protect_destinations,
            file_systems: intersection(self.file_systems.as_ref(), other.file_systems.as_ref()),
        }
    }

    fn tighten(&self, asked: &Asked<'_>) -> Vec<Finding> {
        let mounts = view::items(asked.spec, FIELD);
        let variables = Variables {
            pod_uid: asked.facts.pod_uid.as_ref().and_then(Fact::undisputed),
            rootless: asked.node.rootless,
        };
        let mut kept = Vec::with_capacity(mounts.len());
        let mut found = Vec::new();
        for (index, mount) in mounts.iter().enumerate() {
            if let Some(allowed) = self.forbids(mount, variables, asked.node) {
                found.push((format!("{FIELD}[{index}]"), mount.clone(), allowed));
                continue;
            }
            let lowered = self.lower(mount);
            if lowered != *mount {
                let allowed = self.propagation.as_ref().map(in_words).unwrap_or_default();
                found.push((FIELD.to_owned(), mount.clone(), format!("propagation {allowed}")));
            }
            kept.push(lowered);
        }
        let remedy = vec![Edit::Set(FIELD.to_owned(), kept.into())];
        found
            .into_iter()
            .map(|(field, asked, allowed)| Finding {
                field,
                asked,
                allowed,
                remedy: Some(remedy.clone()),
            })
            .collect()
    }

    fn verify(&self, _seen: &Seen) -> Vec<Mismatch> {
        // mountinfo names a mount's path within its file system, not on the host, and a process that
        // may mount has mounts of its own there. What the runtime was told is what was mounted.
        Vec::new()
    }
}

impl Mounts {
    /// Why the mount may not be; `None` where it may.
    fn forbids(&self, mount: &Value, variables: Variables<'_>, node: &Node) -> Option<String> {
        if self.protect_destinations && !is_usual(mount) {
            return Some(
                "nothing but the runtime's own mounts at or below /proc, /sys, /dev".to_owned(),
            );
        }
        let kind = kind(mount);
        if let Some(types) = &self.file_systems
            && !OWN.contains(&kind)
            && !["bind", "overlay"].contains(&kind)
            && !types.contains(kind)
        {
            let types: Vec<&str> = types.iter().map(String::as_str).collect();
            return Some(format!("the usual file systems, and of others: [{}]", types.join(", ")));
        }
        if is_engines_init(mount, kind) {
            return None;
        }
        let allowed = |path: &str| self.host_paths.allow(|allowed| allowed.holds(path, variables));
        sources(mount, kind).into_iter().find_map(|source| {
            let words = || format!("host paths {}", self.host_paths.in_words());
            if !allowed(source) {
                return Some(words());
            }
            let unknown = [Origin::default()];
            let origins = match node.origins.get(source) {
                Some(origins) => origins.as_slice(),
                None if is_below_subpaths(source) => &unknown,
                None => &[],
            };
            let origin = origins.iter().find(|origin| !self.allows(origin, variables))?;
            let what = match origin.paths.first() {
                Some(path) => format!("{path} of the node"),
                None => "something of the node that could not be told".to_owned(),
            };
            Some(format!("{}; behind {source} is {what}", words()))
        })
    }

    /// Whether what is behind a source is allowed: of several paths to the same, one is enough, since by
    /// it the same could be mounted. What is not known is within the whole host alone.
    fn allows(&self, origin: &Origin, variables: Variables<'_>) -> bool {
        self.host_paths.allow(|allowed| match origin.paths.is_empty() {
            true => allowed.holds("", variables),
            false => origin.paths.iter().any(|path| allowed.holds(path, variables)),
        })
    }

    /// The mount with each propagation that is not allowed lowered to one that is.
    fn lower(&self, mount: &Value) -> Value {
        let Some(allow) = &self.propagation else {
            return mount.clone();
        };
        let mut mount = mount.clone();
        if let Some(Value::Array(options)) = mount.get_mut("options") {
            for option in options {
                if let Some(asked) =
                    option.as_str().and_then(|name| name.parse::<Propagation>().ok())
                    && !asked.is_allowed(allow)
                {
                    *option = json!(asked.lowered(allow));
                }
            }
        }
        mount
    }
}

/// Whether it is the program that Docker and Podman put before a container's own for `--init`, and that Podman's pods
/// run: a static one that reaps. Read-only, since the engine gives the same file to the next container.
fn is_engines_init(mount: &Value, kind: &str) -> bool {
    let options: BTreeSet<&str> =
        view::strings(mount, "options").flat_map(|option| option.split(',')).collect();
    let source = view::text(mount, "source").unwrap_or_default();
    let destination = view::text(mount, "destination").unwrap_or_default();
    kind == "bind"
        && INIT_DESTINATIONS.contains(&destination)
        && INIT_SOURCES.contains(&source)
        && (options.contains("ro") && !options.contains("rw"))
}

/// All paths of the host that the mounts of a spec name as sources, as they are written.
pub fn host_sources(spec: &Value) -> impl Iterator<Item = &str> {
    view::items(spec, FIELD).iter().flat_map(|mount| sources(mount, kind(mount)))
}

/// What of the host a mount reaches.
fn sources<'a>(mount: &'a Value, kind: &str) -> Vec<&'a str> {
    match kind {
        kind if OWN.contains(&kind) || kind == "hugetlbfs" => Vec::new(),
        // Options reach the kernel joined by commas, so one may hold several. Layers are separated by
        // colons; a backslash escapes one (overlayfs.rst), and such a path is compared as it stands.
        "overlay" => view::strings(mount, "options")
            .flat_map(|option| option.split(','))
            .filter_map(|option| option.split_once('='))
            .filter(|(key, _)| OVERLAY_LAYERS.contains(key))
            .flat_map(|(_, value)| value.split(':'))
            .filter(|path| !path.is_empty())
            .collect(),
        // An empty source of a bind mount is the bundle (runc joins it to its working directory).
        _ => vec![view::text(mount, "source").unwrap_or_default()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controls::laws::{Generated, enforced, is_within, touches_only};
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    fn rule(document: Value) -> Mounts {
        serde_json::from_value::<MountsDocument>(document).unwrap().into()
    }

    fn one(mount: Value) -> Value {
        json!({"mounts": [mount]})
    }

    fn stays(rule: &Mounts, mount: Value) -> bool {
        is_within(rule, &one(mount))
    }

    #[test]
    fn sources_outside_the_allowed_paths_are_left_out() {
        let rule = rule(json!({"hostPaths": {"allow": ["/srv/data"]}}));
        for mount in [
            json!({"destination": "/a", "type": "bind", "source": "/srv/data/x"}),
            json!({"destination": "/proc", "type": "proc", "source": "/etc"}),
            json!({"destination": "/a", "type": "overlay", "options": ["lowerdir=/srv/data:/srv/data/x"]}),
        ] {
            assert!(stays(&rule, mount.clone()), "{mount}");
        }
        for mount in [
            json!({"destination": "/a", "type": "bind", "source": "/etc"}),
            json!({"destination": "/a", "type": "tmpfs", "source": "/etc", "options": ["rbind"]}),
            json!({"destination": "/a", "type": "bind", "source": "/srv/data/../../etc"}),
            json!({"destination": "/a", "type": "bind", "source": "srv/data"}),
            json!({"destination": "/a", "type": "bind"}),
            json!({"destination": "/a", "type": "ext4", "source": "/dev/sda1"}),
            json!({"destination": "/a", "type": "overlay", "options": ["x,lowerdir=/srv/data:/etc"]}),
            json!({"destination": "/a", "type": "overlay", "options": ["lowerdir=etc"]}),
            json!({"destination": "/a", "type": 3, "source": "/etc"}),
            json!("not a mount"),
        ] {
            assert!(!stays(&rule, mount.clone()), "{mount}");
        }
    }

    #[test]
    fn an_engines_init_may_be_mounted_where_it_goes_and_read_only() {
        let rule = rule(json!({"hostPaths": {"allow": []}}));
        let init = |source: &str, destination: &str, options: &[&str]| json!({"type": "bind", "source": source, "destination": destination, "options": options});
        let docker = "/usr/bin/docker-init";
        assert!(stays(&rule, init(docker, "/sbin/docker-init", &["bind", "ro"])));
        let podman = "/usr/libexec/podman/catatonit";
        assert!(stays(&rule, init(podman, "/run/podman-init", &["bind", "ro", "private"])));
        for mount in [
            init(docker, "/sbin/docker-init", &["bind"]),
            init(docker, "/sbin/docker-init", &["bind", "ro", "rw"]),
            init(docker, "/sbin/docker-init", &["bind", "ro,rw"]),
            init(docker, "/bin/sh", &["bind", "ro"]),
            init("/usr/bin/docker-init/../passwd", "/sbin/docker-init", &["bind", "ro"]),
            init("/etc/shadow", "/sbin/docker-init", &["bind", "ro"]),
        ] {
            assert!(!stays(&rule, mount.clone()), "{mount}");
        }
    }

    #[test]
    fn a_pods_own_folder_is_its_own() {
        use crate::controls::Node;
        use crate::facts::Facts;
        let rule = rule(json!({"hostPaths": {"allow": ["/pods/$(podUID)"]}}));
        let is_within = |annotations: Value| {
            let spec = json!({"annotations": annotations,
                "mounts": [{"destination": "/a", "type": "bind", "source": "/pods/7f/volumes/a"}]});
            let (facts, node) = (Facts::of("c", &spec), Node::default());
            rule.tighten(&Asked::of(&spec, &facts, &node)).is_empty()
        };
        let (containerd, crio) = ("io.kubernetes.cri.sandbox-uid", "io.kubernetes.pod.uid");
        assert!(is_within(json!({containerd: "7f"})) && is_within(json!({crio: "7f"})));
        assert!(!is_within(json!({containerd: "7e"})) && !is_within(json!({})));
        // Which of the two is true is not known.
        assert!(!is_within(json!({containerd: "7f", crio: "7e"})));
    }

    #[test]
    fn what_is_behind_a_subpath_must_be_allowed_too() {
        use crate::controls::Node;
        use crate::facts::Facts;
        const SOURCE: &str = "/pods/7f/volume-subpaths/v/c/0";
        let lists = [json!(["/pods/$(podUID)"]), json!(["/pods/*", "/data"]), json!(["/"])];
        let [own, data, all] = lists.map(|allow| rule(json!({"hostPaths": {"allow": allow}})));
        let spec = json!({"annotations": {"io.kubernetes.cri.sandbox-uid": "7f"},
            "mounts": [{"destination": "/a", "type": "bind", "source": SOURCE}]});
        let facts = Facts::of("c", &spec);
        let found = |rule: &Mounts, origins: &[&[&str]]| {
            let origin = |paths: &&[&str]| Origin {
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            };
            let origins = [(SOURCE.to_owned(), origins.iter().map(origin).collect())].into();
            let node = Node { origins, ..Node::default() };
            rule.tighten(&Asked::of(&spec, &facts, &node))
        };
        let is_within = |rule: &Mounts, origins: &[&[&str]]| found(rule, origins).is_empty();
        // The attack: a hostPath of the root folder, and etc of it.
        let [finding] = found(&own, &[&["/etc"]]).try_into().unwrap();
        assert!(finding.allowed.ends_with(&format!("; behind {SOURCE} is /etc of the node")));
        assert!(!is_within(&data, &[&["/etc"]]) && is_within(&all, &[&["/etc"]]));
        assert!(is_within(&data, &[&["/data/x"]]) && !is_within(&own, &[&["/data/x"]]));
        // An emptyDir, of this pod and of another.
        assert!(is_within(&own, &[&["/pods/7f/volumes/e"]]));
        assert!(!is_within(&own, &[&["/pods/7e/volumes/e"]]));
        // A disk that is mounted elsewhere too, for which the pod's own path is enough.
        assert!(is_within(&own, &[&["/plugins/globalmount", "/pods/7f/volumes/d"]]));
        // Each mount that comes along, and each of several lists.
        assert!(!is_within(&own, &[&["/pods/7f/volumes/e"], &["/etc"]]));
        assert!(!is_within(&own.meet(&data), &[&["/data/x"]]));
        // Not known, by a node that looked and by one that did not.
        assert!(!is_within(&own, &[&[]]) && !is_within(&data, &[&[]]) && is_within(&all, &[&[]]));
        let node = Node::default();
        let asked = Asked::of(&spec, &facts, &node);
        assert!(!own.tighten(&asked).is_empty() && all.tighten(&asked).is_empty());
        assert!(Mounts::top().tighten(&asked).is_empty());
        assert_eq!(host_sources(&spec).collect::<Vec<_>>(), [SOURCE]);
    }

    #[test]
    fn a_mount_that_goes_leaves_the_others_in_order() {
        let rule = rule(json!({"protectDestinations": true}));
        let (a, b) = (json!({"destination": "/a"}), json!({"destination": "/b"}));
        let spec = json!({"mounts": [a, {"destination": "/proc/sys", "type": "tmpfs"}, b]});
        assert_eq!(enforced(&rule, &spec)["mounts"], json!([a, b]));
    }

    #[test]
    fn propagation_comes_down_in_place() {
        let rule = rule(json!({"propagation": {"allow": ["rslave"]}}));
        let mount = json!({"destination": "/a", "options": ["rbind", "rshared", "ro", "shared"]});
        let after = enforced(&rule, &one(mount));
        assert_eq!(after["mounts"][0]["options"], json!(["rbind", "rslave", "ro", "private"]));
    }

    #[test]
    fn other_file_systems_must_be_listed() {
        let rule = rule(json!({"fileSystems": {"allow": ["nfs4"]}}));
        assert!(stays(&rule, json!({"destination": "/a", "type": "nfs4", "source": "h:/x"})));
        assert!(stays(&rule, json!({"destination": "/a", "type": "none", "options": ["bind"]})));
        assert!(!stays(&rule, json!({"destination": "/a", "type": "debugfs"})));
        assert!(!stays(&rule, json!({"destination": "/a"})));
    }

    impl Generated for Mounts {
        fn generators() -> (BoxedStrategy<Self>, BoxedStrategy<Value>) {
            let paths = proptest::option::of(subsequence(
                vec!["/srv", "/srv/data", "/etc", "/*/data", "/$(podUID)/data"],
                0..=5,
            ));
            let ways = proptest::option::of(subsequence(vec!["rslave", "rshared", "slave"], 0..=3));
            let types = proptest::option::of(subsequence(vec!["nfs4", "debugfs"], 0..=2));
            let rules =
                (paths, ways, types, any::<bool>()).prop_map(|(paths, ways, types, protect)| {
                    let allow = |list: Option<Vec<&str>>| list.map(|list| json!({"allow": list}));
                    rule(json!({"hostPaths": allow(paths), "propagation": allow(ways),
                    "fileSystems": allow(types), "protectDestinations": protect}))
                });
            let mounts = [
                json!({"destination": "/proc", "type": "proc"}),
                json!({"destination": "/a", "source": "/srv/data", "options": ["rbind", "rshared"]}),
                json!({"destination": "/b", "source": "/etc", "options": ["bind", "slave", "shared"]}),
                json!({"destination": "/proc/sys", "type": "tmpfs"}),
                json!({"destination": "/d", "type": "debugfs"}),
                json!({"destination": "/n", "type": "nfs4", "source": "/srv"}),
            ];
            let specs =
                subsequence(mounts.to_vec(), 0..=6).prop_map(|mounts| json!({"mounts": mounts}));
            (rules.boxed(), specs.boxed())
        }
    }

    #[test]
    fn changes_its_own_fields_alone() {
        touches_only(&rule(json!({"hostPaths": {"allow": []}})), &["mounts"]);
    }
}
