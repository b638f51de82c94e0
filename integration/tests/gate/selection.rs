//! Selection by what real runtimes tell, doors, and conditions.

use coaming_integration::cri::{ContainerSpec, Pod};
use coaming_integration::{Door, Error, Node, NodeConfig, PAIRS, can_run, images};
use serde_json::{Value, json};

use crate::setup::{
    Bench, FREELY, forget, greedy, install_with, outcome, parsed, policy, refusal, runtimes, says,
};

const CREATE: [&str; 3] = ["probe", "create", "/etc/new"];

/// Whether a container of the pod may write to its root: what a policy `selected` takes away.
fn is_selected(node: &Node, pod: &Pod, spec: &ContainerSpec) -> Result<bool, Error> {
    let cri = node.cri()?;
    let sandbox = cri.run_pod(pod)?;
    let said = outcome(&cri.run(&sandbox, spec)?);
    cri.remove_pod(&sandbox)?;
    assert!(["allowed", "denied"].contains(&said.as_str()), "{said}");
    Ok(said == "denied")
}

#[test]
fn what_containerd_tells_and_the_spec_says_selects() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for (number, (containerd, runtime)) in [PAIRS[0], PAIRS[4]].into_iter().enumerate() {
        let node = Node::start(NodeConfig::new(containerd, runtime))?;
        install_with(node.world(), runtime, "baseline", FREELY)?;
        for door in Door::of_pair(number) {
            eprintln!("{containerd} with {runtime} through {door:?}");
            let pod = Pod {
                namespace: "pay".to_owned(),
                privileged: true,
                labels: [("app".to_owned(), "ledger".to_owned())].into(),
                ..Pod::new("ledger", door.handler())
            };
            let plain = ContainerSpec::new("app", images::PROBE, CREATE);
            let privileged = ContainerSpec { privileged: true, ..plain.clone() };
            let wrapper = runtime.wrapper_name();
            // Of each selector: whether a plain container, and one that asks to be privileged, is meant.
            for (selector, of_plain, of_privileged) in [
                ("namespaces: [pay]", true, true),
                ("exceptNamespaces: [p*]", false, false),
                ("pods: [ledger], containers: [app]", true, true),
                ("privileged: true", false, true),
                ("userNamespace: true", false, false),
                ("hostNetwork: true", false, false),
                ("hostPID: false", true, true),
                (&format!("runtimes: [{wrapper}]"), true, true),
                (&format!("exceptRuntimes: [{wrapper}]"), false, false),
                (
                    "imageDigests: ['sha256:0000000000000000000000000000000000000000000000000000000000000000']",
                    false,
                    false,
                ),
                ("annotations: {io.kubernetes.cri.sandbox-namespace: [pay]}", true, true),
                ("labels: {app: [ledger]}", true, true),
                ("labels: {app: [other]}", false, false),
                ("expression: labels.app == 'ledger' && !has(labels.team)", true, true),
                ("doors: [exec]", false, false),
                ("expression: podNamespace == 'pay' && privileged", false, true),
            ] {
                policy(
                    node.world(),
                    "selected",
                    &format!("match: {{{selector}}}\nreadOnlyRootFilesystem: true"),
                )?;
                assert_eq!(is_selected(&node, &pod, &plain)?, of_plain, "{selector}");
                assert_eq!(is_selected(&node, &pod, &privileged)?, of_privileged, "{selector}");
            }
            forget(node.world(), "selected")?;

            policy(
                node.world(),
                "conditions",
                "refuse:\n  - if: privileged && podNamespace == 'pay'\n    because: payments are never privileged",
            )?;
            let cri = node.cri()?;
            let sandbox = cri.run_pod(&pod)?;
            let sleeps = ContainerSpec {
                privileged: true,
                ..ContainerSpec::new("wide", images::PROBE, ["sleep", "1000"])
            };
            says(
                refusal(cri.launch(&sandbox, &sleeps)),
                &["conditions.yaml:6, spec.refuse", "payments are never privileged"],
            );
            let id = cri.launch(&sandbox, &ContainerSpec { privileged: false, ..sleeps })?;
            let explain =
                ["/usr/libexec/coaming/coaming", "explain", "--output", "json", "--container"];
            let told = node.world().run(explain.iter().copied().chain([id.as_str()]))?;
            let report: Value = serde_json::from_str(&told.stdout).unwrap();
            let by = |name: &str| {
                let told = report["told"].as_array().unwrap().iter();
                let mut told = told.filter(|told| told["name"] == name);
                told.next().map(|told| (told["value"].clone(), told["assertedBy"].clone()))
            };
            assert_eq!(by("namespace"), Some((json!("pay"), json!("client"))));
            assert_eq!(by("runtime"), Some((json!(wrapper), json!("node"))));
            assert_eq!(report["facts"]["hostNetwork"], json!(false), "{}", report["facts"]);
            cri.remove_pod(&sandbox)?;
            forget(node.world(), "conditions")?;
        }
    }
    Ok(())
}

#[test]
fn a_policy_for_execs_holds_execs_alone() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in [runtimes()[0], runtimes()[1]] {
        eprintln!("{runtime}");
        let bench = Bench::with(runtime, "node", FREELY)?;
        policy(&bench.world, "execs", "match: {doors: [exec]}\nnoNewPrivileges: true")?;
        let start = |id: &str| -> Result<_, Error> {
            let bundle = bench.bundle(id, &["sleep", "1000"], |spec| {
                spec["process"]["noNewPrivileges"] = json!(false);
            })?;
            bench.gated.start(&bundle)?.ok("start")?;
            Ok(bundle)
        };
        let bundle = start("execs")?;
        let of_init = |bundle| -> Result<String, Error> {
            let read = ["grep", "-c", "^NoNewPrivs:.1", "/proc/1/status"];
            Ok(bench.gated.exec(bundle, &[], &read)?.stdout)
        };
        // The document asks for no `no_new_privs`.
        let of_exec = |bundle| -> Result<Value, Error> {
            let output = bench.gated.exec_process(bundle, &greedy(&["probe", "status"]))?;
            Ok(parsed(&output)["noNewPrivs"].clone())
        };
        assert_eq!(of_init(&bundle)?, "0\n");
        assert_eq!(of_exec(&bundle)?, 1);
        // Pinned when the container was created, for execs alone.
        forget(&bench.world, "execs")?;
        assert_eq!(of_exec(&bundle)?, 1);
        let record = bench.record()?;
        assert!(!record["floor"].to_string().contains("execs"), "{record}");
        says(record["execFloor"].to_string(), &["execs", "noNewPrivileges"]);
        bench.gated.delete(&bundle)?;

        let free = start("free")?;
        assert_eq!(of_exec(&free)?, 0, "without the policy an exec is as it was asked");
        bench.gated.delete(&free)?;

        // For creates alone.
        policy(&bench.world, "creates", "match: {doors: [create]}\nnoNewPrivileges: true")?;
        let created = start("creates")?;
        assert_eq!(of_init(&created)?, "1\n");
        assert_eq!(of_exec(&created)?, 0);
        bench.gated.delete(&created)?;
        forget(&bench.world, "creates")?;
    }
    Ok(())
}
