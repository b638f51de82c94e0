use std::collections::HashMap;

use super::messages as wire;

/// A seccomp or AppArmor profile as a pod names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The runtime's default.
    RuntimeDefault,
    /// None.
    Unconfined,
    /// A file of the node (seccomp) or a loaded profile (AppArmor).
    Localhost(String),
}

/// How mounts made later pass between a container and its node (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// Not at all.
    #[default]
    Private = 0,
    /// From the node into the container.
    HostToContainer = 1,
    /// Both ways.
    Bidirectional = 2,
}

/// A pod sandbox to run; the defaults are a pod's without any security context.
#[derive(Clone, Debug, Default)]
pub struct Pod {
    /// Its name; the UID is made from it.
    pub name: String,
    /// Its Kubernetes namespace; `default` when empty.
    pub namespace: String,
    /// The runtime handler; empty for the node's default.
    pub handler: String,
    /// Shares the node's network.
    pub host_network: bool,
    /// Shares the node's processes.
    pub host_pid: bool,
    /// Shares the node's IPC.
    pub host_ipc: bool,
    /// Its containers share one process namespace, the sandbox's.
    pub share_processes: bool,
    /// Runs in a user namespace that maps container 0..65535 to 100000.. of the node (containerd 1.7 and later).
    pub user_namespace: bool,
    /// May hold privileged containers.
    pub privileged: bool,
    /// The sandbox's own seccomp profile.
    pub seccomp: Option<Profile>,
    /// Its labels; the kubelet's own come to them.
    pub labels: HashMap<String, String>,
    /// Pod annotations.
    pub annotations: HashMap<String, String>,
    /// Pod sysctls.
    pub sysctls: HashMap<String, String>,
}

/// A container to create; the defaults are a container's without any security context.
#[derive(Clone, Debug, Default)]
pub struct ContainerSpec {
    /// Its name, unique in the pod.
    pub name: String,
    /// The image's name.
    pub image: String,
    /// Instead of the image's entry point.
    pub command: Vec<String>,
    /// Instead of the image's command.
    pub args: Vec<String>,
    /// The working directory.
    pub working_dir: String,
    /// Environment variables.
    pub envs: Vec<(String, String)>,
    /// Mounts of the node's paths.
    pub mounts: Vec<MountSpec>,
    /// Devices of the node, at the same path, `rwm`.
    pub devices: Vec<String>,
    /// Container annotations.
    pub annotations: HashMap<String, String>,
    /// Privileged.
    pub privileged: bool,
    /// Capabilities to add, without `CAP_`; `ALL` is understood.
    pub add_capabilities: Vec<String>,
    /// Capabilities to drop.
    pub drop_capabilities: Vec<String>,
    /// seccomp; none given means unconfined to CRI.
    pub seccomp: Option<Profile>,
    /// AppArmor.
    pub apparmor: Option<Profile>,
    /// `allowPrivilegeEscalation: false`.
    pub no_new_privs: bool,
    /// A root file system that cannot be written to.
    pub readonly_rootfs: bool,
    /// The user.
    pub run_as_user: Option<i64>,
    /// The group.
    pub run_as_group: Option<i64>,
    /// More groups.
    pub supplemental_groups: Vec<i64>,
    /// `procMount: Unmasked`: no path is masked or read-only. Otherwise the paths that the kubelet sends.
    pub unmasked_proc: bool,
    /// Keeps standard input open, for attach.
    pub stdin: bool,
    /// On a terminal.
    pub tty: bool,
    /// Bytes of memory; 0 for no limit.
    pub memory_limit: i64,
    /// The ID of a container of the same pod whose PID namespace it joins, as an ephemeral container does; none if empty.
    pub target: String,
}

/// A mount of a node's path.
#[derive(Clone, Debug, Default)]
pub struct MountSpec {
    /// In the node.
    pub host_path: String,
    /// In the container.
    pub container_path: String,
    /// Cannot be written to.
    pub readonly: bool,
    /// How mounts below it pass.
    pub propagation: Propagation,
}

impl Pod {
    /// A pod of this name under this handler.
    pub fn new(name: &str, handler: &str) -> Pod {
        Pod { name: name.to_owned(), handler: handler.to_owned(), ..Pod::default() }
    }

    pub(super) fn config(&self, uid: &str) -> wire::SandboxConfig {
        let namespace = if self.namespace.is_empty() { "default" } else { &self.namespace };
        wire::SandboxConfig {
            metadata: Some(wire::SandboxMetadata {
                name: self.name.clone(),
                uid: uid.to_owned(),
                namespace: namespace.to_owned(),
                attempt: 0,
            }),
            // The node's own name for a pod on the node's network, as the kubelet does.
            hostname: if self.host_network { String::new() } else { self.name.clone() },
            log_directory: format!("/var/log/pods/{namespace}_{}_{uid}", self.name),
            labels: self.labels.clone().into_iter().chain(self.kubelets_labels(uid)).collect(),
            annotations: self.annotations.clone(),
            linux: Some(wire::LinuxSandboxConfig {
                cgroup_parent: String::new(),
                security_context: Some(wire::SandboxSecurityContext {
                    namespace_options: Some(self.namespaces()),
                    run_as_user: None,
                    readonly_rootfs: false,
                    privileged: self.privileged,
                    seccomp: self.seccomp.as_ref().map(Profile::wire),
                    apparmor: None,
                }),
                sysctls: self.sysctls.clone(),
            }),
        }
    }

