//! The shim, the OCI runtime and containerd are killed at any moment: what their clients then clean up leaves nothing.
//!
//! `COAMING_CHAOS_ROUNDS` sets the number of rounds, for which there is then no limit of time, and `COAMING_CHAOS_SEED`
//! the moments; a failure names both. `COAMING_CHAOS_SHIM=stock` plays with the stock shim.

// All of this is tests, helpers included.
#![allow(clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use coaming_integration::task_api::{Shim, Streams};
use coaming_integration::{
    Bundle, Containerd, Error, Node, NodeConfig, PATIENCE, Runtime, SHIM_TYPE, Suite, Tasks,
    can_run, configuration, default_spec, residue,
};
use serde_json::{Value, json};

const ROUNDS: usize = 20;
const LIMIT: Duration = Duration::from_secs(60);
const SEED: u64 = 0x00c0_a131_9000_0001;
const NAMESPACE: &str = "chaos";

#[test]
fn containerd_1_6() -> Result<(), Error> {
    chaos(Containerd::V1_6, Runtime::Runc(Suite::Bookworm))
}

#[test]
fn containerd_1_7() -> Result<(), Error> {
    chaos(Containerd::V1_7, Runtime::Runc(Suite::Trixie))
}

#[test]
fn containerd_2() -> Result<(), Error> {
    chaos(Containerd::V2, Runtime::Runc(Suite::Sid))
}

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Shim,
    Runtime,
    Containerd,
    ContainerdAndShim,
    Container,
}

fn chaos(containerd: Containerd, runtime: Runtime) -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let rounds = number("COAMING_CHAOS_ROUNDS");
    let mut chance = Chance(number("COAMING_CHAOS_SEED").unwrap_or(SEED));
    let node = Node::start(NodeConfig::new(containerd, runtime))?;
    let world = node.world();
    world.install_coaming()?;
    world.write("/etc/coaming/config.toml", configuration(runtime, "node"), 0o644)?;
    let bundle = Bundle::new(world, NAMESPACE, &default_spec(NAMESPACE, ["unused"])?)?;
    let rootfs = bundle.path().join("rootfs").display().to_string();
    let shim = shim(runtime);
    let start = Instant::now();
    let mut round = 0;
    while rounds.map_or(round < ROUNDS && start.elapsed() < LIMIT, |all| (round as u64) < all) {
        let seed = chance.0;
        if let Err(error) = one_round(&node, &shim, &rootfs, round, &mut chance) {
            let log = node.log();
            let own = log.lines().filter(|line| line.contains(&format!("round-{round}-")));
            let own = own.collect::<Vec<_>>().join("\n");
            panic!("{containerd}, round {round}, seed {seed}: {error}\n{own}");
        }
        round += 1;
    }
    // What a killed create has left of coaming's own is swept by the next.
    quiet_round(&node, &shim, &rootfs)?;
    let left = settled(|| residue::of_all(world));
    assert!(left.is_empty(), "{containerd}, after {round} rounds: {left:#?}");
    eprintln!("{containerd}: {round} rounds in {:?}", start.elapsed());
    Ok(())
}

fn shim(runtime: Runtime) -> Shim {
    let stock = Shim::stock(runtime.wrapper_path());
    if std::env::var("COAMING_CHAOS_SHIM").is_ok_and(|name| name == "stock") {
        return stock;
    }
    Shim { runtime: SHIM_TYPE.to_owned(), ..stock }
}

fn one_round(
    node: &Node,
    shim: &Shim,
    rootfs: &str,
    round: usize,
    chance: &mut Chance,
) -> Result<(), Error> {
    let names = ["a", "b"].map(|name| format!("round-{round}-{name}"));
    let victim = [
        Victim::Shim,
        Victim::Shim,
        Victim::Runtime,
        Victim::Runtime,
        Victim::Containerd,
        Victim::ContainerdAndShim,
        Victim::Container,
    ][chance.below(7)];
    let moment = Duration::from_millis(chance.below(900) as u64);
    let pause = Duration::from_millis(chance.below(200) as u64);
    std::thread::scope(|scope| {
        // Whatever becomes of it: calls fail from the moment on.
        let pod = scope.spawn(|| life_of_a_pod(node, shim, rootfs, &names));
        std::thread::sleep(moment);
        strike(node, victim, &names, pause)?;
        let _ = pod.join();
        Ok::<_, Error>(())
    })?;
    clean_up(node, &names)
        .map_err(|error| Error::Unavailable(format!("{victim:?} killed after {moment:?}: {error}")))
}

