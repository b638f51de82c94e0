//! What a client of an engine asks for beyond the floor: given by the stock runtime, and not by coaming.

use coaming_integration::{Brand, By, Engine, Error, Output, Runtime, Suite, can_run};

use crate::setup::{BOUNDING, engines, has_sys_admin, nothing_is_left, once, policy, says, stays};

#[test]
fn what_is_asked_beyond_the_floor_is_not_given() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in engines() {
        eprintln!("{config}");
        let engine = Engine::start(config, "baseline")?;
        capabilities(&engine)?;
        seccomp(&engine)?;
        refusals(&engine)?;
        execs(&engine)?;
        annotations(&engine)?;
        nothing_is_left(&engine)?;
    }
    Ok(())
}

fn capabilities(engine: &Engine) -> Result<(), Error> {
    for options in [&["--privileged"][..], &["--cap-add", "ALL"], &["--cap-add", "SYS_ADMIN"]] {
        let stock = once(engine, By::Stock, options, BOUNDING)?;
        // Docker 20.10 asks for capabilities that this machine may not have.
        let lacking = stock.text().to_lowercase().contains("operation not permitted");
        if !(lacking && engine.config().brand == Brand::Docker) {
            assert!(has_sys_admin(&stock), "{options:?}: {stock:?}");
        }
        let ours = once(engine, By::Coaming, options, BOUNDING)?;
        assert!(!has_sys_admin(&ours), "{options:?}: {ours:?}");
    }
    Ok(())
}

fn seccomp(engine: &Engine) -> Result<(), Error> {
    let asks = |by| {
        let options = ["--security-opt", "seccomp=unconfined"];
        once(engine, by, &options, &["grep", "^Seccomp:", "/proc/self/status"])
    };
    assert_eq!(asks(By::Stock)?.stdout, "Seccomp:\t0\n");
    assert_eq!(asks(By::Coaming)?.stdout, "Seccomp:\t2\n");
    Ok(())
}

/// What cannot be narrowed is refused, and the engine's own error says what and by which policy.
fn refusals(engine: &Engine) -> Result<(), Error> {
    for (options, args, control) in [
        (&["--pid", "host"][..], &["true"][..], "hostNamespaces"),
        (&["--ipc", "host"], &["true"], "hostNamespaces"),
        (&["--network", "host"], &["true"], "hostNamespaces"),
        (&["--volume", "/:/host"], &["test", "-e", "/host/etc/coaming/config.toml"], "mounts"),
        (&["--volume", "/run:/node-run:ro"], &["true"], "mounts"),
    ] {
        let stock = once(engine, By::Stock, options, args)?;
        assert_eq!(stock.code, 0, "{options:?}: {stock:?}");
        let ours = once(engine, By::Coaming, options, args)?;
        // The engines' code for "the container did not start" is 125 or 126, and 1 for some of Podman's.
        assert!(![0, 124].contains(&ours.code), "{options:?}: {ours:?}");
        is_told(&ours, control);
        // Docker keeps what did not start.
        engine.call(["rm", "--force", "once"])?;
    }
    Ok(())
}

#[track_caller]
fn is_told(output: &Output, control: &str) {
    says(
        &output.stderr,
        &["coaming refused to create container", "policy baseline", &format!("spec.{control}")],
    );
}

fn execs(engine: &Engine) -> Result<(), Error> {
    for by in [By::Stock, By::Coaming] {
        stays(engine, by, "held", &["--user", "1000"])?;
        let privileged = engine.exec("held", &["--privileged", "--user", "0"], BOUNDING)?;
        let lacking = privileged.text().to_lowercase().contains("operation not permitted");
        if by == By::Coaming || !lacking {
            assert_eq!(has_sys_admin(&privileged), by == By::Stock, "{by:?} {privileged:?}");
        }
        engine.remove("held")?;
    }
    // An exec is held to today's policy, and the client is told.
    stays(engine, By::Coaming, "held", &[])?;
    policy(engine.world(), "people", "user: {runAsNonRoot: true}")?;
    assert!(engine.exec("held", &["--user", "1000"], &["true"])?.success());
    let refused = engine.exec("held", &[], &["true"])?;
    assert!(!refused.success(), "{refused:?}");
    says(refused.text(), &["coaming refused to exec into container", "policy people"]);
    engine.world().run(["rm", "/etc/coaming/policy.d/people.yaml"])?.ok("rm")?;
    engine.world().run(["/usr/libexec/coaming/coaming", "load", "--loosen"])?.ok("load")?;
    engine.remove("held")
}

/// crun takes a whole filter from an annotation. This one allows everything: BPF_RET with SECCOMP_RET_ALLOW.
const ALLOW_ALL: &str = "run.oci.seccomp_bpf_data=BgAAAAAA/38=";

fn annotations(engine: &Engine) -> Result<(), Error> {
    let config = engine.config();
    let knows = config.brand == Brand::Podman || config.suite == Suite::Sid;
    if !knows || !matches!(config.runtime, Runtime::Crun(_)) {
        return Ok(());
    }
    let attempt =
        |by| once(engine, by, &["--annotation", ALLOW_ALL], &["probe", "each", "io-uring"]);
    let (stock, ours) = (attempt(By::Stock)?, attempt(By::Coaming)?);
    says(&stock.stdout, &["\"allowed\""]);
    assert!(!ours.stdout.contains("\"allowed\"") && !ours.stdout.is_empty(), "{ours:?}");
    Ok(())
}
