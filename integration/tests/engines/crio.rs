//! CRI-O as a door, with the packaged drop-in and nothing else of coaming's in its configuration.
//!
//! Debian has no CRI-O, so these do not run by themselves: `COAMING_CRIO` names a folder with `crio` and `pinns`, and
//! `cargo test -p coaming-integration --test engines crio -- --ignored` runs them.

use coaming_integration::cri::{ContainerSpec, Cri, Pod, Profile, State};
use coaming_integration::crio::{Crio, STOCK};
use coaming_integration::{Brand, EngineConfig, Error, Runtime, Suite, can_run, images, wait_for};
use serde_json::Value;

use crate::setup::{
    BOUNDING, has_sys_admin, journal, nothing_is_left, place, policy, record, records, says,
};

const CLI: &str = "/usr/libexec/coaming/coaming";
const PROFILE: &str = "/run/within.json";

fn runtimes() -> [EngineConfig; 2] {
    [Runtime::Crun(Suite::Sid), Runtime::Runc(Suite::Sid)]
        .map(|runtime| EngineConfig::new(Brand::Podman, Suite::Sid, runtime))
}

fn sleeping(name: &str) -> ContainerSpec {
    ContainerSpec::new(name, images::PROBE, ["sleep", "1000"])
}

fn privileged(pod: Pod) -> Pod {
    Pod { privileged: true, ..pod }
}

/// What CRI says of a container that must not start.
fn refusal(cri: &Cri<'_>, pod: &Pod, container: &ContainerSpec) -> Result<String, Error> {
    let refused = match cri.run_pod(pod) {
        Err(refused) => refused.to_string(),
        Ok(sandbox) => {
            let refused = cri.launch(&sandbox, container).map(drop).unwrap_err().to_string();
            cri.remove_pod(&sandbox)?;
            refused
        }
    };
    Ok(refused)
}

#[test]
#[ignore = "Debian has no CRI-O: COAMING_CRIO names a folder with crio and pinns"]
fn crio_pods_run_and_are_held() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in runtimes() {
        let crio = Crio::start(config, "baseline")?;
        let (world, cri) = (crio.world(), crio.cri()?);
        eprintln!("{} with {}", cri.version()?, config.runtime);
        let ours = config.runtime.wrapper_name();
        policy(world, "paying", "match: {namespaces: [pay]}, capabilities: {allow: [CHOWN]}")?;

        // What the real runtime gives. Not a privileged one: CRI-O asks for all capabilities, and this machine may lack one.
        let pod = cri.run_pod(&Pod::new("stock", STOCK))?;
        let more =
            ContainerSpec { add_capabilities: vec!["SYS_ADMIN".to_owned()], ..sleeping("more") };
        let id = cri.launch(&pod, &more)?;
        assert!(has_sys_admin(&cri.exec_sync(&id, BOUNDING.to_vec())?), "{config}");
        assert_eq!(records(world, "/run/coaming")?, "", "{config}");
        cri.remove_pod(&pod)?;

        // The same by the wrapper: init, exec, `kubectl exec`.
        let pod = cri.run_pod(&privileged(Pod::new("ours", ours)))?;
        let id = cri.launch(&pod, &more)?;
        assert!(!has_sys_admin(&cri.exec_sync(&id, BOUNDING.to_vec())?), "{config}");
        cri.remove(&id)?;
        let all = ContainerSpec { privileged: true, ..sleeping("all") };
        let id = cri.launch(&pod, &all)?;
        let status = cri.status(&id)?;
        assert_eq!(status.state, State::Running);
        let own =
            world.run(["grep", "CapBnd:", &format!("/proc/{}/status", status.info["pid"])])?;
        assert!(!has_sys_admin(&own), "{config}: {own:?}");
        assert!(!has_sys_admin(&cri.exec_sync(&id, BOUNDING.to_vec())?), "{config}");
        assert!(!has_sys_admin(&cri.exec(&id, BOUNDING.to_vec(), b"", false)?), "{config}");
        let kept = record(world, "/run/coaming")?;
        assert_eq!(kept["id"], id.as_str(), "{kept}");
        let listed = world.run([CLI, "status"])?.ok("status")?.stdout;
        says(listed, &["default/ours", "enforced"]);
        wait_for("its proof", || {
            let listed = world.run([CLI, "status"])?.ok("status")?.stdout;
            Ok(listed.contains("enforced, proven").then_some(()))
        })?;
        cri.stop(&id, 0)?;
        cri.remove_pod(&pod)?;
        assert_eq!(records(world, "/run/coaming")?, "", "{config}");

        // A policy for a Kubernetes namespace, by the annotations that CRI-O writes.
        let pay = Pod { namespace: "pay".to_owned(), ..Pod::new("till", ours) };
        let pod = cri.run_pod(&pay)?;
        let said = cri.run(&pod, &ContainerSpec::new("main", images::PROBE, BOUNDING.to_vec()))?;
        assert_eq!(said.stdout.split_whitespace().nth(1), Some("0000000000000001"), "{said:?}");
        cri.remove_pod(&pod)?;

        // Refused, in words that reach `kubectl describe pod`; nothing is left of it.
        let wide = privileged(Pod { host_pid: true, ..Pod::new("wide", ours) });
        let said = refusal(&cri, &wide, &sleeping("main"))?;
        says(said, &["coaming refused to create container", "spec.hostNamespaces"]);
        let held = ContainerSpec {
            mounts: vec![coaming_integration::cri::MountSpec {
                host_path: "/etc".to_owned(),
                container_path: "/host".to_owned(),
                ..Default::default()
            }],
            ..sleeping("main")
        };
        says(refusal(&cri, &Pod::new("host", ours), &held)?, &["coaming refused", "/etc"]);

        assert_eq!(cri.containers()?, Vec::<String>::new(), "{config}");
        assert_eq!(cri.sandboxes()?, Vec::<String>::new(), "{config}");
        nothing_is_left(crio.engine())?;

        // The doctor's word of CRI-O's own files.
        let told = world.run([CLI, "doctor", "--output", "json"])?;
        let told: Value = serde_json::from_str(&told.stdout).unwrap();
        let ends = |name: &str| {
            let handlers = told["handlers"].as_array().unwrap();
            let found = handlers.iter().find(|it| it["manager"] == "cri-o" && it["name"] == name);
            found.unwrap_or_else(|| panic!("no {name} in {told}"))["ends"].clone()
        };
        assert_eq!(ends("coaming-crun"), "wrapper", "{told}");
        assert_eq!(ends("coaming-runc"), "wrapper", "{told}");
        assert_eq!(ends(STOCK), "around", "{told}");
    }
    Ok(())
}

