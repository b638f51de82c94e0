//! Manifests and what becomes of them. Whether a real node makes the same is tested beside real
//! containerd, in `integration/tests/manifest`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use serde_json::{Value, json};

use crate::{Behind, ManifestError, Pod, Role, Settings, pod, read};

fn only(text: &str) -> Pod {
    let mut manifests = read("pod.yaml", text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(manifests.pods.len(), 1, "{manifests:?}");
    manifests.pods.remove(0)
}

/// A pod of one container, with these fields in the pod's spec and in the container's.
fn with(of_pod: &str, of_container: &str) -> Pod {
    only(&format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec: {{{of_pod} containers: [{{name: app, \
         image: registry.example/app:1, {of_container}}}]}}\n"
    ))
}

fn app(pod: &Pod) -> &Value {
    &pod.containers.iter().find(|planned| planned.name == "app").unwrap().spec
}

fn sandbox(pod: &Pod) -> &Value {
    assert_eq!(pod.containers[0].role, Role::Sandbox);
    &pod.containers[0].spec
}

fn namespace<'a>(spec: &'a Value, kind: &str) -> Option<&'a Value> {
    spec["linux"]["namespaces"].as_array().unwrap().iter().find(|entry| entry["type"] == kind)
}

fn mount<'a>(spec: &'a Value, place: &str) -> &'a Value {
    let mounts = spec["mounts"].as_array().unwrap();
    let mut found = mounts.iter().filter(|mount| mount["destination"] == place);
    let mount = found.next().unwrap_or_else(|| panic!("nothing at {place}: {mounts:#?}"));
    assert!(found.next().is_none(), "two at {place}");
    mount
}

fn says(pod: &Pod, container: &str, words: &str) -> bool {
    let planned = pod.containers.iter().find(|planned| planned.name == container).unwrap();
    planned.approximations.iter().any(|line| line.contains(words))
}

#[test]
fn a_pod_that_asks_for_nothing_has_what_containerd_gives() {
    let pod = with("", "");
    let spec = app(&pod);
    let bounding = spec["process"]["capabilities"]["bounding"].as_array().unwrap();
    assert_eq!(bounding.len(), 14);
    assert_eq!(spec["process"]["noNewPrivileges"], json!(false));
    assert!(spec["linux"].get("seccomp").is_none() && spec["root"].get("readonly").is_none());
    assert_eq!(spec["linux"]["maskedPaths"].as_array().unwrap().len(), 11);
    assert_eq!(spec["linux"]["resources"]["devices"], json!([{"allow": false, "access": "rwm"}]));
    assert_eq!(mount(spec, "/sys")["options"][3], json!("ro"));
    for (place, below) in [
        ("/etc/hosts", "/var/lib/kubelet/pods/"),
        ("/dev/termination-log", "/var/lib/kubelet/pods/"),
        ("/etc/resolv.conf", "/var/lib/containerd/io.containerd.grpc.v1.cri/"),
        ("/dev/shm", "/run/containerd/io.containerd.grpc.v1.cri/"),
        ("/var/run/secrets/kubernetes.io/serviceaccount", "/var/lib/kubelet/pods/"),
    ] {
        assert!(mount(spec, place)["source"].as_str().unwrap().starts_with(below), "{place}");
    }
    assert_eq!(namespace(spec, "pid"), Some(&json!({"type": "pid"})));
    let planned = &pod.containers[1];
    let network = namespace(spec, "network").unwrap()["path"].as_str().unwrap();
    assert_eq!(planned.joins[network], Behind::Pod);
    assert_eq!(sandbox(&pod)["process"]["noNewPrivileges"], json!(true));
    assert!(sandbox(&pod)["linux"]["seccomp"].is_object());
    assert!(says(&pod, "app", "the user is the image's") && says(&pod, "app", "command"));
}

