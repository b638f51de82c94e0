//! What the booted image does: runs in it, see boot.rs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use coaming_integration::cri::{ContainerSpec, Pod};
use coaming_integration::{Cri, Error, World, images, wait_for};
use serde_json::Value;

const SOCKET: &str = "/run/containerd/containerd.sock";
const BAKED: &str = "/usr/lib/coaming";

#[test]
#[ignore = "runs in the image that boot.rs boots"]
fn the_first_container_crosses_the_gate() -> Result<(), Error> {
    assert_eq!(fs::read_to_string("/etc/hostname").unwrap(), "image\n", "not in the image");
    assert!(fs::write("/usr/written", "x").is_err(), "/usr is not read-only");
    let interfaces: Vec<_> = fs::read_dir("/sys/class/net").unwrap().flatten().collect();
    let names: Vec<_> = interfaces.iter().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["lo"], "there is a network");

    let machine = World::of_machine()?;
    // Before the first start: brought in by the unit, and not compiled anew.
    let current = |folder: &str| -> Value {
        serde_json::from_slice(&fs::read(format!("{folder}/policy/current")).unwrap()).unwrap()
    };
    let state = machine.run(["systemctl", "is-active", "coaming-load.path"])?.stdout;
    assert_eq!(state, "active\n");
    let result = machine.run([
        "systemctl",
        "show",
        "--property=Result,ExecMainStatus",
        "coaming-load.service",
    ])?;
    assert!(result.stdout.contains("Result=success"), "{result:?}");
    // What was changed a moment ago, as in an image that was made a moment ago, is not written down as settled.
    wait_for("the set in force in /var", || {
        machine.run(["coaming", "load"])?.ok("coaming load")?;
        Ok(Path::new("/var/lib/coaming/policy/current").exists().then_some(()))
    })?;
    let (baked, own) = (current(BAKED), current("/var/lib/coaming"));
    for key in ["root", "accepted", "directory", "rules"] {
        assert_eq!(own[key], baked[key], "{key}: the policies were read anew");
    }

    let cri = wait_for("containerd's CRI", || Ok(Cri::connect_at(&machine, SOCKET).ok()))?;
    wait_for("containerd", || Ok(machine.run(["ctr", "version"])?.success().then_some(())))?;
    let import = ["ctr", "--namespace", "k8s.io", "images", "import", "/usr/share/images.tar"];
    machine.run(import)?.ok("ctr images import")?;
    wait_for("CRI's image list", || {
        Ok(images::ALL.iter().all(|image| cri.has_image(image).unwrap_or(false)).then_some(()))
    })?;

    // The default handler: nobody named coaming.
    let pod = cri.run_pod(&Pod { namespace: "payments".to_owned(), ..Pod::new("ledger-0", "") })?;
    let first =
        ContainerSpec::new("ledger", images::PROBE, ["probe", "each", "status", "--", "pause"]);
    let first = cri.launch(&pod, &first)?;
    let status = wait_for("the probe's word of itself", || {
        let said = cri.logs(&first)?.stdout;
        Ok(said.lines().next().and_then(|line| serde_json::from_str::<Value>(line).ok()))
    })?;
    assert_eq!(status["noNewPrivs"], 1, "{status}");
    for name in status["capabilities"]["bounding"].as_array().unwrap() {
        assert_eq!(name, "CAP_CHOWN", "{status}");
    }
    let record = record(&machine, &first)?;
    assert_eq!(record["facts"]["namespace"]["value"], "payments", "{record:#}");
    assert!(record["degraded"].as_array().is_none_or(Vec::is_empty), "{record:#}");
    let said = machine.run(["coaming", "status"])?.ok("coaming status")?.stdout;
    assert!(said.contains("payments/ledger-0/ledger") && said.contains("enforced"), "{said}");

    // Filters: all that the launcher loads came with the image.
    let (used, given) = (filters("/run/coaming/filters"), baked_filters());
    let compiled: Vec<&String> = used
        .iter()
        .filter(|(name, bytes)| given.get(*name) != Some(bytes))
        .map(|(name, _)| name)
        .collect();
    eprintln!(
        "of {} filters and answers {} were not in the image: {compiled:?}",
        used.len(),
        compiled.len()
    );
    assert!(used.len() > compiled.len(), "no filter came from the image");
    assert!(!compiled.iter().any(|name| name.ends_with(".launcher")), "{compiled:?}");

    // The refused one: by the file that is in the image.
    let admin = Pod { namespace: "payments".to_owned(), privileged: true, ..Pod::new("admin", "") };
    let wide =
        ContainerSpec { privileged: true, ..ContainerSpec::new("wide", images::PROBE, ["true"]) };
    let refused = match cri.run_pod(&admin) {
        Err(error) => error,
        Ok(admin) => cri.launch(&admin, &wide).expect_err("a privileged container was not refused"),
    };
    let refused = refused.to_string();
    for part in ["coaming refused", "/etc/coaming/policy.d/payments.yaml:10", "never privileged"] {
        assert!(refused.contains(part), "no {part:?}: {refused}");
    }
    Ok(())
}

fn record(machine: &World, id: &str) -> Result<Value, Error> {
    let said = machine.run(["sh", "-c", "cat /run/coaming/containers/*/record.json"])?.stdout;
    let mut records = serde_json::Deserializer::from_str(&said).into_iter::<Value>();
    Ok(records
        .find_map(|record| record.ok().filter(|record| record["id"] == id))
        .unwrap_or_else(|| panic!("no record of {id} in {said}")))
}

fn filters(folder: impl AsRef<Path>) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

fn baked_filters() -> BTreeMap<String, Vec<u8>> {
    let builds = fs::read_dir(format!("{BAKED}/filters")).unwrap().flatten();
    builds.flat_map(|build| filters(build.path())).collect()
}
