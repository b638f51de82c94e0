//! The harness itself, on the stock runtimes alone: every containerd with every runtime starts, runs, executes, logs,
//! stops and removes, by `ctr` and by CRI.

// All of this file is tests, helpers included.
#![allow(clippy::panic, clippy::indexing_slicing)]

use coaming_integration::cri::{ContainerSpec, MountSpec, Pod, Profile, Propagation, State};
use coaming_integration::{
    BareRuntime, Bundle, Containerd, Door, Error, Exec, Node, NodeConfig, PAIRS, Run, Runtime,
    World, can_run, configuration, default_spec, images,
};

#[test]
fn containerd_1_6() -> Result<(), Error> {
    every_pair_of(Containerd::V1_6)
}

#[test]
fn containerd_1_7() -> Result<(), Error> {
    every_pair_of(Containerd::V1_7)
}

#[test]
fn containerd_2() -> Result<(), Error> {
    every_pair_of(Containerd::V2)
}

fn every_pair_of(containerd: Containerd) -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let pairs = PAIRS.into_iter().enumerate().filter(|(_, (of, _))| *of == containerd);
    for (number, (_, runtime)) in pairs {
        let node = Node::start(NodeConfig::new(containerd, runtime))?;
        eprintln!("{containerd} with {runtime}: {}", node.cri()?.version()?);
        ctr_drives(&node, None)?;
        ctr_names_runtimes(&node)?;
        cri_drives(&node, "runc")?;
        cri_streams(&node, "runc")?;
        cri_shapes_containers(&node, "runc")?;
        images_are_what_they_say(&node)?;
        // The same through coaming's shim, under a floor that takes next to nothing away.
        node.world().install_coaming()?;
        node.world().write("/etc/coaming/config.toml", configuration(runtime, "node"), 0o644)?;
        for door in Door::of_pair(number).into_iter().filter(|door| door.is_shim()) {
            eprintln!("{containerd} with {runtime} through {door:?}");
            ctr_drives(&node, Some(door))?;
            cri_drives(&node, door.handler())?;
            cri_streams(&node, door.handler())?;
            cri_shapes_containers(&node, door.handler())?;
        }
    }
    Ok(())
}

fn ctr_drives(node: &Node, door: Option<Door>) -> Result<(), Error> {
    let ctr = node.ctr();
    let run = |image: &str, id: &str| {
        let run = Run::new(image, id);
        door.map_or(run.clone(), |door| run.through(door))
    };
    let output = ctr.run(&run(images::BUSYBOX, "once").args([
        "sh",
        "-c",
        "echo out; echo err >&2; exit 7",
    ]))?;
    assert_eq!(
        (output.code, output.stdout.as_str(), output.stderr.as_str()),
        (7, "out\n", "err\n")
    );
    let piped = ctr.run(
        &run(images::BUSYBOX, "piped").args(["sh", "-c", "head -n1; sleep 1"]).stdin("through\n"),
    )?;
    assert_eq!((piped.code, piped.stdout.as_str()), (0, "through\n"), "{piped:?}");
    let tty = ctr.run(
        &run(images::BUSYBOX, "tty")
            .args(["sh", "-c", "test -t 0 && echo a terminal; sleep 1"])
            .tty(),
    )?;
    assert!(tty.success() && tty.stdout.contains("a terminal\r"), "{tty:?}");
    let missing = ctr.run(&run(images::DISTROLESS, "missing").args(["/bin/sh"]))?;
    assert!(missing.code != 0 && missing.stderr.contains("/bin/sh"), "{missing:?}");
    let status = ["sh", "-c", "grep CapEff /proc/self/status"];
    let plain = ctr.run(&run(images::BUSYBOX, "plain").args(status))?;
    let privileged =
        ctr.run(&run(images::BUSYBOX, "privileged").flag("--privileged").args(status))?;
    assert!(
        plain.success() && privileged.success() && plain.stdout != privileged.stdout,
        "{plain:?} {privileged:?}"
    );

    ctr.start(&run(images::BUSYBOX, "long").args(["sleep", "1000"]))?.ok("ctr run --detach")?;
    assert!(ctr.pid("long")? > 1);
    let executed = ctr.exec(
        &Exec::new("long", ["sh", "-c", "id -u; cat; sleep 1; exit 3"])
            .flag("--user=1000")
            .stdin("in"),
    )?;
    assert_eq!((executed.code, executed.stdout.as_str()), (3, "1000\nin"), "{executed:?}");
    ctr.remove("long")?;
    assert_eq!(ctr.raw(["containers", "list", "-q"])?.ok("ctr containers list")?.stdout, "");
    Ok(())
}

