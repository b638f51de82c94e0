//! Lives that go as they should.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use containerd_shim_protos::api::*;
use protobuf::{Message, MessageField};

use super::super::*;
use super::world::{World, alone, calls, code, long, on, wait_for};
use crate::socket::Claim;

#[test]
fn a_container_lives_and_goes() {
    alone("life::a_container_lives_and_goes", async || {
        let world = World::new().await;
        let bundle = world.bundle("c", "sleep 0.1; exit 7");
        let pid = world.create("c").await.unwrap();
        let state = world.state("c", "").await.unwrap();
        assert_eq!(
            (state.pid, state.status.unwrap(), state.id.as_str()),
            (pid, Status::CREATED, "c")
        );
        assert_eq!(state.exited_at.seconds, -62_135_596_800);
        assert_eq!(world.start("c", "").await.unwrap(), pid);
        assert_eq!(world.wait("c", "").await.unwrap(), 7);
        assert_eq!(world.status("c", "").await, Status::STOPPED);
        let mode = fs::metadata(bundle.join("options.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let runtime = fs::read_to_string(bundle.join("runtime")).unwrap();
        assert!(runtime.ends_with("/coaming-runc"), "{runtime}");
        let deleted = world.delete("c", "").await.unwrap();
        assert_eq!((deleted.pid, deleted.exit_status), (pid, 7));
        assert!(deleted.exited_at.seconds > 1_000_000_000);
        assert_eq!(world.story().await, ["create c", "start c", "exit c 7", "delete c 7"]);
        assert!(world.events().await.iter().all(|event| event.2 == pid));
        assert_eq!(code(world.state("c", "").await).0, ttrpc::Code::NOT_FOUND);
        let calls = calls(&bundle);
        let bundle_path = bundle.display();
        assert_eq!(
            calls,
            format!(
                "create --bundle {bundle_path} --pid-file {bundle_path}/init.pid c\nstart c\ndelete c\n"
            )
        );
        // No log, no process, no pid file of a call is left.
        let mut left: Vec<_> = fs::read_dir(&bundle)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(
            left,
            [
                "calls",
                "config.json",
                "deleted",
                "init",
                "init.pid",
                "options.json",
                "pids",
                "runtime",
                "started"
            ]
        );
    });
}

#[test]
fn an_exec_lives_and_goes() {
    alone("life::an_exec_lives_and_goes", async || {
        let world = World::new().await;
        let bundle = world.bundle("c", "sleep 60");
        world.create("c").await.unwrap();
        world.start("c", "").await.unwrap();
        on(&bundle, "exec", "stat -c %a $process >mode; cat $process >seen\n");
        world.exec("c", "e", "sleep 60").await.unwrap();
        assert_eq!(world.status("c", "e").await, Status::CREATED);
        assert_eq!(code(world.kill("c", "e", 9, false).await).0, ttrpc::Code::FAILED_PRECONDITION);
        let pid = world.start("c", "e").await.unwrap();
        let state = world.state("c", "e").await.unwrap();
        assert_eq!(
            (state.pid, state.status.unwrap(), state.id.as_str()),
            (pid, Status::RUNNING, "e")
        );
        assert_eq!(fs::read_to_string(bundle.join("mode")).unwrap().trim(), "600");
        let seen = fs::read_to_string(bundle.join("seen")).unwrap();
        assert_eq!(seen, r#"{"args":["x"],"command":"sleep 60","terminal":false}"#);

        let request = PidsRequest { id: "c".into(), ..Default::default() };
        let processes = world.client.pids(long(), &request).await.unwrap().processes;
        assert_eq!(processes.len(), 2);
        for process in processes {
            let details = process.info.as_ref().map(|any| {
                assert_eq!(any.type_url, "containerd.runc.v1.ProcessDetails");
                ProcessDetails::parse_from_bytes(&any.value).unwrap().exec_id
            });
            assert_eq!(details.as_deref(), (process.pid == pid).then_some("e"));
        }

        assert_eq!(code(world.delete("c", "e").await).0, ttrpc::Code::FAILED_PRECONDITION);
        // A real-time signal, of which nix knows nothing.
        world.kill("c", "e", 35, false).await.unwrap();
        assert_eq!(world.wait("c", "e").await.unwrap(), 128 + 35);
        assert_eq!(code(world.kill("c", "e", 9, false).await).0, ttrpc::Code::NOT_FOUND);
        assert_eq!(world.delete("c", "e").await.unwrap().exit_status, 163);
        assert_eq!(code(world.delete("c", "e").await).0, ttrpc::Code::NOT_FOUND);
        // One that is never started goes as well, and who waits for it is let go.
        world.exec("c", "e", "true").await.unwrap();
        let (waited, deleted) = tokio::join!(world.wait("c", "e"), world.delete("c", "e"));
        assert_eq!((waited.unwrap(), deleted.unwrap().exit_status), (0, 0));
        world.kill("c", "", 9, false).await.unwrap();
        assert_eq!(world.wait("c", "").await.unwrap(), 137);
        world.delete("c", "").await.unwrap();
        assert_eq!(
            world.story().await,
            [
                "create c",
                "start c",
                "exec-added e",
                "exec-started e",
                "exit e 163",
                "exec-added e",
                "exit c 137",
                "delete c 137"
            ]
        );
    });
}

#[test]
fn a_container_is_paused_resumed_and_updated() {
    alone("life::a_container_is_paused_resumed_and_updated", async || {
        let world = World::new().await;
        let bundle = world.bundle("c", "sleep 60");
        world.create("c").await.unwrap();
        world.start("c", "").await.unwrap();
        world.exec("c", "e", "sleep 60").await.unwrap();
        world.start("c", "e").await.unwrap();
        on(&bundle, "pause", "until [ -e may-pause ]; do sleep 0.01; done\n");
        let pause = PauseRequest { id: "c".into(), ..Default::default() };
        let (paused, ()) = tokio::join!(world.client.pause(long(), &pause), async {
            wait_for(|| calls(&bundle).contains("pause c")).await;
            assert_eq!(world.status("c", "").await, Status::PAUSING);
            assert_eq!(world.status("c", "e").await, Status::PAUSING);
            fs::write(bundle.join("may-pause"), "").unwrap();
        });
        paused.unwrap();
        assert_eq!(world.status("c", "").await, Status::PAUSED);
        assert_eq!(world.status("c", "e").await, Status::PAUSED);
        let (unknown, text) = code(world.client.pause(long(), &pause).await);
        assert_eq!(
            (unknown, text.as_str()),
            (ttrpc::Code::UNKNOWN, "cannot pause a paused container")
        );
        let (unknown, text) = code(world.exec("c", "f", "true").await);
        assert_eq!(
            (unknown, text.as_str()),
            (ttrpc::Code::UNKNOWN, "cannot exec in a paused container")
        );
        let resume = ResumeRequest { id: "c".into(), ..Default::default() };
        world.client.resume(long(), &resume).await.unwrap();
        assert_eq!(world.status("c", "").await, Status::RUNNING);
        assert_eq!(code(world.client.resume(long(), &resume).await).0, ttrpc::Code::UNKNOWN);

        let resources = Any { value: br#"{"pids":{"limit":7}}"#.to_vec(), ..Any::default() };
        let update = UpdateTaskRequest {
            id: "c".into(),
            resources: MessageField::some(resources),
            ..Default::default()
        };
        world.client.update(long(), &update).await.unwrap();
        assert_eq!(
            fs::read_to_string(bundle.join("resources")).unwrap(),
            r#"{"pids":{"limit":7}}"#
        );
        assert!(calls(&bundle).contains("update --resources=- c\n"));
        let bad = UpdateTaskRequest { id: "c".into(), ..Default::default() };
        assert_eq!(code(world.client.update(long(), &bad).await).0, ttrpc::Code::INVALID_ARGUMENT);

        // A signal that ends it while it is paused thaws it, or what is left could not be killed.
        world.client.pause(long(), &pause).await.unwrap();
        world.kill("c", "e", 9, false).await.unwrap();
        world.kill("c", "", 9, true).await.unwrap();
        assert_eq!(world.wait("c", "").await.unwrap(), 137);
        assert!(calls(&bundle).ends_with("kill --all c 9\nresume c\n"), "{}", calls(&bundle));
        assert_eq!(
            world.story().await[4..],
            ["paused c", "resumed c", "paused c", "exit e 137", "exit c 137"]
        );
    });
}

#[test]
fn the_shim_ends_when_it_has_no_containers() {
    alone("life::the_shim_ends_when_it_has_no_containers", async || {
        let world = World::new().await;
        world.bundle("c", "exit 0");
        world.create("c").await.unwrap();
        let connect = ConnectRequest { id: "c".into(), ..Default::default() };
        let connected = world.client.connect(long(), &connect).await.unwrap();
        assert_eq!(connected.shim_pid, std::process::id());
        assert_eq!(connected.task_pid, world.state("c", "").await.unwrap().pid);
        let connect = ConnectRequest { id: "unknown".into(), ..Default::default() };
        assert_eq!(world.client.connect(long(), &connect).await.unwrap().task_pid, 0);

        let shutdown = ShutdownRequest { id: "c".into(), ..Default::default() };
        world.client.shutdown(long(), &shutdown).await.unwrap();
        let asked = world.service.shutdown.requested();
        assert!(tokio::time::timeout(Duration::from_millis(50), asked).await.is_err());
        assert!(world.service.has_containers());
        world.start("c", "").await.unwrap();
        world.wait("c", "").await.unwrap();
        world.delete("c", "").await.unwrap();
        assert!(matches!(world.address.claim(), Ok(Claim::Served)));
        world.client.shutdown(long(), &shutdown).await.unwrap();
        // Who is told may start another shim at once, though this one still answers.
        assert!(matches!(world.address.claim(), Ok(Claim::Bound(_))));
        world.service.shutdown.requested().await;
        assert!(!world.service.has_containers());
    });
}

#[test]
fn a_container_that_was_never_started_goes_too() {
    alone("life::a_container_that_was_never_started_goes_too", async || {
        let world = World::new().await;
        world.bundle("c", "sleep 60");
        world.create("c").await.unwrap();
        assert_eq!(world.delete("c", "").await.unwrap().exit_status, 137);
        assert_eq!(world.story().await, ["create c", "exit c 137", "delete c 137"]);
        assert!(!world.service.has_containers());
    });
}

#[test]
fn streams_reach_the_process_and_come_back() {
    alone("life::streams_reach_the_process_and_come_back", async || {
        let world = World::new().await;
        let bundle = world.bundle("c", "echo to stdout; echo to stderr >&2; exit 3");
        let out = bundle.join("out.log");
        let mut request = world.request("c");
        request.stdout = format!("file://{}", out.display());
        request.stderr = request.stdout.clone();
        world.client.create(long(), &request).await.unwrap();
        world.start("c", "").await.unwrap();
        assert_eq!(world.wait("c", "").await.unwrap(), 3);
        world.delete("c", "").await.unwrap();
        let text = fs::read_to_string(out).unwrap();
        assert!(text.contains("to stdout\n") && text.contains("to stderr\n"), "{text}");
    });
}
