//! The floor `node`: a node's own agents do their work, and are still denied what nobody needs.

use coaming_integration::cri::{ContainerSpec, MountSpec, Pod, Profile, Propagation, Sandbox};
use coaming_integration::{Door, Error, Node, NodeConfig, PAIRS, can_run, images};

use crate::setup::{install, outcome, parsed, records, says};

/// The node's files, processes and network, as a CNI or CSI agent works on them. In order: reads the node's files,
/// makes a mount that the node sees, a link, an address and a route, a packet filter by the node's own iptables, a
/// sysctl, and looks at the node's processes and devices.
const AGENT: &str = "set -e
cat /host/etc/hostname >/dev/null
mkdir -p /pods/volume && mount -t tmpfs tmpfs /pods/volume && echo data >/pods/volume/file
ip link add agent0 type bridge && ip address add 10.77.0.1/24 dev agent0 && ip link set agent0 up
ip route add 10.78.0.0/24 dev agent0
chroot /host /usr/sbin/iptables -N AGENT && chroot /host /usr/sbin/iptables -A AGENT -j ACCEPT
echo 1 >/proc/sys/net/ipv4/ip_forward
test $(cat /proc/1/comm) = world-init
test -c /dev/fuse && test -c /host/dev/null
nsenter --target 1 --mount --net true
echo done";

#[test]
fn a_privileged_agent_works_and_is_denied_what_no_container_needs() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for (number, (containerd, runtime)) in PAIRS.into_iter().enumerate() {
        let node = Node::start(NodeConfig::new(containerd, runtime))?;
        install(node.world(), runtime, "node")?;
        node.world().write("/var/lib/kubelet/pods/x/file", "", 0o644)?;
        let (_, wide) = agent(&node, "runc")?;
        clean(&node)?;
        for door in Door::of_pair(number) {
            eprintln!("{containerd} with {runtime} through {door:?}");
            is_held(&node, &wide, door)?;
        }
    }
    Ok(())
}

fn is_held(node: &Node, wide: &str, door: Door) -> Result<(), Error> {
    let cri = node.cri()?;
    let (pod, held) = agent(node, door.handler())?;
    for call in ["init-module", "finit-module", "kexec-load", "kexec-file-load"] {
        denied_by_the_filter(node, wide, &held, call)?;
    }
    denied_by_the_filter(node, wide, &held, "af-alg")?;
    // Not the floor's affair.
    for still in ["mount", "io-uring", "af-packet", "unshare-mount", "bpf", "dev-kmsg"] {
        let output = cri.exec_sync(&held, ["probe", still])?;
        assert_eq!(outcome(&output), "allowed", "{still}: {output:?}");
    }
    clean(node)?;
    cri.remove(&held)?;
    // The sandbox is a container of its own.
    assert_eq!(
        records(node.world())?.lines().filter(|line| line.ends_with("record.json")).count(),
        1
    );
    cri.remove_pod(&pod)
}

/// This kernel has neither modules nor kexec nor AF_ALG, and answers for itself where no filter answers before it.
fn denied_by_the_filter(node: &Node, wide: &str, held: &str, attempt: &str) -> Result<(), Error> {
    let cri = node.cri()?;
    let stock = parsed(&cri.exec_sync(wide, ["probe", attempt])?);
    assert_ne!(stock["errno"], "EPERM", "{attempt}: {stock}");
    let mine = parsed(&cri.exec_sync(held, ["probe", attempt])?);
    assert_eq!((&mine["outcome"], &mine["errno"]), (&"denied".into(), &"EPERM".into()), "{mine}");
    Ok(())
}

/// Runs the agent's work in a privileged container of a host pod, looks at its effects from the node's side, and
/// leaves the container running.
fn agent(node: &Node, handler: &str) -> Result<(Sandbox, String), Error> {
    let cri = node.cri()?;
    let pod = cri.run_pod(&Pod {
        privileged: true,
        host_network: true,
        host_pid: true,
        host_ipc: true,
        ..Pod::new(&format!("agent-{handler}"), handler)
    })?;
    let mount = |host: &str, container: &str, propagation| MountSpec {
        host_path: host.to_owned(),
        container_path: container.to_owned(),
        readonly: false,
        propagation,
    };
    let spec = ContainerSpec {
        privileged: true,
        seccomp: Some(Profile::Unconfined),
        mounts: vec![
            mount("/", "/host", Propagation::HostToContainer),
            mount("/dev", "/dev", Propagation::Private),
            mount("/var/lib/kubelet/pods/x", "/pods", Propagation::Bidirectional),
        ],
        ..ContainerSpec::new("agent", images::PROBE, ["sh", "-c", "sleep 1000"])
    };
    let id = cri.launch(&pod, &spec)?;
    let output = cri.exec_sync(&id, ["sh", "-c", AGENT])?;
    assert_eq!((output.code, output.stdout.as_str()), (0, "done\n"), "{handler}: {output:?}");
    let seen = node.world().run([
        "sh",
        "-c",
        "cat /var/lib/kubelet/pods/x/volume/file; ip route; iptables -S AGENT; cat /proc/sys/net/ipv4/ip_forward",
    ])?;
    says(&seen.stdout, &["data\n", "10.78.0.0/24 dev agent0", "-A AGENT -j ACCEPT", "\n1\n"]);
    Ok((pod, id))
}

/// Undoes the agent's work.
fn clean(node: &Node) -> Result<(), Error> {
    let undo = "umount /var/lib/kubelet/pods/x/volume; ip link delete agent0; iptables -F AGENT; iptables -X AGENT; \
                echo 0 >/proc/sys/net/ipv4/ip_forward";
    node.world().run(["sh", "-c", undo])?.ok("undo the agent's work").map(drop)
}
