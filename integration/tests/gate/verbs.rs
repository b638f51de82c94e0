//! Every other door: restore, update, verbs that pass, the log, and what a process finds behind the wrapper.

use coaming_integration::{Bundle, Error, PAIRS, can_run};
use serde_json::{Value, json};

use crate::setup::{Bench, in_cgroups, policy, runtimes, says, with_shell};

#[test]
fn restore_and_unknown_verbs_are_refused_and_the_log_says_why() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let [(_, runc), (_, crun), ..] = PAIRS;
    for runtime in [runc, crun] {
        let bench = Bench::new(runtime, "node")?;
        let call = |args: &[&str]| bench.gated.call(&bench.world, args);
        let restore =
            ["restore", "--image-path", "/run/image", "--bundle", "/run/bundles/x", "brought-back"];
        let why = "coaming refused to restore container brought-back";
        for format in ["json", "text"] {
            let log = format!("/run/log.{format}");
            let refused = call(&[&["--log", &log, "--log-format", format], &restore[..]].concat())?;
            assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
            says(&refused.stderr, &[why, "create the container again"]);
        }
        // What go-runc reads back from the file: the last line's level and msg.
        let logged = bench.world.read("/run/log.json")?;
        let line: Value = serde_json::from_str(logged.lines().last().unwrap_or_default()).unwrap();
        assert_eq!(line["level"], "error");
        says(line["msg"].as_str().unwrap_or_default(), &[why]);
        says(
            bench.world.read("/run/log.text")?,
            &["time=\"", "level=error msg=\"coaming refused to restore"],
        );

        for verb in ["checkpont", "init", "mounts", "update-all"] {
            let refused = call(&[verb, "x"])?;
            assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
            says(&refused.stderr, &[verb]);
        }
        let unknown = call(&["state", "never-made"])?;
        assert_ne!(unknown.code, 0, "{unknown:?}");
        let exec = call(&["exec", "never-made", "true"])?;
        says(&exec.stderr, &["coaming has no record of container \"never-made\""]);
    }
    Ok(())
}

#[test]
fn limits_are_updated_within_the_ceiling_and_no_further() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        eprintln!("{runtime}");
        let bench = Bench::new(runtime, "baseline")?;
        policy(&bench.world, "ceiling", "resources: {memoryLimit: 67108864, pidsLimit: 50}")?;
        let bundle = bench.bundle("limited", &["sleep", "1000"], |_| {})?;
        bench.gated.start(&bundle)?.ok("run")?;
        assert_eq!(
            memory(&bench, &bundle)?,
            "67108864",
            "no limit was asked, the ceiling is given"
        );
        let update = |args: &[&str]| {
            bench.gated.call(&bench.world, [&["update"], args, &["limited"]].concat())
        };
        bench.world.write(
            "/run/more.json",
            json!({"memory": {"limit": 134_217_728}}).to_string(),
            0o644,
        )?;
        bench.world.write(
            "/run/less.json",
            json!({"memory": {"limit": 50_331_648}}).to_string(),
            0o644,
        )?;
        let wide: [&[&str]; 5] = [
            &["--memory", "134217728"],
            &["--memory", "-1"],
            &["--pids-limit", "51"],
            &["--resources", "/run/more.json"],
            &["-r", "/run/more.json"],
        ];
        for args in wide {
            let refused = update(args)?;
            assert_eq!(refused.code, 1, "{args:?}: {refused:?}");
            says(
                &refused.stderr,
                &[
                    "coaming refused to update container limited",
                    "policy ceiling (/etc/coaming/policy.d/ceiling.yaml:5",
                    "at most",
                ],
            );
        }
        assert_eq!(memory(&bench, &bundle)?, "67108864");
        update(&["--memory", "33554432"])?.ok("update --memory")?;
        assert_eq!(memory(&bench, &bundle)?, "33554432", "{runtime}");
        update(&["--resources", "/run/less.json"])?.ok("update --resources")?;
        assert_eq!(memory(&bench, &bundle)?, "50331648", "{runtime}");

        let piped = |file: &str| {
            with_shell(
                &bench.world,
                &format!("exec <{file}"),
                &runtime.wrapper_path(),
                ["update", "-r", "-", "limited"],
            )
        };
        let refused = piped("/run/more.json")?;
        says(&refused.stderr, &["refused to update", "134217728"]);
        bench.world.write(
            "/run/less.json",
            json!({"memory": {"limit": 41_943_040}}).to_string(),
            0o644,
        )?;
        piped("/run/less.json")?.ok("update -r -")?;
        assert_eq!(memory(&bench, &bundle)?, "41943040", "{runtime}");
    }
    Ok(())
}