/// Two containers of one pod, some execs, and an orderly end.
fn life_of_a_pod(node: &Node, shim: &Shim, rootfs: &str, names: &[String; 2]) -> Result<(), Error> {
    let tasks = node.tasks(NAMESPACE)?;
    for name in names {
        tasks.create_container(name, shim, &spec(name, &names[0], rootfs)?)?;
        tasks.create(name, shim, &Streams::default(), &[])?;
        tasks.start(name, "")?;
    }
    let process = default_spec("unused", ["true"])?["process"].take();
    for exec in ["x", "y", "z"] {
        tasks.exec(&names[1], exec, &process, &Streams::default())?;
        tasks.start(&names[1], exec)?;
        tasks.wait(&names[1], exec)?;
        tasks.delete(&names[1], exec)?;
    }
    for name in names.iter().rev() {
        tasks.kill(name, "", 9, false)?;
        tasks.wait(name, "")?;
        tasks.delete(name, "")?;
    }
    Ok(())
}

fn spec(name: &str, pod: &str, rootfs: &str) -> Result<Value, Error> {
    let mut spec = default_spec(name, ["sleep", "1000"])?;
    spec["root"]["path"] = json!(rootfs);
    spec["linux"]["cgroupsPath"] = json!(format!("/{NAMESPACE}/{name}"));
    spec["annotations"] = json!({"io.kubernetes.cri.sandbox-id": pod});
    Ok(spec)
}

fn strike(node: &Node, victim: Victim, names: &[String; 2], pause: Duration) -> Result<(), Error> {
    let is_shim = |line: &str| line.contains("containerd-shim-") && line.contains(&names[0]);
    match victim {
        Victim::Shim => kill(node, is_shim),
        Victim::Runtime => {
            // It runs in moments only: the next one, if one comes.
            let end = Instant::now() + Duration::from_secs(1);
            let is_runtime = |line: &str| {
                let program = line.split('\0').next().unwrap_or_default();
                let program = program.rsplit('/').next().unwrap_or_default();
                ["runc", "coaming-runc"].contains(&program)
                    && names.iter().any(|name| line.contains(name))
            };
            while Instant::now() < end && processes(node, is_runtime).is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            kill(node, is_runtime)
        }
        Victim::Container => kill(node, |line| line == "sleep\x001000\0"),
        Victim::Containerd | Victim::ContainerdAndShim => {
            node.stop_containerd("KILL")?;
            if matches!(victim, Victim::ContainerdAndShim) {
                kill(node, is_shim)?;
            }
            std::thread::sleep(pause);
            node.start_containerd()
        }
    }
}

/// The world's PIDs of processes by their command lines.
fn processes(node: &Node, is_it: impl Fn(&str) -> bool) -> Vec<String> {
    let proc = node.world().path("/proc");
    let mut pids = residue::list(&proc);
    pids.retain(|pid| {
        let line = std::fs::read_to_string(proc.join(pid).join("cmdline")).unwrap_or_default();
        pid.bytes().all(|byte| byte.is_ascii_digit()) && is_it(&line)
    });
    pids
}

fn kill(node: &Node, is_it: impl Fn(&str) -> bool) -> Result<(), Error> {
    // It may have ended before.
    node.world().kill("KILL", processes(node, is_it)).map(drop)
}

/// As a client does who wants them gone, again and again.
fn clean_up(node: &Node, names: &[String; 2]) -> Result<(), Error> {
    let tasks = node.tasks(NAMESPACE)?;
    let end = Instant::now() + PATIENCE;
    let mut said = Vec::new();
    loop {
        said.clear();
        for name in names.iter().rev() {
            said.extend(remove(&tasks, name).err().map(|error| error.to_string()));
        }
        let left: Vec<String> = names
            .iter()
            .flat_map(|name| residue::of(node.world(), NAMESPACE, name))
            // These are swept later.
            .filter(|left| !left.starts_with("/run/coaming/"))
            .collect();
        if left.is_empty() && said.is_empty() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(Error::Unavailable(format!("left: {left:#?}\n{}", said.join("\n"))));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// One attempt.
fn remove(tasks: &Tasks<'_>, name: &str) -> Result<(), Error> {
    let unless_gone = |result: Result<(), Error>| match result {
        Err(Error::Containerd { code, .. }) if code == "NotFound" => Ok(()),
        result => result,
    };
    // Not only what is listed: containerd lists no task whose shim does not know it, and still has it.
    unless_gone(tasks.kill(name, "", 9, true))?;
    unless_gone(tasks.delete(name, "").map(drop))?;
    unless_gone(tasks.delete_container(name))
}

/// All goes well, to its end.
fn quiet_round(node: &Node, shim: &Shim, rootfs: &str) -> Result<(), Error> {
    let names = ["a", "b"].map(|name| format!("quiet-{name}"));
    life_of_a_pod(node, shim, rootfs, &names)?;
    clean_up(node, &names)
}

fn settled(look: impl Fn() -> Vec<String>) -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    let mut left = look();
    while !left.is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
        left = look();
    }
    left
}

/// SplitMix64: the same moments for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap_or_default()
    }
}
