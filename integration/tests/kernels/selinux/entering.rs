//! How a domain is entered: with `no_new_privs`, as another user, and by the launcher.

use coaming_integration::Error;
use serde_json::json;

use super::{READS, asking, bench, is_refused, says};

#[test]
#[ignore = "runs in uml-selinux"]
fn no_new_privileges_needs_leave_of_the_nodes_policy() -> Result<(), Error> {
    let (bench, _enforcing) = bench()?;
    let with = |kind: &str, on: bool| {
        let label = format!("system_u:system_r:{kind}:s0:c1,c2");
        bench.labelled(
            &format!("{kind}-{on}"),
            &format!("{READS}grep NoNewPrivs /proc/self/status"),
            |spec| {
                asking(&label)(spec);
                spec["process"]["noNewPrivileges"] = json!(on);
            },
        )
    };
    bench.policy("mac", "seLinux: {types: [container_t, no_nnp_t]}")?;
    for (kind, on) in [("container_t", true), ("container_t", false), ("no_nnp_t", false)] {
        let said = bench.gated.run(&with(kind, on)?, b"")?.ok("run")?.stdout;
        says(&said, &["denied", kind, &format!("NoNewPrivs:\t{}", u8::from(on))]);
        bench.world.run(["rm", "-rf", &format!("/run/bundles/{kind}-{on}")])?;
    }
    let bundle = with("no_nnp_t", true)?;
    is_refused(
        &bench.gated.run(&bundle, b"")?,
        &["noNewPrivileges is on", "(allow kernel_t no_nnp_t (process2 (nnp_transition)))"],
    );
    // It is so: without coaming the runtime fails, and does not say why.
    let said = bench.stock.run(&bundle, b"")?;
    assert!(!said.success() && !said.stderr.contains("nnp"), "{said:?}");
    Ok(())
}

#[test]
#[ignore = "runs in uml-selinux"]
fn another_user_keeps_the_capabilities_that_he_was_given() -> Result<(), Error> {
    let (bench, _enforcing) = bench()?;
    bench.policy(
        "mac",
        "noNewPrivileges: true\nseLinux: {default: container_t, podLevel: allocate}",
    )?;
    let script = format!("{READS}id -u; grep -E 'CapEff|NoNewPrivs' /proc/self/status");
    let bundle = bench.labelled("user", &script, |spec| {
        spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        for set in ["bounding", "permitted", "effective", "inheritable", "ambient"] {
            spec["process"]["capabilities"][set] = json!(["CAP_NET_BIND_SERVICE"]);
        }
    })?;
    let said = bench.gated.run(&bundle, b"")?.ok("run")?.stdout;
    says(
        &said,
        &["denied", "container_t:s0:c", "1000\n", "CapEff:\t0000000000000400", "NoNewPrivs:\t1"],
    );
    Ok(())
}

/// The kernel here has no Landlock, so that the gate does not use the launcher: it is mounted by hand, as the gate does.
#[test]
#[ignore = "runs in uml-selinux"]
fn the_launcher_enters_by_its_own_label_and_gives_nothing_to_who_calls_it() -> Result<(), Error> {
    let (bench, _enforcing) = bench()?;
    const PLACE: &str = "/run/launch";
    const FILE: &str = "/usr/libexec/coaming/coaming-init";
    // A plan that says nothing: magic, version 1, no layers, no filters.
    let plan = format!(
        "mkdir {PLACE} && : >{PLACE}/init && printf 'COAMINIT\\001\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000\\000' >{PLACE}/plan"
    );
    bench.world.run(["sh", "-c", &plan])?.ok("plan")?;
    bench.label("container_ro_file_t", PLACE)?;
    let bundle = |id: &str, args: &[&str]| {
        bench.labelled(id, "", |spec| {
            asking("system_u:system_r:container_t:s0:c1,c2")(spec);
            spec["process"]["args"] = json!([&["/dev/.coaming/init", "plan"], args].concat());
            spec["process"]["noNewPrivileges"] = json!(true);
            let mounts = spec["mounts"].as_array_mut().unwrap();
            mounts.push(json!({"destination": "/dev/.coaming", "type": "bind", "source": PLACE, "options": ["bind", "ro", "nosuid", "nodev", "noexec"]}));
            mounts.push(json!({"destination": "/dev/.coaming/init", "type": "bind", "source": FILE, "options": ["bind", "ro", "nosuid", "nodev"]}));
        })
    };
    // From inside: it reads no more than its caller, has no other label, and cannot be written or replaced.
    let inside = format!(
        "{READS}/dev/.coaming/init plan cat /etc/passwd || echo none by the launcher; \
         /dev/.coaming/init plan cat /proc/self/attr/current; echo; \
         /dev/.coaming/init ../../etc/passwd cat /proc/version || echo no other plan; \
         echo x >/dev/.coaming/init || echo not written; rm /dev/.coaming/init || echo not removed; \
         mount -t tmpfs none /dev/.coaming || echo not covered"
    );
    bench.label("container_ro_file_t", FILE)?;
    let said = bench.stock.run(&bundle("ro", &["sh", "-c", &inside])?, b"")?.ok("run")?;
    says(
        &said.stdout,
        &[
            "denied",
            "container_t:s0:c1,c2",
            "none by the launcher",
            "no other plan",
            "not written",
            "not removed",
            "not covered",
        ],
    );
    assert_eq!(said.stdout.matches("container_t:s0:c1,c2").count(), 2, "{}", said.stdout);
    // A label that containers have no access to: nothing starts.
    bench.label("other_t", FILE)?;
    let said = bench.stock.run(&bundle("other", &["echo", "ran"])?, b"")?;
    assert!(!said.success() && said.stderr.contains("ermission denied"), "{said:?}");
    Ok(())
}