#[test]
fn annotations_are_those_by_which_facts_are_known() {
    let pod = only(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, uid: abc}\nspec:\n  containers:\n  \
         - {name: app, image: nginx}\n",
    );
    let annotations = |index: usize| pod.containers[index].spec["annotations"].clone();
    let (sandbox, app) = (annotations(0), annotations(1));
    for (key, value) in [
        ("container-type", "container"),
        ("sandbox-namespace", "shop"),
        ("sandbox-name", "web"),
        ("sandbox-uid", "abc"),
        ("container-name", "app"),
        ("image-name", "nginx"),
    ] {
        assert_eq!(app[format!("io.kubernetes.cri.{key}")], json!(value));
    }
    assert_eq!(sandbox["io.kubernetes.cri.container-type"], json!("sandbox"));
    assert!(sandbox.get("io.kubernetes.cri.container-name").is_none());
}

#[test]
fn a_privileged_container_has_all_and_its_sandbox_no_filter() {
    let pod =
        with("", "securityContext: {privileged: true, seccompProfile: {type: RuntimeDefault}}");
    let spec = app(&pod);
    assert!(spec["process"]["capabilities"]["bounding"].as_array().unwrap().len() >= 41);
    assert!(spec["linux"].get("maskedPaths").is_none() && spec["linux"].get("seccomp").is_none());
    assert_eq!(spec["linux"]["resources"]["devices"], json!([{"allow": true, "access": "rwm"}]));
    assert_eq!(mount(spec, "/sys")["options"][3], json!("rw"));
    assert_eq!(mount(spec, "/sys/fs/cgroup")["options"][4], json!("rw"));
    assert!(namespace(spec, "cgroup").is_none());
    assert!(sandbox(&pod)["linux"].get("seccomp").is_none());
}

#[test]
fn capabilities_are_added_and_dropped_in_containerds_order() {
    let of = |text: &str| -> Vec<String> {
        let pod = with("", &format!("securityContext: {{capabilities: {{{text}}}}}"));
        let list = &app(&pod)["process"]["capabilities"]["bounding"];
        serde_json::from_value(list.clone()).unwrap()
    };
    assert_eq!(of("drop: [ALL], add: [net_bind_service]"), ["CAP_NET_BIND_SERVICE"]);
    assert_eq!(of("add: [ALL], drop: [ALL]"), Vec::<String>::new());
    assert!(of("add: [ALL], drop: [SYS_ADMIN]").len() >= 40);
    assert!(!of("add: [SYS_ADMIN], drop: [SYS_ADMIN]").contains(&"CAP_SYS_ADMIN".to_owned()));
    assert!(of("add: [SYS_TIME]").contains(&"CAP_SYS_TIME".to_owned()));
}

#[test]
fn host_namespaces_are_joined_or_absent() {
    let pod = with("hostNetwork: true, hostPID: true, hostIPC: true,", "");
    let planned = &pod.containers[1];
    for kind in ["network", "pid", "ipc", "uts"] {
        let path = namespace(&planned.spec, kind).unwrap()["path"].as_str().unwrap();
        assert_eq!(planned.joins[path], Behind::Host, "{kind}");
        assert!(namespace(sandbox(&pod), kind).is_none(), "{kind}");
    }
    assert_eq!(mount(&planned.spec, "/dev/shm")["source"], json!("/dev/shm"));
    let shared = with("shareProcessNamespace: true,", "");
    let path = namespace(app(&shared), "pid").unwrap()["path"].as_str().unwrap();
    assert_eq!(shared.containers[1].joins[path], Behind::Pod);
    let own_users = with("hostUsers: false,", "");
    assert!(namespace(app(&own_users), "user").is_some() && namespace(app(&pod), "user").is_none());
    assert!(app(&own_users)["linux"]["uidMappings"].is_array());
}

#[test]
fn identity_is_the_containers_then_the_pods_then_the_images() {
    let user = |pod: &Pod| app(pod)["process"]["user"].clone();
    let pod = with(
        "securityContext: {runAsUser: 5, runAsGroup: 6, fsGroup: 9, supplementalGroups: [8]},",
        "securityContext: {runAsUser: 7}",
    );
    assert_eq!(user(&pod), json!({"uid": 7, "gid": 6, "additionalGids": [6, 8, 9]}));
    assert_eq!(user(&with("", ""))["uid"], json!(0));
    assert_eq!(user(&with("", "securityContext: {runAsNonRoot: true}"))["uid"], json!(65535));
    let settings = Settings {
        image: crate::Image { user: Some("1000:100".to_owned()), ..crate::Image::default() },
        ..Settings::default()
    };
    let value = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "app"}]}});
    assert_eq!(user(&pod_of(&value, &settings))["uid"], json!(1000));
    assert_eq!(user(&pod_of(&value, &settings))["gid"], json!(100));
}

