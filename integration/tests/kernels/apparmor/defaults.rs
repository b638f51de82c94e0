//! The built-in profile, a profile made of a policy's rules, and who is confined by them.

use coaming_integration::{Error, Runtime, Suite};
use serde_json::json;

use super::{GUESTS, bring};
use crate::setup::{Bench, is_in, says};

/// What is done, and whether it still works under `coaming-default`. Each has the rights that it needs otherwise.
const DEEDS: [(&str, bool); 14] = [
    ("mount -t tmpfs tmpfs /tmp", false),
    ("mount -o bind /tmp /tmp", false),
    ("umount /dev/shm", false),
    ("echo 1 >/proc/sys/kernel/shmmni", false),
    ("echo 1 >/proc/sys/net/ipv4/ip_forward", false),
    ("echo x >/proc/sysrq-trigger", false),
    ("head -c 1 /proc/kcore >/dev/null", false),
    ("echo 0 >/sys/kernel/rcu_expedited", false),
    ("echo 0 >/proc/self/oom_score_adj", true),
    ("echo sh >/proc/self/comm", true),
    ("cat /proc/sys/kernel/osrelease /proc/1/status /sys/kernel/uevent_seqnum >/dev/null", true),
    ("sleep 9 & kill $!", true),
    ("echo x >/tmp/x && chmod 700 /tmp/x && mv /tmp/x /tmp/y", true),
    ("timeout 1 nc -l -p 80; [ $? = 143 ] || [ $? = 124 ]", true),
];

#[test]
#[ignore = "runs in uml-apparmor"]
fn coaming_default_denies_what_no_container_needs() -> Result<(), Error> {
    is_in(GUESTS);
    let bench = Bench::new(Runtime::Runc(Suite::Sid), "node")?;
    bench.policy("p", "appArmor: {default: coaming-default}")?;
    let script: String = DEEDS
        .iter()
        .enumerate()
        .map(|(n, (deed, _))| {
            format!("({deed}) 2>/dev/null && echo did {n}. || echo failed {n}.\n")
        })
        .collect();
    for (id, gate) in [("stock", &bench.stock), ("gated", &bench.gated)] {
        let bundle = bench.bundle(id, &["sh", "-c", &script], |spec| {
            // As a privileged container has it, so that nothing but the profile denies.
            for set in ["bounding", "effective", "permitted"] {
                let all = spec["process"]["capabilities"][set].as_array_mut().unwrap();
                all.extend(
                    ["CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_RAWIO", "CAP_SYS_RESOURCE"]
                        .map(Into::into),
                );
            }
            spec["linux"]["maskedPaths"] = json!([]);
            spec["linux"]["readonlyPaths"] = json!([]);
            for mount in spec["mounts"].as_array_mut().unwrap() {
                if let Some(options) = mount["options"].as_array_mut() {
                    options.retain(|option| option != "ro");
                }
            }
        })?;
        let said = gate.run(&bundle, b"")?;
        for (n, (deed, allowed)) in DEEDS.iter().enumerate() {
            // What the guest's kernel cannot do at all shows nothing.
            if id == "gated" || *allowed {
                let done = said.stdout.contains(&format!("did {n}."));
                assert_eq!(done, *allowed, "{id}: {deed}: {said:?}");
            } else if !said.stdout.contains(&format!("did {n}.")) {
                eprintln!("skipped: {deed} does not work without AppArmor either, in this guest");
            }
        }
        let shown = DEEDS
            .iter()
            .enumerate()
            .filter(|(n, (_, allowed))| !allowed && said.stdout.contains(&format!("did {n}.")));
        assert!(
            id == "gated" || shown.count() >= 5,
            "hardly a denial is shown to matter: {said:?}"
        );
    }
    Ok(())
}

#[test]
#[ignore = "runs in uml-apparmor"]
fn a_container_that_is_not_roots_has_its_capability_by_leave_of_the_profile() -> Result<(), Error> {
    is_in(GUESTS);
    let bench = Bench::new(Runtime::Runc(Suite::Sid), "node")?;
    let all = "  file,\n  network,\n  unix,\n  signal,\n";
    for (name, rules, binds) in
        [("user-with", "  capability net_bind_service,\n", true), ("user-without", "", false)]
    {
        let kernel_name = bring(&bench, name, &format!("{all}{rules}"))?;
        bench.policy("p", &format!("noNewPrivileges: true\nappArmor: {{default: {{file: profiles/{name}.aa}}, allow: []}}"))?;
        bench.world.run([super::COAMING, "load", "--loosen"])?.ok("load")?;
        // Not the last command, which would be process 1, and deaf to the signal.
        let script = "cat /proc/self/attr/current; grep -E 'CapEff|NoNewPrivs|^Uid' /proc/self/status; \
                      timeout 1 nc -l -p 80; true";
        let bundle = bench.bundle(name, &["sh", "-c", script], |spec| {
            spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
            let one = json!(["CAP_NET_BIND_SERVICE"]);
            spec["process"]["capabilities"] = json!({"bounding": one, "effective": one, "permitted": one,
                "inheritable": one, "ambient": one});
        })?;
        let said = bench.gated.run(&bundle, b"")?.ok("run")?;
        says(
            &said.stdout,
            &[
                &format!("{kernel_name} (enforce)"),
                "0000000000000400",
                "NoNewPrivs:\t1",
                "Uid:\t1000",
            ],
        );
        assert_eq!(said.stderr.contains("Permission denied"), !binds, "{said:?}");
    }
    Ok(())
}

#[test]
#[ignore = "runs in uml-apparmor"]
fn a_profile_made_of_the_policys_rules_enforces_them_without_landlock() -> Result<(), Error> {
    is_in(GUESTS);
    let bench = Bench::new(Runtime::Runc(Suite::Sid), "node")?;
    // This kernel has no Landlock: what is denied, AppArmor denies.
    bench.policy(
        "made",
        "bestEffort: [landlock]\nlandlock: {read: [/bin, /dev, /proc, /lib], write: [/tmp, /dev], execute: [/bin]}\n\
         appArmor: {default: {generated: true}, allow: []}",
    )?;
    let script = "cat /proc/self/attr/current; cat /etc/passwd; echo x >/etc/x && echo wrote; echo x >/tmp/x && echo in-tmp; \
                  cp /bin/busybox /tmp/true; chmod 755 /tmp/true; /tmp/true && echo ran; busybox true && echo runs";
    for (gate, id, free) in [(&bench.stock, "stock", true), (&bench.gated, "gated", false)] {
        let bundle = bench.bundle(id, &["sh", "-c", script], |_| {})?;
        let said = gate.run(&bundle, b"")?;
        says(&said.stdout, &["in-tmp", "runs"]);
        for word in ["root:", "wrote", "ran\n"] {
            assert_eq!(said.stdout.contains(word), free, "{id} {word}: {said:?}");
        }
        assert_eq!(said.stdout.contains("coaming.made-"), !free, "{said:?}");
    }
    Ok(())
}
