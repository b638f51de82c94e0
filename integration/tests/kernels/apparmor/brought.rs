//! Profiles that come with policy: loaded at create where they are missing, and held against what was loaded.

use coaming_integration::{Error, Runtime, Suite};

use super::{COAMING, GUESTS, bring, loaded, proved, without_parser};
use crate::setup::{Bench, is_in, says};

/// Everything, but for one file.
const RULES: &str = "  file,\n  capability,\n  network,\n  unix,\n  signal,\n  ptrace,\n  audit deny /etc/passwd r,\n";
const TELL: &str = "cat /proc/self/attr/current; cat /etc/passwd; sleep 1000; true";

pub(super) fn bench(runtime: Runtime, name: &str) -> Result<(Bench, String), Error> {
    let bench = Bench::new(runtime, "node")?;
    let kernel_name = bring(&bench, name, RULES)?;
    bench.policy("files", &format!("appArmor: {{default: {{file: profiles/{name}.aa}}}}"))?;
    Ok((bench, kernel_name))
}

fn confines_init_and_exec(runtime: Runtime, name: &str) -> Result<(), Error> {
    let (bench, name) = bench(runtime, name)?;
    assert!(!loaded(&bench, &name)?.contains("enforce"), "it is there before anything needs it");
    for (gate, id, reads) in [(&bench.stock, "stock", true), (&bench.gated, "gated", false)] {
        let bundle = bench.bundle(id, &["sh", "-c", TELL], |_| {})?;
        let init = gate.start(&bundle)?.ok("run")?;
        std::thread::sleep(std::time::Duration::from_secs(2));
        let init_said = bench.world.read(bundle.path().join("stdout"))?;
        let exec =
            gate.exec(&bundle, &[], &["sh", "-c", "cat /proc/self/attr/current /etc/passwd"])?;
        for said in [&init_said, &exec.stdout] {
            assert_eq!(said.contains("root:"), reads, "{said} {init:?} {exec:?}");
            assert_eq!(said.contains(&format!("{name} (enforce)")), !reads, "{said}");
        }
        if !reads {
            says(&exec.stderr, &["Permission denied"]);
            says(proved(&bench)?, &[&format!("{name} (enforce)")]);
        }
        gate.delete(&bundle)?;
    }
    // A second start finds it, and loads nothing.
    let before = loaded(&bench, &name)?;
    let bundle = bench.bundle("again", &["cat", "/etc/passwd"], |_| {})?;
    let again = bench.gated.run(&bundle, b"")?;
    says(&again.stderr, &["Permission denied"]);
    assert_eq!(loaded(&bench, &name)?, before);
    Ok(())
}

#[test]
#[ignore = "runs in uml-apparmor"]
fn it_confines_init_and_exec_by_runc() -> Result<(), Error> {
    is_in(GUESTS);
    confines_init_and_exec(Runtime::Runc(Suite::Sid), "by-runc")
}

#[test]
#[ignore = "runs in uml-apparmor"]
fn it_confines_init_and_exec_by_old_runc() -> Result<(), Error> {
    is_in(GUESTS);
    confines_init_and_exec(Runtime::Runc(Suite::Bookworm), "by-old-runc")
}

#[test]
#[ignore = "runs in uml-apparmor"]
fn it_confines_init_and_exec_by_crun() -> Result<(), Error> {
    is_in(GUESTS);
    confines_init_and_exec(Runtime::Crun(Suite::Sid), "by-crun")
}