fn pod_of(value: &Value, settings: &Settings) -> Pod {
    pod(value, settings).unwrap()
}

#[test]
fn seccomp_is_the_containers_then_the_pods_then_the_kubelets() {
    let filtered = |pod: &Pod| app(pod)["linux"].get("seccomp").is_some();
    let of_pod = "securityContext: {seccompProfile: {type: RuntimeDefault}},";
    assert!(filtered(&with(of_pod, "")));
    assert!(!filtered(&with(of_pod, "securityContext: {seccompProfile: {type: Unconfined}}")));
    let value = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "app"}]}});
    let by_default = Settings { seccomp_default: true, ..Settings::default() };
    assert!(
        filtered(&pod_of(&value, &by_default)) && !filtered(&pod_of(&value, &Settings::default()))
    );
    let local = "securityContext: {seccompProfile: {type: Localhost, localhostProfile: p.json}}";
    let pod = with("", local);
    assert!(!filtered(&pod) && says(&pod, "app", "p.json is a file of the node"));
    let mut known = Settings::default();
    known.seccomp_profiles.insert("p.json".into(), json!({"defaultAction": "SCMP_ACT_ERRNO"}));
    let value = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "app",
        "securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "p.json"}}}]}});
    assert_eq!(
        app(&pod_of(&value, &known))["linux"]["seccomp"]["defaultAction"],
        json!("SCMP_ACT_ERRNO")
    );
}

#[test]
fn app_armor_is_a_field_an_annotation_or_the_default() {
    let profile = |pod: &Pod| app(pod)["process"].get("apparmorProfile").cloned();
    let field = "securityContext: {appArmorProfile: {type: Localhost, localhostProfile: mine}}";
    assert_eq!(profile(&with("", field)), Some(json!("mine")));
    let annotated = only(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: web, annotations: \
         {container.apparmor.security.beta.kubernetes.io/app: localhost/theirs}}\nspec: {containers: [{name: app}]}\n",
    );
    assert_eq!(profile(&annotated), Some(json!("theirs")));
    let value = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "app"}]}});
    let settings = Settings { app_armor: true, ..Settings::default() };
    assert_eq!(profile(&pod_of(&value, &settings)), Some(json!("cri-containerd.apparmor.d")));
    assert_eq!(profile(&with("", "")), None);
}

#[test]
fn volumes_are_binds_below_the_pods_folder_and_host_paths_themselves() {
    let volumes = "volumes: [{name: h, hostPath: {path: /etc}}, {name: e, emptyDir: {}}, {name: c, configMap: \
                   {name: x}}, {name: d, persistentVolumeClaim: {claimName: x, readOnly: true}}],";
    let pod = with(
        volumes,
        "volumeMounts: [{name: h, mountPath: /host/, mountPropagation: Bidirectional}, {name: e, mountPath: \
         /tmp}, {name: c, mountPath: /etc/app}, {name: d, mountPath: /data}, {name: h, mountPath: /pw, \
         subPath: passwd, readOnly: true}]",
    );
    let spec = app(&pod);
    assert_eq!(mount(spec, "/host/")["source"], json!("/etc"));
    assert_eq!(mount(spec, "/host/")["options"], json!(["rbind", "rshared", "rw"]));
    assert_eq!(spec["linux"]["rootfsPropagation"], json!("rshared"));
    assert_eq!(mount(spec, "/etc/app")["options"], json!(["rbind", "rprivate", "ro"]));
    assert_eq!(mount(spec, "/data")["options"], json!(["rbind", "rprivate", "ro"]));
    let empty = mount(spec, "/tmp")["source"].as_str().unwrap().to_owned();
    assert!(
        empty.starts_with("/var/lib/kubelet/pods/") && empty.ends_with("kubernetes.io~empty-dir/e")
    );
    let below = mount(spec, "/pw")["source"].as_str().unwrap().to_owned();
    assert!(below.contains("/volume-subpaths/h/app/4"), "{below}");
    assert!(says(&pod, "app", "/etc/passwd of the node by a subPath"));
    let planned = pod.containers.iter().find(|planned| planned.name == "app").unwrap();
    assert_eq!(planned.origins, [(below, "/etc/passwd".to_owned())].into());
    let own_dev = with(volumes, "volumeMounts: [{name: h, mountPath: /dev}]");
    let places = app(&own_dev)["mounts"].as_array().unwrap();
    assert!(!places.iter().any(|mount| mount["destination"] == "/dev/pts"));
}

