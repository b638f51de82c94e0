//! What `coaming doctor` says of SELinux before any start is what happens at the start.

use std::sync::PoisonError;

use coaming_integration::{Error, Output, Runtime, Suite};
use serde_json::json;

use super::{Bench, ENFORCE, ENFORCING, GUESTS, is_in, is_refused, says};
use crate::setup::doctor;

/// Policies, each of a namespace of its name, and what the doctor has to say of each.
const CASES: [(&str, &str, Option<&str>); 4] = [
    ("fine", "{default: container_t, privilegedTypes: false}", None),
    ("loose", "{default: loose_t}", Some("permissive")),
    ("module", "{default: module_t, privilegedTypes: false}", Some("system:module_load")),
    ("absent", "{default: absent_t}", Some("no type absent_t")),
];

fn run(bench: &Bench, name: &str) -> Result<Output, Error> {
    bench.world.run(["rm", "-rf", &format!("/run/bundles/{name}")])?;
    let bundle = bench.labelled(name, "cat /proc/self/attr/current", |spec| {
        spec["annotations"] = json!({
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.sandbox-namespace": name,
            "io.kubernetes.cri.sandbox-name": "ledger-0",
            "io.kubernetes.cri.container-name": "ledger",
        });
    })?;
    bench.gated.run(&bundle, b"")
}

/// What is said of each policy comes true. A node that is permissive is so for each.
fn holds(bench: &Bench, permissive: bool) -> Result<(), Error> {
    let report = doctor(&bench.world)?;
    let unmet = report["unmet"].as_array().unwrap();
    for (name, _, words) in CASES {
        let of_it = unmet.iter().filter(|unmet| unmet["policy"] == name);
        let lost: Vec<&str> = of_it.map(|unmet| unmet["lost"].as_str().unwrap()).collect();
        let started = run(bench, name)?;
        let of_all = permissive.then_some("SELinux is permissive on this node");
        let Some(words) = of_all.or(words) else {
            assert!(lost.is_empty(), "{name}: {lost:?}");
            says(started.ok(name)?.stdout, &["system_u:system_r:"]);
            continue;
        };
        let said = lost.iter().find(|lost| lost.contains(words));
        let said = said.unwrap_or_else(|| panic!("{name}: no {words} in {lost:?}"));
        // In the very words.
        let allowed = said.split_once("would be refused, allowed is ");
        let allowed = allowed.map_or(*said, |(_, allowed)| allowed);
        is_refused(&started, &[allowed, &format!("{name}.yaml:")]);
        assert!(allowed.len() > 20, "{said}");
    }
    Ok(())
}

/// The kernel enforces again, however the test ends.
struct Permissive;

impl Permissive {
    fn now() -> Permissive {
        std::fs::write(ENFORCE, "0").unwrap();
        Permissive
    }
}

impl Drop for Permissive {
    fn drop(&mut self) {
        let _ = std::fs::write(ENFORCE, "1");
    }
}

#[test]
#[ignore = "runs in uml-selinux"]
fn what_the_doctor_says_of_selinux_comes_true() -> Result<(), Error> {
    is_in(GUESTS);
    let _alone = ENFORCING.write().unwrap_or_else(PoisonError::into_inner);
    let bench = Bench::new(Runtime::Runc(Suite::Sid), "node")?;
    for (name, rule, _) in CASES {
        bench.policy(name, &format!("match: {{namespaces: [{name}]}}\nseLinux: {rule}"))?;
    }
    holds(&bench, false)?;
    let _permissive = Permissive::now();
    holds(&bench, true)
}