#[test]
#[ignore = "runs in uml-apparmor"]
fn another_text_under_its_name_is_found_and_put_right() -> Result<(), Error> {
    is_in(GUESTS);
    let (bench, name) = bench(Runtime::Runc(Suite::Sid), "tampered")?;
    let read = |id: &str| {
        let bundle = bench.bundle(id, &["cat", "/etc/passwd"], |_| {})?;
        bench.gated.run(&bundle, b"")
    };
    says(&read("first")?.stderr, &["Permission denied"]);
    let ours = loaded(&bench, &name)?;
    for (id, flags) in [("weaker", ""), ("complaining", "flags=(complain)")] {
        let weaker = format!("profile {name} {flags} {{ file, capability, network, signal, }}\n");
        bench.world.write("/run/weaker", weaker, 0o644)?;
        bench.world.run(["apparmor_parser", "-rK", "/run/weaker"])?.ok("apparmor_parser")?;
        assert_ne!(loaded(&bench, &name)?, ours, "the attack does not work");
        // Shown to let through what the policy's denies.
        let bundle = bench.bundle(&format!("shown-{id}"), &["cat", "/etc/passwd"], |spec| {
            spec["process"]["apparmorProfile"] = name.as_str().into();
        })?;
        says(bench.stock.run(&bundle, b"")?.stdout, &["root:"]);
        let said = read(id)?;
        assert!(!said.stdout.contains("root:"), "{said:?}");
        says(&said.stderr, &["Permission denied", "another AppArmor profile under the name"]);
        assert_eq!(loaded(&bench, &name)?.split(' ').nth(1), ours.split(' ').nth(1));
    }
    // What can be neither trusted nor put right is refused.
    bench.world.run(["apparmor_parser", "-rK", "/run/weaker"])?.ok("apparmor_parser")?;
    without_parser(&bench)?;
    bench.world.run(["rm", "-r", "/var/lib/coaming/apparmor"])?.ok("rm")?;
    let said = read("refused")?;
    assert!(!said.success() && !said.stdout.contains("root:"), "{said:?}");
    says(&said.stderr, &["cannot compile the AppArmor profile", &name]);
    Ok(())
}

#[test]
#[ignore = "runs in uml-apparmor"]
fn load_does_it_before_the_first_start_and_a_node_needs_no_parser_then() -> Result<(), Error> {
    is_in(GUESTS);
    let (bench, name) = bench(Runtime::Runc(Suite::Sid), "ahead")?;
    // Compiled ahead, for a node without a parser: here the features are this kernel's.
    let words = [COAMING, "apparmor", "compile", "/etc/coaming/policy.d"];
    let compiled = bench.world.run(words)?.ok("compile")?.stdout;
    says(&compiled, &["/var/lib/coaming/apparmor/", &name]);
    assert!(!loaded(&bench, &name)?.contains("enforce"), "compiling loads nothing");
    without_parser(&bench)?;
    let load = || bench.world.run([COAMING, "load"]);
    says(load()?.ok("load")?.stdout, &[&format!("AppArmor profile {name} was loaded")]);
    says(load()?.ok("load")?.stdout, &[&format!("AppArmor profile {name} is loaded")]);
    let bundle = bench.bundle("one", &["cat", "/etc/passwd"], |_| {})?;
    says(bench.gated.run(&bundle, b"")?.stderr, &["Permission denied"]);
    Ok(())
}

#[test]
#[ignore = "runs in uml-apparmor"]
fn a_profile_of_the_nodes_is_refused_where_it_is_missing_or_only_complains() -> Result<(), Error> {
    is_in(GUESTS);
    let bench = Bench::new(Runtime::Runc(Suite::Sid), "node")?;
    bench.policy("files", "appArmor: {default: of-the-node}")?;
    let run = |id: &str| {
        let bundle = bench.bundle(id, &["cat", "/proc/self/attr/current"], |_| {})?;
        bench.gated.run(&bundle, b"")
    };
    let said = run("missing")?;
    assert!(!said.success());
    says(&said.stderr, &["\"of-the-node\" is not loaded"]);
    for (flags, works) in [("flags=(complain)", false), ("", true)] {
        bench.world.write(
            "/run/p",
            format!("profile of-the-node {flags} {{ file, signal, }}\n"),
            0o644,
        )?;
        bench.world.run(["apparmor_parser", "-rK", "/run/p"])?.ok("apparmor_parser")?;
        let said = run(if works { "enforced" } else { "complains" })?;
        assert_eq!(said.stdout.contains("of-the-node (enforce)"), works, "{said:?}");
        if !works {
            says(&said.stderr, &["loaded in mode complain"]);
        }
    }
    Ok(())
}
