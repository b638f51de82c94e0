//! What a manifest does not say and must be assumed.

use std::collections::BTreeMap;

use serde_json::Value;

/// What is assumed of the cluster, the node and the images.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The namespace of objects that name none.
    pub namespace: String,
    /// The kubelet's `seccompDefault`: whether a container that names no profile gets
    /// `RuntimeDefault` and not `Unconfined`. Off unless an administrator turns it on.
    pub seccomp_default: bool,
    /// What every image is taken to ask for.
    pub image: Image,
    /// Whether nodes have cgroup v2 alone; containers then have a cgroup namespace.
    pub cgroup_v2: bool,
    /// Whether nodes have AppArmor; containers that name no profile then get containerd's default.
    pub app_armor: bool,
    /// The nodes' kernel, major and minor, on which containerd's default seccomp profile depends.
    pub kernel: (u32, u32),
    /// The content of `Localhost` seccomp profiles by the names that manifests use. One that is not
    /// here is taken to allow everything.
    pub seccomp_profiles: BTreeMap<String, Value>,
}

/// What an image asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    /// `USER`: an id, or ids of a user and a group (`1000:1000`), or a name. Left out, root.
    pub user: Option<String>,
    /// `ENTRYPOINT` and `CMD` together.
    pub command: Vec<String>,
    /// `ENV`, as `NAME=value`.
    pub env: Vec<String>,
    /// `WORKDIR`.
    pub working_dir: Option<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            namespace: "default".to_owned(),
            seccomp_default: false,
            image: Image::default(),
            cgroup_v2: true,
            app_armor: false,
            kernel: (6, 1),
            seccomp_profiles: BTreeMap::new(),
        }
    }
}
