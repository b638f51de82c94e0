//! Merged filters in the kernel: loaded for real, and each syscall tried.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use coaming_integration::{Containerd, Error, Suite, World, binaries, can_run, podmans_profile};

use crate::profiles;
use crate::trial::Plan;

#[test]
fn the_kernel_answers_as_the_rules_say() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let world = World::new()?;
    world.install(binaries::probe()?, "/run/probe", 0o755)?;
    let folder = tempfile::tempdir().unwrap();
    let [containerd, _] = profiles::containerds(folder.path(), Containerd::V2)?;
    let random = |seed: u32| vec![PathBuf::from(format!("random:{seed}"))];
    for (name, profiles) in [
        ("default", vec![containerd.clone(), profiles::builtin()]),
        ("podman", vec![podmans_profile(), containerd.clone()]),
        ("kills", vec![profiles::own("monitor"), containerd.clone()]),
        ("traps", vec![containerd.clone(), profiles::own("worker")]),
        ("refuses", vec![profiles::builtin(), profiles::own("no-devices")]),
        ("random-1", random(1)),
        ("random-2", random(1 << 20)),
        ("random-3", random(1 << 30)),
    ] {
        let plan = Plan::of(Suite::Sid, &profiles)?;
        world.install(plan.program(), "/run/program", 0o644)?;
        let ends = tries(&world, &plan.tries(), &["/run/program"]);
        let unfiltered = tries(&world, &passing(&plan), &[]);
        let tally = plan.check(&ends, &unfiltered, true);
        eprintln!("{name}: {tally:?}");
        let count = ends.lines().count() as u32;
        assert!(count > 500 && tally.passed < count, "{tally:?}");
        match name {
            "kills" => assert!(tally.killed > 300, "{tally:?}"),
            "traps" => assert!(tally.trapped > 100, "{tally:?}"),
            "default" | "podman" => {
                assert!(tally.passed > 300 && tally.refused > 100, "{tally:?}");
            }
            _ => {}
        }
    }
    Ok(())
}

/// The tries of a plan that are let through.
pub(crate) fn passing(plan: &Plan) -> String {
    let tries = plan.tries();
    let passing = tries.lines().zip(plan.passing()).filter(|(_, passing)| *passing);
    passing.map(|(line, _)| format!("{line}\n")).collect()
}

/// What became of them, in the world.
pub(crate) fn tries(world: &World, tries: &str, args: &[&str]) -> String {
    let file = world.path("/run/tries");
    fs::write(&file, tries).unwrap();
    let output = world
        .command("/run/probe")
        .arg("tries")
        .args(args)
        .stdin(Stdio::from(fs::File::open(file).unwrap()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
