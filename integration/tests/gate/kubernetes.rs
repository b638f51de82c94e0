//! What pods ask for through CRI, and what the kubelet is told.

use coaming_integration::cri::{ContainerSpec, Pod, Profile};
use coaming_integration::{Door, Error, Node, NodeConfig, PAIRS, can_run, images, wait_for};
use serde_json::json;

use crate::setup::{
    FREELY, forget, install_with, no_capability_but, outcome, parsed, policy, refusal, says,
};

const BASELINE: [&str; 13] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

fn everything(name: &str) -> ContainerSpec {
    ContainerSpec {
        privileged: true,
        seccomp: Some(Profile::Unconfined),
        ..ContainerSpec::new(name, images::PROBE, ["sleep", "1000"])
    }
}

fn in_namespace(name: &str, namespace: &str, handler: &str) -> Pod {
    Pod { privileged: true, namespace: namespace.to_owned(), ..Pod::new(name, handler) }
}

#[test]
fn a_pod_that_asks_for_everything_gets_the_floor_or_is_refused_with_the_reason() -> Result<(), Error>
{
    if !can_run()? {
        return Ok(());
    }
    for (number, (containerd, runtime)) in PAIRS.into_iter().enumerate() {
        let node = Node::start(NodeConfig::new(containerd, runtime))?;
        install_with(node.world(), runtime, "baseline", FREELY)?;
        for door in Door::of_pair(number) {
            eprintln!("{containerd} with {runtime} through {door:?}");
            gets_the_floor(&node, door)?;
            is_refused_where_policy_says_so(&node, door)?;
            forget(node.world(), "by-default")?;
            forget(node.world(), "by-name")?;
            host_namespaces_are_refused(&node, door)?;
        }
    }
    Ok(())
}

fn gets_the_floor(node: &Node, door: Door) -> Result<(), Error> {
    let cri = node.cri()?;
    let attempts = ["mount", "io-uring", "keyctl", "proc-sys", "dev-kmsg", "chroot"];
    let stock = cri.run_pod(&in_namespace("stock", "open", "runc"))?;
    let wide = cri.launch(&stock, &everything("main"))?;
    let gated = cri.run_pod(&in_namespace("gated", "open", door.handler()))?;
    let held = cri.launch(&gated, &everything("main"))?;
    for attempt in attempts {
        let probe = ["probe", attempt];
        assert_eq!(outcome(&cri.exec_sync(&wide, probe)?), "allowed", "{attempt}");
        let mine = outcome(&cri.exec_sync(&held, probe)?);
        // chroot is in the floor's set of capabilities: an unprivileged container has it too.
        assert_eq!(mine == "allowed", attempt == "chroot", "{attempt}: {mine}");
    }
    let status = parsed(&cri.exec_sync(&held, ["probe", "status"])?);
    no_capability_but(&status, &BASELINE);
    assert_eq!(status["seccomp"], 2, "{status}");
    // The first process too, as the kernel has it.
    wait_for("the first process to be held", || {
        let init = cri.exec_sync(&held, ["grep", "-E", "^(CapBnd|Seccomp):", "/proc/1/status"])?;
        Ok((init.stdout == "CapBnd:\t00000000a80405fb\nSeccomp:\t2\n").then_some(()))
    })?;
    cri.remove_pod(&stock)?;
    cri.remove_pod(&gated)
}

fn is_refused_where_policy_says_so(node: &Node, door: Door) -> Result<(), Error> {
    let world = node.world();
    policy(
        world,
        "by-default",
        "match: {namespaces: [all]}\nactions: {default: refuse}\nprivileged: false\nseccomp: {default: runtime-default}",
    )?;
    policy(
        world,
        "by-name",
        "match: {namespaces: [one]}\nactions: {privileged: refuse}\nprivileged: false\nseccomp: {default: runtime-default}",
    )?;
    let cri = node.cri()?;
    let all = cri.run_pod(&in_namespace("all", "all", door.handler()))?;
    let text = refusal(cri.launch(&all, &everything("main")));
    says(
        &text,
        &[
            "coaming refused to create container",
            "policy by-default (/etc/coaming/policy.d/by-default.yaml:7, spec.privileged) refuses",
            "policy by-default (/etc/coaming/policy.d/by-default.yaml:8, spec.seccomp) refuses linux.seccomp",
            "linux.resources.devices",
        ],
    );
    let one = cri.run_pod(&in_namespace("one", "one", door.handler()))?;
    let text = refusal(cri.launch(&one, &everything("main")));
    says(
        &text,
        &["policy by-name (/etc/coaming/policy.d/by-name.yaml:7, spec.privileged) refuses"],
    );
    assert!(!text.contains("spec.seccomp"), "{text}");
    // What asks for no more is as free as ever, and gets the default profile where it asks for none.
    let modest = ContainerSpec {
        seccomp: Some(Profile::Unconfined),
        ..ContainerSpec::new("modest", images::PROBE, ["probe", "keyctl"])
    };
    assert_eq!(outcome(&cri.run(&one, &modest)?), "denied");
    cri.remove_pod(&all)?;
    cri.remove_pod(&one)
}

fn host_namespaces_are_refused(node: &Node, door: Door) -> Result<(), Error> {
    let cri = node.cri()?;
    let network = Pod { host_network: true, ..Pod::new("net", door.handler()) };
    let text = refusal(cri.run_pod(&network));
    says(
        &text,
        &["policy baseline (built-in:", "spec.hostNamespaces) refuses linux.namespaces", "network"],
    );
    let pid = Pod { host_pid: true, ..Pod::new("pid", door.handler()) };
    says(refusal(cri.run_pod(&pid)), &["spec.hostNamespaces", "pid"]);
    let ipc = Pod { host_ipc: true, ..Pod::new("ipc", door.handler()) };
    says(refusal(cri.run_pod(&ipc)), &["spec.hostNamespaces", "ipc"]);
    let secret = coaming_integration::cri::MountSpec {
        host_path: "/etc".to_owned(),
        container_path: "/host-etc".to_owned(),
        ..Default::default()
    };
    let pod = cri.run_pod(&Pod::new("mounts", door.handler()))?;
    let spec = ContainerSpec {
        mounts: vec![secret],
        ..ContainerSpec::new("reader", images::PROBE, ["true"])
    };
    says(refusal(cri.launch(&pod, &spec)), &["spec.mounts) refuses", "/etc"]);
    cri.remove_pod(&pod)?;
    assert_eq!(json!(cri.sandboxes()?), json!([]), "a refused sandbox stayed");
    Ok(())
}
