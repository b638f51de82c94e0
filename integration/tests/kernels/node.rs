//! A node of each kernel: containerd, coaming's shim, runc and crun, from a pod's start to its end.

use std::time::{Duration, Instant};

use coaming_integration::cri::{ContainerSpec, Pod};
use coaming_integration::{
    Containerd, Door, Error, Guest, Node, NodeConfig, Runtime, Suite, configuration, images,
    residue, wait_for,
};
use serde_json::Value;

use crate::setup::{is_in, policy, says};

const STRICT: &str = "
match: {namespaces: [payments]}
capabilities: {allow: [CHOWN, NET_BIND_SERVICE]}
noNewPrivileges: true
seccomp: {floor: runtime-default}
refuse:
  - if: privileged
    because: payments are never privileged
";

#[test]
#[ignore = "runs in guests of User-Mode Linux"]
fn a_pod_lives_under_runc() -> Result<(), Error> {
    is_in(&Guest::ALL);
    a_pod_lives(Containerd::V2, Runtime::Runc(Suite::Sid))
}

#[test]
#[ignore = "runs in guests of User-Mode Linux, and in qemu-6.1"]
fn a_pod_lives_under_crun() -> Result<(), Error> {
    is_in(&Guest::ALL);
    a_pod_lives(Containerd::V1_7, Runtime::Crun(Suite::Trixie))
}

fn a_pod_lives(containerd: Containerd, runtime: Runtime) -> Result<(), Error> {
    let node = Node::start(NodeConfig::new(containerd, runtime))?;
    let world = node.world();
    world.install_coaming()?;
    world.write("/etc/coaming/config.toml", configuration(runtime, "baseline"), 0o644)?;
    policy(world, "payments", STRICT)?;
    let cri = node.cri()?;
    let pod = cri.run_pod(&Pod {
        namespace: "payments".to_owned(),
        ..Pod::new("ledger-0", Door::ShimType.handler())
    })?;
    let main = cri.launch(
        &pod,
        &ContainerSpec::new("main", images::PROBE, ["probe", "each", "status", "--", "pause"]),
    )?;

    // What the first process has, and an exec: less than the stock shim gives.
    let status = wait_for("the probe's word of itself", || {
        let said = cri.logs(&main)?.stdout;
        Ok(said.lines().next().and_then(|line| serde_json::from_str::<Value>(line).ok()))
    })?;
    strict(&status);
    let exec = cri.exec_sync(&main, ["probe", "status"])?.ok("exec")?;
    strict(&serde_json::from_str(&exec.stdout).unwrap());
    for attempt in ["unshare-user", "mount", "chroot"] {
        let said = cri.exec_sync(&main, ["probe", attempt])?;
        says(&said.stdout, &["\"outcome\":\"denied\""]);
    }

    // Records, and the kernel's own word held against the floor.
    for container in [&pod.id, &main] {
        wait_for("the proof", || {
            let found = world.run(["sh", "-c", &format!("cat /run/coaming/containers/*/proof.json | grep -c '\"started\"'; cat /run/coaming/containers/*/record.json | grep -c {container}")])?;
            Ok((found.stdout.split_whitespace().all(|count| count != "0")).then_some(()))
        })?;
    }
    let proofs = world.run(["sh", "-c", "cat /run/coaming/containers/*/proof.json"])?.stdout;
    let proofs: Vec<Value> =
        serde_json::Deserializer::from_str(&proofs).into_iter().map(Result::unwrap).collect();
    assert_eq!(proofs.len(), 2, "{proofs:?}");
    let modules = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap();
    let modules: Vec<&str> = modules.trim().split(',').collect();
    for proof in &proofs {
        assert_eq!(proof["started"]["outcome"], "held", "{proof}");
        let said: Vec<&str> = proof["started"]["securityModules"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(said, modules, "{proof}");
    }

    // What the policy forbids is refused, with its reason, and nothing of it starts.
    let wide =
        ContainerSpec { privileged: true, ..ContainerSpec::new("wide", images::PROBE, ["true"]) };
    let admin = cri.run_pod(&Pod {
        namespace: "payments".to_owned(),
        privileged: true,
        ..Pod::new("admin", Door::ShimType.handler())
    });
    match admin {
        Err(Error::Cri { message, .. }) => {
            says(message, &["coaming", "payments are never privileged"])
        }
        Err(other) => return Err(other),
        Ok(admin) => {
            match cri.launch(&admin, &wide) {
                Err(Error::Cri { message, .. }) => {
                    says(message, &["coaming", "payments are never privileged"])
                }
                other => panic!("a privileged container was not refused: {other:?}"),
            }
            cri.remove_pod(&admin)?;
        }
    }

    cri.stop(&main, 5)?;
    assert_eq!(cri.wait(&main)?, 0, "pause ends with SIGTERM");
    cri.remove(&main)?;
    cri.remove_pod(&pod)?;
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let mut left: Vec<String> =
            [&pod.id, &main].iter().flat_map(|id| residue::of(world, "k8s.io", id)).collect();
        let own = "cd /run/coaming && find containers launch -mindepth 1 2>/dev/null; true";
        left.extend(world.run(["sh", "-c", own])?.stdout.lines().map(str::to_owned));
        if left.is_empty() {
            return Ok(());
        }
        assert!(Instant::now() < end, "left: {left:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[track_caller]
fn strict(status: &Value) {
    assert_eq!(status["noNewPrivs"], 1, "{status}");
    for set in ["bounding", "effective", "permitted"] {
        for name in status["capabilities"][set].as_array().unwrap() {
            let name = name.as_str().unwrap();
            assert!(["CAP_CHOWN", "CAP_NET_BIND_SERVICE"].contains(&name), "{name}: {status}");
        }
    }
    assert!(status["seccompFilters"].as_u64().is_none_or(|filters| filters >= 1), "{status}");
}
