//! Waivers: they serve whom they name, say so, and end.

use coaming_integration::{Bundle, Error, World, can_run};
use serde_json::{Value, json};

use crate::setup::{Bench, FREELY, outcome, policy, runtimes, says};

const CREATE: [&str; 3] = ["probe", "create", "/etc/new"];
/// A century from 2020.
const ALIVE: &str = "starts: 2020-01-01T00:00:00Z\n  duration: 36500days";
const ENDED: &str = "starts: 2020-01-01T00:00:00Z\n  duration: 1day";

/// Writes a waiver for `ledger` in the namespace `payments-eu`.
fn waive(world: &World, controls: &str, term: &str) -> Result<(), Error> {
    let text = format!(
        "apiVersion: coaming.dev/v1alpha1\nkind: Waiver\nmetadata: {{name: legacy-ledger}}\nspec:\n  \
         match: {{namespaces: [payments-eu], containers: [ledger]}}\n  waives: [{controls}]\n  \
         owner: payments-platform\n  reason: writes beside its program\n  {term}\n"
    );
    world.write("/etc/coaming/policy.d/.waiver", text, 0o644)?;
    world
        .run(["mv", "/etc/coaming/policy.d/.waiver", "/etc/coaming/policy.d/waiver.yaml"])?
        .ok("mv")
        .map(drop)
}

fn named<'a>(namespace: &'a str, container: &'a str) -> impl Fn(&mut Value) + 'a {
    move |spec| {
        spec["annotations"] = json!({
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.sandbox-namespace": namespace,
            "io.kubernetes.cri.sandbox-name": "ledger",
            "io.kubernetes.cri.container-name": container,
        });
    }
}

fn start<'a>(bench: &'a Bench, id: &str, namespace: &str, name: &str) -> Result<Bundle<'a>, Error> {
    let bundle = bench.bundle(id, &["sleep", "1000"], named(namespace, name))?;
    bench.gated.start(&bundle)?.ok("start")?;
    Ok(bundle)
}

fn writes(bench: &Bench, bundle: &Bundle<'_>) -> Result<bool, Error> {
    Ok(outcome(&bench.gated.exec(bundle, &[], &CREATE)?) == "allowed")
}

/// Starts a container, asks whether it may write, and takes it away again; with its record.
fn trial(bench: &Bench, id: &str, namespace: &str, name: &str) -> Result<(bool, Value), Error> {
    let bundle = start(bench, id, namespace, name)?;
    let (wrote, record) = (writes(bench, &bundle)?, bench.record()?);
    bench.gated.delete(&bundle)?;
    Ok((wrote, record))
}

#[test]
fn a_waiver_serves_whom_it_names_and_is_told_until_it_ends() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in [runtimes()[0], runtimes()[1]] {
        eprintln!("{runtime}");
        let bench = Bench::with(runtime, "baseline", FREELY)?;
        policy(&bench.world, "held", "readOnlyRootFilesystem: true\nnoNewPrivileges: true\n")?;
        assert!(!trial(&bench, "before", "payments-eu", "ledger")?.0, "held without a waiver");

        waive(&bench.world, "readOnlyRootFilesystem", ALIVE)?;
        let (wrote, record) = trial(&bench, "served", "payments-eu", "ledger")?;
        assert!(wrote, "{record}");
        let told = record["waived"][0].to_string();
        says(
            told,
            &[
                "legacy-ledger",
                "payments-platform",
                "writes beside",
                "readOnlyRootFilesystem of held",
            ],
        );
        // What it does not name is held all the same.
        says(record["floor"].to_string(), &["noNewPrivileges"]);
        for (id, namespace, name) in [
            ("other", "payments-eu", "web"),
            ("forged", "shop", "ledger"),
            ("case", "Payments-EU", "ledger"),
        ] {
            let (wrote, record) = trial(&bench, id, namespace, name)?;
            assert!(!wrote && record["waived"] == json!([]), "{id}: {record}");
        }

        waive(&bench.world, "readOnlyRootFilesystem", ENDED)?;
        let (wrote, record) = trial(&bench, "ended", "payments-eu", "ledger")?;
        assert!(!wrote, "{record}");
        says(record["notes"].to_string(), &["legacy-ledger", "2020-01-02", "waives nothing"]);
    }
    Ok(())
}

#[test]
fn an_exec_after_the_end_is_held_to_what_was_waived() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let bench = Bench::with(runtimes()[0], "baseline", FREELY)?;
    policy(
        &bench.world,
        "held",
        "capabilities: {allow: [KILL]}\nlandlock: {write: [/tmp, /dev]}\n",
    )?;
    waive(&bench.world, "capabilities, landlock", ALIVE)?;
    let bundle = start(&bench, "served", "payments-eu", "ledger")?;
    assert!(writes(&bench, &bundle)?);
    waive(&bench.world, "capabilities, landlock", ENDED)?;
    // Landlock cannot be brought into a container that runs without the launcher.
    let refused = bench.gated.exec(&bundle, &[], &CREATE)?;
    assert_ne!(refused.code, 0, "{refused:?}");
    says(&refused.stderr, &["Landlock", "created again"]);
    bench.gated.delete(&bundle)
}

#[test]
fn a_clock_that_is_set_back_brings_no_waiver_back() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let bench = Bench::with(runtimes()[0], "baseline", FREELY)?;
    policy(&bench.world, "held", "readOnlyRootFilesystem: true\n")?;
    waive(&bench.world, "readOnlyRootFilesystem", ALIVE)?;
    assert!(trial(&bench, "now", "payments-eu", "ledger")?.0);
    // As if the node had been in the year 2150 before: the machine's own clock is not a test's to set.
    bench.shell("touch -d '2150-01-01 00:00:00 UTC' /var/lib/coaming/clock")?.ok("touch")?;
    let (wrote, record) = trial(&bench, "back", "payments-eu", "ledger")?;
    assert!(!wrote, "{record}");
    says(record["notes"].to_string(), &["clock", "2150-01-01", "/var/lib/coaming/clock"]);
    bench
        .shell("rm /var/lib/coaming/clock && ln -s /etc/hostname /var/lib/coaming/clock")?
        .ok("ln")?;
    let (wrote, record) = trial(&bench, "linked", "payments-eu", "ledger")?;
    assert!(!wrote, "{record}");
    says(record["notes"].to_string(), &["no waiver is honoured"]);
    Ok(())
}

#[test]
fn a_waiver_that_nobody_answers_for_keeps_everything_from_starting() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let bench = Bench::with(runtimes()[0], "baseline", FREELY)?;
    waive(&bench.world, "landlock", ALIVE)?;
    bench
        .shell("sed -i s/payments-platform/\\'\\'/ /etc/coaming/policy.d/waiver.yaml")?
        .ok("sed")?;
    let bundle = bench.bundle("any", &["true"], |_| {})?;
    let refused = bench.gated.start(&bundle)?;
    assert_ne!(refused.code, 0, "{refused:?}");
    says(&refused.stderr, &["waiver.yaml:7", "owner"]);
    Ok(())
}
