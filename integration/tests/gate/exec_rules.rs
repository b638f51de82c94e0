//! Rules over exec: commands word by word, terminals, standard input, capabilities, users; and what is kept of each.

use coaming_integration::cri::{ContainerSpec, Pod};
use coaming_integration::{Door, Error, Exec, Node, NodeConfig, PAIRS, Run, can_run, images};
use serde_json::{Value, json};

use crate::setup::{
    Bench, FREELY, forget, greedy, install_with, no_capability_but, parsed, policy, runtimes, says,
    with_shell,
};

const RULES: &str = "
exec:
  commands:
    - [/bin/true]
    - [probe, status]
    - [sh, -c, 'exit *']
    - [ls, '...']
  terminal: false
  capabilities: {allow: [KILL]}
";

#[test]
fn an_exec_is_held_to_its_commands_and_recorded() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in [runtimes()[0], runtimes()[1]] {
        eprintln!("{runtime}");
        let bench = Bench::new(runtime, "baseline")?;
        policy(&bench.world, "execs", RULES)?;
        let [stock, gated] = bench.sleepers("ruled", |_| {})?;
        // The container's own command is not an exec, and no list names it.
        for command in [&["/bin/true"][..], &["ls"], &["ls", "-l", "/"]] {
            let output = bench.gated.exec(&gated, &[], command)?;
            assert_eq!(output.code, 0, "{command:?}: {output:?}");
        }
        assert_eq!(bench.gated.exec(&gated, &[], &["sh", "-c", "exit 7"])?.code, 7);
        assert_eq!(bench.stock.exec(&stock, &[], &["sh", "-c", "id"])?.code, 0);
        for command in
            [&["/bin/true", "x"][..], &["sh"], &["sh", "-c", "id"], &["/bin/ls"], &["true"]]
        {
            let refused = bench.gated.exec(&gated, &[], command)?;
            assert_ne!(refused.code, 0, "{command:?}: {refused:?}");
            says(&refused.stderr, &["policy execs", "process.args", "/bin/true"]);
        }
        let status = ["probe", "status"];
        let wide = parsed(&bench.stock.exec_process(&stock, &greedy(&status))?);
        says(wide["capabilities"]["effective"].to_string(), &["CAP_SYS_ADMIN"]);
        let held = parsed(&bench.gated.exec_process(&gated, &greedy(&status))?);
        no_capability_but(&held, &["CAP_KILL"]);

        let explain =
            ["/usr/libexec/coaming/coaming", "explain", "--output", "json", "--container"];
        let told = bench.world.run(explain.iter().copied().chain([gated.id()]))?;
        let report: Value = serde_json::from_str(&told.stdout).unwrap();
        let execs = report["execs"].as_array().unwrap();
        assert_eq!(execs.len(), 10, "{execs:#?}");
        assert_eq!(execs[0]["args"], json!(["/bin/true"]));
        assert_eq!(execs[4]["refused"][0]["policy"]["policy"], "execs", "{}", execs[4]);
        says(execs[9]["changes"].to_string(), &["CAP_SYS_ADMIN"]);
        let mode = bench.shell("stat -c %a:%u /run/coaming/containers/*/execs.jsonl")?.stdout;
        assert_eq!(mode, "600:0\n");
        bench.gated.delete(&gated)?;
        assert_eq!(bench.records()?, "", "the log of execs goes with its container");
    }
    Ok(())
}

const USERS: &str = "
exec:
  user: {runAsNonRoot: true}
  whenInteractive:
    commands: [[cat, /proc/self/status]]
    user: {runAsUser: {ranges: [{min: 1000, max: 1000}]}}
    capabilities: {allow: []}
";

