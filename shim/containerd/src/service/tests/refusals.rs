//! What is refused, what fails, and what is undone.

use std::fs;
use std::time::{Duration, Instant};

use containerd_shim_protos::api::*;
use protobuf::MessageField;
use ttrpc::{Code, context};

use super::super::*;
use super::world::{World, alone, calls, code, long, on, wait_for};

#[test]
fn a_hanging_create_holds_up_nobody_and_ends_with_its_deadline() {
    alone("refusals::a_hanging_create_holds_up_nobody_and_ends_with_its_deadline", async || {
        let world = World::new().await;
        world.bundle("other", "sleep 60");
        world.create("other").await.unwrap();
        world.start("other", "").await.unwrap();
        let hanging = world.bundle("hanging", "");
        on(&hanging, "create", "exec sleep 600\n");
        let request = world.request("hanging");
        let begun = Instant::now();
        let create = world.client.create(context::with_timeout(1_500_000_000), &request);
        let look = async {
            wait_for(|| calls(&hanging).contains("create")).await;
            for _ in 0..10 {
                assert_eq!(world.status("other", "").await, Status::RUNNING);
                assert_eq!(code(world.state("hanging", "").await).0, Code::NOT_FOUND);
            }
            world.exec("other", "e", "exit 1").await.unwrap();
            world.start("other", "e").await.unwrap();
            assert_eq!(world.wait("other", "e").await.unwrap(), 1);
            assert_eq!(code(world.create("hanging").await).0, Code::ALREADY_EXISTS);
            assert!(begun.elapsed() < Duration::from_millis(1400), "{:?}", begun.elapsed());
        };
        let (created, ()) = tokio::join!(create, look);
        assert!(created.is_err());
        // The runtime was ended, all is undone, and the id is free.
        wait_for(|| world.service.pod.container("hanging").is_err()).await;
        fs::remove_file(hanging.join("on-create")).unwrap();
        fs::write(hanging.join("init"), "exit 0").unwrap();
        loop {
            match world.create("hanging").await {
                Ok(_) => break,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
}

#[test]
fn a_failing_runtime_says_why() {
    alone("refusals::a_failing_runtime_says_why", async || {
        let world = World::new().await;
        let bundle = world.bundle("c", "sleep 60");
        on(&bundle, "create", "fail 'runc create failed: exec: no such file'\n");
        assert_eq!(
            code(world.create("c").await),
            (
                Code::UNKNOWN,
                "OCI runtime create failed: runc create failed: exec: no such file".into()
            )
        );
        assert!(!world.service.has_containers());
        assert_eq!(world.story().await, Vec::<String>::new());
        // Nothing in its log: what it printed goes to the streams of the process, and the status is told.
        on(&bundle, "create", "exit 3\n");
        let (unknown, text) = code(world.create("c").await);
        assert_eq!(unknown, Code::UNKNOWN);
        assert!(text.contains("did not terminate successfully: exit status 3"), "{text}");
        // It says that it is done, and has made nothing.
        on(&bundle, "create", "exit 0\n");
        let (_, text) = code(world.create("c").await);
        assert!(text.contains("init.pid") && calls(&bundle).contains("delete --force c"), "{text}");

        fs::remove_file(bundle.join("on-create")).unwrap();
        world.create("c").await.unwrap();
        on(&bundle, "start", "fail 'no start'\n");
        let failed = code(world.start("c", "").await);
        assert_eq!(failed, (Code::UNKNOWN, "OCI runtime start failed: no start".into()));
        assert_eq!(world.status("c", "").await, Status::CREATED);
        fs::remove_file(bundle.join("on-start")).unwrap();
        world.start("c", "").await.unwrap();

        on(&bundle, "exec", "fail 'no exec'\n");
        world.exec("c", "e", "true").await.unwrap();
        let (waited, failed) = tokio::join!(world.wait("c", "e"), world.start("c", "e"));
        assert_eq!(waited.unwrap(), 0);
        assert_eq!(code(failed), (Code::UNKNOWN, "OCI runtime exec failed: no exec".into()));
        assert_eq!(code(world.start("c", "e").await).0, Code::UNKNOWN);
        world.delete("c", "e").await.unwrap();

        on(&bundle, "ps", "echo broken; exit 0\n");
        let request = PidsRequest { id: "c".into(), ..Default::default() };
        let (unknown, text) = code(world.client.pids(long(), &request).await);
        assert!(unknown == Code::UNKNOWN && text.contains("no answer"), "{text}");
        on(&bundle, "kill", "echo 'kill: odd' >&2; exit 2\n");
        let (unknown, text) = code(world.kill("c", "", 9, false).await);
        assert!(unknown == Code::UNKNOWN && text.contains("kill: odd"), "{text}");
        for gone in [
            "container not running",
            "os: process already finished",
            "kill container: No such process",
            "container does not exist",
            "error opening file `/run/containerd/runc/test/c/status`: No such file or directory",
        ] {
            on(&bundle, "kill", &format!("fail '{gone}'\n"));
            assert_eq!(code(world.kill("c", "", 9, false).await).0, Code::NOT_FOUND, "{gone}");
        }
        fs::remove_file(bundle.join("on-kill")).unwrap();
        // Init is still looked after, though its first start failed: its exit comes.
        world.kill("c", "", 9, false).await.unwrap();
        assert_eq!(world.wait("c", "").await.unwrap(), 137);
        on(&bundle, "delete", "fail 'device or resource busy'\n");
        let failed = code(world.delete("c", "").await);
        assert_eq!(
            failed,
            (Code::UNKNOWN, "failed to delete task: device or resource busy".into())
        );
        on(
            &bundle,
            "delete",
            "fail \"cannot open directory '/run/containerd/runc/test/c': No such file or directory\"\n",
        );
        world.delete("c", "").await.unwrap();
    });
}

#[test]
fn a_failed_start_does_not_lose_the_exit() {
    alone("refusals::a_failed_start_does_not_lose_the_exit", async || {
        let world = World::new().await;
        let bundle = world.bundle("c", "");
        world.create("c").await.unwrap();
        on(&bundle, "start", "kill -9 $(cat init.pid); sleep 0.2; fail 'no such program'\n");
        assert_eq!(code(world.start("c", "").await).0, Code::UNKNOWN);
        assert_eq!(world.wait("c", "").await.unwrap(), 137);
        world.delete("c", "").await.unwrap();
        assert_eq!(world.story().await, ["create c", "exit c 137", "delete c 137"]);
    });
}

#[test]
fn ids_are_taken_once() {
    alone("refusals::ids_are_taken_once", async || {
        let world = World::new().await;
        world.bundle("c", "sleep 60");
        world.create("c").await.unwrap();
        assert_eq!(
            code(world.create("c").await),
            (Code::ALREADY_EXISTS, "container id c is in use".into())
        );
        world.exec("c", "e", "sleep 60").await.unwrap();
        assert_eq!(
            code(world.exec("c", "e", "x").await),
            (Code::ALREADY_EXISTS, "exec id e is in use".into())
        );
        world.start("c", "").await.unwrap();
        world.start("c", "e").await.unwrap();
        assert_eq!(code(world.exec("c", "e", "x").await).0, Code::ALREADY_EXISTS);
        assert_eq!(
            code(world.start("c", "").await),
            (Code::UNKNOWN, "cannot start a running process".into())
        );
        assert_eq!(
            code(world.start("c", "e").await),
            (Code::UNKNOWN, "cannot start a running process".into())
        );
        world.kill("c", "e", 9, false).await.unwrap();
        world.wait("c", "e").await.unwrap();
        assert_eq!(
            code(world.start("c", "e").await),
            (Code::UNKNOWN, "cannot start a stopped process".into())
        );
        let story = world.story().await;
        assert_eq!(story.iter().filter(|line| *line == "exec-added e").count(), 1);
    });
}

#[test]
fn what_is_unknown_is_not_found() {
    alone("refusals::what_is_unknown_is_not_found", async || {
        let world = World::new().await;
        for (id, exec) in [("none", ""), ("none", "e"), ("c", "none")] {
            if id == "c" {
                world.bundle("c", "sleep 60");
                world.create("c").await.unwrap();
            }
            assert_eq!(code(world.state(id, exec).await).0, Code::NOT_FOUND);
            assert_eq!(code(world.start(id, exec).await).0, Code::NOT_FOUND);
            assert_eq!(code(world.kill(id, exec, 9, false).await).0, Code::NOT_FOUND);
            assert_eq!(code(world.delete(id, exec).await).0, Code::NOT_FOUND);
            assert_eq!(code(world.wait(id, exec).await).0, Code::NOT_FOUND);
            let resize =
                ResizePtyRequest { id: id.into(), exec_id: exec.into(), ..Default::default() };
            assert_eq!(code(world.client.resize_pty(long(), &resize).await).0, Code::NOT_FOUND);
            let close =
                CloseIORequest { id: id.into(), exec_id: exec.into(), ..Default::default() };
            assert_eq!(code(world.client.close_io(long(), &close).await).0, Code::NOT_FOUND);
        }
        let id = "none".to_owned();
        assert_eq!(code(world.exec("none", "e", "x").await).0, Code::NOT_FOUND);
        let pids = PidsRequest { id: id.clone(), ..Default::default() };
        assert_eq!(code(world.client.pids(long(), &pids).await).0, Code::NOT_FOUND);
        let pause = PauseRequest { id: id.clone(), ..Default::default() };
        assert_eq!(code(world.client.pause(long(), &pause).await).0, Code::NOT_FOUND);
        let resume = ResumeRequest { id: id.clone(), ..Default::default() };
        assert_eq!(code(world.client.resume(long(), &resume).await).0, Code::NOT_FOUND);
        let stats = StatsRequest { id: id.clone(), ..Default::default() };
        assert_eq!(code(world.client.stats(long(), &stats).await).0, Code::NOT_FOUND);
        let update = UpdateTaskRequest { id: id.clone(), ..Default::default() };
        assert_eq!(code(world.client.update(long(), &update).await).0, Code::NOT_FOUND);
        let checkpoint = CheckpointTaskRequest { id, ..Default::default() };
        assert_eq!(code(world.client.checkpoint(long(), &checkpoint).await).0, Code::NOT_FOUND);
    });
}

#[test]
fn a_create_that_a_new_containerd_knows_nothing_of_is_undone() {
    alone("refusals::a_create_that_a_new_containerd_knows_nothing_of_is_undone", async || {
        let world = World::new().await;
        let bundle = world.bundle("c", "sleep 60");
        on(&bundle, "create", "sleep 0.3\n");
        let shutdown = ShutdownRequest { id: "c".into(), ..Default::default() };
        let asked = async {
            wait_for(|| calls(&bundle).contains("create")).await;
            world.client.shutdown(long(), &shutdown).await.unwrap();
        };
        let (created, ()) = tokio::join!(world.create("c"), asked);
        created.unwrap();
        world.service.shutdown.requested().await;
        assert!(!world.service.has_containers());
        assert_eq!(world.story().await, ["create c", "exit c 137", "delete c 137"]);
    });
}

#[test]
fn what_runs_is_not_deleted() {
    alone("refusals::what_runs_is_not_deleted", async || {
        let world = World::new().await;
        let bundle = world.bundle("c", "sleep 60");
        world.create("c").await.unwrap();
        world.start("c", "").await.unwrap();
        assert_eq!(
            code(world.delete("c", "").await),
            (
                Code::FAILED_PRECONDITION,
                "cannot delete c: it must be stopped, and is running".into()
            )
        );
        assert!(!calls(&bundle).contains("delete"));
        world.kill("c", "", 9, false).await.unwrap();
        world.wait("c", "").await.unwrap();
        // Two at once: one does it, the other finds nothing.
        on(&bundle, "delete", "sleep 0.2\n");
        let (one, other) = tokio::join!(world.delete("c", ""), world.delete("c", ""));
        assert!(one.is_ok() != other.is_ok());
        assert_eq!(code(one.and(other)).0, Code::NOT_FOUND);
        assert_eq!(world.story().await.iter().filter(|line| line.starts_with("delete")).count(), 1);
    });
}

#[test]
fn checkpoints_are_not_restored_and_odd_requests_refused() {
    alone("refusals::checkpoints_are_not_restored_and_odd_requests_refused", async || {
        let world = World::new().await;
        let bundle = world.bundle("c", "sleep 60");
        let mut request = world.request("c");
        request.checkpoint = "/var/lib/checkpoint".to_owned();
        let (refused, text) = code(world.client.create(long(), &request).await);
        assert_eq!(refused, Code::FAILED_PRECONDITION);
        assert!(
            text.contains("coaming does not restore") && text.contains("Landlock domains"),
            "{text}"
        );

        let mut request = world.request("c");
        let options = containerd_shim_protos::shim::oci::Options {
            binary_name: "/tmp/evil".to_owned(),
            ..Default::default()
        };
        request.options = MessageField::some(Any {
            type_url: "containerd.runc.v1.Options".to_owned(),
            value: options.write_to_bytes().unwrap(),
            ..Any::default()
        });
        let (refused, text) = code(world.client.create(long(), &request).await);
        assert_eq!(refused, Code::INVALID_ARGUMENT);
        assert!(text.contains("/tmp/evil") && text.contains("coaming-runc"), "{text}");

        for (id, of) in
            [("", "c"), ("../c", "c"), ("--help", "c"), ("c", "../../etc"), ("c", "none")]
        {
            let mut request = world.request(of);
            request.id = id.to_owned();
            let (refused, text) = code(world.client.create(long(), &request).await);
            assert_eq!(refused, Code::INVALID_ARGUMENT, "{text}");
        }
        assert!(calls(&bundle).is_empty() && !bundle.join("options.json").exists());
        world.create("c").await.unwrap();
        for exec in ["../x", "-x", "a/b"] {
            assert_eq!(code(world.exec("c", exec, "x").await).0, Code::INVALID_ARGUMENT);
        }
        let exec = ExecProcessRequest { id: "c".into(), exec_id: "e".into(), ..Default::default() };
        assert_eq!(code(world.client.exec(long(), &exec).await).0, Code::INVALID_ARGUMENT);
        world.exec("c", "e", "x").await.unwrap();

        let checkpoint =
            CheckpointTaskRequest { id: "c".into(), path: "/image".into(), ..Default::default() };
        let (unknown, text) = code(world.client.checkpoint(long(), &checkpoint).await);
        assert_eq!(
            (unknown, text.as_str()),
            (Code::UNKNOWN, "cannot checkpoint a created container")
        );
        world.start("c", "").await.unwrap();
        world.client.checkpoint(long(), &checkpoint).await.unwrap();
        let work = bundle.join("work/criu-work");
        assert!(calls(&bundle).contains(&format!(
            "checkpoint --image-path /image --work-path {} --leave-running c\n",
            work.display()
        )));
    });
}
