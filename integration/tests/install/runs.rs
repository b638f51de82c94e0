//! What was installed starts containers, and does not take away what they need.

use coaming_integration::cri::{ContainerSpec, Pod};
use coaming_integration::{
    Containerd, Error, Handler, Node, NodeConfig, PAIRS, World, can_run, configuration, images,
};

use crate::tree::{CONFIG, files, install, state};

#[test]
fn containerd_1_6() -> Result<(), Error> {
    runs(Containerd::V1_6)
}

#[test]
fn containerd_1_7() -> Result<(), Error> {
    runs(Containerd::V1_7)
}

#[test]
fn containerd_2() -> Result<(), Error> {
    runs(Containerd::V2)
}

fn records(world: &World) -> Result<usize, Error> {
    let listed = world.run(["sh", "-c", "ls /run/coaming/containers 2>/dev/null"])?.stdout;
    Ok(listed.lines().count())
}

fn runs(containerd: Containerd) -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let (_, runtime) = PAIRS.into_iter().find(|(with, _)| *with == containerd).unwrap();
    // A node that has never heard of coaming.
    let handlers = vec![Handler::stock("runc", runtime.path())];
    let node = Node::start(NodeConfig { containerd, runtime, handlers })?;
    let world = node.world();
    world.install_coaming()?;
    let line = format!("ln -sf {} /usr/bin/containerd", containerd.path().display());
    world.run(["sh", "-c", &line])?.ok("ln")?;
    world.write("/etc/coaming/config.toml", configuration(runtime, "node"), 0o644)?;
    let before = files(world)?;
    let sleeps = |name: &str| ContainerSpec::new(name, images::PROBE, ["sleep", "1000"]);
    let restart = || node.stop_containerd("TERM").and_then(|()| node.start_containerd());
    let old = node.cri()?.run_pod(&Pod::new("old", "runc"))?;
    node.cri()?.launch(&old, &sleeps("first"))?;

    state(world, &["--for", "containerd", "--replace"], 0, "installed")?;
    restart()?;
    let cri = node.cri()?;
    let pod = cri.run_pod(&Pod::new("new", "coaming"))?;
    cri.launch(&pod, &sleeps("main"))?;
    assert_eq!(records(world)?, 2, "the pod's own and its container");
    // A pod of before goes on as it was.
    cri.launch(&old, &sleeps("second"))?;
    assert_eq!(records(world)?, 2);

    let (code, said) = uninstall_text(world, &[])?;
    assert!(
        code == 2 && said.contains("2 containers that went through coaming are still there"),
        "{said}"
    );

    // As the default: pods that name no handler are given to it, those of before included.
    state(world, &["--for", "containerd", "--replace", "--default"], 0, "installed")?;
    restart()?;
    let cri = node.cri()?;
    let any = cri.run_pod(&Pod::new("any", ""))?;
    cri.launch(&any, &sleeps("main"))?;
    assert_eq!(records(world)?, 4);
    for pod in [&pod, &any, &old] {
        cri.remove_pod(pod)?;
    }
    assert_eq!(records(world)?, 0);
    let (code, answer) = install(world, &["--uninstall"])?;
    assert_eq!(code, 0, "{answer:#}");
    // The policies in force are kept there; they are not of the installation.
    let ours = |text: &str| -> Vec<String> {
        text.lines()
            .filter(|line| line.contains("containerd") || line.contains("install"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(ours(&files(world)?), ours(&before));
    restart()?;
    let gone = node.cri()?.run_pod(&Pod::new("gone", "coaming"));
    assert!(gone.is_err(), "{CONFIG} has no such handler any more");
    node.cri()?.run_pod(&Pod::new("stock", "runc"))?;
    Ok(())
}

fn uninstall_text(world: &World, more: &[&str]) -> Result<(i32, String), Error> {
    let said = world.run([&[crate::tree::CLI, "install", "--uninstall"], more].concat())?;
    Ok((said.code, said.text()))
}
