//! What ordinary images do, through CRI and through ctr, under every containerd and runtime.

use coaming_integration::cri::{ContainerSpec, Pod};
use coaming_integration::{
    Door, Error, Exec, Node, NodeConfig, PAIRS, Run, can_run, images, shared,
};

use crate::setup::{install, parsed, policy, says};

/// A node of this pair with coaming under the floor `baseline`, and Landlock besides for the namespace `confined`.
pub(crate) fn node(
    pair: (coaming_integration::Containerd, coaming_integration::Runtime),
) -> Result<&'static Node, Error> {
    static INSTALLED: std::sync::Mutex<Vec<String>> = std::sync::Mutex::new(Vec::new());
    let (containerd, runtime) = pair;
    let node = shared(NodeConfig::new(containerd, runtime))?;
    let mut installed = INSTALLED.lock().unwrap();
    let name = node.world().name().to_owned();
    if !installed.contains(&name) {
        install(node.world(), runtime, "baseline")?;
        policy(
            node.world(),
            "confined",
            "match: {namespaces: [confined]}\nlandlock: {write: [/tmp, /dev]}",
        )?;
        installed.push(name);
    }
    Ok(node)
}

#[test]
fn ordinary_images_run() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for (number, pair) in PAIRS.into_iter().enumerate() {
        let node = node(pair)?;
        for door in Door::of_pair(number) {
            eprintln!("{} with {} through {door:?}", pair.0, pair.1);
            containers_that_end(node, door)?;
            a_server_on_a_low_port(node, door)?;
            interactive_containers(node, door)?;
            through_ctr(node, door)?;
        }
    }
    Ok(())
}

fn containers_that_end(node: &Node, door: Door) -> Result<(), Error> {
    let cri = node.cri()?;
    let pod = cri.run_pod(&Pod::new("ends", door.handler()))?;
    let run = |spec: ContainerSpec| cri.run(&pod, &spec);
    let shell =
        |name: &str, script: &str| ContainerSpec::new(name, images::PROBE, ["sh", "-c", script]);

    let script = "set -e; for i in 1 2 3; do echo $i | sed s/^/line/; done >/tmp/x; sort -r /tmp/x; \
                  mkdir /var/tmp/d; chown 1000:1000 /var/tmp/d; chmod 4755 /tmp/x; \
                  (sleep 0.1; echo late) & wait; echo err >&2; exit 3";
    let output = run(shell("script", script))?;
    assert_eq!(
        (output.code, output.stdout.as_str(), output.stderr.as_str()),
        (3, "line3\nline2\nline1\nlate\n", "err\n")
    );

    let user = ContainerSpec {
        run_as_user: Some(1000),
        run_as_group: Some(1000),
        supplemental_groups: vec![7],
        ..shell(
            "user",
            "id -u; id -g; touch /tmp/mine && ls -ln /tmp/mine | cut -c1-40 | grep -c 1000; touch /etc/x || echo no",
        )
    };
    let output = run(user)?;
    assert_eq!((output.code, output.stdout.as_str()), (0, "1000\n1000\n1\nno\n"), "{output:?}");

    let readonly = ContainerSpec {
        readonly_rootfs: true,
        ..shell("readonly", "touch /file || echo read-only; echo x >/dev/shm/x && cat /dev/shm/x")
    };
    assert_eq!(run(readonly)?.stdout, "read-only\nx\n");

    let output = run(ContainerSpec::new("forks", images::PROBE, ["probe", "fork-signal"]))?;
    assert!(output.success() && output.stdout.contains("OK"), "{output:?}");

    // No shell, no /etc, no /tmp; the image's own entry point.
    let bare = ContainerSpec {
        args: vec!["status".to_owned()],
        ..ContainerSpec::new("bare", images::DISTROLESS, [""; 0])
    };
    let status = parsed(&run(bare)?);
    assert_eq!(
        (&status["argv0"], &status["exe"]),
        (&"/probe".into(), &"/probe".into()),
        "{status}"
    );

    // A set-user-ID program still gains where nobody asks for noNewPrivileges, as under the Pod Security "baseline".
    let setuid = ContainerSpec::new("setuid", images::SETUID, ["/bin/probe-setuid", "ids"]);
    says(&run(setuid)?.stdout, &["\"uid\""]);
    cri.remove_pod(&pod)
}

