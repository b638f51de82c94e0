//! What a program finds when it starts: the same as without coaming, behind the launcher too.

use coaming_integration::cri::{ContainerSpec, Pod};
use coaming_integration::{Bundle, Door, Error, Output, PAIRS, can_run, images};
use serde_json::{Value, json};

use crate::images::node;
use crate::setup::{Bench, parsed, policy, runtimes, says};

const LANDLOCK: &str = "landlock: {write: [/tmp, /dev]}";

#[test]
fn a_program_finds_what_it_finds_without_coaming() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        eprintln!("{runtime}");
        let bench = Bench::new(runtime, "baseline")?;
        for (number, landlock) in [false, true].into_iter().enumerate() {
            if landlock {
                policy(&bench.world, "landlock", LANDLOCK)?;
            }
            // argv[0] differs from the file: found by PATH, and by its own path.
            for (name, args) in
                [("path", ["probe", "status"]), ("absolute", ["/bin/probe", "status"])]
            {
                let [wide, held] = both(&bench, &format!("{name}-{number}"), &args, |spec| {
                    let process = &mut spec["process"];
                    process["cwd"] = json!("/var/tmp");
                    process["env"] = json!(["PATH=/nowhere:/bin", "A=1", "EMPTY=", "coaming=no"]);
                    process["user"] =
                        json!({"uid": 1000, "gid": 1000, "umask": 63, "additionalGids": [7]});
                    process["oomScoreAdj"] = json!(500);
                })?;
                assert_eq!(
                    comparable(&wide, landlock),
                    comparable(&held, landlock),
                    "{runtime} {landlock}"
                );
                assert_eq!(held["argv0"], args[0]);
                assert_eq!(
                    held["init"],
                    json!(args),
                    "/proc/1 is the program's, not the launcher's"
                );
            }
            an_exec_finds_the_same(&bench, number)?;
        }
    }
    Ok(())
}

fn both(
    bench: &Bench,
    id: &str,
    args: &[&str],
    change: impl Fn(&mut Value),
) -> Result<[Value; 2], Error> {
    let run = |binary: &coaming_integration::BareRuntime| -> Result<Value, Error> {
        // The same id, one after the other: the cgroup's path has it.
        let bundle = bench.bundle(id, args, &change)?;
        Ok(parsed(&binary.run(&bundle, b"")?))
    };
    let stock = run(&bench.stock)?;
    bench.shell(&format!("rm -rf /run/bundles/{id}"))?.ok("rm")?;
    Ok([stock, run(&bench.gated)?])
}

/// A status without what the floor changes, and what no two processes have alike.
fn comparable(status: &Value, landlock: bool) -> Value {
    let mut status = status.clone();
    let fields = status.as_object_mut().unwrap();
    for changed in ["capabilities", "seccomp", "seccompFilters", "namespaces", "pid", "ppid"] {
        fields.remove(changed);
    }
    if landlock {
        // The launcher's two mounts are there to be seen.
        fields.remove("coamingMounts");
    }
    // Signals 32 and above: the first of them are a C library's own, and crun ignores 33 of glibc's.
    let ignored =
        u64::from_str_radix(fields["signalsIgnored"].as_str().unwrap_or_default(), 16).unwrap();
    fields["signalsIgnored"] = json!(ignored & 0x7fff_ffff);
    // An anonymous pipe's number.
    for (_, target) in fields["fds"].as_object_mut().unwrap() {
        let kind =
            target.as_str().unwrap_or_default().split('[').next().unwrap_or_default().to_owned();
        *target = json!(kind);
    }
    status
}

fn an_exec_finds_the_same(bench: &Bench, number: usize) -> Result<(), Error> {
    let [stock, gated] = bench.sleepers(&format!("exec-{number}"), |_| {})?;
    let process = json!({
        "args": ["probe", "status"], "cwd": "/var/tmp", "env": ["PATH=/nowhere:/bin", "A=1"],
        "user": {"uid": 1000, "gid": 1000, "umask": 63}, "noNewPrivileges": true,
    });
    let wide = parsed(&bench.stock.exec_process(&stock, &process)?);
    let held = parsed(&bench.gated.exec_process(&gated, &process)?);
    let named = |status: &Value| {
        comparable(status, true).to_string().replace("stock-", "").replace("gated-", "")
    };
    assert_eq!(named(&wide), named(&held), "{}", bench.runtime);
    Ok(())
}