/// The container's own user is not the exec's: root's container may be entered, and not as root.
#[test]
fn an_exec_is_held_to_its_users_and_an_interactive_one_to_fewer() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in [runtimes()[0], runtimes()[1]] {
        eprintln!("{runtime}");
        let bench = Bench::new(runtime, "baseline")?;
        policy(&bench.world, "users", USERS)?;
        let [stock, gated] = bench.sleepers("users", |_| {})?;
        const STATUS: [&str; 2] = ["cat", "/proc/self/status"];
        let plain =
            |user: &str, command: &[&str]| bench.gated.exec(&gated, &["--user", user], command);
        let interactive = |wrapper: &std::path::Path, id: &str, user: &str, command: &[&str]| {
            let words = [&["exec", "--user", user, "--cap", "CAP_KILL", id], command].concat();
            with_shell(&bench.world, "exec </etc/hostname", wrapper, words)
        };
        let wrapper = runtime.wrapper_path();

        assert_eq!(bench.stock.exec(&stock, &["--user", "0"], &STATUS)?.code, 0);
        let seven = plain("7", &STATUS)?.ok("an exec as 7")?.stdout;
        says(&seven, &["Uid:\t7\t7\t7\t7"]);
        for refused in
            [plain("0", &STATUS)?, bench.gated.exec(&gated, &["--user", "0:7"], &STATUS)?]
        {
            assert_ne!(refused.code, 0, "{refused:?}");
            says(&refused.stderr, &["policy users", "process.user.uid", "other than 0"]);
        }
        let wide = interactive(runtime.path().as_ref(), stock.id(), "7", &STATUS)?.ok("stock")?;
        says(&wide.stdout, &["Uid:\t7\t7\t7\t7"]);
        assert!(!wide.stdout.contains("CapBnd:\t0000000000000000"), "{wide:?}");
        let held = interactive(&wrapper, gated.id(), "1000", &STATUS)?.ok("as 1000")?.stdout;
        says(&held, &["Uid:\t1000\t1000\t1000\t1000", "CapBnd:\t0000000000000000"]);
        let refused = interactive(&wrapper, gated.id(), "7", &STATUS)?;
        assert_ne!(refused.code, 0, "{refused:?}");
        says(&refused.stderr, &["policy users", "process.user.uid", "1000"]);
        let refused = interactive(&wrapper, gated.id(), "1000", &["cat"])?;
        assert_ne!(refused.code, 0, "{refused:?}");
        says(&refused.stderr, &["policy users", "process.args"]);
        // Without an input the same is none of the stricter rules' affair.
        assert_eq!(plain("1000", &["cat"])?.code, 0);
        bench.gated.delete(&gated)?;
        bench.stock.delete(&stock)?;
    }
    Ok(())
}

/// Probes and `kubectl exec` without -i and -t have neither a terminal nor somebody who writes to their input.
#[test]
fn interactive_execs_are_told_from_others_behind_each_shim() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for (number, (containerd, runtime)) in [PAIRS[0], PAIRS[4]].into_iter().enumerate() {
        let node = Node::start(NodeConfig::new(containerd, runtime))?;
        install_with(node.world(), runtime, "baseline", FREELY)?;
        policy(node.world(), "execs", "exec: {interactive: false}")?;
        for door in Door::of_pair(number) {
            eprintln!("{containerd} with {runtime} through {door:?}");
            let cri = node.cri()?;
            let pod = cri.run_pod(&Pod::new("held", door.handler()))?;
            let spec = ContainerSpec::new("c", images::PROBE, ["sleep", "1000"]);
            let id = cri.launch(&pod, &spec)?;
            assert_eq!(cri.exec_sync(&id, ["true"])?.code, 0, "a probe");
            let ctr = node.ctr();
            ctr.start(&Run::new(images::PROBE, "plain").args(["sleep", "1000"]).through(door))?
                .ok("run")?;
            let command = || Exec::new("plain", ["cat"]);
            let refused = ctr.exec(&command().stdin("words"))?;
            assert_ne!(refused.code, 0, "{refused:?}");
            says(&refused.stderr, &["policy execs", "standard input"]);
            let refused = ctr.exec(&command().tty())?;
            assert_ne!(refused.code, 0, "{refused:?}");
            says(&refused.stdout, &["policy execs", "terminal"]);
            ctr.remove("plain")?;
            // Without the rule both are as ever.
            forget(node.world(), "execs")?;
            ctr.start(&Run::new(images::PROBE, "free").args(["sleep", "1000"]).through(door))?
                .ok("run")?;
            let answered = ctr.exec(&Exec::new("free", ["cat"]).stdin("words"))?;
            assert_eq!(answered.stdout, "words", "{answered:?}");
            ctr.remove("free")?;
            policy(node.world(), "execs", "exec: {interactive: false}")?;
            cri.remove_pod(&pod)?;
        }
    }
    Ok(())
}
