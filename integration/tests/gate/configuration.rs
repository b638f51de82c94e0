//! The node's configuration and its folder of policies: absent, broken, or not root's alone.

use coaming_integration::cri::{ContainerSpec, Pod};
use coaming_integration::{Error, Node, Output, PAIRS, Run, can_run, images};

use crate::setup::{Bench, install_with, outcome, parsed, plain_pair, policy, refusal, says};

const CONFIG: &str = "/etc/coaming/config.toml";
const FOLDER: &str = "/etc/coaming/policy.d";

/// Runs the probe once through coaming, without containerd.
fn once(bench: &Bench, id: &str, attempt: &[&str]) -> Result<Output, Error> {
    let bundle = bench.bundle(id, &[&["probe"], attempt].concat(), |_| {})?;
    bench.gated.run(&bundle, b"")
}

#[test]
fn without_a_policy_folder_the_configured_built_in_floor_is_in_force() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let [(_, runtime), ..] = PAIRS;
    for (floor, raw) in [("baseline", "denied"), ("node", "allowed")] {
        let bench = Bench::new(runtime, floor)?;
        bench.shell("rm -r /etc/coaming/policy.d")?.ok("rm")?;
        // CAP_NET_RAW is in the runtimes' default set and not in the baseline's.
        assert_eq!(outcome(&once(&bench, "raw", &["raw-icmp"])?), raw, "{floor}");
        let alg = parsed(&once(&bench, "alg", &["af-alg"])?);
        assert_eq!(alg["errno"], "EPERM", "{floor}: {alg}");
    }
    Ok(())
}

#[test]
fn without_a_configuration_the_defaults_hold() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    // Debian's runc, if it is installed, is where the wrapper looks without configuration.
    let [(_, runc), (_, crun), ..] = PAIRS;
    for (runtime, program) in [(runc, "runc"), (crun, "crun")] {
        let bench = Bench::new(runtime, "node")?;
        bench.shell("rm /etc/coaming/config.toml")?.ok("rm")?;
        let found = bench.shell(&format!(
            "for d in /usr/bin /usr/sbin /usr/local/bin /usr/local/sbin; do test -x $d/{program} && echo yes; done; true"
        ))?;
        let output = once(&bench, "defaults", &["raw-icmp"])?;
        if found.stdout.is_empty() {
            assert_eq!(output.code, 1, "{output:?}");
            says(&output.stderr, &["coaming has no runtime for the name", program, CONFIG]);
        } else {
            assert_eq!(outcome(&output), "denied", "the default floor is baseline: {output:?}");
        }
        let unknown = bench.shell(
            "ln -s coaming-runc /usr/libexec/coaming/coaming-other; /usr/libexec/coaming/coaming-other list",
        )?;
        assert_eq!(unknown.code, 1, "{unknown:?}");
        says(&unknown.stderr, &["no runtime for the name \"coaming-other\"", CONFIG]);
    }
    Ok(())
}

/// Each with a part of what must be said of it.
const BROKEN: [(&str, &[&str]); 5] = [
    (
        "spec:\n  capabilities: {allow: [NET_BIND_SERVCE]}\n",
        &["x.yaml:5", "NET_BIND_SERVCE", "NET_BIND_SERVICE"],
    ),
    ("spec:\n  capabilites: {allow: []}\n", &["x.yaml:5", "capabilites", "capabilities"]),
    ("spec:\n  privileged: maybe\n", &["x.yaml:5", "true or false"]),
    ("spec:\n  privileged: false\n  privileged: true\n", &["x.yaml:6", "privileged"]),
    ("spec: {\n", &["x.yaml:"]),
];

/// Where the last good policies shall not hold in the place of broken ones.
const REFUSED: &str = "[policy]\nbroken = \"refuse\"";

fn broken(rest: &str) -> String {
    format!("apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: x}}\n{rest}")
}