#[test]
fn limits_sysctls_terminals_and_labels() {
    let pod = with(
        "securityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: '1'}], seLinuxOptions: {level: 's0:c1,c2'}},",
        "tty: true, workingDir: /srv, command: [a], args: [b], env: [{name: X, value: z}], resources: {limits: \
         {cpu: 500m, memory: 1Gi}}, securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: \
         true, procMount: Unmasked}",
    );
    let spec = app(&pod);
    assert_eq!(sandbox(&pod)["linux"]["sysctl"]["kernel.shm_rmid_forced"], json!("1"));
    assert_eq!(spec["process"]["args"], json!(["a", "b"]));
    assert_eq!(spec["process"]["cwd"], json!("/srv"));
    assert_eq!(spec["process"]["terminal"], json!(true));
    assert!(spec["process"]["env"].as_array().unwrap().contains(&json!("X=z")));
    assert_eq!(spec["process"]["noNewPrivileges"], json!(true));
    assert_eq!(spec["root"]["readonly"], json!(true));
    assert_eq!(mount(spec, "/etc/resolv.conf")["options"][2], json!("ro"));
    assert!(spec["linux"].get("maskedPaths").is_none());
    assert_eq!(spec["linux"]["resources"]["memory"]["limit"], json!(1_u64 << 30));
    assert_eq!(
        spec["linux"]["resources"]["cpu"],
        json!({"shares": 512, "quota": 50000, "period": 100_000})
    );
    assert_eq!(spec["process"]["selinuxLabel"], json!("system_u:system_r:container_t:s0:c1,c2"));
}

#[test]
fn every_kind_of_workload_is_found_and_the_rest_is_said() {
    let template = "{metadata: {annotations: {a: b}}, spec: {initContainers: [{name: first}], containers: [{name: app}]}}";
    let mut text = String::new();
    for (version, kind) in [
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("apps/v1", "ReplicaSet"),
        ("v1", "ReplicationController"),
        ("batch/v1", "Job"),
    ] {
        text += &format!(
            "---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{template: {template}}}\n"
        );
    }
    text += &format!(
        "---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: x}}\nspec: {{jobTemplate: {{spec: {{template: {template}}}}}}}\n\
         ---\napiVersion: v1\nkind: Service\nmetadata: {{name: x}}\n---\n---\napiVersion: v1\nkind: List\nitems:\n\
         - {{apiVersion: v1, kind: Pod, metadata: {{name: second}}, spec: {{containers: [{{name: app}}]}}}}\n\
         - {{apiVersion: v1, kind: ConfigMap, metadata: {{name: settings}}}}\n\
         ---\napiVersion: v1\nkind: PodList\nitems:\n- {{metadata: {{name: z}}, spec: {{containers: [{{name: app}}]}}}}\n\
         ---\napiVersion: apps.example/v1\nkind: Deployment\nmetadata: {{name: other}}\n\
         ---\napiVersion: v1\nkind: Pod\nmetadata: {{name: w}}\nspec: {{os: {{name: windows}}, containers: [{{name: app}}]}}\n"
    );
    let manifests = read("all.yaml", &text).unwrap();
    let kinds: Vec<&str> = manifests.pods.iter().map(|pod| pod.kind.as_str()).collect();
    assert_eq!(
        kinds,
        [
            "Deployment",
            "StatefulSet",
            "DaemonSet",
            "ReplicaSet",
            "ReplicationController",
            "Job",
            "CronJob",
            "Pod",
            "Pod"
        ]
    );
    let roles: Vec<Role> =
        manifests.pods[0].containers.iter().map(|planned| planned.role).collect();
    assert_eq!(roles, [Role::Sandbox, Role::Init, Role::App]);
    assert!(says(&manifests.pods[0], "app", "x-0000000000-00000"));
    let over = manifests.passed_over.join("\n");
    for word in
        ["Service x", "ConfigMap settings", "Deployment other", "Pod w: its pods run on windows"]
    {
        assert!(over.contains(word), "{over}");
    }
    assert_eq!(manifests.passed_over.len(), 4);
}