    /// Those that the kubelet gives to a sandbox, and to each container with its name besides; CRI-O makes annotations of
    /// them.
    fn kubelets_labels(&self, uid: &str) -> HashMap<String, String> {
        let namespace = if self.namespace.is_empty() { "default" } else { &self.namespace };
        [("pod.name", self.name.as_str()), ("pod.namespace", namespace), ("pod.uid", uid)]
            .map(|(key, value)| (format!("io.kubernetes.{key}"), value.to_owned()))
            .into()
    }

    /// As the kubelet fills it: a container's options repeat its pod's, but that the PID namespace is its own.
    pub(super) fn namespaces(&self) -> wire::NamespaceOption {
        const POD: i32 = 0;
        const CONTAINER: i32 = 1;
        const NODE: i32 = 2;
        let mapping =
            || vec![wire::IdMapping { host_id: 100_000, container_id: 0, length: 65_536 }];
        wire::NamespaceOption {
            network: if self.host_network { NODE } else { POD },
            pid: match (self.host_pid, self.share_processes) {
                (true, _) => NODE,
                (false, true) => POD,
                (false, false) => CONTAINER,
            },
            ipc: if self.host_ipc { NODE } else { POD },
            target_id: String::new(),
            userns_options: self.user_namespace.then(|| wire::UserNamespace {
                mode: POD,
                uids: mapping(),
                gids: mapping(),
            }),
        }
    }
}

impl ContainerSpec {
    fn namespaces(&self, pod: &Pod) -> wire::NamespaceOption {
        const TARGET: i32 = 3;
        let shared = pod.namespaces();
        if self.target.is_empty() {
            return shared;
        }
        wire::NamespaceOption { pid: TARGET, target_id: self.target.clone(), ..shared }
    }

    /// A container of this name and image that runs a command.
    pub fn new<A: Into<String>>(
        name: &str,
        image: &str,
        command: impl IntoIterator<Item = A>,
    ) -> ContainerSpec {
        ContainerSpec {
            name: name.to_owned(),
            image: image.to_owned(),
            command: command.into_iter().map(Into::into).collect(),
            ..ContainerSpec::default()
        }
    }

    pub(super) fn config(&self, pod: &Pod, uid: &str) -> wire::ContainerConfig {
        let mut labels = pod.kubelets_labels(uid);
        labels.insert("io.kubernetes.container.name".to_owned(), self.name.clone());
        let unmasked = self.unmasked_proc || self.privileged;
        let paths = |list: &[&str]| {
            if unmasked { Vec::new() } else { list.iter().map(ToString::to_string).collect() }
        };
        wire::ContainerConfig {
            metadata: Some(wire::ContainerMetadata { name: self.name.clone(), attempt: 0 }),
            image: Some(wire::ImageSpec {
                image: self.image.clone(),
                user_specified_image: self.image.clone(),
            }),
            command: self.command.clone(),
            args: self.args.clone(),
            working_dir: self.working_dir.clone(),
            envs: self
                .envs
                .iter()
                .cloned()
                .map(|(key, value)| wire::KeyValue { key, value })
                .collect(),
            mounts: self.mounts.iter().map(MountSpec::wire).collect(),
            devices: self
                .devices
                .iter()
                .map(|path| wire::Device {
                    container_path: path.clone(),
                    host_path: path.clone(),
                    permissions: "rwm".to_owned(),
                })
                .collect(),
            labels,
            annotations: self.annotations.clone(),
            log_path: format!("{}.log", self.name),
            stdin: self.stdin,
            stdin_once: false,
            tty: self.tty,
            linux: Some(wire::LinuxContainerConfig {
                resources: Some(wire::Resources {
                    cpu_shares: 0,
                    memory_limit_in_bytes: self.memory_limit,
                }),
                security_context: Some(wire::ContainerSecurityContext {
                    capabilities: Some(wire::Capability {
                        add_capabilities: self.add_capabilities.clone(),
                        drop_capabilities: self.drop_capabilities.clone(),
                        add_ambient_capabilities: Vec::new(),
                    }),
                    privileged: self.privileged,
                    namespace_options: Some(self.namespaces(pod)),
                    run_as_user: self.run_as_user.map(|value| wire::Int64Value { value }),
                    run_as_group: self.run_as_group.map(|value| wire::Int64Value { value }),
                    readonly_rootfs: self.readonly_rootfs,
                    supplemental_groups: self.supplemental_groups.clone(),
                    no_new_privs: self.no_new_privs,
                    masked_paths: paths(&MASKED),
                    readonly_paths: paths(&READONLY),
                    seccomp: self.seccomp.as_ref().map(Profile::wire),
                    apparmor: self.apparmor.as_ref().map(Profile::wire),
                }),
            }),
        }
    }
}

/// What the kubelet sends for `procMount: Default` (Kubernetes, pkg/securitycontext/util.go).
const MASKED: [&str; 9] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/scsi",
    "/sys/firmware",
];
const READONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

impl MountSpec {
    fn wire(&self) -> wire::Mount {
        wire::Mount {
            container_path: self.container_path.clone(),
            host_path: self.host_path.clone(),
            readonly: self.readonly,
            propagation: self.propagation as i32,
        }
    }
}

impl Profile {
    fn wire(&self) -> wire::SecurityProfile {
        let (profile_type, localhost_ref) = match self {
            Profile::RuntimeDefault => (0, String::new()),
            Profile::Unconfined => (1, String::new()),
            Profile::Localhost(name) => (2, name.clone()),
        };
        wire::SecurityProfile { profile_type, localhost_ref }
    }
}
