//! The life of a set of policies: what was last good holds, what loosens waits for a word or a signature, and an
//! emergency frees one pod.

use std::path::{Path, PathBuf};
use std::process::Command;

use coaming_integration::{Bundle, Error, can_run};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::setup::{Bench, forget, outcome, policy, runtimes, says};

const CREATE: [&str; 3] = ["probe", "create", "/etc/new"];
const HELD: &str = "readOnlyRootFilesystem: true\n";
const FOLDER: &str = "/etc/coaming/policy.d";

fn pod<'a>(bench: &'a Bench, id: &str, name: &str) -> Result<Bundle<'a>, Error> {
    bench.bundle(id, &["sleep", "1000"], |spec| {
        spec["annotations"] = json!({
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.sandbox-namespace": "pay",
            "io.kubernetes.cri.sandbox-name": name,
            "io.kubernetes.cri.container-name": "main",
        });
    })
}

/// Whether a container of the pod may write to its root, and its record.
fn trial(bench: &Bench, id: &str, name: &str) -> Result<(bool, Value), Error> {
    let bundle = pod(bench, id, name)?;
    bench.gated.start(&bundle)?.ok("start")?;
    let wrote = outcome(&bench.gated.exec(&bundle, &[], &CREATE)?) == "allowed";
    let record = bench.record()?;
    bench.gated.delete(&bundle)?;
    Ok((wrote, record))
}

fn coaming(bench: &Bench, words: &str) -> Result<(i32, String), Error> {
    let output = bench.shell(&format!("/usr/libexec/coaming/coaming {words}"))?;
    Ok((output.code, output.text()))
}

/// What the record notes of policies; that the runtime is an old one is noted too.
fn notes(record: &Value) -> Vec<&Value> {
    let of_runtime = |note: &&Value| note.as_str().is_some_and(|note| note.contains("CVE-"));
    record["notes"].as_array().unwrap().iter().filter(|note| !of_runtime(note)).collect()
}

#[test]
fn while_policies_are_broken_the_last_good_ones_hold_and_everything_says_so() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in [runtimes()[0], runtimes()[1]] {
        eprintln!("{runtime}");
        let bench = Bench::new(runtime, "baseline")?;
        policy(&bench.world, "held", HELD)?;
        let (wrote, record) = trial(&bench, "before", "web")?;
        assert!(!wrote && notes(&record).is_empty(), "{record}");
        let (code, told) = coaming(&bench, "status")?;
        assert_eq!((code, told.as_str()), (0, "0 containers\n"));

        bench.world.write(format!("{FOLDER}/held.yaml"), "kind: Policy\nspec: {", 0o644)?;
        let bundle = pod(&bench, "during", "web")?;
        let started = bench.gated.start(&bundle)?.ok("start")?;
        says(&started.stderr, &["level=warning", "stay in force", "held.yaml:"]);
        assert_eq!(outcome(&bench.gated.exec(&bundle, &[], &CREATE)?), "denied");
        says(bench.record()?["notes"].to_string(), &["stay in force", "is broken", "held.yaml:"]);
        let (code, told) = coaming(&bench, "status")?;
        assert_eq!(code, 1, "{told}");
        says(&told, &["POLICY NOT IN FORCE", "held.yaml:", "enforced"]);
        says(&coaming(&bench, "explain --container during")?.1, &["stay in force", "held.yaml:"]);
        let (code, told) = coaming(&bench, "load")?;
        assert_eq!(code, 1, "{told}");
        says(&told, &["is broken", "1 policy and 0 waivers", "stay in force"]);
        bench.gated.delete(&bundle)?;

        policy(&bench.world, "held", HELD)?;
        assert_eq!(coaming(&bench, "load")?.0, 0);
        let (wrote, record) = trial(&bench, "after", "web")?;
        assert!(!wrote && notes(&record).is_empty(), "{record}");
    }
    Ok(())
}