#[test]
fn json_is_read_too() {
    let text = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
                      "spec": {"containers": [{"name": "app", "securityContext": {"runAsUser": 3}}]}});
    assert_eq!(app(&only(&text.to_string()))["process"]["user"]["uid"], json!(3));
}

#[test]
fn wrong_types_are_errors_with_their_place() {
    let fails = |of_pod: &str, of_container: &str, place: &str, words: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec: {{{of_pod} containers: [{{name: app, {of_container}}}]}}\n"
        );
        let error = read("p.yaml", &text).unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, ManifestError::Wrong { .. }), "{said}");
        assert!(
            said.starts_with("p.yaml: Pod web: ") && said.contains(place) && said.contains(words),
            "{said}"
        );
    };
    fails("hostPID: 'yes',", "", "spec.hostPID", "true or false");
    fails(
        "",
        "securityContext: {runAsUser: web}",
        "spec.containers[0].securityContext.runAsUser",
        "whole number",
    );
    fails("", "securityContext: {runAsUser: -1}", "runAsUser", "whole number");
    fails("", "securityContext: []", "spec.containers[0].securityContext", "a mapping");
    fails("", "securityContext: {capabilities: {add: NET_ADMIN}}", "capabilities.add", "a list");
    fails(
        "",
        "securityContext: {seccompProfile: {type: Default}}",
        "seccompProfile.type",
        "RuntimeDefault",
    );
    fails(
        "",
        "volumeMounts: [{name: x, mountPath: /x}]",
        "volumeMounts[0].name",
        "no volume named",
    );
    fails("", "resources: {limits: {memory: lots}}", "resources.limits.memory", "no quantity");
    fails("volumes: {},", "", "spec.volumes", "a list");
    for (text, words) in [
        ("kind: Pod\napiVersion: v1\nmetadata: {name: p}\nspec: {}\n", "spec.containers: missing"),
        ("kind: Pod\napiVersion: v1\nmetadata: {name: p}\n", "spec: missing"),
        ("apiVersion: v1\n", "kind: missing"),
        ("- a\n- b\n", "a mapping"),
        ("kind: Pod\nkind: Pod\n", "uplicate"),
        ("a: [\n", "f.yaml:"),
    ] {
        let error = read("f.yaml", text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn what_is_too_large_is_refused() {
    let error = read("f.yaml", &"#".repeat(crate::MAX_BYTES + 1)).unwrap_err();
    assert!(matches!(error, ManifestError::TooLarge { .. }), "{error}");
    let one = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, securityContext: {privileged: true}}]}\n";
    assert_eq!(read("f.yaml", &one.repeat(crate::MAX_PODS)).unwrap().pods.len(), crate::MAX_PODS);
    let error = read("f.yaml", &one.repeat(crate::MAX_PODS + 1)).unwrap_err();
    assert!(matches!(error, ManifestError::TooMany { .. }), "{error}");
}

#[test]
fn aliases_that_multiply_are_refused() {
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &(0..12)
            .map(|n| {
                let before = char::from(b'a' + n);
                let name = char::from(b'b' + n);
                format!("{name}: &{name} [{}]\n", vec![format!("*{before}"); 9].join(","))
            })
            .collect::<String>();
    assert!(read("f.yaml", &bomb).is_err());
}
