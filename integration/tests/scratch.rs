#![allow(clippy::panic, clippy::indexing_slicing, missing_docs, clippy::print_stdout)]
use coaming_integration::cri::{ContainerSpec, Pod, Profile};
use coaming_integration::*;

#[test]
fn x() -> Result<(), Error> {
    if !can_run()? { return Ok(()) }
    let node = Node::start(NodeConfig::new(Containerd::V1_6, Runtime::Runc(Suite::Bookworm)))?;
    let world = node.world();
    world.install_coaming()?;
    world.write("/etc/coaming/config.yaml", format!("apiVersion: coaming.dev/v1alpha1\nkind: NodeConfiguration\nruntimes:\n  coaming-runc: {{path: {}}}\n", node.config().runtime.path().display()), 0o644)?;
    let out = node.ctr().run(&Run::new(images::PROBE, "a").args(["probe", "status"]).runtime("/usr/libexec/coaming/coaming-runc"))?;
    println!("CTR {out:?}");
    world.write("/etc/coaming/policy.d/a.yaml", r#"
apiVersion: coaming.dev/v1alpha1
kind: Policy
metadata: {name: demo}
spec:
  capabilities: {allow: [NET_BIND_SERVICE]}
  landlock:
    read: [/usr, /lib, /lib64, /etc, /proc, /sys, /bin, /dev]
    write: [/tmp, /dev]
    execute: [/bin]
    connect: [443]
    bind: [8080]
"#, 0o644)?;
    let out = node.ctr().run(&Run::new(images::PROBE, "b").args(["probe", "status"]).runtime("/usr/libexec/coaming/coaming-runc"))?;
    println!("CTR LANDLOCK {out:?}");
    let cri = node.cri()?;
    let pod = cri.run_pod(&Pod { privileged: true, ..Pod::new("p", "coaming") });
    println!("POD {pod:?}");
    let pod = pod?;
    let c = cri.launch(&pod, &ContainerSpec { privileged: true, seccomp: Some(Profile::Unconfined), ..ContainerSpec::new("main", images::PROBE, ["sleep", "1000"]) });
    println!("LAUNCH {c:?}");
    let c = c?;
    for a in ["mount", "io-uring", "af-alg", "unshare-user"] {
        println!("{:?}", cri.exec_sync(&c, ["probe", a])?.stdout);
    }
    println!("{:?}", cri.exec_sync(&c, ["probe", "write", "/etc/x"])?.stdout);
    println!("{:?}", cri.exec_sync(&c, ["nosuch"]));
    println!("{}", world.run(["sh", "-c", "find /run/coaming; cat /run/coaming/containers/*/record.json | head -c 3000; cat /run/coaming/containers/*/hook.json"])?.stdout);
    let bad = cri.launch(&pod, &ContainerSpec::new("bad", images::PROBE, ["nosuch"]));
    println!("BAD {bad:?}");
    cri.stop(&c, 1)?;
    cri.remove(&c)?;
    cri.remove_pod(&pod)?;
    println!("{}", world.run(["sh", "-c", "find /run/coaming"])?.stdout);
    Ok(())
}
