//! A pod as CRI requests, as the kubelet makes them (Kubernetes, pkg/kubelet/kuberuntime and
//! pkg/kubelet/kubelet_pods.go), as far as these tests' pods go.

use coaming_integration::cri::{ContainerSpec, MountSpec, Pod, Profile, Propagation};
use coaming_integration::{Error, Node};
use serde_json::Value;

/// The uid of every pod here.
pub(crate) const UID: &str = "11111111-2222-3333-4444-555555555555";

pub(crate) struct Kubelet {
    pub(crate) pod: Pod,
    containers: Vec<ContainerSpec>,
}

fn folder() -> String {
    format!("/var/lib/kubelet/pods/{UID}")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn flag(value: &Value) -> bool {
    value.as_bool().unwrap_or(false)
}

impl Kubelet {
    pub(crate) fn of(manifest: &Value) -> Kubelet {
        let spec = &manifest["spec"];
        let all: Vec<&Value> = ["initContainers", "containers"]
            .into_iter()
            .flat_map(|list| spec[list].as_array().into_iter().flatten())
            .collect();
        let sysctls = spec["securityContext"]["sysctls"].as_array().into_iter().flatten();
        let pod = Pod {
            name: text(&manifest["metadata"]["name"]),
            handler: "runc".to_owned(),
            host_network: flag(&spec["hostNetwork"]),
            host_pid: flag(&spec["hostPID"]),
            host_ipc: flag(&spec["hostIPC"]),
            share_processes: flag(&spec["shareProcessNamespace"]),
            user_namespace: spec["hostUsers"] == false,
            privileged: all.iter().any(|one| flag(&one["securityContext"]["privileged"])),
            seccomp: Some(Profile::RuntimeDefault),
            sysctls: sysctls.map(|one| (text(&one["name"]), text(&one["value"]))).collect(),
            ..Pod::default()
        };
        let containers = all.into_iter().map(|one| container(spec, one)).collect();
        Kubelet { pod, containers }
    }

    pub(crate) fn container(&self, name: &str) -> &ContainerSpec {
        self.containers.iter().find(|container| container.name == name).unwrap()
    }

    /// The files that the kubelet makes before it asks containerd.
    pub(crate) fn prepare(&self, node: &Node) -> Result<(), Error> {
        let world = node.world();
        world.write(format!("{}/etc-hosts", folder()), "127.0.0.1 localhost\n", 0o644)?;
        for container in &self.containers {
            world.write(termination_log(&container.name), "", 0o644)?;
        }
        Ok(())
    }
}

fn termination_log(name: &str) -> String {
    format!("{}/containers/{name}/00000000", folder())
}

fn container(pod: &Value, container: &Value) -> ContainerSpec {
    let own = &container["securityContext"];
    let effective = |key: &str| -> &Value {
        if own[key].is_null() { &pod["securityContext"][key] } else { &own[key] }
    };
    let profile = effective("seccompProfile");
    let seccomp = match profile["type"].as_str() {
        Some("RuntimeDefault") => Profile::RuntimeDefault,
        Some("Localhost") => Profile::Localhost(format!(
            "/var/lib/kubelet/seccomp/{}",
            text(&profile["localhostProfile"])
        )),
        _ => Profile::Unconfined,
    };
    let groups = pod["securityContext"]["fsGroup"].as_i64();
    let supplemental = pod["securityContext"]["supplementalGroups"].as_array();
    ContainerSpec {
        name: text(&container["name"]),
        image: text(&container["image"]),
        command: list(&container["command"]),
        args: list(&container["args"]),
        working_dir: text(&container["workingDir"]),
        envs: container["env"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|one| (text(&one["name"]), text(&one["value"])))
            .collect(),
        mounts: mounts(pod, container),
        privileged: flag(&own["privileged"]),
        add_capabilities: list(&own["capabilities"]["add"]),
        drop_capabilities: list(&own["capabilities"]["drop"]),
        seccomp: Some(seccomp),
        no_new_privs: own["allowPrivilegeEscalation"] == false,
        readonly_rootfs: flag(&own["readOnlyRootFilesystem"]),
        // The image's user, where the manifest names none: these images' is root.
        run_as_user: Some(effective("runAsUser").as_i64().unwrap_or(0)),
        run_as_group: effective("runAsGroup").as_i64(),
        supplemental_groups: groups
            .into_iter()
            .chain(supplemental.into_iter().flatten().filter_map(Value::as_i64))
            .collect(),
        unmasked_proc: own["procMount"] == "Unmasked",
        tty: flag(&container["tty"]),
        stdin: flag(&container["stdin"]),
        memory_limit: match container["resources"]["limits"]["memory"].as_str() {
            Some("64Mi") => 64 << 20,
            None => 0,
            Some(other) => panic!("no reading of {other} here"),
        },
        ..ContainerSpec::default()
    }
}

fn mounts(pod: &Value, container: &Value) -> Vec<MountSpec> {
    let mut mounts = Vec::new();
    for mount in container["volumeMounts"].as_array().into_iter().flatten() {
        let volumes = pod["volumes"].as_array().into_iter().flatten();
        let volume = volumes.clone().find(|volume| volume["name"] == mount["name"]).unwrap();
        let name = text(&volume["name"]);
        let below = |plugin: &str| format!("{}/volumes/kubernetes.io~{plugin}/{name}", folder());
        let (host_path, read_only) = if volume["hostPath"].is_object() {
            (text(&volume["hostPath"]["path"]), false)
        } else if volume["emptyDir"].is_object() {
            (below("empty-dir"), false)
        } else if volume["configMap"].is_object() {
            (below("configmap"), true)
        } else {
            (below("secret"), true)
        };
        mounts.push(MountSpec {
            host_path,
            container_path: text(&mount["mountPath"]),
            readonly: read_only || flag(&mount["readOnly"]),
            propagation: match mount["mountPropagation"].as_str() {
                Some("Bidirectional") => Propagation::Bidirectional,
                Some("HostToContainer") => Propagation::HostToContainer,
                _ => Propagation::Private,
            },
        });
    }
    let mut add = |host_path: String, container_path: &str, readonly: bool| {
        mounts.push(MountSpec {
            host_path,
            container_path: container_path.to_owned(),
            readonly,
            propagation: Propagation::Private,
        });
    };
    if pod["automountServiceAccountToken"] != false {
        add(
            format!("{}/volumes/kubernetes.io~projected/kube-api-access-00000", folder()),
            "/var/run/secrets/kubernetes.io/serviceaccount",
            true,
        );
    }
    add(format!("{}/etc-hosts", folder()), "/etc/hosts", false);
    add(termination_log(&text(&container["name"])), "/dev/termination-log", false);
    mounts
}