#[test]
fn what_loosens_is_not_in_force_before_somebody_says_so() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let bench = Bench::new(runtimes()[0], "baseline")?;
    policy(&bench.world, "held", HELD)?;
    assert!(!trial(&bench, "before", "web")?.0);
    forget(&bench.world, "held")?;
    let (wrote, record) = trial(&bench, "kept", "web")?;
    assert!(!wrote, "{record}");
    says(record["notes"].to_string(), &["loosens", "coaming load --loosen", "held"]);
    let (code, told) = coaming(&bench, "load --output json")?;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (code, &told["inForce"], &told["refused"]["kind"]),
        (1, &json!(false), &json!("loosens"))
    );
    // What tightens besides is not taken either: a set is taken whole.
    policy(&bench.world, "more", "noNewPrivileges: true\n")?;
    let (wrote, record) = trial(&bench, "whole", "web")?;
    assert!(!wrote && !record["floor"].to_string().contains("\"more\""), "{record}");

    let (code, told) = coaming(&bench, "load --loosen")?;
    assert_eq!(code, 0, "{told}");
    says(&told, &["loosened", "held"]);
    let (wrote, record) = trial(&bench, "taken", "web")?;
    assert!(wrote && notes(&record).is_empty(), "{record}");
    says(record["floor"].to_string(), &["\"more\""]);
    says(&coaming(&bench, "load --loosen")?.1, &["unchanged since"]);
    Ok(())
}

#[test]
fn without_a_place_to_keep_them_policies_are_read_at_each_start() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let bench = Bench::new(runtimes()[0], "baseline")?;
    policy(&bench.world, "held", HELD)?;
    bench
        .shell("mkdir -p /var/lib/coaming && mount -t tmpfs -o ro tmpfs /var/lib/coaming")?
        .ok("mount")?;
    let (wrote, record) = trial(&bench, "read-only", "web")?;
    assert!(!wrote, "{record}");
    says(record["notes"].to_string(), &["no snapshot of them is kept", "/var/lib/coaming/policy"]);
    forget(&bench.world, "held")?;
    assert!(trial(&bench, "again", "web")?.0);
    assert_eq!(coaming(&bench, "load")?.0, 2);
    Ok(())
}

/// A key of minisign's, on the host.
struct Signer {
    folder: TempDir,
}

impl Signer {
    /// None where minisign is not there, which is said.
    fn new() -> Option<Signer> {
        let signer = Signer { folder: TempDir::new().unwrap() };
        let path = |name: &str| signer.folder.path().join(name);
        let made = Command::new("minisign")
            .args(["-G", "-W", "-p"])
            .arg(path("key.pub"))
            .arg("-s")
            .arg(path("key"))
            .output();
        match made {
            Ok(output) if output.status.success() => Some(signer),
            other => {
                assert!(std::env::var_os("CI").is_none(), "minisign cannot be run: {other:?}");
                eprintln!(
                    "skipped: minisign cannot be run ({other:?}); install the package minisign"
                );
                None
            }
        }
    }

    fn public(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("key.pub")).unwrap();
        text.lines().nth(1).unwrap().to_owned()
    }

    fn trusted(&self, more: &str) -> String {
        format!("[policy]\ntrusted_keys = [{:?}]\n{more}", self.public())
    }

    /// Signs a file of the world; as of a time, where one is given.
    fn sign(&self, file: &Path, time: Option<u64>) {
        let mut signature = file.to_owned().into_os_string();
        signature.push(".minisig");
        let local: PathBuf = self.folder.path().join("message");
        std::fs::copy(file, &local).unwrap();
        let mut command = Command::new("minisign");
        command.args(["-S", "-s"]).arg(self.folder.path().join("key")).arg("-m").arg(&local);
        if let Some(time) = time {
            command.arg("-t").arg(format!("timestamp:{time}"));
        }
        let signed = command.output().unwrap();
        assert!(signed.status.success(), "{signed:?}");
        std::fs::copy(local.with_extension("minisig"), signature).unwrap();
    }
}

fn sum_up(bench: &Bench) -> Result<PathBuf, Error> {
    bench
        .shell(&format!("cd {FOLDER} && rm -f SHA256SUMS* && sha256sum *.yaml >SHA256SUMS"))?
        .ok("sum")?;
    Ok(bench.world.path(format!("{FOLDER}/SHA256SUMS")))
}

