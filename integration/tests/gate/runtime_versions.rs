//! What the runtime itself says: its version, and the annotations that it calls unsafe.

use coaming_integration::{Error, Runtime, Suite, can_run};
use serde_json::json;

use crate::setup::{Bench, says};

/// A version with ways out that are known, and one without any.
const OLD: Runtime = Runtime::Runc(Suite::Bookworm);
const NEW: Runtime = Runtime::Runc(Suite::Sid);

#[test]
fn a_runtime_with_known_ways_out_is_told_of_or_refused() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let warned = Bench::new(OLD, "baseline")?;
    let bundle = warned.bundle("warned", &["sleep", "1000"], |_| {})?;
    warned.gated.start(&bundle)?.ok("run")?;
    let notes = warned.record()?["notes"].to_string();
    says(&notes, &["runc 1.1.5", "CVE-2025-31133", "fixed in 1.2.8"]);

    // A key of the whole file stands before its tables.
    let refuse = |bench: &Bench| {
        bench
            .shell("sed -i '1i vulnerable_runtimes = \"refuse\"' /etc/coaming/config.toml")?
            .ok("sed")
    };
    refuse(&warned)?;
    let bundle = warned.bundle("refused", &["true"], |_| {})?;
    let refused = warned.gated.run(&bundle, b"")?;
    assert_eq!(refused.code, 1, "{refused:?}");
    says(
        &refused.stderr,
        &["coaming refused to create", "runc 1.1.5", "CVE-2025-31133", "update it", "fixed"],
    );
    let list = warned.stock.call(&warned.world, ["list", "-q"])?;
    assert!(!list.stdout.contains("refused"), "{list:?}");

    let current = Bench::new(NEW, "baseline")?;
    refuse(&current)?;
    let bundle = current.bundle("current", &["true"], |_| {})?;
    current.gated.run(&bundle, b"")?.ok("run")?;
    Ok(())
}

#[test]
fn a_runtime_is_asked_once_and_again_when_its_file_is_another() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let bench = Bench::new(NEW, "node")?;
    let kept = || bench.shell("cat /var/lib/coaming/runtimes/*.json");
    let run = |id: &str| bench.gated.run(&bench.bundle(id, &["true"], |_| {})?, b"")?.ok("run");
    run("first")?;
    let first = kept()?.ok("cat")?.stdout;
    says(&first, &["\"name\":\"runc\"", "\"version\":\"1.3", "org.systemd.property."]);
    run("second")?;
    assert_eq!(kept()?.stdout, first);
    let forged = bench.shell(
        "chmod 666 /var/lib/coaming/runtimes/*.json && sed -i 's/1[.]3[.]/9.9./' /var/lib/coaming/runtimes/*.json",
    )?;
    forged.ok("forge")?;
    run("third")?;
    assert!(!kept()?.stdout.contains("9.9."), "what others can write was believed");
    Ok(())
}

/// Each of its own list, and one that the floors name too.
#[test]
fn what_the_runtime_calls_unsafe_is_taken_away() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for (runtime, key) in
        [(NEW, "bundle"), (Runtime::Crun(Suite::Sid), "module.wasm.image/variant")]
    {
        for floor in ["baseline", "node"] {
            let bench = Bench::new(runtime, floor)?;
            let bundle = bench.bundle("unsafe", &["sleep", "1000"], |spec| {
                spec["annotations"][key] = json!("x");
                spec["annotations"]["run.oci.x"] = json!("y");
                spec["annotations"]["io.kubernetes.cri.container-type"] = json!("container");
                spec["annotations"]["note"] = json!("z");
            })?;
            bench.gated.start(&bundle)?.ok("run")?;
            let record = bench.record()?;
            let changes = record["changes"].to_string();
            says(&changes, &[&format!("annotations[{key}]"), "annotations[run.oci.x]"]);
            assert!(!changes.contains("container-type"), "{changes}");
            let config = bench.world.read(bundle.path().join("config.json"))?;
            says(&config, &["\"note\"", "io.kubernetes.cri.container-type"]);
            assert!(!config.contains(&format!("{key:?}:")), "{runtime:?} under {floor}: {config}");
        }
    }
    Ok(())
}
