//! Exits: none is lost, none comes before its start, and init's is the last.

use std::fs;
use std::time::Duration;

use super::super::*;
use super::world::{World, alone, calls, code, on, wait_for};

#[test]
fn an_exit_before_start_returns_comes_after_the_start() {
    alone("exits::an_exit_before_start_returns_comes_after_the_start", async || {
        let world = World::new().await;
        let bundle = world.bundle("c", "exit 5");
        world.create("c").await.unwrap();
        on(
            &bundle,
            "start",
            "touch started; while kill -0 $(cat init.pid) 2>/dev/null; do sleep 0.01; done; sleep 0.1\n",
        );
        world.start("c", "").await.unwrap();
        assert_eq!(world.wait("c", "").await.unwrap(), 5);
        assert_eq!(world.story().await, ["create c", "start c", "exit c 5"]);
    });
}

#[test]
fn an_exit_before_create_returns_comes_after_the_creation() {
    alone("exits::an_exit_before_create_returns_comes_after_the_creation", async || {
        let world = World::new().await;
        let bundle = world.bundle("c", "");
        on(
            &bundle,
            "create",
            "run sh -c 'exit 4'; while kill -0 $(cat init.pid) 2>/dev/null; do sleep 0.01; done; exit 0\n",
        );
        world.create("c").await.unwrap();
        assert_eq!(world.wait("c", "").await.unwrap(), 4);
        let (unknown, text) = code(world.start("c", "").await);
        assert_eq!(
            (unknown, text.as_str()),
            (ttrpc::Code::UNKNOWN, "cannot start a stopped process")
        );
        world.delete("c", "").await.unwrap();
        assert_eq!(world.story().await, ["create c", "exit c 4", "delete c 4"]);
    });
}

#[test]
fn an_exit_during_the_start_of_an_exec_comes_after_it() {
    alone("exits::an_exit_during_the_start_of_an_exec_comes_after_it", async || {
        let world = World::new().await;
        let bundle = world.bundle("c", "sleep 60");
        world.create("c").await.unwrap();
        world.start("c", "").await.unwrap();
        on(
            &bundle,
            "exec",
            "run sh -c 'exit 6'; while kill -0 $(cat $pid_file) 2>/dev/null; do sleep 0.01; done; sleep 0.05; exit 0\n",
        );
        world.exec("c", "e", "").await.unwrap();
        world.start("c", "e").await.unwrap();
        assert_eq!(world.wait("c", "e").await.unwrap(), 6);
        assert_eq!(world.story().await[2..], ["exec-added e", "exec-started e", "exit e 6"]);
    });
}

#[test]
fn the_exit_of_init_is_the_last() {
    alone("exits::the_exit_of_init_is_the_last", async || {
        let world = World::new().await;
        let bundle = world.bundle("c", "sleep 60");
        world.create("c").await.unwrap();
        world.start("c", "").await.unwrap();
        for exec in ["a", "b", "late"] {
            world.exec("c", exec, "sleep 60").await.unwrap();
        }
        world.start("c", "a").await.unwrap();
        world.start("c", "b").await.unwrap();
        world.kill("c", "", 15, false).await.unwrap();
        // Init is gone, and its exit is held back: in a pid namespace the kernel would end the others now.
        let init = world.state("c", "").await.unwrap().pid;
        wait_for(|| !std::path::Path::new(&format!("/proc/{init}")).exists()).await;
        let (refused, text) = code(world.start("c", "late").await);
        assert_eq!(refused, ttrpc::Code::FAILED_PRECONDITION, "{text}");
        assert_eq!(text, "container c init process is not running");
        assert_eq!(world.status("c", "").await, Status::RUNNING);
        assert_eq!(code(world.delete("c", "").await).0, ttrpc::Code::FAILED_PRECONDITION);
        world.kill("c", "a", 9, false).await.unwrap();
        world.until("exit a 137").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(world.status("c", "").await, Status::RUNNING);
        world.kill("c", "b", 9, false).await.unwrap();
        assert_eq!(world.wait("c", "").await.unwrap(), 143);
        assert_eq!(world.story().await[7..], ["exit a 137", "exit b 137", "exit c 143"]);
        assert!(!calls(&bundle).contains("--all"));
        world.delete("c", "").await.unwrap();
    });
}

