//! Nothing of a world outlives its value, nor a test process that is killed. In a process of its own: the host's mounts
//! and interfaces are compared.

// All of this file is tests, helpers included.
#![allow(clippy::zombie_processes, clippy::print_stdout)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use coaming_integration::{
    Error, Node, NodeConfig, PAIRS, Run, World, can_run, images, leftovers, wait_for,
};

const SACRIFICE: &str = "COAMING_TEST_SACRIFICE";

#[test]
fn a_dropped_node_leaves_nothing() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let before = leftovers::footprint()?;
    let (containerd, runtime) = PAIRS[0];
    let node = Node::start(NodeConfig::new(containerd, runtime))?;
    let name = node.world().name().to_owned();
    node.ctr()
        .start(&Run::new(images::BUSYBOX, "stays").args(["sleep", "1000"]))?
        .ok("ctr run --detach")?;
    for expected in ["world-init", "containerd", "sleep 1000", "cgroup "] {
        // A container's program is executed some time after its start was reported.
        wait_for(&format!("the check to see {expected}"), || {
            let alive = leftovers::of(&name)?;
            Ok(alive.iter().any(|found| found.contains(expected)).then_some(()))
        })?;
    }
    drop(node);
    assert_eq!(leftovers::of(&name)?, Vec::<String>::new());
    assert_eq!(leftovers::footprint()?, before);
    Ok(())
}

#[test]
fn a_killed_test_process_leaves_nothing() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sacrifice", "--ignored", "--nocapture"])
        .env(SACRIFICE, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let name = BufReader::new(victim.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("world: ").map(|(_, name)| name.to_owned()))
        .expect("the victim names its world");
    assert!(!leftovers::of(&name)?.is_empty());
    victim.kill().unwrap();
    victim.wait().unwrap();
    // The keeper cleans up on its own time.
    wait_for("the keeper's cleaning up", || Ok(leftovers::of(&name)?.is_empty().then_some(())))
}

#[test]
#[ignore = "the victim of a_killed_test_process_leaves_nothing: waits to be killed"]
fn sacrifice() -> Result<(), Error> {
    if std::env::var_os(SACRIFICE).is_none() {
        return Ok(());
    }
    let world = World::new()?;
    world.spawn("/run/log", "/usr/bin:/bin", ["sleep", "1000"])?;
    println!("world: {}", world.name());
    loop {
        std::thread::park();
    }
}
