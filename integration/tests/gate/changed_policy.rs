//! Policies that change while containers run: an exec is held to the floor of its container's creation and to today's.

use coaming_integration::{Error, PAIRS, can_run};

use crate::setup::{
    Bench, FREELY, forget, greedy, no_capability_but, outcome, parsed, policy, runtimes, says,
};

const CHOWN_ALONE: &str = "capabilities: {allow: [CHOWN]}";
const LANDLOCK: &str = "landlock: {write: [/tmp, /dev]}";

#[test]
fn a_stricter_policy_of_today_holds_for_an_exec() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        eprintln!("{runtime}");
        let bench = Bench::with(runtime, "baseline", FREELY)?;
        // `plain` has its filter from the runtime, `launched` from the launcher.
        let [_, plain] = bench.sleepers("plain", |_| {})?;
        policy(&bench.world, "landlock", LANDLOCK)?;
        let [_, launched] = bench.sleepers("launched", |_| {})?;
        forget(&bench.world, "landlock")?;

        policy(&bench.world, "today", CHOWN_ALONE)?;
        for bundle in [&plain, &launched] {
            let status = parsed(&bench.gated.exec_process(bundle, &greedy(&["probe", "status"]))?);
            no_capability_but(&status, &["CAP_CHOWN"]);
        }
        let created = bench.gated.exec(&launched, &[], &["probe", "create", "/etc/new"])?;
        assert_eq!(
            outcome(&created),
            "denied",
            "the pinned floor holds although its policy is gone"
        );

        let chroot = ["probe", "chroot"];
        forget(&bench.world, "today")?;
        assert_eq!(outcome(&bench.gated.exec(&launched, &[], &chroot)?), "allowed");
        policy(&bench.world, "today", "seccomp: {denySyscalls: [chroot]}")?;
        let denied = bench.gated.exec(&launched, &[], &chroot)?;
        assert_eq!(outcome(&denied), "denied", "today's filter is not in force: {denied:?}");
        let init = bench.gated.exec(&plain, &[], &["true"])?;
        assert_eq!((init.code, init.stdout.as_str()), (1, ""), "{init:?}");
        says(&init.stderr, &["gated-plain", "a stricter seccomp floor", "created again"]);

        policy(&bench.world, "today", LANDLOCK)?;
        let refused = bench.gated.exec(&plain, &[], &["true"])?;
        assert_eq!(refused.code, 1, "{refused:?}");
        says(&refused.stderr, &["exec into", "Landlock rules", "created again"]);

        forget(&bench.world, "today")?;
        for bundle in [&plain, &launched] {
            assert_eq!(outcome(&bench.gated.exec(bundle, &[], &chroot)?), "allowed");
        }
    }
    Ok(())
}

#[test]
fn a_looser_policy_of_today_changes_nothing_for_a_container_that_runs() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let [(_, runc), (_, crun), ..] = PAIRS;
    for runtime in [runc, crun] {
        let bench = Bench::with(runtime, "baseline", FREELY)?;
        let strict = format!("{CHOWN_ALONE}\nnoNewPrivileges: true\n{LANDLOCK}");
        policy(&bench.world, "strict", &strict)?;
        let [_, gated] = bench.sleepers("pinned", |_| {})?;
        forget(&bench.world, "strict")?;
        // The node's own floor too.
        crate::setup::install_with(&bench.world, runtime, "node", FREELY)?;
        let status = parsed(&bench.gated.exec_process(&gated, &greedy(&["probe", "status"]))?);
        no_capability_but(&status, &["CAP_CHOWN"]);
        assert_eq!(status["noNewPrivs"], 1, "{status}");
        for attempt in [["create", "/etc/new"].as_slice(), &["io-uring"], &["mount"]] {
            let output =
                bench.gated.exec_process(&gated, &greedy(&[&["probe"], attempt].concat()))?;
            assert_eq!(outcome(&output), "denied", "{attempt:?} {output:?}");
        }
    }
    Ok(())
}