#[test]
fn a_shared_pid_namespace_is_killed_whole() {
    alone("exits::a_shared_pid_namespace_is_killed_whole", async || {
        let world = World::new().await;
        for (id, config) in [
            ("joined", r#"{"linux":{"namespaces":[{"type":"pid","path":"/proc/1/ns/pid"}]}}"#),
            ("host", r#"{"linux":{"namespaces":[{"type":"mount"}]}}"#),
        ] {
            let bundle = world.bundle(id, "sleep 60");
            fs::write(bundle.join("config.json"), config).unwrap();
            world.create(id).await.unwrap();
            world.start(id, "").await.unwrap();
            world.exec(id, "e", "sleep 60").await.unwrap();
            world.start(id, "e").await.unwrap();
            world.kill(id, "", 15, false).await.unwrap();
            assert_eq!(world.wait(id, "").await.unwrap(), 143);
            assert!(calls(&bundle).ends_with(&format!("kill --all {id} 9\n")));
            let story = world.story().await;
            let end = ["exit e 137".to_owned(), format!("exit {id} 143")];
            assert!(story.ends_with(&end), "{story:?}");
            world.delete(id, "e").await.unwrap();
            world.delete(id, "").await.unwrap();
        }
        // Where the runtime cannot, what holds back init's exit is killed all the same.
        let bundle = world.bundle("broken", "sleep 60");
        fs::write(bundle.join("config.json"), "{}").unwrap();
        on(&bundle, "kill", "[ -z \"$all\" ] || fail 'no'\n");
        world.create("broken").await.unwrap();
        world.start("broken", "").await.unwrap();
        world.exec("broken", "e", "sleep 60").await.unwrap();
        world.start("broken", "e").await.unwrap();
        world.kill("broken", "", 15, false).await.unwrap();
        assert_eq!(world.wait("broken", "").await.unwrap(), 143);
    });
}

#[test]
fn an_exec_that_joins_a_dying_container_does_not_hold_it_up() {
    alone("exits::an_exec_that_joins_a_dying_container_does_not_hold_it_up", async || {
        let world = World::new().await;
        let bundle = world.bundle("c", "sleep 60");
        fs::write(bundle.join("config.json"), "{}").unwrap();
        world.create("c").await.unwrap();
        world.start("c", "").await.unwrap();
        world.exec("c", "e", "sleep 60").await.unwrap();
        // Its process appears when the rest has been killed.
        on(&bundle, "exec", "until grep -q -e --all calls; do sleep 0.01; done; sleep 0.1\n");
        let (started, killed) = tokio::join!(world.start("c", "e"), async {
            wait_for(|| calls(&bundle).contains("exec ")).await;
            world.kill("c", "", 9, false).await
        });
        started.unwrap();
        killed.unwrap();
        assert_eq!(world.wait("c", "").await.unwrap(), 137);
        assert_eq!(world.story().await[3..], ["exec-started e", "exit e 137", "exit c 137"]);
    });
}

#[test]
fn orphans_are_reaped() {
    alone("exits::orphans_are_reaped", async || {
        let world = World::new().await;
        let bundle = world.bundle("c", "sleep 60");
        world.create("c").await.unwrap();
        world.start("c", "").await.unwrap();
        // A process that leaves a grandchild to the shim.
        world.exec("c", "e", "(sleep 0.2; exit 1) & echo $! > orphan").await.unwrap();
        world.start("c", "e").await.unwrap();
        world.wait("c", "e").await.unwrap();
        let orphan = fs::read_to_string(bundle.join("orphan")).unwrap();
        let path = format!("/proc/{}", orphan.trim());
        wait_for(|| !std::path::Path::new(&path).exists()).await;
    });
}

#[test]
fn a_storm_of_execs_leaves_nothing() {
    alone("exits::a_storm_of_execs_leaves_nothing", async || {
        const EXECS: usize = 300;
        let world = World::new().await;
        let bundle = world.bundle("c", "sleep 600");
        world.create("c").await.unwrap();
        world.start("c", "").await.unwrap();
        let one = async |number: usize| {
            let id = format!("e{number}");
            let status = u32::try_from(number % 100).unwrap();
            world.exec("c", &id, &format!("exit {status}")).await.unwrap();
            let (waited, started) = tokio::join!(world.wait("c", &id), world.start("c", &id));
            assert_eq!(waited.unwrap(), status);
            let deleted = world.delete("c", &id).await.unwrap();
            assert_eq!((deleted.pid, deleted.exit_status), (started.unwrap(), status));
        };
        one(0).await;
        let before = held();
        for round in 0..EXECS / 10 {
            let number = |place: usize| 1 + round * 10 + place;
            tokio::join!(
                one(number(0)),
                one(number(1)),
                one(number(2)),
                one(number(3)),
                one(number(4)),
                one(number(5)),
                one(number(6)),
                one(number(7)),
                one(number(8)),
                one(number(9)),
            );
        }
        let events = world.events().await;
        for number in 0..=EXECS {
            let id = format!("e{number}");
            let names: Vec<&str> =
                events.iter().filter(|event| event.1 == id).map(|event| event.0.as_str()).collect();
            assert_eq!(names, ["exec-added", "exec-started", "exit"], "{id}");
        }
        assert_eq!(held(), before, "descriptors, threads, children");
        let left: Vec<_> = fs::read_dir(&bundle)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains("exec") || name.contains("log"))
            .collect();
        assert_eq!(left, Vec::<String>::new());
        world.kill("c", "", 9, false).await.unwrap();
        world.wait("c", "").await.unwrap();
        world.delete("c", "").await.unwrap();
        assert!(world.service.pod.is_idle());
    });
}

/// Descriptors, threads and children of this process.
fn held() -> (usize, usize, usize) {
    let count = |path: &str| fs::read_dir(path).unwrap().count();
    let children = fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id()));
    let children = children.unwrap_or_default().split_whitespace().count();
    (count("/proc/self/fd"), count("/proc/self/task"), children)
}
