//! `coaming doctor` and `coaming metrics` on nodes with a real containerd.

// All of this is tests, helpers included.
#![allow(clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]

use coaming_integration::cri::{ContainerSpec, Pod};
use coaming_integration::{Error, Node, NodeConfig, PAIRS, World, can_run, configuration, images};
use serde_json::Value;

const CLI: &str = "/usr/libexec/coaming/coaming";
const CONFIG: &str = "/etc/containerd/config.toml";

fn doctor(world: &World, more: &[&str]) -> Result<Value, Error> {
    let line = [&[CLI, "doctor", "--output", "json"], more].concat();
    let said = world.run(line)?;
    let report: Value =
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(said.code, i32::from(!problems.is_empty()), "{report}");
    Ok(report)
}

/// containerd's handlers: name, where it ends, and line.
fn handlers(report: &Value) -> Vec<(String, String, usize)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let handlers = report["handlers"].as_array().unwrap().iter();
    handlers
        .filter(|handler| handler["manager"] == "containerd")
        .map(|handler| {
            let line = handler["place"]["line"].as_u64().unwrap_or(0);
            (text(&handler["name"]), text(&handler["ends"]), usize::try_from(line).unwrap())
        })
        .collect()
}

/// Each containerd has its own form of configuration.
#[test]
fn a_handler_that_goes_around_is_named_with_its_line() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for (containerd, runtime) in [PAIRS[0], PAIRS[4]] {
        let node = Node::start(NodeConfig::new(containerd, runtime))?;
        let world = node.world();
        world.install_coaming()?;
        world.write("/etc/coaming/config.toml", configuration(runtime, "baseline"), 0o644)?;
        let report = doctor(world, &[])?;
        let found = handlers(&report);
        let ends: Vec<(&str, &str)> =
            found.iter().map(|(name, ends, _)| (name.as_str(), ends.as_str())).collect();
        assert_eq!(
            ends,
            [
                ("coaming", "wrapper"),
                ("coaming-shim", "shim"),
                ("coaming-type", "shim"),
                ("runc", "around")
            ]
        );
        let text = world.read(CONFIG)?;
        let line = text.lines().nth(found[3].2 - 1).unwrap();
        assert!(
            line.contains("BinaryName") && line.contains(&runtime.path().display().to_string()),
            "{line}"
        );
        let problems = report["problems"].to_string();
        assert!(
            problems.contains(&format!(
                "runc, the default one, goes around coaming ({CONFIG}:{})",
                found[3].2
            )),
            "{problems}"
        );

        // What it says is what happens: a pod of one leaves a record, a pod of the other none.
        let cri = node.cri()?;
        let records = || world.run(["sh", "-c", "ls /run/coaming/containers 2>/dev/null | wc -l"]);
        for (handler, expected) in [("runc", "0\n"), ("coaming", "2\n")] {
            let pod = cri.run_pod(&Pod::new(handler, handler))?;
            cri.launch(&pod, &ContainerSpec::new("main", images::PROBE, ["sleep", "1000"]))?;
            assert_eq!(records()?.stdout, expected, "{handler}");
        }

        // containerd's own word of its configuration says the same.
        let daemon = containerd.path();
        let dump = format!("{} config dump >/run/dump.toml", daemon.display());
        world.run(["sh", "-c", &dump])?.ok("config dump")?;
        let dumped = handlers(&doctor(world, &["--containerd-config", "/run/dump.toml"])?);
        let dumped: Vec<(&str, &str)> =
            dumped.iter().map(|(name, ends, _)| (name.as_str(), ends.as_str())).collect();
        assert_eq!(dumped, ends);
    }
    Ok(())
}

