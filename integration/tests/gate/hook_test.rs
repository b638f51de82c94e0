//! `coaming hook-test`: hooks with known faults, through real runtimes; and what it leaves behind.

use coaming_integration::{Error, Output, PAIRS, Runtime, World, can_run};
use serde_json::Value;

use crate::setup::{in_cgroups, install, runtimes, says};

const PHASES: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

fn hook_test(world: &World, words: &[&str]) -> Result<Output, Error> {
    let line = ["/usr/libexec/coaming/coaming", "hook-test"];
    in_cgroups(world, line.iter().chain(words))
}

fn report(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// The names of findings of at least warnings, or of all.
fn names(report: &Value, notes: bool) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap();
    let mut names: Vec<String> = findings
        .iter()
        .filter(|finding| notes || finding["severity"] != "note")
        .map(|finding| finding["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Processes, mounts, folders and cgroups that a test has left.
fn leftovers(world: &World) -> Result<String, Error> {
    let look = "ls -d /run/coaming-hook-test-* 2>/dev/null; grep coaming-hook-test- /proc/self/mountinfo; \
                find /sys/fs/cgroup -name '*coaming-hook-test*' 2>/dev/null; \
                cat /proc/[0-9]*/comm | grep -E '^(coaming-hook-te|sleep)$'; true";
    Ok(world.run(["sh", "-c", look])?.stdout)
}

#[test]
fn a_good_hook_is_run_in_every_phase_of_every_runtime() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let world = World::new()?;
    let [(_, first), ..] = PAIRS;
    install(&world, first, "baseline")?;
    world.write("/usr/libexec/good", "#!/bin/sh\ncat >/dev/null\n", 0o755)?;
    for runtime in runtimes() {
        let path = runtime.path().display().to_string();
        // A static hook: a startContainer hook finds no shell in an empty image.
        let words = [
            "--runtime",
            &path,
            "--output",
            "json",
            "--",
            "/usr/libexec/coaming/coaming-hook",
            "--version",
        ];
        let output = hook_test(&world, &words)?;
        let report = report(&output);
        let cases = report["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 6, "{runtime}");
        for (case, phase) in cases.iter().zip(PHASES) {
            assert_eq!(case["phase"], phase);
            let seen = &case["seen"];
            assert_eq!(case["did"]["exit"], 0, "{runtime}, {phase}: {case}");
            assert_eq!(case["runs"], 1, "{runtime}, {phase}: {case}");
            let problems = seen["state"]["problems"].to_string();
            // Elsewhere the runtimes depart from the specification: runc runs poststart at create, crun says pid 0.
            if ["prestart", "createRuntime", "poststop"].contains(&phase) {
                assert_eq!(problems, "[]", "{runtime}, {phase}: {seen}");
            }
            assert_eq!(seen["uid"], 0);
            let inside = ["createContainer", "startContainer"].contains(&phase);
            let whose = if inside { "container" } else { "runtime" };
            assert_eq!(seen["namespaces"]["mnt"], whose, "{runtime}, {phase}: {seen}");
            assert_eq!(case["onHang"]["isHonoured"], true, "{runtime}, {phase}: {case}");
            if !["poststart", "poststop", "startContainer"].contains(&phase) {
                assert_eq!(case["onFailure"]["failed"], "create", "{runtime}, {phase}: {case}");
                // crun gives hooks /dev/null.
                let shown = matches!(runtime, Runtime::Runc(_));
                assert_eq!(case["onFailure"]["messageShown"], shown, "{runtime}, {phase}: {case}");
            }
            assert_eq!(
                case["left"].as_array().map(Vec::len),
                Some(0),
                "{runtime}, {phase}: {case}"
            );
        }
        let words = [
            "--runtime",
            &path,
            "--phase",
            "createRuntime",
            "--env",
            "A=1",
            "--",
            "/usr/libexec/good",
        ];
        let output = hook_test(&world, &words)?;
        assert_eq!(output.code, 0, "{runtime}: {output:?}");
        says(&output.stdout, &["createRuntime with", "environment  A=1", "0 errors, 0 warnings"]);
        assert_eq!(leftovers(&world)?, "", "{runtime}");
    }
    Ok(())
}

#[test]
fn each_fault_of_a_hook_is_found() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let world = World::new()?;
    let [(_, runc), (_, crun), ..] = PAIRS;
    install(&world, runc, "baseline")?;
    let faults = [
        ("exit 3", &["fails"][..]),
        ("kill -9 $$", &["dies"]),
        ("sleep 0.6", &["slow"]),
        ("sleep 3333 </dev/null >/dev/null 2>&1 &", &["leaves-a-process"]),
        ("sleep 3333 &", &["holds-its-output", "leaves-a-process"]),
        ("exec sleep 3333", &["hangs"]),
    ];
    for runtime in [runc, crun] {
        let path = runtime.path().display().to_string();
        let try_it = |script: &str, more: &[&str]| -> Result<(Output, Value), Error> {
            world.write(
                "/usr/libexec/hook",
                format!("#!/bin/sh\ncat >/dev/null\n{script}\n"),
                0o755,
            )?;
            let words =
                ["--runtime", &path, "--output", "json", "--timeout", "2", "--env", "PATH=/bin"];
            let words = [&words[..], more, &["--", "/usr/libexec/hook"]].concat();
            let output = hook_test(&world, &words)?;
            let report = report(&output);
            Ok((output, report))
        };
        let create = ["--phase", "createRuntime"];
        for (script, expected) in faults {
            let (output, report) = try_it(script, &create)?;
            assert_eq!(output.code, 1, "{runtime}, {script}: {output:?}");
            assert_eq!(names(&report, false), expected, "{runtime}, {script}: {report}");
            assert_eq!(leftovers(&world)?, "", "{runtime}, {script}");
        }
        // What it changes is told, and is no fault.
        let script = "echo out\nmount -t tmpfs inner /proc/1/root/tmp 2>/dev/null || :";
        let (output, report) = try_it(script, &create)?;
        assert_eq!(output.code, 0, "{output:?}");
        assert!(names(&report, true).contains(&"writes-to-stdout".to_owned()), "{report}");
        let inside = ["--phase", "createContainer"];
        let (_, report) = try_it(
            "pwd >/tmp/x; mkdir -p \"$PWD\" && : >\"$(dirname \"$PWD\")/rootfs/new\"",
            &inside,
        )?;
        let did = &report["cases"][0]["did"];
        if did["exit"] == 0 {
            let files = did["changes"]["file"].to_string();
            says(files, &["/new"]);
        }
    }
    // Writable by others, and not there.
    let path = runc.path().display().to_string();
    world.write("/usr/libexec/hook", "#!/bin/sh\ncat >/dev/null\n", 0o757)?;
    let words =
        ["--runtime", &path, "--phase", "createRuntime", "--env", "A=1", "--output", "json", "--"];
    let output = hook_test(&world, &[&words[..], &["/usr/libexec/hook"]].concat())?;
    assert_eq!(names(&report(&output), false), ["writable-by-others"]);
    let output = hook_test(&world, &[&words[..], &["/usr/libexec/none"]].concat())?;
    assert_eq!(output.code, 2, "{output:?}");
    says(&output.stderr, &["/usr/libexec/none", "No such file"]);
    Ok(())
}

/// The container's environment reaches a createContainer hook of runc; the harness must see what the attack needs.
#[test]
fn an_environment_that_leaks_is_found() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let world = World::new()?;
    let [(_, runc), (_, crun), ..] = PAIRS;
    install(&world, runc, "baseline")?;
    world.write("/usr/libexec/hook", "#!/bin/sh\ncat >/dev/null\n", 0o755)?;
    let try_it = |runtime: &str, more: &[&str]| -> Result<Value, Error> {
        let words = ["--runtime", runtime, "--phase", "createContainer", "--output", "json"];
        Ok(report(&hook_test(&world, &[&words[..], more, &["--", "/usr/libexec/hook"]].concat())?))
    };
    let runc = runc.path().display().to_string();
    assert_eq!(names(&try_it(&runc, &[])?, false), ["inherits-ld-preload"]);
    assert_eq!(names(&try_it(&runc, &["--env", "A=1"])?, false), [""; 0]);
    let crun = crun.path().display().to_string();
    let report = try_it(&crun, &[])?;
    assert_eq!(names(&report, false), [""; 0]);
    assert!(names(&report, true).contains(&"inherits-the-runtimes-environment".to_owned()));
    Ok(())
}
