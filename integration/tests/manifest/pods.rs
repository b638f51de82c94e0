//! The pods that are compared: for each thing that a manifest can say and the controls look at, one
//! that says it.

use coaming_integration::{Error, Node, images};
use serde_json::{Value, json};

/// A profile of the node's, and its name in manifests.
pub(crate) const PROFILE_NAME: &str = "all-but-reboot.json";
pub(crate) const PROFILE: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_KILL"}]}"#;
/// A mount of the node's that passes mounts on.
const SHARED: &str = "/run/shared";

/// What pods find on the node.
pub(crate) fn prepare(node: &Node) -> Result<(), Error> {
    node.world().write(format!("/var/lib/kubelet/seccomp/{PROFILE_NAME}"), PROFILE, 0o644)?;
    let script = format!(
        "mkdir -p {SHARED} /run/data && mount -t tmpfs shared {SHARED} && mount --make-shared {SHARED}"
    );
    node.world().run(["sh", "-c", &script])?.ok("make a shared mount").map(drop)
}

/// A container that sleeps, with these fields besides.
fn app(more: Value) -> Value {
    let mut container =
        json!({"name": "app", "image": images::PROBE, "command": ["sleep", "1000"]});
    let (Value::Object(container_fields), Value::Object(more)) = (&mut container, more) else {
        panic!("no fields")
    };
    container_fields.extend(more);
    container
}

fn secured(context: Value) -> Value {
    json!({"containers": [app(json!({"securityContext": context}))]})
}

/// The specs of the pods, by name.
pub(crate) fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("plain", json!({"containers": [app(json!({}))]})),
        (
            "no-token",
            json!({"automountServiceAccountToken": false, "containers": [app(json!({}))]}),
        ),
        ("privileged", secured(json!({"privileged": true}))),
        (
            "privileged-and-more",
            secured(json!({"privileged": true, "seccompProfile": {"type": "RuntimeDefault"},
                "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": true})),
        ),
        (
            "adds",
            secured(json!({"capabilities": {"add": ["SYS_TIME", "net_admin"], "drop": ["MKNOD"]}})),
        ),
        (
            "drops-all",
            secured(json!({"capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}})),
        ),
        ("adds-all", secured(json!({"capabilities": {"add": ["ALL"], "drop": ["SYS_ADMIN"]}}))),
        ("no-new-privileges", secured(json!({"allowPrivilegeEscalation": false}))),
        (
            "user",
            json!({"securityContext": {"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000,
                "supplementalGroups": [4000, 3000]}, "containers": [app(json!({}))]}),
        ),
        (
            "user-of-container",
            json!({"securityContext": {"runAsUser": 1000, "runAsGroup": 3000},
                "containers": [app(json!({"securityContext": {"runAsUser": 7, "runAsGroup": 8}}))]}),
        ),
        ("read-only-root", secured(json!({"readOnlyRootFilesystem": true}))),
        ("unmasked", secured(json!({"procMount": "Unmasked"}))),
        ("runtime-default", secured(json!({"seccompProfile": {"type": "RuntimeDefault"}}))),
        (
            "localhost",
            secured(
                json!({"seccompProfile": {"type": "Localhost", "localhostProfile": PROFILE_NAME}}),
            ),
        ),
        (
            "unconfined-in-a-default-pod",
            json!({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [app(json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}))]}),
        ),
        ("host-network", json!({"hostNetwork": true, "containers": [app(json!({}))]})),
        ("host-pid", json!({"hostPID": true, "containers": [app(json!({}))]})),
        ("host-ipc", json!({"hostIPC": true, "containers": [app(json!({}))]})),
        (
            "host-all",
            json!({"hostNetwork": true, "hostPID": true, "hostIPC": true,
                "containers": [app(json!({"securityContext": {"privileged": true}}))]}),
        ),
        (
            "shared-processes",
            json!({"shareProcessNamespace": true, "containers": [app(json!({}))]}),
        ),
        ("user-namespace", json!({"hostUsers": false, "containers": [app(json!({}))]})),
        (
            "sysctls",
            json!({"securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]},
                "containers": [app(json!({}))]}),
        ),
        (
            "volumes",
            json!({
                "volumes": [{"name": "data", "emptyDir": {}}, {"name": "settings", "configMap": {"name": "x"}},
                    {"name": "key", "secret": {"secretName": "y"}}, {"name": "host", "hostPath": {"path": "/run/data"}}],
                "containers": [app(json!({"volumeMounts": [
                    {"name": "data", "mountPath": "/var/lib/app/data"}, {"name": "settings", "mountPath": "/settings"},
                    {"name": "key", "mountPath": "/key"}, {"name": "host", "mountPath": "/host"},
                    {"name": "host", "mountPath": "/host-ro", "readOnly": true},
                    {"name": "data", "mountPath": "/dev/shm"},
                ]}))],
            }),
        ),
        (
            "propagation",
            json!({
                "volumes": [{"name": "host", "hostPath": {"path": SHARED}}],
                "containers": [
                    app(json!({"volumeMounts": [{"name": "host", "mountPath": "/in", "mountPropagation": "HostToContainer"}]})),
                    {"name": "both", "image": images::PROBE, "command": ["sleep", "1000"],
                     "securityContext": {"privileged": true},
                     "volumeMounts": [{"name": "host", "mountPath": "/both", "mountPropagation": "Bidirectional"},
                        {"name": "host", "mountPath": "/in", "mountPropagation": "HostToContainer"}]},
                ],
            }),
        ),
        (
            "init-and-two",
            json!({
                "initContainers": [{"name": "first", "image": images::PROBE, "command": ["sleep", "1000"],
                    "securityContext": {"capabilities": {"drop": ["ALL"]}}}],
                "containers": [app(json!({"resources": {"limits": {"memory": "64Mi"}}})),
                    {"name": "second", "image": images::PROBE, "command": ["sh", "-c"], "args": ["sleep 1000"],
                     "workingDir": "/tmp", "env": [{"name": "X", "value": "y"}], "tty": true, "stdin": true}],
            }),
        ),
    ]
}
