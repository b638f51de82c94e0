//! What coaming keeps of containers under /run/coaming, and that it goes with them.

use coaming_integration::cri::{ContainerSpec, Pod};
use coaming_integration::{Door, Error, Node, NodeConfig, PAIRS, Run, can_run, images};
use serde_json::json;

use crate::setup::{
    Bench, FREELY, in_cgroups, install_with, policy, records, refusal, runtimes, says,
};

const LANDLOCK: &str = "landlock: {write: [/tmp, /dev]}";

#[test]
fn nothing_is_left_of_a_container_that_is_gone() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        eprintln!("{runtime}");
        let bench = Bench::new(runtime, "node")?;
        policy(&bench.world, "landlock", LANDLOCK)?;
        let bundle = bench.bundle("normal", &["sleep", "1000"], |_| {})?;
        bench.gated.start(&bundle)?.ok("run")?;
        assert_eq!(bench.record()?["id"], "normal");
        // Of each kind one: the container's private folder and what it sees.
        let kept = bench.shell("ls /run/coaming/containers /run/coaming/launch; ls /run/coaming/containers/* /run/coaming/launch/*")?;
        says(&kept.stdout, &["record.json", "owner", "plan", "check.json", "init"]);
        bench.gated.delete(&bundle)?;
        assert_eq!(bench.records()?, "", "{runtime}: after delete --force");

        let bundle = bench.bundle("ends", &["true"], |_| {})?;
        bench.gated.run(&bundle, b"")?.ok("run")?;
        assert_eq!(bench.records()?, "", "{runtime}: after run");

        let bundle = bench.bundle("absent", &["/bin/absent"], |_| {})?;
        let failed = bench
            .gated
            .call(&bench.world, ["create", "--bundle", "/run/bundles/absent", "absent"])?;
        assert_ne!(failed.code, 0, "{failed:?}");
        bench.gated.delete(&bundle)?;
        assert_eq!(bench.records()?, "", "{runtime}: after a create that failed");

        a_runtime_that_is_killed(&bench)?;
    }
    Ok(())
}

/// A hook keeps the runtime in the middle of its create, where it is killed.
fn a_runtime_that_is_killed(bench: &Bench) -> Result<(), Error> {
    let bundle = bench.bundle("killed", &["true"], |spec| {
        spec["hooks"] = json!({"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "touch /run/in-hook; sleep 60"]}]});
    })?;
    let create = format!(
        "rm -f /run/in-hook; {} --root /run/bare create --bundle /run/bundles/killed killed >/run/create.log 2>&1 & pid=$!
         until test -e /run/in-hook; do kill -0 $pid || break; sleep 0.1; done
         ls /run/coaming/containers/*/record.json; kill -KILL $pid; wait $pid; echo $?; cat /run/create.log",
        bench.runtime.wrapper_path().display()
    );
    let killed = in_cgroups(&bench.world, ["sh", "-c", &create])?;
    says(&killed.stdout, &["record.json\n137\n"]);
    // crun that was killed has no state, and nothing to delete.
    let _ = bench.gated.call(&bench.world, ["delete", "--force", bundle.id()])?;
    // Where the runtime had nothing but a folder left, it runs no poststop hook: the next delete of any container, or
    // the next create, clears away what it left.
    let _ = bench.gated.call(&bench.world, ["delete", "--force", "another"])?;
    assert_eq!(
        bench.records()?,
        "",
        "{}: after a runtime that was killed: {killed:?}",
        bench.runtime
    );
    Ok(())
}

#[test]
fn an_id_that_is_taken_is_refused_and_its_record_untouched() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        let bench = Bench::new(runtime, "baseline")?;
        policy(&bench.world, "landlock", LANDLOCK)?;
        let first = bench.bundle("same", &["sleep", "1000"], |_| {})?;
        bench.gated.start(&first)?.ok("run")?;
        let other = bench.bundle("other", &["sleep", "1000"], |_| {})?;
        let sums = "find /run/coaming/containers /run/coaming/launch -type f | sort | xargs sha256sum; sha256sum /run/bundles/other/config.json";
        let before = bench.shell(sums)?.stdout;
        for verb in [&["create"][..], &["run", "--detach"]] {
            let line = [verb, &["--bundle", "/run/bundles/other", "same"]].concat();
            let refused = bench.gated.call(&bench.world, line)?;
            assert_eq!(refused.code, 1, "{refused:?}");
            says(&refused.stderr, &["a container with id \"same\" exists already"]);
        }
        assert_eq!(bench.shell(sums)?.stdout, before, "{runtime}");
        assert!(bench.gated.exec(&first, &[], &["true"])?.success());
        // Under another state folder of the runtime's it is another container.
        let wrapper = runtime.wrapper_path();
        let elsewhere = [
            wrapper.to_str().unwrap(),
            "--root",
            "/run/elsewhere",
            "run",
            "--bundle",
            "/run/bundles/other",
        ];
        bench.shell("sed -i 's/\"sleep\",\"1000\"/\"true\"/; s#/default/other#/default/other2#' /run/bundles/other/config.json")?;
        let ran = in_cgroups(&bench.world, [&elsewhere[..], &["same"]].concat())?;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(bench.record()?["bundle"], "/run/bundles/same");
        drop(other);
    }
    Ok(())
}

/// containerd calls delete itself, whatever went wrong.
#[test]
fn nothing_is_left_when_containerd_has_cleaned_up() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for (number, (containerd, runtime)) in PAIRS.into_iter().enumerate() {
        let node = Node::start(NodeConfig::new(containerd, runtime))?;
        install_with(node.world(), runtime, "baseline", FREELY)?;
        policy(node.world(), "landlock", LANDLOCK)?;
        for door in Door::of_pair(number) {
            eprintln!("{containerd} with {runtime} through {door:?}");
            containerd_cleans_up(&node, door)?;
            assert_eq!(records(node.world())?, "", "{containerd} {runtime} {door:?}");
        }
    }
    Ok(())
}

fn containerd_cleans_up(node: &Node, door: Door) -> Result<(), Error> {
    let (cri, ctr) = (node.cri()?, node.ctr());
    let run = |id: &str, args: &[&str]| {
        ctr.run(&Run::new(images::PROBE, id).args(args.iter().copied()).through(door))
    };
    assert_eq!(run("ends", &["sh", "-c", "exit 4"])?.code, 4);
    assert_ne!(run("absent", &["/bin/absent"])?.code, 0);

    let pod = cri.run_pod(&Pod::new("pod", door.handler()))?;
    let id = cri.launch(&pod, &ContainerSpec::new("main", images::PROBE, ["sleep", "1000"]))?;
    let _ = cri.launch(&pod, &ContainerSpec::new("absent", images::PROBE, ["/bin/absent"]));
    policy(node.world(), "refuses", "user: {runAsNonRoot: true}")?;
    refusal(cri.launch(&pod, &ContainerSpec::new("refused", images::PROBE, ["true"])));
    crate::setup::forget(node.world(), "refuses")?;
    // The wrapper's process, killed in the container's own namespace of processes: the shim cleans up.
    let pid = cri.status(&id)?.info["pid"].to_string();
    node.world().kill("KILL", [&pid])?.ok("kill")?;
    assert_eq!(cri.wait(&id)?, 137);
    cri.remove_pod(&pod)
}