#[test]
#[ignore = "Debian has no CRI-O: COAMING_CRIO names a folder with crio and pinns"]
fn crio_without_the_wrapper_is_judged_and_proved_by_hooks() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for config in runtimes() {
        eprintln!("{config}");
        let crio = Crio::start(config, "node")?;
        let (world, cri) = (crio.world(), crio.cri()?);
        // What the wrapper makes of CRI-O's default profile is within the floor.
        let pattern = cri.run_pod(&Pod::new("pattern", config.runtime.wrapper_name()))?;
        let held = ContainerSpec { seccomp: Some(Profile::RuntimeDefault), ..sleeping("main") };
        cri.launch(&pattern, &held)?;
        let profile = record(world, "/run/coaming")?["seccomp"].to_string();
        cri.remove_pod(&pattern)?;
        world.write(PROFILE, profile, 0o644)?;
        for name in ["coaming-validate-node", "coaming-prove", "coaming-forget"] {
            let file = format!("hooks.d/{name}.json");
            place(crio.engine(), &file, &format!("/etc/containers/oci/{file}"))?;
        }
        let folders =
            r#"hooks_dir = ["/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d"]"#;
        let drop_in = format!("[crio.runtime]\n{folders}\n");
        world.write("/etc/crio/crio.conf.d/20-coaming-hooks.conf", drop_in, 0o644)?;
        crio.restart()?;
        let cri = crio.cri()?;

        let unconfined =
            ContainerSpec { seccomp: Some(Profile::Unconfined), ..sleeping("unconfined") };
        let said = refusal(&cri, &Pod::new("wide", STOCK), &unconfined)?;
        // crun tells the hook's path, runc its words.
        says(&said, &["coaming"]);
        let refused = journal(crio.engine(), "refused")?;
        assert_eq!(refused.len(), 1, "{config}: {refused:#?}");
        says(refused[0].to_string(), &["seccomp", "\"wide\""]);

        let within = ContainerSpec {
            seccomp: Some(Profile::Localhost(PROFILE.to_owned())),
            ..sleeping("within")
        };
        let pod = cri.run_pod(&Pod::new("within", STOCK))?;
        let id = cri.launch(&pod, &within)?;
        wait_for("its proof", || {
            let listed = world.run([CLI, "status"])?.ok("status")?.stdout;
            Ok((listed.contains("enforced, proven") && listed.contains(&id[..12])).then_some(()))
        })?;
        assert!(cri.exec_sync(&id, ["true"])?.success());
        cri.remove_pod(&pod)?;
        wait_for("the end of the records", || {
            Ok(records(world, "/run/coaming")?.is_empty().then_some(()))
        })?;
        nothing_is_left(crio.engine())?;
    }
    Ok(())
}
