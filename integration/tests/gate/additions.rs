//! What is added to a container after its client has asked for it: by CDI (the Container Device Interface), for a device's
//! vendor, and by NRI (the Node Resource Interface), by a plugin. containerd does both before it calls the runtime, so it
//! is judged like all the rest: it is the final spec that crosses the gate.

use std::collections::HashMap;

use coaming_integration::cri::{ContainerSpec, Pod};
use coaming_integration::{Containerd, Door, Error, Node, NodeConfig, PAIRS, Runtime};
use coaming_integration::{World, can_run, images, wait_for};

use crate::nri::{Adjustment, Device, Hook, Hooks, Linux, Mount, Plugin};
use crate::setup::{install, outcome, refusal, says};

/// A vendor's file: a hook that leaves a trace on the node, the node's root, and a device.
const VENDOR: &str = r#"{"cdiVersion": "0.5.0", "kind": "vendor.com/device", "devices": [
  {"name": "hook", "containerEdits": {"hooks": [
    {"hookName": "createRuntime", "path": "/bin/sh", "args": ["sh", "-c", ": >/run/hook-ran"], "env": ["PATH=/bin"]}]}},
  {"name": "root", "containerEdits": {"mounts": [
    {"hostPath": "/", "containerPath": "/node", "options": ["rbind", "ro"]}]}},
  {"name": "kmsg", "containerEdits": {"deviceNodes": [{"path": "/dev/kmsg"}]}}]}
"#;

/// The same by an NRI plugin, to containers of these names.
fn adjustment(container: &str) -> Option<Adjustment> {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let mut adjustment = Adjustment::default();
    match container {
        "hook" => {
            let hook = Hook {
                path: "/bin/sh".to_owned(),
                args: words(&["sh", "-c", ": >/run/hook-ran"]),
                env: words(&["PATH=/bin"]),
            };
            adjustment.hooks = Some(Hooks { create_runtime: vec![hook] });
        }
        "root" => adjustment.mounts.push(Mount {
            destination: "/node".to_owned(),
            kind: "bind".to_owned(),
            source: "/".to_owned(),
            options: words(&["rbind", "ro"]),
        }),
        "kmsg" => {
            let device =
                Device { path: "/dev/kmsg".to_owned(), kind: "c".to_owned(), major: 1, minor: 11 };
            adjustment.linux = Some(Linux { devices: vec![device] });
        }
        _ => return None,
    }
    Some(adjustment)
}

/// How a container comes by an addition.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Cdi,
    Nri,
}

#[test]
fn what_cdi_adds_is_judged() -> Result<(), Error> {
    each_pair(|containerd, runtime, doors| {
        let world = World::new()?;
        world.write("/etc/cdi/vendor.json", VENDOR, 0o644)?;
        let node = Node::start_in(world, NodeConfig::new(containerd, runtime))?;
        // In 1.7 it is off unless configured; later it is on.
        if containerd == Containerd::V1_7 {
            const CRI: &str = "[plugins.\"io.containerd.grpc.v1.cri\"]\n";
            reconfigure(&node, |text| text.replacen(CRI, &format!("{CRI}enable_cdi = true\n"), 1))?;
        }
        judged(&node, Way::Cdi, doors)
    })
}

#[test]
fn what_nri_adds_is_judged() -> Result<(), Error> {
    each_pair(|containerd, runtime, doors| {
        let node = Node::start(NodeConfig::new(containerd, runtime))?;
        if containerd == Containerd::V1_7 {
            const NRI: &str = "[plugins.\"io.containerd.nri.v1.nri\"]\ndisable = false\n";
            reconfigure(&node, |text| text + NRI)?;
        }
        let socket = node.world().path("/run/nri/nri.sock");
        let _plugin = Plugin::connect(&socket, adjustment)?;
        judged(&node, Way::Nri, doors)
    })
}

