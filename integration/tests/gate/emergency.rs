//! An emergency: one file takes a system call, a socket family and a path from everything that starts from now on,
//! and `coaming status` tells what has been running since before.

use coaming_integration::cri::{ContainerSpec, Pod, Profile, Sandbox};
use coaming_integration::{Error, Node, NodeConfig, Output, PAIRS, can_run, images};
use serde_json::Value;

use crate::setup::{install, outcome, policy, says};

const PATCH: &str = "
match: {containerTypes: [sandbox, container]}
seccomp:
  denySyscalls: [keyctl]
  denySocketFamilies: [AF_NETLINK]
maskedPaths: [/proc/version]
";
/// The profile of a pod's author, which allows everything.
const CUSTOM: &str = r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#;

/// Every way by which a pod has no filter of the runtime's, or one of its own.
fn containers() -> [ContainerSpec; 3] {
    let sleeper = |name: &str| ContainerSpec::new(name, images::PROBE, ["sleep", "1000"]);
    [
        ContainerSpec { seccomp: Some(Profile::Unconfined), ..sleeper("unconfined") },
        ContainerSpec { privileged: true, ..sleeper("privileged") },
        ContainerSpec {
            seccomp: Some(Profile::Localhost("/etc/custom.json".to_owned())),
            ..sleeper("custom")
        },
    ]
}

/// Whether a container may do each of the three.
fn may(node: &Node, id: &str) -> Result<[bool; 3], Error> {
    let cri = node.cri()?;
    let attempt = |attempt: &str| {
        Ok::<_, Error>(outcome(&cri.exec_sync(id, ["probe", attempt])?) == "allowed")
    };
    let version = cri.exec_sync(id, ["cat", "/proc/version"])?;
    Ok([attempt("keyctl")?, attempt("af-netlink")?, version.stdout.contains("Linux version")])
}

fn status(node: &Node, more: &[&str]) -> Result<Output, Error> {
    let mut line = vec!["/usr/libexec/coaming/coaming", "status"];
    line.extend(more);
    node.world().run(line)
}

fn start(node: &Node, name: &str) -> Result<(Sandbox, Vec<String>), Error> {
    let cri = node.cri()?;
    let pod = cri.run_pod(&Pod { privileged: true, ..Pod::new(name, "coaming") })?;
    let ids = containers().iter().map(|spec| cri.launch(&pod, spec)).collect::<Result<_, _>>()?;
    Ok((pod, ids))
}

#[test]
fn one_file_holds_for_everything_at_its_next_start() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for (containerd, runtime) in [PAIRS[0], PAIRS[5]] {
        eprintln!("{containerd} with {runtime}");
        let node = Node::start(NodeConfig::new(containerd, runtime))?;
        install(node.world(), runtime, "node")?;
        node.world().write("/etc/custom.json", CUSTOM, 0o644)?;
        let (pod, ids) = start(&node, "before")?;
        for id in &ids {
            assert_eq!(may(&node, id)?, [true; 3], "{id}");
        }
        let calm = status(&node, &["--outdated"])?;
        assert_eq!((calm.code, calm.stdout.as_str()), (0, "0 containers\n"), "{calm:?}");

        policy(node.world(), "emergency", PATCH)?;
        let told = status(&node, &["--outdated"])?;
        assert_eq!(told.code, 1, "{told:?}");
        says(&told.stdout, &["default/before/privileged", "enforced, ", "outdated (emergency)"]);
        let json = status(&node, &["--output", "json"])?.ok("coaming status")?.stdout;
        let report: Value = serde_json::from_str(&json).unwrap();
        let containers = report["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 4, "the sandbox too: {json}");
        for container in containers {
            assert_eq!(container["outdated"], serde_json::json!(["emergency"]), "{container}");
            assert_eq!(container["kernel"]["state"], "running", "{container}");
        }
        let cri = node.cri()?;
        for id in &ids {
            cri.remove(id)?;
        }
        cri.remove_pod(&pod)?;

        let (pod, ids) = start(&node, "after")?;
        for id in &ids {
            assert_eq!(may(&node, id)?, [false; 3], "{id}");
        }
        let calm = status(&node, &["--outdated"])?;
        assert_eq!(calm.code, 0, "{calm:?}");
        cri.remove_pod(&pod)?;
    }
    Ok(())
}