#[test]
fn a_signed_set_loosens_and_a_forged_or_an_older_one_does_not() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let (Some(signer), Some(stranger)) = (Signer::new(), Signer::new()) else { return Ok(()) };
    let required = signer.trusted("signatures = \"required\"\nloosening = \"signed\"");
    let bench = Bench::with(runtimes()[0], "baseline", &required)?;
    policy(&bench.world, "held", HELD)?;
    let refused = bench.gated.start(&pod(&bench, "unsigned", "web")?)?;
    assert_ne!(refused.code, 0, "{refused:?}");
    says(&refused.stderr, &["no container starts", "no signature"]);
    signer.sign(&sum_up(&bench)?, Some(2000));
    assert!(!trial(&bench, "signed", "web")?.0);

    policy(&bench.world, "held", "readOnlyRootFilesystem: false\n")?;
    for (number, (signature, words)) in [
        (None, "no signature"),
        (Some((&stranger, 3000)), "no key under trusted_keys"),
        (Some((&signer, 1999)), "older"),
    ]
    .into_iter()
    .enumerate()
    {
        let manifest = sum_up(&bench)?;
        if let Some((by, time)) = signature {
            by.sign(&manifest, Some(time));
        }
        let (wrote, record) = trial(&bench, &format!("forged-{number}"), "web")?;
        assert!(!wrote, "{record}");
        says(record["notes"].to_string(), &["not signed as it must be", words]);
        assert_eq!(coaming(&bench, "load --loosen")?.0, 1, "a word is no signature");
    }
    signer.sign(&sum_up(&bench)?, None);
    let (wrote, record) = trial(&bench, "loosened", "web")?;
    assert!(wrote && notes(&record).is_empty(), "{record}");
    says(&coaming(&bench, "load")?.1, &["signed by", &signer.public()]);
    Ok(())
}

fn emergency(pods: &str, hours: u32) -> String {
    format!(
        "apiVersion: coaming.dev/v1alpha1\nkind: Waiver\nmetadata: {{name: fire}}\nspec:\n  \
         match: {{namespaces: [pay], pods: [{pods}]}}\n  waives: [readOnlyRootFilesystem]\n  owner: on-call\n  \
         reason: writes beside itself\n  starts: NOW\n  duration: {hours}h\n"
    )
}

#[test]
fn in_an_emergency_a_signed_waiver_frees_one_pod_for_some_hours() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let (Some(signer), Some(stranger)) = (Signer::new(), Signer::new()) else { return Ok(()) };
    let bench = Bench::with(runtimes()[0], "baseline", &signer.trusted("break_glass_hours = 4"))?;
    policy(&bench.world, "held", HELD)?;
    let now = bench.shell("date -u +%Y-%m-%dT%H:%M:%SZ")?.ok("date")?.stdout.trim().to_owned();
    let file = "/etc/coaming/break-glass.d/fire.yaml";
    let put = |pods: &str, hours: u32, by: Option<&Signer>| -> Result<(), Error> {
        bench.shell("rm -rf /etc/coaming/break-glass.d")?.ok("rm")?;
        bench.world.write(file, emergency(pods, hours).replace("NOW", &now), 0o644)?;
        if let Some(by) = by {
            by.sign(&bench.world.path(file), None);
        }
        Ok(())
    };
    for (id, pods, hours, by, words) in [
        ("unsigned", "web", 3, None, "no signature"),
        ("stranger", "web", 3, Some(&stranger), "no key under trusted_keys"),
        ("wide", "'web*'", 3, Some(&signer), "exactly one"),
        ("long", "web", 5, Some(&signer), "more than 4 hours"),
    ] {
        put(pods, hours, by)?;
        let (wrote, record) = trial(&bench, id, "web")?;
        assert!(!wrote && record["waived"] == json!([]), "{id}: {record}");
        says(record["notes"].to_string(), &["fire of on-call", "is not honoured", words]);
        says(&coaming(&bench, "status")?.1, &["fire", "is not honoured", words]);
    }
    put("web", 3, Some(&signer))?;
    let bundle = pod(&bench, "freed", "web")?;
    let started = bench.gated.start(&bundle)?.ok("start")?;
    says(&started.stderr, &["level=warning", "break-glass", "on-call", &signer.public()]);
    assert_eq!(outcome(&bench.gated.exec(&bundle, &[], &CREATE)?), "allowed");
    let record = bench.record()?;
    assert_eq!(record["waived"][0]["breakGlass"], json!(signer.public()), "{record}");
    says(
        &coaming(&bench, "status")?.1,
        &["BREAK-GLASS fire", "pay/web", "waived (BREAK-GLASS fire)"],
    );
    bench.gated.delete(&bundle)?;
    assert!(!trial(&bench, "other", "db")?.0, "another pod");

    // As if it had been the year 2150 before: the clock is set back, and the waiver has ended.
    bench.shell("touch -d '2150-01-01 00:00:00 UTC' /var/lib/coaming/clock")?.ok("touch")?;
    let (wrote, record) = trial(&bench, "ended", "web")?;
    assert!(!wrote, "{record}");
    says(record["notes"].to_string(), &["fire of on-call", "ended at"]);
    Ok(())
}
