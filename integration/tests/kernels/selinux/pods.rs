//! A node with SELinux: containerd with coaming's shim, whose pods are kept apart by their levels.

use coaming_integration::cri::{ContainerSpec, MountSpec, Pod};
use coaming_integration::{
    Containerd, Door, Error, Node, NodeConfig, Runtime, Suite, configuration, images, wait_for,
};
use serde_json::Value;

use super::{enforcing, says};
use crate::setup::policy;

#[test]
#[ignore = "runs in uml-selinux"]
fn pods_of_a_node_are_kept_apart_by_their_levels() -> Result<(), Error> {
    let _enforcing = enforcing();
    let runtime = Runtime::Runc(Suite::Sid);
    let node = Node::start(NodeConfig::new(Containerd::V2, runtime))?;
    let world = node.world();
    world.install_coaming()?;
    world.write("/etc/coaming/config.toml", configuration(runtime, "node"), 0o644)?;
    policy(
        world,
        "mac",
        "match: {namespaces: [payments], containerTypes: [sandbox, container]}\nseLinux: {default: container_t, podLevel: allocate}",
    )?;
    let make =
        "mkdir -m 777 /run/volume && chcon system_u:object_r:container_file_t:s0 /run/volume";
    world.run(["sh", "-c", make])?.ok(make)?;
    let cri = node.cri()?;
    let start = |name: &str, namespace: &str| {
        let pod = cri.run_pod(&Pod {
            namespace: namespace.to_owned(),
            ..Pod::new(name, Door::ShimType.handler())
        })?;
        let volume = MountSpec {
            host_path: "/run/volume".to_owned(),
            container_path: "/volume".to_owned(),
            ..MountSpec::default()
        };
        let spec = ContainerSpec::new("main", images::PROBE, ["probe", "pause"]);
        let main = cri.launch(&pod, &ContainerSpec { mounts: vec![volume], ..spec })?;
        Ok::<_, Error>((pod, main))
    };
    let (one, other) = (start("one", "payments")?, start("other", "payments")?);
    let free = start("free", "elsewhere")?;
    // By the shell's own commands: it may execute nothing of a root file system that nobody labelled.
    let say = |main: &str, script: &str| cri.exec_sync(main, ["sh", "-c", script]);
    let label = |main: &str| -> Result<String, Error> {
        let said =
            say(main, "read -r label </proc/1/attr/current; echo $label")?.ok("exec")?.stdout;
        Ok(said.trim_matches(['\0', '\n']).to_owned())
    };
    let (ours, theirs) = (label(&one.1)?, label(&other.1)?);
    assert_ne!(ours, theirs);
    for label in [&ours, &theirs] {
        says(label, &["system_u:system_r:container_t:s0:c"]);
    }
    say(&one.1, "echo mine >/volume/secret")?.ok("write")?;
    let read = "(read -r word </volume/secret && echo $word) || echo denied; read -r label </proc/self/attr/current; echo $label";
    says(say(&one.1, read)?.stdout, &["mine", &ours]);
    says(say(&other.1, read)?.stdout, &["denied", &theirs]);
    // Without a policy of SELinux nothing keeps it apart.
    says(say(&free.1, read)?.stdout, &["mine"]);

    // The sandbox has the level of its containers, and the kernel's word of it is in the proof.
    let proofs = || -> Result<Vec<Value>, Error> {
        let said = world.run(["sh", "-c", "cat /run/coaming/containers/*/proof.json"])?.stdout;
        Ok(serde_json::Deserializer::from_str(&said).into_iter().filter_map(Result::ok).collect())
    };
    let told = wait_for("the proofs", || {
        let proofs = proofs()?;
        let all = proofs.iter().all(|proof| proof["started"]["outcome"].is_string());
        Ok((all && proofs.len() == 6).then_some(proofs))
    })?;
    for label in [&ours, &theirs] {
        let label = format!("\"label\":\"{label}\"");
        let with = told.iter().filter(|proof| proof["started"].to_string().contains(&label));
        assert_eq!(with.count(), 2, "{label}: {told:#?}");
    }
    assert!(proofs()?.iter().all(|proof| proof["started"]["outcome"] == "held"), "{:?}", proofs()?);
    for (pod, main) in [&one, &other, &free] {
        cri.stop(main, 0)?;
        cri.wait(main)?;
        cri.remove(main)?;
        cri.remove_pod(pod)?;
    }
    wait_for("the levels to be free", || {
        let said = world.run(["sh", "-c", "cat /run/coaming/containers/*/level.json"])?;
        Ok(said.stdout.is_empty().then_some(()))
    })
}
