//! Starts through CRI, side by side: the pod's sandbox, a container, the first byte that it writes; then execs as probes
//! make them; then its end. Peers take their turns in every round, each round beginning with another, so that what else
//! the machine does falls on all alike; what is compared are medians, and ratios within a round.
//!
//! Processor time is what the kernel counted for the node's cgroup (cpuacct): containerd, shims, runtimes, hooks and the
//! containers themselves. Each pod has a network namespace; the plugin for it does nothing, since what plugins do is the
//! same for all and would hide a part of the difference.

use std::time::{Duration, Instant};

use coaming_integration::cri::{ContainerSpec, Cri, Pod, Profile, Sandbox};
use coaming_integration::{
    Containerd, Door, Error, Handler, Node, NodeConfig, Runtime, World, images,
};

use crate::report::{Figure, Measured, Row};
use crate::timeline::Trace;

/// The full floor: every control that a container which serves on a port can be held to; and its sandbox, whose one
/// program does nothing but wait.
const FULL: &str = "\
apiVersion: coaming.dev/v1alpha1
kind: Policy
metadata: {name: full}
spec:
  match: {namespaces: [full]}
  noNewPrivileges: true
  readOnlyRootFilesystem: true
  capabilities: {allow: [NET_BIND_SERVICE]}
  seccomp: {default: runtime-default, floor: runtime-default, denySyscalls: [keyctl, bpf]}
  landlock:
    read: [/bin, /etc, /proc, /sys, /dev]
    execute: [/bin]
    write: [/tmp, /dev]
    connect: [443, 5432]
    bind: [8080]
  maskedPaths: [/proc/keys, /proc/timer_list]
---
apiVersion: coaming.dev/v1alpha1
kind: Policy
metadata: {name: full-sandbox}
spec:
  match: {namespaces: [full], containerTypes: [sandbox]}
  noNewPrivileges: true
  readOnlyRootFilesystem: true
  capabilities: {allow: []}
  seccomp: {default: runtime-default, floor: runtime-default}
  landlock: {execute: [/pause]}
";

/// Says that there is an address.
const NETWORK: &str = r#"#!/bin/sh
test "$CNI_COMMAND" = ADD || exit 0
echo '{"cniVersion": "0.4.0", "interfaces": [{"name": "eth0", "sandbox": "'"$CNI_NETNS"'"}],
  "ips": [{"version": "4", "address": "10.89.0.2/24", "interface": 0}]}'
"#;

/// How often each peer's container is exec'd into, in a round.
const EXECS: usize = 3;

/// One of those that are compared.
#[derive(Debug, Clone, Copy)]
struct Peer {
    name: &'static str,
    handler: &'static str,
    /// A namespace of Kubernetes, by which policies select.
    namespace: &'static str,
    /// Whether the pod asks for RuntimeDefault; the kubelet asks for it for every sandbox.
    seccomp: bool,
    /// Which of the nodes.
    node: usize,
}

const fn peer(name: &'static str, handler: &'static str, namespace: &'static str) -> Peer {
    Peer { name, handler, namespace, seccomp: true, node: 0 }
}

/// What the others are held against.
const BASE: &str = "stock shim, runc, RuntimeDefault";

const PEERS: [Peer; 8] = [
    Peer { seccomp: false, ..peer("stock shim, runc, no seccomp", "runc", "plain") },
    peer(BASE, "runc", "plain"),
    peer("stock shim, crun, RuntimeDefault", "crun", "plain"),
    peer("coaming, runc, baseline", "coaming-shim", "plain"),
    peer("coaming, runc, full floor", "coaming-shim", "full"),
    Peer { node: 1, ..peer("coaming, runc, full, 1,000 policies", "coaming-shim", "full") },
    peer("coaming, crun, baseline", "coaming-on-crun", "plain"),
    peer("coaming, crun, full floor", "coaming-on-crun", "full"),
];

/// One round of one peer.
#[derive(Debug, Clone, Copy)]
struct Taken {
    start: f64,
    cpu: f64,
    exec: [f64; EXECS],
    exec_cpu: f64,
    stop: f64,
}

/// # Errors
/// The harness's own.
pub(crate) fn measure(
    containerd: Containerd,
    (runc, crun): (Runtime, Runtime),
    rounds: usize,
) -> Result<Measured, Error> {
    let nodes = [start(containerd, runc, crun, 1)?, start(containerd, runc, crun, 1000)?];
    let cris = nodes.iter().map(Node::cri).collect::<Result<Vec<_>, _>>()?;
    eprintln!("{containerd}: {}", cris.first().map_or(Ok(String::new()), Cri::version)?);
    let only = std::env::var("COAMING_BENCH_PEERS").ok();
    let peers: Vec<&Peer> = PEERS
        .iter()
        .filter(|peer| only.as_ref().is_none_or(|only| only.split(';').any(|one| peer.name == one)))
        .collect();
    let mut taken: Vec<Vec<Taken>> = vec![Vec::with_capacity(rounds); peers.len()];
    // The first round fills caches, of everyone's, and is not counted.
    for round in 0..=rounds {
        for turn in 0..peers.len() {
            let at = (turn + round) % peers.len();
            let (Some(peer), Some(taken)) = (peers.get(at), taken.get_mut(at)) else { continue };
            let (Some(node), Some(cri)) = (nodes.get(peer.node), cris.get(peer.node)) else {
                continue;
            };
            let once = once(node, cri, peer, round)?;
            if round > 0 {
                taken.push(once);
            }
        }
    }
    let figure = |title: &str, unit: &'static str, of: fn(&Taken) -> Vec<f64>| Figure {
        title: title.to_owned(),
        unit,
        base: BASE,
        rows: peers
            .iter()
            .zip(&taken)
            .map(|(peer, taken)| Row {
                name: peer.name.to_owned(),
                rounds: taken.iter().map(of).collect(),
            })
            .collect(),
    };
    let mut pictures = Vec::new();
    for (name, peer) in
        [("timeline-stock", BASE), ("timeline-coaming", "coaming, runc, full floor")]
    {
        let Some(peer) = peers.iter().find(|one| one.name == peer) else { continue };
        let (Some(node), Some(cri)) = (nodes.get(peer.node), cris.get(peer.node)) else { continue };
        let trace = Trace::begin(node.world())?;
        let (sandbox, _, _) = up(node, cri, peer, rounds + 1)?;
        pictures.push((name, trace.picture(peer.name, "/bin/sh")?));
        cri.remove_pod(&sandbox)?;
    }
    let figures = vec![
        figure("start: sandbox, container, first byte of output", "ms", |taken| vec![taken.start]),
        figure("processor time of a start, all processes", "ms", |taken| vec![taken.cpu]),
        figure("exec round trip", "ms", |taken| taken.exec.to_vec()),
        figure("processor time of an exec, all processes", "ms", |taken| vec![taken.exec_cpu]),
        figure("stop and remove the pod", "ms", |taken| vec![taken.stop]),
    ];
    Ok(Measured { figures, pictures })
}

