//! An exec that asks for more than its container has.

use coaming_integration::{
    Bundle, Door, Error, Exec, Node, NodeConfig, PAIRS, Run, can_run, images, wait_for,
};
use serde_json::json;

use crate::setup::{
    Bench, greedy, install, no_capability_but, outcome, parsed, policy, runtimes, says, with_shell,
};

/// Besides the built-in floor: Landlock, so that each exec goes through the launcher.
const HELD: &str = "
noNewPrivileges: true
capabilities: {allow: [CHOWN, KILL]}
landlock: {write: [/tmp, /dev]}
user: {supplementalGroups: {ranges: [{min: 1, max: 999}]}}
";
const GIVEN: [&str; 2] = ["CAP_CHOWN", "CAP_KILL"];

#[test]
fn an_exec_that_asks_for_more_is_held_to_the_floor() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for runtime in runtimes() {
        eprintln!("{runtime}");
        let bench = Bench::new(runtime, "baseline")?;
        policy(&bench.world, "held", HELD)?;
        let [stock, gated] = bench.sleepers("held", |_| {})?;
        a_process_document(&bench, &stock, &gated)?;
        capabilities_and_privileges_by_flags(&bench, &stock, &gated)?;
        harmless_flags(&bench, &gated)?;
        labels(&bench, &stock, &gated)?;
        cgroups_and_pause(&bench, &stock, &gated)?;
        users(&bench)?;
    }
    Ok(())
}

fn a_process_document(bench: &Bench, stock: &Bundle<'_>, gated: &Bundle<'_>) -> Result<(), Error> {
    let status = parsed(&bench.stock.exec_process(stock, &greedy(&["probe", "status"]))?);
    let effective = status["capabilities"]["effective"].to_string();
    says(&effective, &["CAP_SYS_ADMIN"]);
    assert_eq!(status["noNewPrivs"], 0, "{status}");
    for attempt in [&["probe", "mount"][..], &["probe", "create", "/etc/new"], &["probe", "keyctl"]]
    {
        let process = greedy(attempt);
        assert_eq!(outcome(&bench.stock.exec_process(stock, &process)?), "allowed", "{attempt:?}");
        assert_eq!(outcome(&bench.gated.exec_process(gated, &process)?), "denied", "{attempt:?}");
    }
    let status = parsed(&bench.gated.exec_process(gated, &greedy(&["probe", "status"]))?);
    no_capability_but(&status, &GIVEN);
    assert_eq!(status["noNewPrivs"], 1, "{status}");
    assert_eq!(status["seccomp"], 2, "{status}");
    assert_eq!(status["argv0"], "probe", "{status}");
    // A case variant, which Go would take for the field and another reader would not.
    let mut process = greedy(&["probe", "status"]);
    process["NoNewPrivileges"] = json!(false);
    let refused = bench.gated.exec_process(gated, &process)?;
    assert_ne!(refused.code, 0, "{refused:?}");
    says(&refused.stderr, &["NoNewPrivileges", "process.json"]);
    Ok(())
}

fn capabilities_and_privileges_by_flags(
    bench: &Bench,
    stock: &Bundle<'_>,
    gated: &Bundle<'_>,
) -> Result<(), Error> {
    let status = ["probe", "status"];
    let cap = ["--cap", "CAP_SYS_ADMIN"];
    let wide = parsed(&bench.stock.exec(stock, &cap, &status)?);
    says(wide["capabilities"]["effective"].to_string(), &["CAP_SYS_ADMIN"]);
    let held = parsed(&bench.gated.exec(gated, &cap, &status)?);
    no_capability_but(&held, &GIVEN);
    assert_eq!(held["seccomp"], 2, "{held}");
    let written =
        bench.gated.exec(gated, &["--cap=CAP_SYS_ADMIN"], &["probe", "create", "/etc/new"])?;
    assert_eq!(outcome(&written), "denied");

    // crun's flag has no value, and without it crun sets nothing; the wrapper's grammar takes both.
    let asked: &[&str] = if bench.is_runc() { &["--no-new-privs=false"] } else { &[] };
    assert_eq!(parsed(&bench.stock.exec(stock, asked, &status)?)["noNewPrivs"], 0);
    assert_eq!(parsed(&bench.gated.exec(gated, asked, &status)?)["noNewPrivs"], 1);

    // Root is what the container runs as, and no more than that.
    let root = parsed(&bench.gated.exec(gated, &["--user", "0:0"], &status)?);
    assert_eq!(root["uid"][0], 0);
    no_capability_but(&root, &GIVEN);
    let unknown = bench.gated.exec(gated, &["--privileged"], &status)?;
    assert_ne!(unknown.code, 0, "{unknown:?}");
    says(&unknown.stderr, &["--privileged"]);
    Ok(())
}

