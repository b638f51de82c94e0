//! `coaming-hook prove` and `forget`: containers of runtimes that no wrapper stands before are proved by their hooks,
//! and killed where they are wider than what the validator was shown.

use coaming_integration::{Bundle, Error, can_run, wait_for};
use serde_json::{Value, json};

use crate::journal::journal;
use crate::proof::nothing_stays;
use crate::setup::{Bench, FREELY, in_cgroups, policy, runtimes, says};
use crate::validator::{HOOK, admitted, runc_and_crun};

/// The hooks as the packaged files name them.
fn guard(spec: &mut Value, lists: &[(&str, &str)]) {
    for (list, verb) in lists {
        let mut hook = json!({"path": HOOK, "args": ["coaming-hook", verb], "env": ["PATH=/bin"]});
        // crun takes the end of a container for that of a hook with a time-out, and waits on.
        if *verb != "prove" {
            hook["timeout"] = json!(30);
        }
        spec["hooks"][list] = json!([hook]);
    }
}

const ALL: [(&str, &str); 3] =
    [("createRuntime", "validate"), ("poststart", "prove"), ("poststop", "forget")];
const UNPROVED: [(&str, &str); 2] = [("createRuntime", "validate"), ("poststop", "forget")];

/// Ways to make a container wider, as edits of its config.json, and what notices.
const TAMPERINGS: [(&str, &str); 4] = [
    ("seccomp", r#"s/"seccomp":{/"xseccomp":{/"#),
    ("capabilities", r#"s/"bounding":\[/"bounding":["CAP_SYS_ADMIN",/"#),
    ("noNewPrivileges", r#"s/"noNewPrivileges":true/"noNewPrivileges":false/"#),
    ("maskedPaths", r#"s/"maskedPaths":\[[^]]*\]/"maskedPaths":[]/"#),
];

/// A runtime that reads a wider config.json than the validator is shown: a hook before the validator puts the one that
/// was asked for back.
fn fake(bench: &Bench) -> Result<String, Error> {
    let script = format!(
        r#"#!/bin/sh
for word; do
    case $before in --bundle | -b) bundle=$word ;; esac
    before=$word
done
if [ -n "$bundle" ]; then
    cp "$bundle/config.json" "$bundle/asked.json"
    sed -i -f /run/widen "$bundle/config.json"
    # crun wants its state to be read.
    put="cat >/dev/null; cp $bundle/asked.json $bundle/config.json"
    back="{{\"path\":\"/bin/sh\",\"args\":[\"sh\",\"-c\",\"$put\"]}}"
    sed -i "s|\"createRuntime\":\[|&$back,|" "$bundle/config.json"
fi
exec {} "$@"
"#,
        bench.runtime.path().display()
    );
    let path = format!("/usr/libexec/fake-{}", if bench.is_runc() { "runc" } else { "crun" });
    bench.world.write(&path, script, 0o755)?;
    Ok(path)
}

/// `create`, and `start` where that went well: whether both did, and what was said.
fn create_and_start(
    bench: &Bench,
    runtime: &str,
    bundle: &Bundle<'_>,
) -> Result<(bool, String), Error> {
    let line = format!(
        "({runtime} --root /run/bare create --bundle {0} --pid-file {0}/pid {1} && \
         {runtime} --root /run/bare start {1}) >{0}/log 2>&1 </dev/null",
        bundle.path().display(),
        bundle.id()
    );
    let output = in_cgroups(&bench.world, ["sh", "-c", &line])?;
    Ok((output.success(), bench.world.read(bundle.path().join("log"))?))
}

fn proofs(bench: &Bench, id: &str) -> Result<Vec<Value>, Error> {
    let mut lines = journal(bench)?;
    lines.retain(|line| line["event"] == "proved" && line["container"]["id"] == id);
    Ok(lines)
}

/// What is said of the one container once it runs: the runtime's start may end before the program is executed.
fn status(bench: &Bench) -> Result<(i32, Value), Error> {
    let command = ["/usr/libexec/coaming/coaming", "status", "--output", "json"];
    wait_for("its program", || {
        let output = bench.world.run(command)?;
        let shown: Value = serde_json::from_str(&output.stdout).unwrap();
        let is_running = shown["containers"][0]["kernel"]["state"] == "running";
        Ok(is_running.then_some((output.code, shown)))
    })
}

fn is_running(bench: &Bench, id: &str) -> Result<bool, Error> {
    let state = bench.stock.call(&bench.world, ["state", id])?;
    Ok(state.success() && state.stdout.contains("\"running\""))
}

/// A container that sleeps, within policy, with these hooks.
fn sleeper<'a>(
    bench: &'a Bench,
    within: &Value,
    id: &str,
    hooks: &[(&str, &str)],
) -> Result<Bundle<'a>, Error> {
    let mut spec = within.clone();
    spec["process"]["args"] = json!(["sleep", "1000"]);
    guard(&mut spec, hooks);
    Bundle::new(&bench.world, id, &spec)
}

#[test]
fn a_runtime_without_wrapper_is_proved_by_its_hooks() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        eprintln!("{runtime}");
        let bench = Bench::with(runtime, "baseline", FREELY)?;
        let within = admitted(&bench, "pattern")?;
        let fake = fake(&bench)?;

        // What is not tampered with is proved, by the fake runtime too.
        bench.world.write("/run/widen", "\n", 0o644)?;
        let bundle = sleeper(&bench, &within, "plain", &ALL)?;
        let (done, said) = create_and_start(&bench, &fake, &bundle)?;
        assert!(done, "{runtime}: {said}");
        let proved = wait_for("its proof", || {
            let proved = proofs(&bench, "plain")?;
            Ok(proved.iter().any(|proof| proof["stage"] == "started").then_some(proved))
        })?;
        assert!(proved.iter().all(|proof| proof["outcome"] == "held"), "{proved:#?}");
        if bench.is_runc() {
            assert_eq!(proved[0]["stage"], "created", "{proved:#?}");
        }
        let created = journal(&bench)?;
        let created = created
            .iter()
            .find(|line| line["event"] == "created" && line["container"]["id"] == "plain");
        assert_eq!(created.unwrap()["wrapper"], "coaming-hook");
        let (code, shown) = status(&bench)?;
        assert_eq!(
            (code, &shown["containers"][0]["proof"]["proven"]),
            (0, &json!(true)),
            "{shown}"
        );
        assert_eq!(shown["containers"][0]["kernel"]["state"], "running");
        bench.stock.delete(&bundle)?;
        assert_eq!(bench.records()?, "", "{runtime}");

        for (control, sed) in TAMPERINGS {
            bench.world.write("/run/widen", format!("{sed}\n"), 0o644)?;
            let id = format!("tampered-{}", control.to_lowercase());
            let bundle = sleeper(&bench, &within, &id, &ALL)?;
            let (done, said) = create_and_start(&bench, &fake, &bundle)?;
            let proof = wait_for("its proof", || {
                Ok(proofs(&bench, &id)?.into_iter().find(|proof| proof["outcome"] == "mismatch"))
            })?;
            assert_eq!(proof["killed"], true, "{runtime}: {proof}");
            assert_eq!(proof["mismatches"][0]["control"], control, "{runtime}: {proof}");
            wait_for("its end", || Ok((!is_running(&bench, &id)?).then_some(())))?;
            if bench.is_runc() {
                assert!(!done, "{runtime}: {said}");
                says(&said, &["coaming killed container", &id, control]);
            }
            bench.stock.delete(&bundle).or_else(gone)?;

            // The same without the proof: it runs on, and who looks sees it.
            let id = format!("unproved-{}", control.to_lowercase());
            let bundle = sleeper(&bench, &within, &id, &UNPROVED)?;
            let (done, said) = create_and_start(&bench, &fake, &bundle)?;
            assert!(done && is_running(&bench, &id)?, "{runtime}: {said}");
            let (code, shown) = status(&bench)?;
            assert_eq!(code, 1, "{runtime} {control}: {shown}");
            assert_eq!(shown["containers"][0]["proof"]["drift"], true, "{shown}");
            bench.stock.delete(&bundle)?;
        }
        nothing_stays(&bench)?;
        // A create that a hook failed runs no poststop hook under some; the next container's validator clears up.
        bench.world.write("/run/widen", "\n", 0o644)?;
        let bundle = sleeper(&bench, &within, "last", &ALL)?;
        create_and_start(&bench, &fake, &bundle)?;
        bench.stock.delete(&bundle)?;
        wait_for("the end of the records", || Ok(bench.records()?.is_empty().then_some(())))?;
        let chain = ["/usr/libexec/coaming/coaming", "journal", "--verify"];
        says(bench.world.run(chain)?.ok("verify")?.stdout, &["whole: 1 file"]);
    }
    Ok(())
}