/// A node with all handlers, the policy of the full floor and as many besides as make `policies`.
fn start(
    containerd: Containerd,
    runc: Runtime,
    crun: Runtime,
    policies: usize,
) -> Result<Node, Error> {
    let world = World::new()?;
    world.install_coaming()?;
    let mut config = String::from("floor = \"baseline\"\n");
    for runtime in [runc, crun] {
        config += &format!("[runtimes.{}]\npath = {:?}\n", runtime.wrapper_name(), runtime.path());
    }
    config += &format!("[shim]\ndefault_runtime = {:?}\n", runc.wrapper_name());
    world.write("/etc/coaming/config.toml", config, 0o644)?;
    world.write("/etc/coaming/policy.d/full.yaml", FULL, 0o644)?;
    for number in 1..policies {
        let text = FULL.replace("full", &format!("team-{number}"));
        world.write(format!("/etc/coaming/policy.d/team-{number:04}.yaml"), text, 0o644)?;
    }
    world.run(["/usr/libexec/coaming/coaming", "load"])?.ok("coaming load")?;
    let through = Handler::through(Door::ShimPath, crun);
    let config = NodeConfig::new(containerd, runc)
        .with_handler(Handler::stock("crun", crun.path()))
        .with_handler(Handler { name: "coaming-on-crun".to_owned(), ..through });
    let plugins = "cp -r /usr/lib/cni /run/cni && cp /run/network /run/cni/bridge && cp /run/network /run/cni/portmap \
                   && mount --bind /run/cni /usr/lib/cni";
    world.write("/run/network", NETWORK, 0o755)?;
    world.run(["sh", "-c", plugins])?.ok("the network's plugins")?;
    Node::start_in(world, config)
}

/// Starts a pod with one container, and gives the milliseconds until that has written something.
fn up(
    node: &Node,
    cri: &Cri<'_>,
    peer: &Peer,
    round: usize,
) -> Result<(Sandbox, String, f64), Error> {
    let seccomp = peer.seccomp.then_some(Profile::RuntimeDefault);
    let pod = Pod {
        namespace: peer.namespace.to_owned(),
        seccomp: seccomp.clone(),
        ..Pod::new(&format!("start-{round}"), peer.handler)
    };
    let spec = ContainerSpec {
        seccomp,
        ..ContainerSpec::new("main", images::BUSYBOX, ["sh", "-c", "echo up; exec sleep 100000"])
    };
    let start = Instant::now();
    let sandbox = cri.run_pod(&pod)?;
    let id = cri.launch(&sandbox, &spec)?;
    let log = node.world().path(sandbox.log("main"));
    while std::fs::metadata(&log).map_or(0, |metadata| metadata.len()) == 0 {
        if start.elapsed() > Duration::from_secs(30) {
            return Err(Error::Unavailable(format!("{}: the container says nothing", peer.name)));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    Ok((sandbox, id, millis(start)))
}

fn once(node: &Node, cri: &Cri<'_>, peer: &Peer, round: usize) -> Result<Taken, Error> {
    let before = cpu(node)?;
    let (sandbox, id, start) = up(node, cri, peer, round)?;
    // What goes on behind a start that was answered is part of its price.
    std::thread::sleep(Duration::from_millis(30));
    let after = cpu(node)?;
    let mut exec = [0.0; EXECS];
    for time in &mut exec {
        let begin = Instant::now();
        cri.exec_sync(&id, ["true"])?.ok("an exec")?;
        *time = millis(begin);
    }
    let execd = cpu(node)?;
    let begin = Instant::now();
    cri.stop(&id, 0)?;
    cri.remove_pod(&sandbox)?;
    Ok(Taken {
        start,
        cpu: after - before,
        exec,
        exec_cpu: (execd - after) / EXECS as f64,
        stop: millis(begin),
    })
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// Processor time of everything on the node so far, in milliseconds.
fn cpu(node: &Node) -> Result<f64, Error> {
    let world = node.world();
    let (text, per_ms) = match world.read("/sys/fs/cgroup/cpuacct/cpuacct.usage") {
        Ok(text) => (text, 1e6),
        // cgroup v2 counts microseconds.
        Err(_) => {
            let stat = world.read("/sys/fs/cgroup/cpu.stat")?;
            let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec "));
            (usage.unwrap_or_default().to_owned(), 1e3)
        }
    };
    text.trim()
        .parse::<f64>()
        .map(|used| used / per_ms)
        .map_err(|error| Error::Unavailable(format!("the cgroup's processor time: {error}")))
}
