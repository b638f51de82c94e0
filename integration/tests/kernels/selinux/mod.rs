//! On a kernel with SELinux, which enforces `integration/kernels/selinux.cil`.

mod doctor;
mod entering;
mod launched;
mod levels;
mod modules;
mod pods;

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use coaming_integration::{Bundle, Error, Guest, Output, Runtime, Suite, wait_for};
use serde_json::{Value, json};

use crate::setup::{Bench, is_in, says};

const GUESTS: &[Guest] = &[Guest::UmlSeLinux, Guest::QemuSeLinux];
const ENFORCE: &str = "/sys/fs/selinux/enforce";
/// Held by whoever counts on denials, since whether the kernel enforces is one setting for all.
static ENFORCING: RwLock<()> = RwLock::new(());

/// A bench on a kernel that enforces, for as long as the guard is there.
fn bench() -> Result<(Bench, RwLockReadGuard<'static, ()>), Error> {
    bench_with(Runtime::Runc(Suite::Sid))
}

fn bench_with(runtime: Runtime) -> Result<(Bench, RwLockReadGuard<'static, ()>), Error> {
    let guard = enforcing();
    Ok((Bench::new(runtime, "node")?, guard))
}

fn enforcing() -> RwLockReadGuard<'static, ()> {
    is_in(GUESTS);
    let guard = ENFORCING.read().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(std::fs::read_to_string(ENFORCE).unwrap(), "1");
    guard
}

impl Bench {
    /// A bundle with a root that all containers may use, but for `/etc/passwd`.
    fn labelled(
        &self,
        id: &str,
        script: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Bundle<'_>, Error> {
        let bundle = self.bundle(id, &["sh", "-c", script], change)?;
        let root = bundle.path().join("rootfs");
        let root = root.to_str().unwrap();
        self.label("container_file_t", root)?;
        self.label("other_t", &format!("{root}/etc/passwd"))?;
        Ok(bundle)
    }

    fn label(&self, kind: &str, path: &str) -> Result<(), Error> {
        let label = format!("system_u:object_r:{kind}:s0");
        self.world.run(["chcon", "-R", &label, path])?.ok("chcon").map(drop)
    }

    /// The documents of this name in the state of all containers.
    fn state(&self, name: &str) -> Result<Vec<Value>, Error> {
        let files = format!("cat /run/coaming/containers/*/{name} || true");
        let said = self.world.run(["sh", "-c", &files])?;
        let documents = serde_json::Deserializer::from_str(&said.stdout).into_iter();
        Ok(documents.map(Result::unwrap).collect())
    }
}

fn asking(label: &str) -> impl FnOnce(&mut Value) {
    let label = label.to_owned();
    move |spec| {
        spec["process"]["selinuxLabel"] = json!(label);
        spec["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t:s0");
    }
}

#[track_caller]
fn is_refused(said: &Output, parts: &[&str]) {
    assert!(!said.success(), "it started: {said:?}");
    says(&said.stderr, &["coaming refused to create"]);
    says(&said.stderr, parts);
}

const READS: &str = "if cat /etc/passwd >/dev/null; then echo reads; else echo denied; fi; \
                     cat /proc/self/attr/current; echo; ";

#[test]
#[ignore = "runs in uml-selinux"]
fn a_file_of_another_type_is_denied_to_init_and_exec_and_not_without_a_policy() -> Result<(), Error>
{
    another_type_is_denied(Runtime::Runc(Suite::Sid))
}

#[test]
#[ignore = "runs in uml-selinux"]
fn a_file_of_another_type_is_denied_to_init_and_exec_by_crun() -> Result<(), Error> {
    another_type_is_denied(Runtime::Crun(Suite::Sid))
}

fn another_type_is_denied(runtime: Runtime) -> Result<(), Error> {
    let (bench, _enforcing) = bench_with(runtime)?;
    for word in ["reads", "denied"] {
        if word == "denied" {
            bench.policy("mac", "seLinux: {default: container_t, podLevel: allocate}")?;
        }
        let bundle =
            bench.labelled("one", &format!("({READS}) >/said; sleep 1000; true"), |_| ())?;
        bench.gated.start(&bundle)?.ok("start")?;
        let init =
            bench.gated.exec(&bundle, &[], &["cat", "/proc/1/attr/current"])?.ok("exec")?.stdout;
        let exec = bench.gated.exec(&bundle, &[], &["sh", "-c", READS])?.ok("exec")?;
        says(&exec.stdout, &[word]);
        let said = wait_for("the first process's word", || {
            // Not by its standard output, which is a file of the host's, and closed to it.
            let said = bench.world.read("/run/bundles/one/rootfs/said").unwrap_or_default();
            Ok(said.contains("system_r").then_some(said))
        })?;
        says(&said, &[word]);
        if word == "denied" {
            let label = init.trim_end_matches('\0');
            says(label, &["system_u:system_r:container_t:s0:c"]);
            // Of the first process and of the exec; decided, and as the kernel says of it.
            says(&exec.stdout, &[label]);
            says(&said, &[label]);
            let record = &bench.state("record.json")?[0];
            assert_eq!(record["process"]["selinuxLabel"], label);
            says(bench.state("proof.json")?[0].to_string(), &[&format!("\"label\":\"{label}\"")]);
            let log = bench.world.run(["dmesg"])?.stdout;
            let denials: Vec<&str> =
                log.lines().filter(|line| line.contains("avc:  denied  { read }")).collect();
            let ours =
                denials.iter().filter(|line| line.contains(&format!("scontext={label}"))).count();
            assert!(ours >= 2, "{label}: {denials:?}");
        }
        bench.gated.delete(&bundle)?;
        bench.world.run(["rm", "-rf", "/run/bundles/one"])?;
    }
    Ok(())
}