/// runc has removed it already.
fn gone(error: Error) -> Result<(), Error> {
    match error {
        Error::Command { stderr, .. } if stderr.contains("does not exist") => Ok(()),
        other => Err(other),
    }
}

#[test]
fn what_nobody_judged_is_killed() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runc_and_crun() {
        let bench = Bench::with(runtime, "baseline", FREELY)?;
        let within = admitted(&bench, "pattern")?;
        let binary = runtime.path().display().to_string();
        let killed = |id: &str, hooks: &[(&str, &str)], words: &str| -> Result<(), Error> {
            let bundle = sleeper(&bench, &within, id, hooks)?;
            let (_, said) = create_and_start(&bench, &binary, &bundle)?;
            wait_for("its end", || Ok((!is_running(&bench, id)?).then_some(())))?;
            if bench.is_runc() {
                says(&said, &[words]);
            }
            bench.stock.delete(&bundle).or_else(gone)
        };
        killed("alone", &[("poststart", "prove")], "nothing is recorded")?;
        assert_eq!(bench.records()?, "");
        // Without the hook that would remove it the record stays until the next container is judged.
        let bundle = sleeper(&bench, &within, "kept", &[ALL[0], ALL[1]])?;
        let (done, said) = create_and_start(&bench, &binary, &bundle)?;
        assert!(done, "{said}");
        bench.stock.delete(&bundle)?;
        assert_eq!(bench.record()?["id"], "kept");

        // Judged, and shorter than a look: no alarm.
        for number in 0..5 {
            let id = format!("short-{number}");
            let mut spec = within.clone();
            spec["process"]["args"] = json!(["true"]);
            guard(&mut spec, &ALL);
            let bundle = Bundle::new(&bench.world, &id, &spec)?;
            bench.stock.run(&bundle, b"")?.ok("short")?;
            wait_for("its proof", || {
                let proved = proofs(&bench, &id)?;
                assert!(proved.iter().all(|proof| proof["outcome"] != "mismatch"), "{proved:#?}");
                Ok(proved.iter().any(|proof| proof["stage"] == "started").then_some(()))
            })?;
        }
        // A policy that wants what only the launcher gives, where it may be left out: degraded, and said.
        policy(
            &bench.world,
            "files",
            "landlock: {read: [/], execute: [/]}\nbestEffort: [landlock]",
        )?;
        let bundle = sleeper(&bench, &within, "best", &ALL)?;
        let (done, said) = create_and_start(&bench, &binary, &bundle)?;
        assert!(done, "{said}");
        let (code, shown) = status(&bench)?;
        assert_eq!(code, 0, "{shown}");
        assert_eq!(shown["containers"][0]["degraded"][0]["control"], "landlock", "{shown}");
        assert_eq!(shown["containers"][0]["outdated"], json!([]), "{shown}");
        // A container that crossed the wrapper has its own record, proof and poststop hook.
        let crossed = bench.bundle("crossed", &["sleep", "1000"], |_| {})?;
        bench.gated.start(&crossed)?.ok("gated")?;
        let pid = bench.world.read(crossed.path().join("pid"))?;
        let state = json!({"ociVersion": "1.0.2", "id": "crossed", "status": "running",
            "pid": pid.trim().parse::<u32>().unwrap(), "bundle": crossed.path()});
        bench.world.write("/run/state.json", state.to_string(), 0o600)?;
        for verb in ["validate", "prove", "forget"] {
            let line = format!("{HOOK} {verb} </run/state.json");
            in_cgroups(&bench.world, ["sh", "-c", &line])?.ok(verb)?;
        }
        assert!(is_running(&bench, "crossed")?);
        bench.gated.exec(&crossed, &[], &["true"])?.ok("exec")?;
        bench.gated.delete(&crossed)?;
        bench.stock.delete(&bundle)?;
        nothing_stays(&bench)?;
        wait_for("the end of the records", || Ok(bench.records()?.is_empty().then_some(())))?;
    }
    Ok(())
}
