//! The launcher under AppArmor: where a kernel has Landlock too, it is what the profile lets start, and nothing else is
//! to be had of it.

use coaming_integration::{Error, Guest, Runtime, Suite};
use serde_json::json;

use crate::setup::{Bench, is_in, says};

const GUESTS: &[Guest] =
    &[Guest::Qemu(Suite::Bookworm), Guest::Qemu(Suite::Trixie), Guest::Qemu(Suite::Sid)];
const SCRIPT: &str = "cat /proc/self/attr/current; grep NoNewPrivs /proc/self/status; cat /etc/passwd; \
                      /dev/.coaming/init --help; echo launcher $?; busybox true && echo runs; echo x >/tmp/x && echo in-tmp";

fn launches(runtime: Runtime, default: &str, name: &str) -> Result<(), Error> {
    let bench = Bench::new(runtime, "node")?;
    bench.policy(
        name,
        &format!(
            "bestEffort: [landlock]\nlandlock: {{read: [/bin, /dev, /proc, /lib], write: [/tmp, /dev], execute: [/bin, /dev/.coaming]}}\n\
             appArmor: {{default: {default}, allow: []}}"
        ),
    )?;
    for (id, uid) in [("root", 0), ("user", 1000)] {
        let bundle =
            bench.bundle(id, &["sh", "-c", &format!("{SCRIPT}; sleep 1000; true")], |spec| {
                spec["process"]["user"] = json!({"uid": uid, "gid": uid});
            })?;
        bench.gated.start(&bundle)?.ok("run")?;
        let exec = bench.gated.exec(&bundle, &[], &["sh", "-c", SCRIPT])?;
        let out = bench.world.read(bundle.path().join("stdout"))?;
        let err = bench.world.read(bundle.path().join("stderr"))?;
        for (out, err) in [(&out, &err), (&exec.stdout, &exec.stderr)] {
            says(
                out,
                &["coaming.", "(enforce)", "NoNewPrivs:\t1", "launcher 126", "runs", "in-tmp"],
            );
            says(err, &["init: Permission denied"]);
            assert!(!out.contains("root:"), "{out}");
        }
        bench.gated.delete(&bundle)?;
    }
    Ok(())
}

#[test]
#[ignore = "runs in QEMU's guests"]
fn under_the_built_in_profile_by_runc() -> Result<(), Error> {
    is_in(GUESTS);
    launches(Runtime::Runc(Suite::Sid), "coaming-default", "launched-default")
}

#[test]
#[ignore = "runs in QEMU's guests"]
fn under_a_generated_profile_by_runc() -> Result<(), Error> {
    is_in(GUESTS);
    launches(Runtime::Runc(Suite::Sid), "{generated: true}", "launched-made")
}

#[test]
#[ignore = "runs in QEMU's guests"]
fn under_a_generated_profile_by_crun() -> Result<(), Error> {
    is_in(GUESTS);
    launches(Runtime::Crun(Suite::Sid), "{generated: true}", "launched-made-crun")
}