fn memory(bench: &Bench, bundle: &Bundle<'_>) -> Result<String, Error> {
    let look = "cat /sys/fs/cgroup/memory/default/ID/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/default/ID/memory.max";
    Ok(bench.shell(&look.replace("ID", bundle.id()))?.stdout.trim().to_owned())
}

/// What only looks or ends passes as it is: the same words and codes as from the runtime itself.
#[test]
fn other_verbs_pass() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        eprintln!("{runtime}");
        let bench = Bench::new(runtime, "baseline")?;
        let bundle = bench.bundle("passes", &["sleep", "1000"], |_| {})?;
        // Its first process keeps what it is given open.
        let create = ["create", "--bundle", "/run/bundles/passes", "passes"];
        with_shell(&bench.world, "exec >/run/passes.log 2>&1", &runtime.wrapper_path(), create)?
            .ok("create")?;
        bench.gated.call(&bench.world, ["start", "passes"])?.ok("start")?;
        let lines: [&[&str]; 8] = [
            &["features"],
            &["list", "--quiet"],
            &["list", "--format", "json"],
            &["state", "passes"],
            &["ps", "--format", "json", "passes"],
            &["--version"],
            &["--log-format", "json", "state", "absent"],
            &["spec", "--bundle", "/absent"],
        ];
        for line in lines {
            let [wide, held] =
                [&bench.stock, &bench.gated].map(|binary| binary.call(&bench.world, line));
            let (wide, held) = (wide?, held?);
            let without_time = |text: &str| -> Vec<String> {
                text.split("\"time\"")
                    .map(|part| part.split_once('Z').map_or(part, |(_, rest)| rest).to_owned())
                    .collect()
            };
            assert_eq!(
                (wide.code, &wide.stdout),
                (held.code, &held.stdout),
                "{runtime} {line:?} {held:?}"
            );
            assert_eq!(
                without_time(&wide.stderr),
                without_time(&held.stderr),
                "{runtime} {line:?}"
            );
        }
        if bench.is_runc() {
            let stats =
                bench.gated.call(&bench.world, ["events", "--stats", "passes"])?.ok("events")?;
            says(&stats.stdout, &["\"type\":\"stats\"", "passes"]);
        }
        for verb in ["pause", "resume"] {
            bench.gated.call(&bench.world, [verb, "passes"])?.ok(verb)?;
        }
        bench.gated.call(&bench.world, ["kill", "passes", "KILL"])?.ok("kill")?;
        bench.gated.delete(&bundle)?;
        assert_eq!(bench.gated.call(&bench.world, ["list", "--quiet"])?.stdout, "");
        assert_eq!(bench.records()?, "", "{runtime}");
    }
    Ok(())
}

/// The wrapper becomes the runtime, so that status, input and signals are as without it.
#[test]
fn status_input_and_signals_are_the_runtimes_own() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        eprintln!("{runtime}");
        let bench = Bench::new(runtime, "baseline")?;
        for landlock in [false, true] {
            if landlock {
                policy(&bench.world, "landlock", "landlock: {write: [/tmp, /dev]}")?;
            }
            let bundle = bench.bundle(
                &format!("codes-{landlock}"),
                &["sh", "-c", "cat; echo err >&2; exit 37"],
                |_| {},
            )?;
            let output = bench.gated.run(&bundle, b"piped\nthrough")?;
            assert_eq!(
                (output.code, output.stdout.as_str(), output.stderr.as_str()),
                (37, "piped\nthrough", "err\n"),
                "{runtime}"
            );
            let bundle =
                bench.bundle(&format!("killed-{landlock}"), &["sh", "-c", "kill -9 $$"], |_| {})?;
            let [wide, held] = [bench.stock.run(&bundle, b"")?, bench.gated.run(&bundle, b"")?];
            assert_eq!(wide.code, held.code, "{runtime}: {wide:?} {held:?}");

            let id = format!("signals-{landlock}");
            bench.bundle(
                &id,
                &[
                    "sh",
                    "-c",
                    "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.1; done",
                ],
                |_| {},
            )?;
            let script = format!(
                "{} --root /run/bare run --bundle /run/bundles/{id} {id} >/run/{id} 2>&1 & pid=$!
                 until grep -q ready /run/{id}; do kill -0 $pid || break; sleep 0.1; done
                 cat /proc/$pid/comm; kill -TERM $pid; wait $pid; echo $?; cat /run/{id}",
                runtime.wrapper_path().display()
            );
            let output = in_cgroups(&bench.world, ["sh", "-c", &script])?;
            let name = if bench.is_runc() { "runc" } else { "crun" };
            assert_eq!(
                output.stdout,
                format!("{name}\n5\nready\ncaught\n"),
                "{runtime}: {output:?}"
            );
        }
    }
    Ok(())
}