fn harmless_flags(bench: &Bench, gated: &Bundle<'_>) -> Result<(), Error> {
    let flags = ["--cwd", "/tmp", "--env", "WORD=two words", "-e", "LAST=1", "--user", "1000:100"];
    let output = bench.gated.exec(
        gated,
        &flags,
        &["sh", "-c", "pwd; echo $WORD$LAST; id -u; id -g; exit 9"],
    )?;
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (9, "/tmp\ntwo words1\n1000\n100\n"),
        "{output:?}"
    );

    let wrapper = bench.runtime.wrapper_path();
    let passed = with_shell(
        &bench.world,
        "exec 3</etc/passwd",
        &wrapper,
        ["exec", "--preserve-fds", "1", gated.id(), "probe", "status"],
    )?;
    let fds = parsed(&passed)["fds"].clone();
    let numbers: Vec<&String> = fds.as_object().into_iter().flat_map(|fds| fds.keys()).collect();
    assert_eq!(numbers, ["0", "1", "2", "3"], "{}: {passed:?}", bench.runtime);

    let line = ["exec", "--detach", "--pid-file", "/run/exec.pid", gated.id(), "sleep", "1001"];
    let detached = with_shell(&bench.world, "exec >/run/exec.log 2>&1", &wrapper, line)?;
    assert_eq!(detached.code, 0, "{detached:?}");
    // The runtime returns before its child has become the program.
    wait_for("the detached program", || {
        let seen = bench.shell("tr '\\0' ' ' </proc/$(cat /run/exec.pid)/cmdline")?;
        Ok((seen.stdout == "sleep 1001 ").then_some(()))
    })?;
    let held = bench.shell("grep -E '^(CapBnd|NoNewPrivs)' /proc/$(cat /run/exec.pid)/status")?;
    assert_eq!(held.stdout, "CapBnd:\t0000000000000021\nNoNewPrivs:\t1\n");

    if bench.is_runc() {
        let groups = ["--additional-gids", "7", "--additional-gids", "4000"];
        let status = parsed(&bench.gated.exec(gated, &groups, &["probe", "status"])?);
        assert_eq!(status["groups"], json!([7]), "4000 is not allowed: {status}");
    }
    Ok(())
}

/// No security module is active here, so that the runtimes' own answers are all there is to compare.
fn labels(bench: &Bench, stock: &Bundle<'_>, gated: &Bundle<'_>) -> Result<(), Error> {
    for flags in [["--apparmor", "absent"], ["--process-label", "system_u:system_r:container_t:s0"]]
    {
        let wide = bench.stock.exec(stock, &flags, &["probe", "ids"])?;
        let held = bench.gated.exec(gated, &flags, &["probe", "ids"])?;
        assert_eq!(wide.code, held.code, "{} {flags:?}: {wide:?} {held:?}", bench.runtime);
    }
    Ok(())
}

