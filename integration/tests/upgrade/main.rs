//! coaming replaced by another version under running containers, as a package manager does it: by renames, one file after another.
//!
//! The other version is a real one: `COAMING_OLDER` names a folder with its programs, built from an older commit
//! (`make test-upgrade OLDER=COMMIT`).

// All of this is tests, helpers included.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

mod fleet;
mod formats;
mod programs;

use std::sync::atomic::{AtomicBool, Ordering};

use coaming_integration::cri::ContainerSpec;
use coaming_integration::{
    Containerd, Door, Error, Node, NodeConfig, Runtime, Suite, can_run, configuration, images,
};

use crate::fleet::{Fleet, POLICY};
use crate::programs::Programs;

#[test]
#[ignore = "by `make test-upgrade`: it needs the programs of an older version"]
fn containers_outlive_an_upgrade_and_stay_under_their_floor() -> Result<(), Error> {
    let Some((node, older, newer)) = node()? else { return Ok(()) };
    let fleet = Fleet::start(&node, 20)?;
    fleet.keep_records("older");
    let done = AtomicBool::new(false);
    // Execs go on all the while, into every container in turn; each says what it may do.
    let execs = std::thread::scope(|scope| {
        let (fleet, done) = (&fleet, &done);
        let workers: Vec<_> =
            (0..4).map(|number| scope.spawn(move || fleet.exec_until(number, done))).collect();
        let replaced = newer.replace(&node);
        // Some of each after the last file.
        let after = replaced.and_then(|()| fleet.exec_into_all());
        done.store(true, Ordering::SeqCst);
        let results: Result<Vec<u32>, Error> =
            workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        after.and(results)
    })?;
    eprintln!("execs while the files were replaced: {execs:?}");
    assert!(execs.iter().all(|count| *count > 3), "{execs:?}: hardly anything happened meanwhile");

    // All of them are there, and the newer one proves them.
    fleet.all_run()?;
    let status =
        node.world().run(["/usr/libexec/coaming/coaming", "status", "--output", "json"])?;
    for id in fleet.ids() {
        assert!(status.stdout.contains(id.as_str()), "{id} is not in {status:?}");
    }
    assert_eq!(status.code, 0, "one is wider than its floor: {status:?}");
    for id in fleet.ids().take(2) {
        let said = node.world().run([
            "/usr/libexec/coaming/coaming",
            "explain",
            "--container",
            id.as_str(),
        ])?;
        assert_eq!(said.code, 0, "{said:?}");
    }
    // A container that starts anew in an old pod.
    let cri = node.cri()?;
    let again =
        ContainerSpec::new("again", images::PROBE, ["probe", "each", "status", "--", "pause"]);
    let again = cri.launch(fleet.pod(0), &again)?;
    fleet::is_floored(&cri.exec_sync(&again, ["probe", "status"])?.ok("exec")?.stdout);
    cri.stop(&again, 5)?;
    cri.remove(&again)?;
    fleet.stop_and_leave_nothing()?;
    drop(older);
    Ok(())
}

/// The way back: what the newer one made is stopped and removed by the older one; an exec into it works, or is refused with the
/// reason, and is never let through without its floor.
#[test]
#[ignore = "by `make test-upgrade`: it needs the programs of an older version"]
fn containers_outlive_a_downgrade_and_nothing_is_let_through() -> Result<(), Error> {
    let Some((node, older, newer)) = node()? else { return Ok(()) };
    newer.replace(&node)?;
    let fleet = Fleet::start(&node, 6)?;
    older.replace(&node)?;
    fleet.all_run()?;
    let cri = node.cri()?;
    let (mut worked, mut refused) = (0, Vec::new());
    for id in fleet.ids() {
        match cri.exec_sync(id, ["probe", "status"]) {
            Ok(said) if said.success() => {
                fleet::is_floored(&said.stdout);
                worked += 1;
            }
            Ok(said) => refused.push(said.text()),
            Err(Error::Cri { message, .. }) => refused.push(message),
            Err(other) => return Err(other),
        }
    }
    eprintln!("after the downgrade {worked} execs worked; refused: {:?}", refused.first());
    assert!(refused.iter().all(|why| why.contains("coaming")), "{refused:?}");
    fleet.stop_and_leave_nothing()
}

/// A node with the older version on it; nothing where there is none.
fn node() -> Result<Option<(Node, Programs, Programs)>, Error> {
    if !can_run()? {
        return Ok(None);
    }
    let Some(older) = Programs::older()? else { return Ok(None) };
    let newer = Programs::built()?;
    let runtime = Runtime::Runc(Suite::Trixie);
    let node = Node::start(NodeConfig::new(Containerd::V1_7, runtime))?;
    older.replace(&node)?;
    let world = node.world();
    world.write("/etc/coaming/config.toml", configuration(runtime, "baseline"), 0o644)?;
    world.write("/etc/coaming/policy.d/payments.yaml", POLICY, 0o644)?;
    assert_eq!(fleet::DOORS[0], Door::Wrapper);
    Ok(Some((node, older, newer)))
}
