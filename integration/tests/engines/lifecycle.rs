//! A container's life under each engine, by coaming.

use coaming_integration::{Brand, By, Engine, Error, can_run, images, wait_for};

use crate::setup::{engines, nothing_is_left, policy, says, stays};

/// It tells its start, and how it was stopped.
const TRAPS: &str = "echo begun; trap 'exit 7' TERM; while :; do sleep 0.1; done";

#[test]
fn a_container_of_docker_20_lives_as_it_does_without_coaming() -> Result<(), Error> {
    lives(0)
}

#[test]
fn a_container_of_podman_4_lives_as_it_does_without_coaming() -> Result<(), Error> {
    lives(1)
}

#[test]
fn a_container_of_the_newest_docker_lives_as_it_does_without_coaming() -> Result<(), Error> {
    lives(2)
}

#[test]
fn a_container_of_the_newest_podman_lives_as_it_does_without_coaming() -> Result<(), Error> {
    lives(3)
}

/// The engine of this number, and the same with the other runtime where all are wanted.
fn lives(number: usize) -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in engines().into_iter().skip(number).step_by(4) {
        eprintln!("{config}");
        let engine = Engine::start(config, "baseline")?;
        // With a launcher in it, which must be in nobody's way.
        policy(engine.world(), "landlock", "landlock: {write: [/tmp, /dev]}")?;
        for by in [By::Stock, By::Coaming] {
            life(&engine, by)?;
            healthy(&engine, by)?;
            with_init(&engine, by)?;
        }
        nothing_is_left(&engine)?;
    }
    Ok(())
}

fn life(engine: &Engine, by: By) -> Result<(), Error> {
    let shown = format!("{} {by:?}", engine.config());
    let run =
        |options: &[&str], args: &[&str]| engine.run(by, "life", images::PROBE, options, args);
    run(&["--detach"], &["sh", "-c", TRAPS])?.ok("run --detach")?;
    let exec = |options: &[&str], args: &[&str]| engine.exec("life", options, args);
    says(exec(&[], &["id"])?.stdout, &["uid=0(root)"]);
    says(exec(&["--user", "1000"], &["id"])?.stdout, &["uid=1000(user)"]);
    says(exec(&["--tty"], &["tty"])?.stdout, &["/dev/pts/"]);
    assert_eq!(exec(&[], &["tty"])?.code, 1, "{shown}: no terminal unless asked for");
    let typed = engine.call_with(["exec", "--interactive", "life", "cat"], b"typed\n")?;
    assert_eq!(typed.stdout, "typed\n", "{shown}");
    let workdir = ["--workdir", "/tmp", "--env", "NAME=value"];
    assert_eq!(exec(&workdir, &["sh", "-c", "echo $PWD $NAME"])?.stdout, "/tmp value\n", "{shown}");
    assert_eq!(exec(&[], &["sh", "-c", "exit 5"])?.code, 5, "{shown}");
    // The engines' codes for a command that is not there, and for one that cannot be run (docker-exec(1)); Docker 20.10
    // has one for both, and 28 another for the second.
    assert!([126, 127].contains(&exec(&[], &["absent"])?.code), "{shown}");
    assert!([126, 128].contains(&exec(&[], &["/etc/passwd"])?.code), "{shown}");
    exec(&["--detach"], &["touch", "/tmp/detached"])?.ok("exec --detach")?;
    wait_for("the detached exec", || {
        Ok(exec(&[], &["test", "-e", "/tmp/detached"])?.success().then_some(()))
    })?;

    let status = |format: &str| -> Result<String, Error> {
        let format = format!("{{{{.State.{format}}}}}");
        Ok(engine.call(["inspect", "--format", &format, "life"])?.ok("inspect")?.stdout)
    };
    let call = |words: &[&str]| engine.call(words)?.ok(words[0]);
    call(&["pause", "life"])?;
    assert_eq!(status("Status")?, "paused\n", "{shown}");
    call(&["unpause", "life"])?;
    // Podman has it since 4.3, and since 5 for all limits.
    if engine.call(["update", "--help"])?.stdout.contains("--memory") {
        call(&["update", "--memory", "64m", "--memory-swap", "64m", "life"])?;
        let limit = exec(
            &[],
            &[
                "sh",
                "-c",
                "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null",
            ],
        )?;
        assert_eq!(limit.stdout.trim(), "67108864", "{shown}");
    }
    call(&["cp", "life:/etc/passwd", "/run/copied"])?;
    call(&["cp", "/run/copied", "life:/tmp/copied"])?;
    assert!(exec(&[], &["cmp", "/etc/passwd", "/tmp/copied"])?.success(), "{shown}");
    assert_eq!(call(&["logs", "life"])?.stdout, "begun\n", "{shown}");
    says(call(&["top", "life"])?.stdout, &["sh"]);

    call(&["stop", "--time", "20", "life"])?;
    assert_eq!(status("ExitCode")?, "7\n", "{shown}");
    call(&["start", "life"])?;
    assert!(exec(&[], &["true"])?.success(), "{shown}: started again");
    call(&["restart", "--time", "20", "life"])?;
    assert!(exec(&[], &["true"])?.success(), "{shown}: restarted");
    call(&["kill", "--signal", "KILL", "life"])?;
    wait_for("the kill", || Ok((status("ExitCode")? == "137\n").then_some(())))?;
    call(&["start", "life"])?;
    engine.remove("life")?;

    let quick =
        engine.run(by, "quick", images::PROBE, &["--rm"], &["sh", "-c", "echo out; exit 3"])?;
    assert_eq!((quick.code, quick.stdout.as_str()), (3, "out\n"), "{shown}: {quick:?}");
    let absent = engine.run(by, "absent", images::PROBE, &["--rm"], &["/bin/absent"])?;
    // dockerd knows what runc says of it (127), and not what crun of today does (125).
    assert!([125, 127].contains(&absent.code), "{shown}: {absent:?}");
    assert!(absent.stderr.contains("/bin/absent"), "{shown}: {absent:?}");
    // Docker leaves what did not start.
    engine.call(["rm", "--force", "absent"])?;
    Ok(())
}

/// Health checks are execs, by the daemon or by the client.
fn healthy(engine: &Engine, by: By) -> Result<(), Error> {
    let check =
        ["--health-cmd", "test -e /tmp/well", "--health-interval", "1s", "--health-retries", "1"];
    stays(engine, by, "health", &check)?;
    let is = |wanted: &str| {
        wait_for(wanted, || {
            if engine.config().brand == Brand::Podman {
                // systemd's timers would.
                engine.call(["healthcheck", "run", "health"])?;
            }
            let format = "{{.State.Health.Status}}";
            let said = engine.call(["inspect", "--format", format, "health"])?.stdout;
            Ok((said.trim() == wanted).then_some(()))
        })
    };
    is("unhealthy")?;
    engine.exec("health", &[], &["touch", "/tmp/well"])?.ok("touch")?;
    is("healthy")?;
    engine.remove("health")
}

/// `--init` mounts a program of the node's into the container.
fn with_init(engine: &Engine, by: By) -> Result<(), Error> {
    let args = ["sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '"];
    let output = engine.run(by, "init", images::PROBE, &["--rm", "--init"], &args)?;
    says(&output.stdout, &["init", "-- sh -c"]);
    assert_eq!(output.code, 0, "{} {by:?}: {output:?}", engine.config());
    Ok(())
}