/// The kernel's own lists, and what becomes of containers, are held beside what was tried.
#[test]
fn the_kernel_gives_what_the_doctor_says() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let (containerd, runtime) = PAIRS[4];
    let node = Node::start(NodeConfig::new(containerd, runtime))?;
    let world = node.world();
    world.install_coaming()?;
    world.write("/etc/coaming/config.toml", configuration(runtime, "baseline"), 0o644)?;
    let policy = |name: &str, rule: &str| {
        let text = format!(
            "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: {name}}}\nspec:\n  match: {{namespaces: [{name}]}}\n  {rule}\n"
        );
        world.write(format!("/etc/coaming/policy.d/{name}.yaml"), text, 0o644)
    };
    policy("armoured", "appArmor: {allow: [some-profile], default: some-profile}")?;
    policy("locked", "landlock: {scopes: [signal]}")?;
    policy("plain", "noNewPrivileges: true")?;
    let report = doctor(world, &[])?;

    let trials = &report["kernel"]["trials"];
    let known = world.read("/proc/sys/kernel/seccomp/actions_avail")?;
    for (action, is_known) in trials["seccompActions"].as_object().unwrap() {
        let listed = known.split_whitespace().any(|name| name == action.to_lowercase());
        assert_eq!(is_known.as_bool(), Some(listed), "{action} of {known}");
    }
    assert_eq!(trials["seccompFilter"], true);

    let state = |control: &str| {
        let controls = report["controls"].as_array().unwrap();
        controls.iter().find(|given| given["control"] == control).unwrap()["state"].clone()
    };
    let unmet = report["unmet"].to_string();
    let cri = node.cri()?;
    for (namespace, control) in
        [("armoured", "appArmor"), ("locked", "landlock"), ("plain", "noNewPrivileges")]
    {
        let pod = cri
            .run_pod(&Pod { namespace: namespace.to_owned(), ..Pod::new(namespace, "coaming") })?;
        let started =
            cri.launch(&pod, &ContainerSpec::new("main", images::PROBE, ["sleep", "1000"]));
        let is_met = state(control) != "impossible";
        assert_eq!(started.is_ok(), is_met, "{control}: {:?}", started.err());
        let named = unmet.contains(&format!("/etc/coaming/policy.d/{namespace}.yaml"));
        assert_eq!(named, !is_met, "{control}: {unmet}");
    }
    Ok(())
}

#[test]
fn metrics_count_what_happened() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let (containerd, runtime) = PAIRS[4];
    let node = Node::start(NodeConfig::new(containerd, runtime))?;
    let world = node.world();
    world.install_coaming()?;
    world.write("/etc/coaming/config.toml", configuration(runtime, "baseline"), 0o644)?;
    let policy = "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {name: all}\nspec: {privileged: false}\n";
    world.write("/etc/coaming/policy.d/all.yaml", policy, 0o644)?;
    let cri = node.cri()?;
    let pod = cri.run_pod(&Pod::new("one", "coaming"))?;
    cri.launch(&pod, &ContainerSpec::new("main", images::PROBE, ["sleep", "1000"]))?;
    world.run(["mkdir", "-p", "/run/textfile"])?.ok("mkdir")?;
    world.run([CLI, "metrics", "--textfile", "/run/textfile/coaming.prom"])?.ok("metrics")?;
    let text = world.read("/run/textfile/coaming.prom")?;
    for line in [
        "coaming_containers{state=\"current\"} 2\n",
        "coaming_containers{state=\"outdated\"} 0\n",
        "coaming_policy_in_force 1\n",
        "coaming_collect_failed{part=\"journal\"} 0\n",
        "coaming_collect_failed{part=\"policy\"} 0\n",
        "name=\"runc\",version=\"1.3.6+ds1\"} 1\n",
        "# TYPE coaming_containers_created_total counter\n",
    ] {
        assert!(text.contains(line), "no {line:?} in:\n{text}");
    }
    // The digest is the one of which the journal says that the containers were held to it.
    let journal = world.run([CLI, "journal", "--output", "json"])?.ok("journal")?.stdout;
    let mut events = journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let created = events.find(|event| event["event"] == "created").unwrap();
    let digest = created["policySet"].as_str().unwrap();
    let line = format!("coaming_policy_info{{digest=\"{digest}\"}} 1\n");
    assert!(digest.len() == 64 && text.contains(&line), "no {line:?} in:\n{text}");
    Ok(())
}
