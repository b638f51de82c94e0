//! A pod's own profile beside the policy's.

use coaming_integration::{Error, Runtime, Suite};

use super::{GUESTS, bring};
use crate::setup::{Bench, is_in, says};

const ALL: &str = "  file,\n  capability,\n  network,\n  unix,\n  signal,\n  ptrace,\n";

fn both_confine(runtime: Runtime, own: &str) -> Result<(), Error> {
    let bench = Bench::new(runtime, "node")?;
    let ours =
        bring(&bench, &format!("stacked-{own}"), &format!("{ALL}  audit deny /etc/passwd r,\n"))?;
    bench.policy(
        "p",
        &format!("appArmor: {{default: {{file: profiles/stacked-{own}.aa}}, allow: []}}"),
    )?;
    let theirs = format!("profile {own} {{\n{ALL}  audit deny /etc/group r,\n}}\n");
    bench.world.write("/run/theirs", theirs, 0o644)?;
    bench.world.run(["apparmor_parser", "-rK", "/run/theirs"])?.ok("apparmor_parser")?;
    let script = "cat /proc/self/attr/current; cat /etc/passwd; cat /etc/group; sleep 50 & kill -9 $! && echo killed; \
                  sleep 1000; true";
    let bundle = bench.bundle("one", &["sh", "-c", script], |spec| {
        spec["process"]["apparmorProfile"] = own.into();
    })?;
    bench.gated.start(&bundle)?.ok("run")?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    let exec = bench.gated.exec(
        &bundle,
        &["--apparmor", own],
        &["sh", "-c", "cat /proc/self/attr/current /etc/passwd /etc/group"],
    )?;
    let out = bench.world.read(bundle.path().join("stdout"))?;
    let err = bench.world.read(bundle.path().join("stderr"))?;
    says(&out, &["killed"]);
    for (out, err) in [(&out, &err), (&exec.stdout, &exec.stderr)] {
        says(out, &[own, "//&", &ours, "(enforce)"]);
        says(err, &["/etc/passwd", "/etc/group", "Permission denied"]);
        assert!(!out.contains("root:"), "{out}");
    }
    // As it is without the policy: one of the two.
    let alone = bench.bundle("alone", &["cat", "/etc/passwd"], |spec| {
        spec["process"]["apparmorProfile"] = own.into();
    })?;
    says(bench.stock.run(&alone, b"")?.stdout, &["root:"]);
    bench.gated.delete(&bundle)?;
    Ok(())
}

#[test]
#[ignore = "runs in uml-apparmor"]
fn both_confine_by_runc() -> Result<(), Error> {
    is_in(GUESTS);
    both_confine(Runtime::Runc(Suite::Sid), "runcs-own")
}

#[test]
#[ignore = "runs in uml-apparmor"]
fn both_confine_by_old_runc() -> Result<(), Error> {
    is_in(GUESTS);
    both_confine(Runtime::Runc(Suite::Bookworm), "old-runcs-own")
}

#[test]
#[ignore = "runs in uml-apparmor"]
fn both_confine_by_crun() -> Result<(), Error> {
    is_in(GUESTS);
    both_confine(Runtime::Crun(Suite::Sid), "cruns-own")
}

#[test]
#[ignore = "runs in uml-apparmor"]
fn without_leave_to_stack_the_default_takes_its_place_and_unconfined_is_never_left()
-> Result<(), Error> {
    is_in(GUESTS);
    let bench = Bench::new(Runtime::Runc(Suite::Sid), "node")?;
    bench.policy("p", "appArmor: {default: coaming-default, allow: [], stack: false}")?;
    for asked in ["unconfined", "", "nobodys", ":other:profile", "nobodys//&unconfined"] {
        let bundle = bench.bundle("one", &["cat", "/proc/self/attr/current"], |spec| {
            spec["process"]["apparmorProfile"] = asked.into();
        })?;
        let said = bench.gated.run(&bundle, b"")?;
        says(&said.stdout, &["coaming.default-", "(enforce)"]);
        assert!(!said.stdout.contains("//"), "{said:?}");
        bench.world.run(["rm", "-rf", "/run/bundles/one"])?;
    }
    Ok(())
}