/// Programs that cannot be started: the words and the codes.
#[test]
fn a_program_that_cannot_be_started_is_told_at_create() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        eprintln!("{runtime}");
        let bench = Bench::new(runtime, "baseline")?;
        for landlock in [false, true] {
            if landlock {
                policy(&bench.world, "landlock", LANDLOCK)?;
            }
            for (name, args) in [
                ("absent", "/bin/absent"),
                ("lost", "not-in-path"),
                ("data", "/etc/passwd"),
                ("folder", "/etc"),
            ] {
                let bundle = bench.bundle(&format!("{name}-{landlock}"), &[args], |_| {})?;
                let [wide, held] = [bench.stock.run(&bundle, b"")?, bench.gated.run(&bundle, b"")?];
                eprintln!("{runtime} {landlock} {name}: {wide:?}\n    {held:?}");
                assert_ne!(held.code, 0);
                assert_eq!(
                    (wide.code, wide.stdout.as_str()),
                    (held.code, held.stdout.as_str()),
                    "{runtime}"
                );
                if !landlock {
                    // The runtime's own words; crun's have a time before them.
                    assert_eq!(without_time(&wide), without_time(&held), "{runtime}");
                } else {
                    says(&held.stderr, &[args]);
                }
                let _ = bench.gated.delete(&bundle);
            }
            codes_of_execs(&bench, landlock)?;
        }
        told_by_the_hook(&bench)?;
        assert_eq!(
            bench.records()?.matches("record.json").count(),
            2,
            "of the two that execs went to: {runtime}"
        );
    }
    Ok(())
}

/// A volume might have brought it: that is known inside alone.
fn told_by_the_hook(bench: &Bench) -> Result<(), Error> {
    let volume = json!({"destination": "/volume", "type": "tmpfs", "source": "tmpfs"});
    let bundle = bench.bundle("volume", &["/volume/absent"], |spec| {
        if let Some(mounts) = spec["mounts"].as_array_mut() {
            mounts.push(volume.clone());
        }
    })?;
    let held = bench.gated.run(&bundle, b"")?;
    assert_ne!(held.code, 0, "{held:?}");
    if bench.is_runc() {
        says(&held.stderr, &["hook", "/volume/absent"]);
    } else {
        // crun throws away what a createContainer hook writes, and says only that it failed.
        says(&held.stderr, &["coaming-hook"]);
    }
    let _ = bench.gated.delete(&bundle);
    Ok(())
}

fn without_time(output: &Output) -> String {
    output.stderr.split_once('Z').map_or(output.stderr.as_str(), |(_, rest)| rest).to_owned()
}

/// The launcher runs what the exec names, and so tells of a failure as a shell does: 127 not found, 126 not executable.
fn codes_of_execs(bench: &Bench, landlock: bool) -> Result<(), Error> {
    let bundle: Bundle<'_> =
        bench.bundle(&format!("codes-{landlock}"), &["sleep", "1000"], |_| {})?;
    bench.gated.start(&bundle)?.ok("run")?;
    for (args, code) in
        [("/bin/absent", 127), ("not-in-path", 127), ("/etc/passwd", 126), ("/etc", 126)]
    {
        let output = bench.gated.exec(&bundle, &[], &[args])?;
        eprintln!("{} {landlock} {args}: {output:?}", bench.runtime);
        if landlock {
            assert_eq!((output.code, output.stdout.as_str()), (code, ""), "{args}: {output:?}");
            says(&output.stderr, &["coaming-init: ", args]);
        } else {
            assert_ne!(output.code, 0, "{args}: {output:?}");
        }
    }
    let shell = bench.gated.exec(
        &bundle,
        &[],
        &["sh", "-c", "/bin/absent; echo $?; /etc/passwd; echo $?"],
    )?;
    assert_eq!(shell.stdout, "127\n126\n");
    Ok(())
}

/// The text that the kubelet is told.
#[test]
fn a_missing_program_is_told_through_cri() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let doors = PAIRS
        .into_iter()
        .enumerate()
        .flat_map(|(number, pair)| Door::of_pair(number).into_iter().map(move |door| (pair, door)));
    for (pair, door) in doors {
        let node = node(pair)?;
        let cri = node.cri()?;
        for namespace in ["default", "confined"] {
            let pod = Pod {
                namespace: namespace.to_owned(),
                ..Pod::new(&format!("program-{namespace}"), door.handler())
            };
            let pod = cri.run_pod(&pod)?;
            let spec = ContainerSpec::new("main", images::DISTROLESS, ["/bin/absent"]);
            let text = crate::setup::refusal(cri.launch(&pod, &spec));
            eprintln!("{} {} {door:?} {namespace}: {text}", pair.0, pair.1);
            says(&text, &["/bin/absent"]);
            cri.remove_pod(&pod)?;
        }
    }
    Ok(())
}
