//! A control that this kernel cannot give keeps a container from starting, or is recorded as degraded where the policy says so:
//! as `coaming doctor` said before.

use coaming_integration::{Error, Guest, Runtime, Suite};

use crate::setup::{Bench, doctor, is_in, pod, says, unmet};

const DEMANDS: [(&str, &str, &str); 3] = [
    ("appArmor", "appArmor: {default: absent-anywhere}", "apparmor"),
    ("seLinux", "seLinux: {types: [container_t]}", "selinux"),
    ("landlock", "landlock: {write: [/tmp, /dev]}", "landlock"),
];

#[test]
#[ignore = "runs in every guest"]
fn what_the_kernel_lacks_is_refused_or_recorded_as_the_doctor_said() -> Result<(), Error> {
    is_in(&Guest::ALL);
    let bench = Bench::new(Runtime::Runc(Suite::Sid), "node")?;
    for (control, rule, _) in DEMANDS {
        let (hard, soft) = (control.to_lowercase(), format!("{}-best", control.to_lowercase()));
        bench.policy(&hard, &format!("match: {{namespaces: [{hard}]}}\n{rule}"))?;
        let best = format!("bestEffort: [{control}]");
        bench.policy(&soft, &format!("match: {{namespaces: [{soft}]}}\n{rule}\n{best}"))?;
    }
    let report = doctor(&bench.world)?;
    let unmet = unmet(&report);
    let modules = std::fs::read_to_string("/sys/kernel/security/lsm").unwrap();
    let modules: Vec<&str> = modules.trim().split(',').collect();
    let said = report["kernel"]["securityModules"].as_array().unwrap();
    assert_eq!(said.iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>(), modules);

    let mut lacking = 0;
    for (control, _, module) in DEMANDS {
        let is_there = modules.contains(&module);
        let state = report["controls"].as_array().unwrap().iter();
        let state = state.clone().find(|given| given["control"] == control).unwrap();
        assert_eq!(state["state"] == "impossible", !is_there, "{control}: {state} of {modules:?}");
        let hard = control.to_lowercase();
        let soft = format!("{hard}-best");
        let lost = unmet.get(&format!("{hard}.yaml"));
        assert_eq!(lost, unmet.get(&format!("{soft}.yaml")), "{control}: two stories");
        let Some(lost) = lost else {
            // On ABI 2 some of what `write` stands for is missing, too, though the module is there.
            assert!(is_there, "{control} is not there, and the doctor says nothing of it");
            continue;
        };
        if is_there {
            continue;
        }
        lacking += 1;
        let bundle = pod(&bench, &hard, &hard, &["true"])?;
        let refused = bench.gated.run(&bundle, b"")?;
        assert_ne!(refused.code, 0, "{control}: it started");
        says(refused.text(), &[control, lost, &format!("{hard}.yaml:"), "bestEffort"]);
        says(refused.text(), &[&modules.join(", ")]);
        let bundle = pod(&bench, &soft, &soft, &["sleep", "1000"])?;
        bench.gated.start(&bundle)?.ok(&soft)?;
        let record = bench.record(&soft)?;
        let degraded = record["degraded"].as_array().unwrap();
        assert_eq!(degraded.len(), 1, "{degraded:?}");
        assert_eq!(degraded[0]["control"], control);
        assert_eq!(degraded[0]["lost"].as_str(), Some(lost.as_str()));
        bench.gated.delete(&bundle)?;
    }
    // Each of these kernels lacks something, but for AppArmor's and Landlock's own in the same one.
    assert!(lacking >= 1, "{modules:?}");
    eprintln!("{modules:?} lacks {lacking} of {}", DEMANDS.len());
    Ok(())
}
