//! A profile that is replaced by a weaker one when its container is already there: the proof's and the status's word of it,
//! and what puts it right.

use coaming_integration::{Bundle, Error, Runtime, Suite, wait_for};

use super::brought::bench;
use super::{COAMING, GUESTS, loaded, proved};
use crate::setup::{Bench, is_in, says};

const READ: &str = "cat /etc/passwd";
const WORD: &str = "was replaced by another profile";

/// What an attacker who is root on the node does, or another tool that loads profiles.
fn weaken(bench: &Bench, name: &str) -> Result<(), Error> {
    let before = loaded(bench, name)?;
    let weaker = format!("profile {name} {{ file, capability, network, unix, signal, ptrace, }}\n");
    bench.world.write("/run/weaker", weaker, 0o644)?;
    bench.world.run(["apparmor_parser", "-rK", "/run/weaker"])?.ok("apparmor_parser")?;
    assert_ne!(loaded(bench, name)?, before, "the attack does not work");
    Ok(())
}

/// `create`, and no `start`.
fn create(bench: &Bench, runtime: Runtime, bundle: &Bundle<'_>) -> Result<(), Error> {
    let (path, wrapper) = (bundle.path(), runtime.wrapper_path());
    let script = format!(
        "exec {} --root /run/bare create --bundle {path} {} >{path}/stdout 2>{path}/stderr </dev/null",
        wrapper.display(),
        bundle.id(),
        path = path.display(),
    );
    let mut command = bench.world.command_in_cgroups("sh");
    let ended = command.args(["-c", &script]).status().unwrap();
    assert!(ended.success(), "{}", bench.world.read(path.join("stderr"))?);
    Ok(())
}

fn is_killed_when_it_starts(runtime: Runtime, name: &str) -> Result<(), Error> {
    let (bench, name) = bench(runtime, name)?;
    for weakened in [false, true] {
        let id = if weakened { "weakened" } else { "whole" };
        let bundle = bench.bundle(id, &["sh", "-c", "sleep 1000; true"], |_| {})?;
        create(&bench, runtime, &bundle)?;
        if weakened {
            weaken(&bench, &name)?;
        }
        // crun's start may find that its process was killed meanwhile.
        let started = bench.gated.call(&bench.world, ["start", id])?;
        assert!(weakened || started.success(), "{started:?}");
        let proof = wait_for("the proof", || {
            let script = "cat /run/coaming/containers/*/proof.json | grep '\"started\"'";
            let proof = bench.world.run(["sh", "-c", script])?.stdout;
            Ok((!proof.is_empty()).then_some(proof))
        })?;
        let state = || -> Result<String, Error> {
            Ok(bench.gated.call(&bench.world, ["state", id])?.stdout)
        };
        if weakened {
            says(&proof, &[WORD, "\"killed\":true"]);
            wait_for("its end", || Ok(state()?.contains("stopped").then_some(())))?;
        } else {
            assert!(!proof.contains(WORD), "{proof}");
            says(state()?, &["running"]);
        }
        bench.gated.delete(&bundle)?;
    }
    Ok(())
}

#[test]
#[ignore = "runs in uml-apparmor"]
fn before_the_workload_starts_it_is_the_containers_end_by_runc() -> Result<(), Error> {
    is_in(GUESTS);
    is_killed_when_it_starts(Runtime::Runc(Suite::Sid), "swapped-runc")
}

#[test]
#[ignore = "runs in uml-apparmor"]
fn before_the_workload_starts_it_is_the_containers_end_by_crun() -> Result<(), Error> {
    is_in(GUESTS);
    is_killed_when_it_starts(Runtime::Crun(Suite::Sid), "swapped-crun")
}

/// Nobody watches a container that runs: whoever asks is told, and whoever loads or starts puts it right.
#[test]
#[ignore = "runs in uml-apparmor"]
fn later_on_the_status_tells_and_a_load_or_an_exec_puts_it_right() -> Result<(), Error> {
    is_in(GUESTS);
    let runtime = Runtime::Runc(Suite::Sid);
    let (bench, name) = bench(runtime, "swapped-later")?;
    let bundle = bench.bundle("one", &["sh", "-c", "sleep 1000; true"], |_| {})?;
    bench.gated.start(&bundle)?.ok("start")?;
    // By whom no gate stands before: what the container itself can do.
    let reads = || -> Result<bool, Error> {
        let flag = format!("--apparmor={name}");
        let said = bench.stock.exec(&bundle, &[&flag], &["sh", "-c", READ])?;
        Ok(said.stdout.contains("root:"))
    };
    let ours = |text: String| text.split(' ').nth(1).map(str::to_owned);
    let digest = ours(loaded(&bench, &name)?);
    assert!(!reads()? && !proved(&bench)?.contains(WORD));
    for by in ["load", "exec"] {
        weaken(&bench, &name)?;
        assert!(reads()?, "the attack does not work");
        says(proved(&bench)?, &[WORD]);
        if by == "load" {
            bench.world.run([COAMING, "load"])?.ok("load")?;
        } else {
            let said = bench.gated.exec(&bundle, &[], &["sh", "-c", READ])?;
            says(&said.stderr, &["Permission denied", "another AppArmor profile under the name"]);
        }
        assert_eq!(ours(loaded(&bench, &name)?), digest, "{by}");
        assert!(!reads()? && !proved(&bench)?.contains(WORD), "{by}");
    }
    bench.gated.delete(&bundle)
}
