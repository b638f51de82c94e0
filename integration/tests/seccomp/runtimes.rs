//! Merged filters through runc and crun: the section as coaming writes it in config.json, and each syscall tried from
//! inside. That the runtimes read it as it is meant is the point: masks, conditions, architectures, where ENOSYS begins.

use coaming_integration::{
    BareRuntime, Bundle, Containerd, Error, PAIRS, Runtime, World, binaries, can_run, default_spec,
    podmans_profile,
};

use crate::kernel::{passing, tries};
use crate::profiles;
use crate::trial::Plan;

#[test]
fn runtimes_read_it_as_it_is_meant() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let folder = tempfile::tempdir().unwrap();
    let [containerd, _] = profiles::containerds(folder.path(), Containerd::V2)?;
    for (name, pair) in [
        ("default", [containerd, profiles::builtin()]),
        ("podman", [podmans_profile(), profiles::own("no-devices")]),
    ] {
        for (of, runtime) in PAIRS {
            let plan = Plan::of(of.suite(), &pair)?;
            let world = World::new()?;
            world.install(binaries::probe()?, "/run/probe", 0o755)?;
            let mut spec = default_spec("tried", ["/bin/probe", "tries"])?;
            spec["linux"]["seccomp"] = plan.section();
            let bundle = Bundle::new(&world, "tried", &spec)?;
            let ends = BareRuntime::new(runtime.path()).run(&bundle, plan.tries().as_bytes())?;
            let ends = ends.ok("run")?.stdout;
            let unfiltered = tries(&world, &passing(&plan), &[]);
            let tally = plan.check(&ends, &unfiltered, matches!(runtime, Runtime::Runc(_)));
            eprintln!("{name}, {runtime}: {tally:?}");
            assert!(tally.refused > 50 && tally.passed > 300, "{tally:?}");
        }
    }
    Ok(())
}