/// Connected to from the node, which is the other end of the pod's network.
fn a_server_on_a_low_port(node: &Node, door: Door) -> Result<(), Error> {
    let cri = node.cri()?;
    let pod = cri.run_pod(&Pod::new("server", door.handler()))?;
    let id =
        cri.launch(&pod, &ContainerSpec::new("server", images::PROBE, ["probe", "serve", "80"]))?;
    while !cri.logs(&id)?.stdout.contains("listening 80") {
        assert_eq!(cri.status(&id)?.state, coaming_integration::cri::State::Running);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let address = cri.exec_sync(
        &id,
        ["sh", "-c", "ip -4 -o address show eth0 | tr -s ' ' | cut -d' ' -f4 | cut -d/ -f1"],
    )?;
    let echo = node.world().run([
        "bash",
        "-c",
        &format!("exec 3<>/dev/tcp/{}/80; echo hello >&3; head -n1 <&3", address.stdout.trim()),
    ])?;
    assert_eq!(echo.stdout, "hello\n", "{address:?} {echo:?}");
    cri.remove_pod(&pod)
}

fn interactive_containers(node: &Node, door: Door) -> Result<(), Error> {
    let cri = node.cri()?;
    let pod = cri.run_pod(&Pod::new("interactive", door.handler()))?;
    let echo = "while read line; do echo got $line; done";
    let spec = ContainerSpec {
        stdin: true,
        ..ContainerSpec::new("echo", images::PROBE, ["sh", "-c", echo])
    };
    let id = cri.launch(&pod, &spec)?;
    let attached = cri.attach(&id, b"hello\n", false, "got hello\n")?;
    says(&attached.stdout, &["got hello\n"]);
    let executed = cri.exec(
        &id,
        ["sh", "-c", "read line; echo $line; echo err >&2; exit 9"],
        b"typed\n",
        false,
    )?;
    assert_eq!(
        (executed.code, executed.stdout.as_str(), executed.stderr.as_str()),
        (9, "typed\n", "err\n")
    );
    let terminal = cri.exec(&id, ["sh", "-c", "test -t 0 && test -t 1 && tty"], b"", true)?;
    assert_eq!((terminal.code, terminal.stdout.as_str()), (0, "/dev/pts/0\r\n"), "{terminal:?}");
    says(cri.logs(&id)?.stdout, &["got hello\n"]);

    let spec = ContainerSpec {
        stdin: true,
        tty: true,
        ..ContainerSpec::new(
            "terminal",
            images::PROBE,
            ["sh", "-c", "test -t 0 && tty; read line; echo got $line"],
        )
    };
    let id = cri.launch(&pod, &spec)?;
    let attached = cri.attach(&id, b"hello\n", true, "got hello\r\n")?;
    says(&attached.stdout, &["got hello\r\n"]);
    assert_eq!(cri.wait(&id)?, 0);
    says(cri.logs(&id)?.stdout, &["/dev/pts/0"]);
    cri.remove_pod(&pod)
}

fn through_ctr(node: &Node, door: Door) -> Result<(), Error> {
    let ctr = node.ctr();
    let run = |id: &str| Run::new(images::PROBE, id).through(door);
    // With an input or a terminal the output goes by ctr's own FIFOs, whose readers need a moment of the container's life.
    let piped =
        ctr.run(&run("piped").args(["sh", "-c", "head -n1; sleep 1"]).stdin("through\n"))?;
    assert_eq!((piped.code, piped.stdout.as_str()), (0, "through\n"), "{piped:?}");
    let tty = ctr.run(
        &run("tty").args(["sh", "-c", "test -t 0 && echo a terminal; sleep 1; exit 6"]).tty(),
    )?;
    assert_eq!(tty.code, 6, "{tty:?}");
    says(&tty.stdout, &["a terminal\r"]);
    let code = ctr.run(&run("code").args(["sh", "-c", "echo out; echo err >&2; exit 7"]))?;
    assert_eq!((code.code, code.stdout.as_str(), code.stderr.as_str()), (7, "out\n", "err\n"));
    ctr.start(&run("long").args(["sleep", "1000"]))?.ok("start")?;
    let executed = ctr.exec(
        &Exec::new("long", ["sh", "-c", "id -u; cat; sleep 1; exit 3"])
            .flag("--user=1000")
            .stdin("in"),
    )?;
    assert_eq!((executed.code, executed.stdout.as_str()), (3, "1000\nin"), "{executed:?}");
    ctr.remove("long")
}