fn cgroups_and_pause(bench: &Bench, stock: &Bundle<'_>, gated: &Bundle<'_>) -> Result<(), Error> {
    for bundle in [stock, gated] {
        let make = "mkdir -p /sys/fs/cgroup/memory/default/ID/sub /sys/fs/cgroup/default/ID/sub 2>/dev/null; true";
        bench.shell(&make.replace("ID", bundle.id()))?;
    }
    let flags: &[&str] =
        if bench.is_runc() { &["--cgroup", "memory:sub"] } else { &["--cgroup", "sub"] };
    let wide = bench.stock.exec(stock, flags, &["grep", "memory", "/proc/self/cgroup"])?;
    let held = bench.gated.exec(gated, flags, &["grep", "memory", "/proc/self/cgroup"])?;
    assert_eq!(wide.code, held.code, "{}: {wide:?} {held:?}", bench.runtime);
    assert_eq!(wide.stdout.replace("stock-", "gated-"), held.stdout, "{}", bench.runtime);
    if bench.is_runc() {
        let going = bench.gated.exec(gated, &["--ignore-paused"], &["true"])?;
        assert_eq!(going.code, 0, "{going:?}");
        bench.gated.call(&bench.world, ["pause", gated.id()])?.ok("pause")?;
        let paused = bench.gated.exec(gated, &[], &["true"])?;
        assert_ne!(paused.code, 0, "{paused:?}");
        says(&paused.stderr, &["paused"]);
        bench.gated.call(&bench.world, ["resume", gated.id()])?.ok("resume")?;
    }
    Ok(())
}

/// A container that must not be root's: an exec as root is refused, in either form.
fn users(bench: &Bench) -> Result<(), Error> {
    policy(&bench.world, "users", "user: {runAsNonRoot: true}")?;
    let [stock, gated] = bench
        .sleepers("user", |spec| spec["process"]["user"] = json!({"uid": 1000, "gid": 1000}))?;
    let root = ["--user", "0:0"];
    assert_eq!(bench.stock.exec(&stock, &root, &["id", "-u"])?.stdout, "0\n");
    for refused in [
        bench.gated.exec(&gated, &root, &["id", "-u"])?,
        bench.gated.exec_process(&gated, &greedy(&["id", "-u"]))?,
    ] {
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused:?}");
        says(
            &refused.stderr,
            &[
                "exec into",
                "gated-user",
                "policy users (/etc/coaming/policy.d/users.yaml:5",
                "process.user.uid",
            ],
        );
    }
    // As the container runs: crun before 1.17 would have taken root here.
    assert_eq!(bench.gated.exec(&gated, &[], &["id", "-u"])?.stdout, "1000\n", "{}", bench.runtime);
    Ok(())
}

/// containerd's own way: it writes the process document itself, from ctr's flags.
#[test]
fn an_exec_through_containerd_is_held_to_the_floor() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for (number, (containerd, runtime)) in PAIRS.into_iter().enumerate() {
        let node = Node::start(NodeConfig::new(containerd, runtime))?;
        install(node.world(), runtime, "baseline")?;
        policy(node.world(), "held", HELD)?;
        for door in Door::of_pair(number) {
            eprintln!("{containerd} with {runtime} through {door:?}");
            is_held_to_the_floor(&node, door)?;
        }
    }
    Ok(())
}

fn is_held_to_the_floor(node: &Node, door: Door) -> Result<(), Error> {
    let ctr = node.ctr();
    let run = |id: &str| Run::new(images::PROBE, id).args(["sleep", "1000"]);
    ctr.start(&run("stock"))?.ok("stock")?;
    ctr.start(&run("gated").through(door))?.ok("gated")?;
    // `--cap-add` of a task's exec is not there in every version; the user and directory are.
    let flags = |id: &str| Exec::new(id, ["probe", "status"]).flag("--user=0:0").flag("--cwd=/tmp");
    let wide = parsed(&ctr.exec(&flags("stock"))?);
    says(wide["capabilities"]["bounding"].to_string(), &["CAP_NET_RAW"]);
    let held = parsed(&ctr.exec(&flags("gated"))?);
    no_capability_but(&held, &GIVEN);
    assert_eq!((&held["noNewPrivs"], &held["cwd"]), (&json!(1), &json!("/tmp")), "{held}");
    let terminal = ctr.exec(&Exec::new("gated", ["sh", "-c", "probe tty; sleep 1"]).tty())?;
    says(&terminal.stdout, &["true"]);
    let write = |id: &str| ctr.exec(&Exec::new(id, ["probe", "create", "/etc/new"]));
    assert_eq!(outcome(&write("stock")?), "allowed");
    assert_eq!(outcome(&write("gated")?), "denied");
    ctr.remove("stock")?;
    ctr.remove("gated")
}