/// containerd 1.6 has neither.
fn each_pair(
    test: impl Fn(Containerd, Runtime, &[Door]) -> Result<(), Error>,
) -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for (number, (containerd, runtime)) in PAIRS.into_iter().enumerate() {
        if containerd != Containerd::V1_6 {
            eprintln!("{containerd} with {runtime}");
            test(containerd, runtime, &Door::of_pair(number))?;
        }
    }
    Ok(())
}

fn judged(node: &Node, way: Way, doors: &[Door]) -> Result<(), Error> {
    let runtime = node.config().runtime;
    the_addition_is_made(node, way, "runc")?;
    for &door in doors {
        eprintln!("through {door:?}");
        install(node.world(), runtime, "node")?;
        the_addition_is_made(node, way, door.handler())?;
        install(node.world(), runtime, "baseline")?;
        the_floor_holds(node, way, door)?;
    }
    Ok(())
}

/// Without coaming; and under the floor for nodes, where devices and their vendors' programs are at home.
fn the_addition_is_made(node: &Node, way: Way, handler: &str) -> Result<(), Error> {
    let cri = node.cri()?;
    let pod = cri.run_pod(&Pod::new(&format!("free-{handler}"), handler))?;

    // A plugin is asked from some moment after its registration on.
    wait_for("the hook to run", || {
        let id = cri.launch(&pod, &with(way, "hook"))?;
        let ran = take_trace(node)?;
        cri.stop(&id, 0)?;
        cri.remove(&id)?;
        Ok(ran.then_some(()))
    })?;
    let root = cri.launch(&pod, &with(way, "root"))?;
    let seen = cri.exec_sync(&root, ["head", "-n1", "/node/etc/containerd/config.toml"])?;
    assert!(seen.stdout.starts_with("version = "), "{handler}: {seen:?}");
    let kmsg = cri.launch(&pod, &with(way, "kmsg"))?;
    let opened = cri.exec_sync(&kmsg, ["probe", "dev-kmsg"])?;
    assert_eq!(outcome(&opened), "allowed", "{handler}: {opened:?}");

    cri.remove_pod(&pod)
}

/// Programs on the node and its files are refused by name; a device is taken out.
fn the_floor_holds(node: &Node, way: Way, door: Door) -> Result<(), Error> {
    let cri = node.cri()?;
    let pod = cri.run_pod(&Pod::new("held", door.handler()))?;

    let text = refusal(cri.launch(&pod, &with(way, "hook")));
    says(&text, &["coaming refused to create container", "hooks.createRuntime[0]", "/bin/sh"]);
    assert!(!take_trace(node)?, "the hook ran: {text}");
    let text = refusal(cri.launch(&pod, &with(way, "root")));
    says(&text, &["coaming refused to create container", "spec.mounts", "\"/node\""]);

    let kmsg = cri.launch(&pod, &with(way, "kmsg"))?;
    let listed = cri.exec_sync(&kmsg, ["ls", "/dev"])?;
    assert!(!listed.stdout.contains("kmsg"), "{listed:?}");
    let record = "cat /run/coaming/containers/*/record.json";
    let record = node.world().run(["sh", "-c", record])?.ok("read the records")?.stdout;
    says(&record, &["/dev/kmsg"]);

    cri.remove_pod(&pod)
}

fn with(way: Way, addition: &str) -> ContainerSpec {
    let mut spec = ContainerSpec::new(addition, images::PROBE, ["sleep", "1000"]);
    if way == Way::Cdi {
        let device = format!("vendor.com/device={addition}");
        spec.annotations = HashMap::from([("cdi.k8s.io/vendor".to_owned(), device)]);
    }
    spec
}

/// Whether the hook has run; then it has not any more.
fn take_trace(node: &Node) -> Result<bool, Error> {
    Ok(node.world().run(["rm", "/run/hook-ran"])?.success())
}

fn reconfigure(node: &Node, change: impl FnOnce(String) -> String) -> Result<(), Error> {
    let file = "/etc/containerd/config.toml";
    let text = change(node.world().read(file)?);
    node.stop_containerd("TERM")?;
    node.world().write(file, text, 0o644)?;
    node.start_containerd()
}
