//! A container that is launched under SELinux and Landlock: each denies what the other would not.

use coaming_integration::{Error, Guest, Runtime, Suite};
use serde_json::json;

use super::{bench_with, is_in, says};

const POLICY: &str = "
landlock: {read: [/bin, /dev, /proc, /lib], write: [/tmp, /dev], execute: [/bin]}
seLinux: {default: container_t, podLevel: allocate}
";
/// The first file is within the rules of Landlock and of another type, the second the other way round.
const SCRIPT: &str = "cat /proc/self/attr/current; echo; grep NoNewPrivs /proc/self/status; cat /bin/by-type; \
                      cat /etc/by-path; /dev/.coaming/init --help; echo launcher $?; echo x >/tmp/x && echo in-tmp";

fn launches(runtime: Runtime) -> Result<(), Error> {
    is_in(&[Guest::QemuSeLinux]);
    let (bench, _enforcing) = bench_with(runtime)?;
    bench.policy("mac", POLICY)?;
    for (gate, id, uid) in
        [(&bench.stock, "stock", 0), (&bench.gated, "root", 0), (&bench.gated, "user", 1000)]
    {
        let bundle = bench.labelled(id, &format!("{SCRIPT}; sleep 1000; true"), |spec| {
            spec["process"]["user"] = json!({"uid": uid, "gid": uid});
        })?;
        let root = bundle.path().join("rootfs").display().to_string();
        let make =
            format!("cd {root} && echo type-reads >bin/by-type && echo path-reads >etc/by-path");
        bench.world.run(["sh", "-c", &make])?.ok("make files")?;
        bench.label("other_t", &format!("{root}/bin/by-type"))?;
        bench.label("container_file_t", &format!("{root}/etc/by-path"))?;
        gate.start(&bundle)?.ok("start")?;
        let said = gate.exec(&bundle, &[], &["sh", "-c", SCRIPT])?;
        let init = gate.exec(&bundle, &[], &["cat", "/proc/1/attr/current"])?.ok("exec")?.stdout;
        if id == "stock" {
            says(&said.stdout, &["type-reads", "path-reads", "in-tmp"]);
        } else {
            let label = init.trim_end_matches('\0');
            says(label, &["system_u:system_r:container_t:s0:c"]);
            says(&said.stdout, &[label, "NoNewPrivs:\t1", "launcher 126", "in-tmp"]);
            assert!(!said.stdout.contains("-reads"), "{said:?}");
            let denied = ["/bin/by-type: Permission denied", "/etc/by-path: Permission denied"];
            says(said.stderr.replace("can't open '", "").replace("':", ":"), &denied);
            let log = bench.world.run(["dmesg"])?.stdout;
            let avc = |name: &str| {
                log.lines().any(|line| {
                    line.contains("avc:  denied") && line.contains(label) && line.contains(name)
                })
            };
            assert!(avc("by-type") && !avc("by-path"), "{label}: {log}");
        }
        gate.delete(&bundle)?;
    }
    Ok(())
}

#[test]
#[ignore = "runs in qemu-6.12-selinux"]
fn by_runc_it_is_denied_by_both() -> Result<(), Error> {
    launches(Runtime::Runc(Suite::Sid))
}

#[test]
#[ignore = "runs in qemu-6.12-selinux"]
fn by_crun_it_is_denied_by_both() -> Result<(), Error> {
    launches(Runtime::Crun(Suite::Sid))
}