fn ctr_names_runtimes(node: &Node) -> Result<(), Error> {
    let wrapped = node.ctr().run(
        &Run::new(images::BUSYBOX, "absent").runtime("/usr/libexec/coaming/absent").args(["true"]),
    )?;
    assert!(
        wrapped.code != 0 && wrapped.stderr.contains("/usr/libexec/coaming/absent"),
        "{wrapped:?}"
    );
    Ok(())
}

fn cri_drives(node: &Node, handler: &str) -> Result<(), Error> {
    let cri = node.cri()?;
    let sandbox = cri.run_pod(&Pod::new("pod", handler))?;
    let script = "trap 'exit 5' TERM; echo out; echo err >&2; while :; do sleep 0.1; done";
    let id =
        cri.launch(&sandbox, &ContainerSpec::new("main", images::BUSYBOX, ["sh", "-c", script]))?;
    let status = cri.status(&id)?;
    assert_eq!(status.state, State::Running);
    assert_eq!(status.info["runtimeSpec"]["process"]["args"][0], "sh");

    let executed = cri.exec_sync(&id, ["sh", "-c", "hostname; echo no >&2; exit 4"])?;
    assert_eq!(
        (executed.code, executed.stdout.as_str(), executed.stderr.as_str()),
        (4, "pod\n", "no\n")
    );
    let error = cri.exec_sync(&id, ["/absent"]).map(|output| output.code);
    assert!(!matches!(error, Ok(0)), "an absent program was executed");

    cri.stop(&id, 30)?;
    assert_eq!(cri.wait(&id)?, 5);
    let logs = cri.logs(&id)?;
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("out\n", "err\n"));
    cri.remove(&id)?;

    let spec = ContainerSpec {
        run_as_user: Some(1000),
        readonly_rootfs: true,
        ..ContainerSpec::new("user", images::BUSYBOX, ["sh", "-c", "id -u; touch /file; ip route"])
    };
    let output = cri.run(&sandbox, &spec)?;
    assert!(
        output.stdout.starts_with("1000\n") && output.stdout.contains("default via 10.89.0.1"),
        "{output:?}"
    );
    assert!(output.stderr.contains("Read-only file system"), "{output:?}");
    let Err(Error::Cri { message, .. }) =
        cri.run(&sandbox, &ContainerSpec::new("bad", images::DISTROLESS, ["/bin/sh"]))
    else {
        panic!("a container without its program started");
    };
    assert!(message.contains("/bin/sh"), "{message}");

    let host = cri.run_pod(&Pod {
        host_network: true,
        host_pid: true,
        host_ipc: true,
        ..Pod::new("host", handler)
    })?;
    let spec =
        ContainerSpec::new("look", images::BUSYBOX, ["sh", "-c", "ip address; cat /proc/1/comm"]);
    let output = cri.run(&host, &spec)?;
    assert!(
        output.stdout.contains("coaming0") && output.stdout.contains("world-init"),
        "{output:?}"
    );
    cri.remove_pod(&host)?;
    cri.remove_pod(&sandbox)?;
    assert!(cri.containers()?.is_empty() && cri.sandboxes()?.is_empty());
    let unknown = cri.run_pod(&Pod::new("unknown", "absent"));
    assert!(
        matches!(unknown, Err(Error::Cri { message, .. }) if message.contains("no runtime for \"absent\" is configured"))
    );
    Ok(())
}

fn cri_streams(node: &Node, handler: &str) -> Result<(), Error> {
    let cri = node.cri()?;
    let sandbox = cri.run_pod(&Pod::new("streams", handler))?;
    let echo = ContainerSpec {
        stdin: true,
        ..ContainerSpec::new(
            "echo",
            images::BUSYBOX,
            ["sh", "-c", "while read line; do echo got $line; done"],
        )
    };
    let id = cri.launch(&sandbox, &echo)?;
    let executed = cri.exec(
        &id,
        ["sh", "-c", "read line; echo $line; echo err >&2; exit 9"],
        b"typed\n",
        false,
    )?;
    assert_eq!(
        (executed.code, executed.stdout.as_str(), executed.stderr.as_str()),
        (9, "typed\n", "err\n")
    );
    let terminal = cri.exec(&id, ["sh", "-c", "test -t 1 && echo a terminal"], b"", true)?;
    assert_eq!((terminal.code, terminal.stdout.as_str()), (0, "a terminal\r\n"));
    let attached = cri.attach(&id, b"hello\n", false, "got hello\n")?;
    assert!(attached.stdout.contains("got hello\n"), "{attached:?}");
    cri.remove_pod(&sandbox)
}

