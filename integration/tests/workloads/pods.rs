//! Pods: namespaces that containers share, a user namespace, and many execs in one container.

use coaming_integration::cri::{ContainerSpec, Pod};
use coaming_integration::{Containerd, Door, Error, Node, PAIRS, can_run, images, wait_for};

use crate::images::node;
use crate::setup::parsed;

#[test]
fn pods_are_what_they_are_without_coaming() -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    for (number, pair) in PAIRS.into_iter().enumerate() {
        let node = node(pair)?;
        for door in Door::of_pair(number) {
            eprintln!("{} with {} through {door:?}", pair.0, pair.1);
            containers_share_their_sandbox(node, door)?;
            a_user_namespace(node, door)?;
            many_execs_leave_nothing(node, door, "")?;
            many_execs_leave_nothing(node, door, "confined")?;
        }
    }
    Ok(())
}

fn containers_share_their_sandbox(node: &Node, door: Door) -> Result<(), Error> {
    let cri = node.cri()?;
    let pod = cri.run_pod(&Pod::new("shares", door.handler()))?;
    let server =
        cri.launch(&pod, &ContainerSpec::new("server", images::PROBE, ["probe", "serve", "8080"]))?;
    wait_for("the server", || Ok(cri.logs(&server)?.stdout.contains("listening").then_some(())))?;
    let client = "hostname; echo over loopback | nc 127.0.0.1 8080 | head -n1";
    let output =
        cri.run(&pod, &ContainerSpec::new("client", images::PROBE, ["sh", "-c", client]))?;
    assert_eq!(output.stdout, "shares\nover loopback\n", "{output:?}");
    let other = cri.launch(&pod, &ContainerSpec::new("other", images::PROBE, ["sleep", "1000"]))?;
    let [first, second] = [&server, &other].map(|id| cri.exec_sync(id, ["probe", "status"]));
    let (first, second) = (parsed(&first?), parsed(&second?));
    for (kind, shared) in
        [("net", true), ("ipc", true), ("uts", true), ("pid", false), ("mnt", false)]
    {
        let same = first["namespaces"][kind] == second["namespaces"][kind];
        assert_eq!(same, shared, "{kind}: {first} {second}");
    }
    cri.remove_pod(&pod)
}

/// containerd 1.6 ignores the request without a word, and 2.0.9 to 2.1.9 refuse it to every type of shim but the stock one.
fn a_user_namespace(node: &Node, door: Door) -> Result<(), Error> {
    let containerd = node.config().containerd;
    if containerd == Containerd::V1_6 || (containerd == Containerd::V2 && door == Door::ShimType) {
        return Ok(());
    }
    let cri = node.cri()?;
    let map = |handler: &str, namespace: &str| -> Result<String, Error> {
        let pod = Pod {
            user_namespace: true,
            namespace: namespace.to_owned(),
            ..Pod::new(&format!("user-{handler}-{namespace}"), handler)
        };
        let pod = match cri.run_pod(&pod) {
            Ok(pod) => pod,
            // A pair that cannot do it says so under stock.
            Err(error) => return Ok(format!("no: {error}")),
        };
        let look = "tr -s ' ' </proc/self/uid_map; id -u; touch /tmp/x && ls -ln /tmp/x | tr -s ' ' | cut -d' ' -f3";
        let output = cri.run(&pod, &ContainerSpec::new("main", images::PROBE, ["sh", "-c", look]));
        cri.remove_pod(&pod)?;
        output.map(|output| output.text())
    };
    let stock = map("runc", "default")?;
    if stock.starts_with("no: ") {
        eprintln!("user namespaces: {stock}");
        return Ok(());
    }
    assert_eq!(stock, " 0 100000 65536\n0\n0\n");
    assert_eq!(map(door.handler(), "default")?, stock);
    // Through the launcher too, which the mapped root must be able to reach.
    assert_eq!(map(door.handler(), "confined")?, stock);
    Ok(())
}

/// As a liveness probe does.
fn many_execs_leave_nothing(node: &Node, door: Door, namespace: &str) -> Result<(), Error> {
    let cri = node.cri()?;
    let pod = Pod {
        namespace: namespace.to_owned(),
        ..Pod::new(&format!("execs-{namespace}"), door.handler())
    };
    let pod = cri.run_pod(&pod)?;
    let id = cri.launch(&pod, &ContainerSpec::new("main", images::PROBE, ["probe", "pause"]))?;
    let exec = || cri.exec_sync(&id, ["test", "-e", "/bin/probe"]);
    // The first exec may make what all share.
    assert_eq!(exec()?.code, 0);
    let pid = cri.status(&id)?.info["pid"].to_string();
    let look = || -> Result<String, Error> {
        let inside = cri.exec_sync(&id, ["sh", "-c", "set -- /proc/[0-9]*; echo $#; ls /proc/1/fd; ls -A /tmp /dev/shm; grep -c . /proc/1/mountinfo"])?;
        let outside = node.world().run(["sh", "-c", &format!("ls -l /proc/{pid}/fd | wc -l")])?;
        // Of this container alone: other tests run beside this one.
        let own = "cd /run/coaming && for r in containers/*; do \
                   grep -q '\"id\":\"ID\"' $r/record.json || continue; ls $r; ls launch/${r#*/}; done 2>/dev/null; true";
        let own = node.world().run(["sh", "-c", &own.replace("ID", &id)])?;
        Ok(inside.text() + &outside.text() + &own.stdout)
    };
    let before = look()?;
    for _ in 0..25 {
        assert_eq!(exec()?.code, 0);
    }
    assert_eq!(look()?, before, "{namespace}");
    let absent = cri.exec_sync(&id, ["/bin/absent"]);
    assert!(!matches!(absent, Ok(output) if output.code == 0));
    assert_eq!(look()?, before, "{namespace}");
    cri.remove_pod(&pod)
}