#[test]
fn a_broken_policy_starts_no_container_and_says_where_it_is_broken() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let config = plain_pair();
    let runtime = config.runtime;
    let node = Node::start(config)?;
    install_with(node.world(), runtime, "baseline", REFUSED)?;
    let (cri, ctr) = (node.cri()?, node.ctr());
    let pod = cri.run_pod(&Pod::new("before", "coaming"))?;
    let running =
        cri.launch(&pod, &ContainerSpec::new("main", images::PROBE, ["sleep", "1000"]))?;
    for (number, (rest, parts)) in BROKEN.into_iter().enumerate() {
        node.world().write(format!("{FOLDER}/x.yaml"), broken(rest), 0o644)?;
        let parts = [
            &["coaming cannot read its policy, so no container starts: /etc/coaming/policy.d/"],
            parts,
        ]
        .concat();
        let spec = ContainerSpec::new("next", images::PROBE, ["true"]);
        says(refusal(cri.launch(&pod, &spec)), &parts);
        says(refusal(cri.run_pod(&Pod::new("next", "coaming"))), &parts);
        let run = Run::new(images::PROBE, &format!("ctr-{number}")).args(["true"]);
        let refused = ctr.run(&run.runtime(runtime.wrapper_path()))?;
        assert_ne!(refused.code, 0);
        says(&refused.stderr, &parts);
        // An exec is held to today's policy, which nobody can tell.
        let exec = cri.exec_sync(&running, ["true"]);
        says(exec.map(|output| output.text()).unwrap_or_else(|error| error.to_string()), &parts);
    }
    // Mended, it all goes on; and what ran was never touched.
    node.world().run(["rm", &format!("{FOLDER}/x.yaml")])?.ok("rm")?;
    assert_eq!(cri.exec_sync(&running, ["true"])?.code, 0);
    cri.stop(&running, 0)?;
    cri.remove_pod(&pod)
}

#[test]
fn a_policy_that_others_can_change_is_refused() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let [(_, runtime), ..] = PAIRS;
    let bench = Bench::new(runtime, "baseline")?;
    policy(&bench.world, "x", "privileged: false")?;
    let file = format!("{FOLDER}/x.yaml");
    let cases = [
        (format!("chmod 664 {file}"), &["x.yaml", "664", "chmod go-w"][..]),
        (format!("chmod 644 {file}; chown 1000 {file}"), &["x.yaml", "uid 1000"]),
        (
            format!("mv {file} /etc/coaming/y; chown 0 /etc/coaming/y; ln -s ../y {file}"),
            &["x.yaml", "symbolic link"],
        ),
        (format!("rm {file}; mkfifo -m 644 {file}"), &["x.yaml", "not a regular file"]),
        (format!("rm {file}; chmod 777 {FOLDER}"), &["policy.d", "777"]),
        (
            format!("chmod 755 {FOLDER}; mv {FOLDER} /etc/coaming/p; ln -s p {FOLDER}"),
            &["policy.d", "symbolic link"],
        ),
        (format!("rm {FOLDER}; touch {FOLDER}"), &["policy.d"]),
    ];
    for (number, (change, parts)) in cases.into_iter().enumerate() {
        bench.shell(&change)?.ok(&change)?;
        let output = once(&bench, &format!("c{number}"), &["ids"])?;
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{change}: {output:?}");
        says(&output.stderr, parts);
    }
    assert_eq!(bench.records()?, "");
    Ok(())
}

#[test]
fn a_broken_configuration_starts_nothing_and_lets_what_runs_be_ended() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for (_, runtime) in PAIRS {
        let bench = Bench::new(runtime, "baseline")?;
        let bundle = bench.bundle("runs", &["sleep", "1000"], |_| {})?;
        bench.gated.start(&bundle)?.ok("run")?;
        bench.world.write(CONFIG, "# broken\nflor = \"node\"\n", 0o644)?;
        let refused = once(&bench, "new", &["ids"])?;
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
        says(&refused.stderr, &["config.toml:2", "flor", "floor"]);
        let exec = bench.gated.exec(&bundle, &[], &["true"])?;
        assert_eq!(exec.code, 1, "{exec:?}");
        says(&exec.stderr, &["config.toml:2"]);
        let state = bench.gated.call(&bench.world, ["state", "runs"])?.ok("state")?;
        assert_eq!(
            parsed(&coaming_integration::Output {
                stdout: state.stdout.replace('\n', " "),
                ..state
            })["status"],
            "running"
        );
        bench.gated.call(&bench.world, ["kill", "runs", "KILL"])?.ok("kill")?;
        bench.gated.call(&bench.world, ["delete", "--force", "runs"])?.ok("delete")?;
        assert_eq!(bench.records()?, "", "{runtime}");
        let list = bench.shell("ls /run/bare")?;
        assert_eq!(list.stdout, "", "{runtime}");
    }
    Ok(())
}