/// What a node agent is given, and what a careful pod asks for.
fn cri_shapes_containers(node: &Node, handler: &str) -> Result<(), Error> {
    let cri = node.cri()?;
    let folder = "/var/lib/kubelet/pods/agent";
    node.world().write(format!("{folder}/file"), "of the node\n", 0o644)?;
    let agent =
        cri.run_pod(&Pod { privileged: true, host_network: true, ..Pod::new("agent", handler) })?;
    let spec = ContainerSpec {
        privileged: true,
        mounts: vec![MountSpec {
            host_path: folder.to_owned(),
            container_path: "/agent".to_owned(),
            readonly: false,
            propagation: Propagation::Bidirectional,
        }],
        ..ContainerSpec::new("agent", images::BUSYBOX, ["sh", "-c", AGENT])
    };
    let output = cri.run(&agent, &spec)?;
    assert_eq!((output.code, output.stdout.as_str()), (0, "of the node\n"), "{output:?}");
    let seen = node.world().run([
        "sh",
        "-c",
        &format!("grep -c {folder}/mnt /proc/mounts; ip link show agent0; umount {folder}/mnt; rmdir {folder}/mnt; ip link delete agent0"),
    ])?;
    assert!(seen.stdout.starts_with("1\n") && seen.stdout.contains("agent0"), "{seen:?}");

    let pod = cri.run_pod(&Pod::new("careful", handler))?;
    let spec = ContainerSpec {
        seccomp: Some(Profile::RuntimeDefault),
        no_new_privs: true,
        drop_capabilities: vec!["ALL".to_owned()],
        add_capabilities: vec!["KILL".to_owned()],
        memory_limit: 64 << 20,
        ..ContainerSpec::new("careful", images::BUSYBOX, ["sleep", "1000"])
    };
    let id = cri.launch(&pod, &spec)?;
    let status =
        cri.exec_sync(&id, ["grep", "-E", "^(CapEff|NoNewPrivs|Seccomp):", "/proc/self/status"])?;
    assert_eq!(
        status.stdout, "CapEff:\t0000000000000020\nNoNewPrivs:\t1\nSeccomp:\t2\n",
        "{status:?}"
    );
    cri.update(&id, 32 << 20, 0)?;
    let limit = format!(
        "cat /sys/fs/cgroup/memory/k8s.io/{id}/memory.limit_in_bytes || cat /sys/fs/cgroup/k8s.io/{id}/memory.max"
    );
    assert_eq!(node.world().run(["sh", "-c", &limit])?.stdout, format!("{}\n", 32 << 20));
    cri.remove_pod(&pod)?;
    cri.remove_pod(&agent)
}

/// A mount that the node shall see, a link and a rule of the node's network.
const AGENT: &str = "cat /agent/file && mkdir /agent/mnt && mount -t tmpfs tmpfs /agent/mnt && ip link add agent0 type bridge";

fn images_are_what_they_say(node: &Node) -> Result<(), Error> {
    let ctr = node.ctr();
    let setuid = ctr.run(&Run::new(images::SETUID, "setuid").args([
        "sh",
        "-c",
        "id -u; ls -l /bin/probe-setuid",
    ]))?;
    assert!(setuid.stdout.starts_with("1000\n-rwsr-xr-x    1 root "), "{setuid:?}");
    let probe = ctr.run(&Run::new(images::PROBE, "probe").args(["probe", "list"]))?;
    let distroless =
        ctr.run(&Run::new(images::DISTROLESS, "distroless").args(["/probe", "list"]))?;
    assert!(probe.success() && probe == distroless, "{probe:?} {distroless:?}");
    Ok(())
}

#[test]
fn every_runtime_runs_a_bundle() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let world = World::new()?;
    for (number, (_, runtime)) in PAIRS.into_iter().enumerate() {
        runs_a_bundle(&world, runtime, &format!("bundle-{number}"))?;
    }
    Ok(())
}

fn runs_a_bundle(world: &World, runtime: Runtime, id: &str) -> Result<(), Error> {
    let bare = BareRuntime::new(runtime.path());
    let bundle = Bundle::new(
        world,
        id,
        &default_spec(id, ["sh", "-c", "cat; grep NoNewPrivs /proc/self/status; exit 6"])?,
    )?;
    let output = bare.run(&bundle, b"in\n")?;
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (6, "in\nNoNewPrivs:\t1\n"),
        "{runtime}: {output:?}"
    );

    bundle.configure(default_spec(id, ["sleep", "1000"])?.to_string())?;
    bare.start(&bundle)?.ok("run --detach")?;
    // With its group: crun 1.21 takes a bare `--user 1000` for root.
    let executed = bare.exec(&bundle, &["--user", "1000:1000"], &["id", "-u"])?;
    assert_eq!((executed.code, executed.stdout.as_str()), (0, "1000\n"), "{runtime}: {executed:?}");
    let mut process = default_spec(id, ["sh", "-c", "echo process; exit 2"])?["process"].take();
    process["cwd"] = "/tmp".into();
    let executed = bare.exec_process(&bundle, &process)?;
    assert_eq!(
        (executed.code, executed.stdout.as_str()),
        (2, "process\n"),
        "{runtime}: {executed:?}"
    );
    bare.delete(&bundle)
}