#[test]
#[ignore = "runs in uml-selinux"]
fn types_that_do_not_confine_are_refused() -> Result<(), Error> {
    let (bench, _enforcing) = bench()?;
    bench.policy("mac", "seLinux: {privilegedTypes: false}")?;
    let run = |kind: &str| -> Result<Output, Error> {
        let label = format!("system_u:system_r:{kind}:s0:c1,c2");
        let bundle = bench.labelled(kind, "echo ran", asking(&label))?;
        bench.gated.run(&bundle, b"")
    };
    says(run("container_t")?.ok("run")?.stdout, &["ran"]);
    is_refused(&run("spc_t")?, &["spc_t", "a type that confines", "policy mac", "spec.seLinux"]);
    // By no name that anybody knows, but by the kernel's word.
    is_refused(&run("module_t")?, &["module_t", "system:module_load", "policy mac"]);
    is_refused(&run("loose_t")?, &["loose_t", "permissive", "semanage permissive -d"]);
    is_refused(&run("absent_t")?, &["no type absent_t", "coaming load", "semodule -i"]);
    let bundle =
        bench.labelled("nobody", "echo ran", asking("nobody_u:system_r:container_t:s0"))?;
    is_refused(&bench.gated.run(&bundle, b"")?, &["user, role, type and level"]);
    // Without coaming: what the runtime says of a type that is not known, and that the others run.
    let bundle = bench.labelled("stock", "echo ran", asking("system_u:system_r:absent_t:s0"))?;
    let said = bench.stock.run(&bundle, b"")?;
    assert!(!said.success() && !said.stderr.contains("absent_t"), "{said:?}");
    for kind in ["module_t", "loose_t"] {
        let label = format!("system_u:system_r:{kind}:s0");
        let bundle = bench.labelled(&format!("stock-{kind}"), "echo ran", asking(&label))?;
        says(bench.stock.run(&bundle, b"")?.ok("run")?.stdout, &["ran"]);
    }
    Ok(())
}

#[test]
#[ignore = "runs in uml-selinux"]
fn a_node_in_permissive_mode_is_refused_or_degraded() -> Result<(), Error> {
    is_in(GUESTS);
    let _alone = ENFORCING.write().unwrap_or_else(PoisonError::into_inner);
    let bench = Bench::new(Runtime::Runc(Suite::Sid), "node")?;
    std::fs::write(ENFORCE, "0").unwrap();
    let tried = (|| -> Result<(Output, Output, Vec<Value>), Error> {
        bench.policy("mac", "seLinux: {default: container_t}")?;
        let bundle = bench.labelled("one", "echo ran", |_| ())?;
        let refused = bench.gated.run(&bundle, b"")?;
        // A world of its own: what demands less does not take the place of what is in force.
        let bench = Bench::new(Runtime::Runc(Suite::Sid), "node")?;
        bench.policy("mac", "bestEffort: [seLinux]\nseLinux: {default: container_t}")?;
        let bundle = bench.labelled("two", &format!("{READS}sleep 1000; true"), |_| ())?;
        let started = bench.gated.start(&bundle)?;
        let records = bench.state("record.json")?;
        bench.gated.delete(&bundle)?;
        Ok((refused, started, records))
    })();
    std::fs::write(ENFORCE, "1").unwrap();
    let (refused, started, records) = tried?;
    is_refused(&refused, &["SELinux is permissive", "setenforce 1", "bestEffort"]);
    started.ok("start")?;
    says(records[0]["degraded"].to_string(), &["seLinux", "permissive"]);
    // From when it enforces, the type counts.
    assert_eq!(records[0]["process"]["selinuxLabel"], "system_u:system_r:container_t:s0");
    Ok(())
}
