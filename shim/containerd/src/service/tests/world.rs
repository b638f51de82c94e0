//! A shim with a client and a listener to its events.

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use coaming_config::Configuration;
use containerd_shim_protos::api::*;
use containerd_shim_protos::events::task::{TaskExit, TaskStart};
use containerd_shim_protos::shim_async::{Client, Events, TaskClient, create_events, create_task};
use protobuf::{Message, MessageField};
use tempfile::TempDir;
use ttrpc::asynchronous::{Server, TtrpcContext};
use ttrpc::context::{self, Context};

use super::super::*;
use crate::socket::{Address, Claim};

const ALONE: &str = "COAMING_TEST_ALONE";

/// Runs a test in a process of its own: a shim reaps every child of its process, also those of other tests.
pub(super) fn alone<F: Future<Output = ()>>(test: &str, body: impl FnOnce() -> F) {
    if std::env::var_os(ALONE).is_none() {
        let me = std::env::current_exe().unwrap();
        let test = format!("service::tests::{test}");
        let output = Command::new(me)
            .args([test.as_str(), "--exact", "--nocapture", "--test-threads=1"])
            .env(ALONE, "1")
            .output()
            .unwrap();
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}\n{err}");
        assert!(out.contains("1 passed"), "{test} is not a test: {out}");
        return;
    }
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let _rest = Rest;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(100), body()).await.expect("the test hangs");
    });
}

/// What a test leaves running ends with it, also when it fails: all of it is, or becomes, a child of this process.
struct Rest;

impl Drop for Rest {
    fn drop(&mut self) {
        loop {
            let mut children = Vec::new();
            for thread in fs::read_dir("/proc/self/task").unwrap() {
                let list = fs::read_to_string(thread.unwrap().path().join("children"));
                let pids = list.unwrap_or_default();
                children.extend(pids.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
            }
            if children.is_empty() {
                return;
            }
            for pid in children {
                let _ = crate::sys::kill(pid, nix::libc::SIGKILL);
                let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
            }
        }
    }
}

/// An event: its name, the container or exec it is about, the pid and the exit status it carries.
pub(super) type Event = (String, String, u32, u32);

#[derive(Default)]
struct Listener(Mutex<Vec<Event>>);

#[async_trait]
impl Events for Listener {
    async fn forward(
        &self,
        _: &TtrpcContext,
        request: containerd_shim_protos::api::ForwardRequest,
    ) -> ttrpc::Result<Empty> {
        let envelope = request.envelope.unwrap();
        let value = &envelope.event.value;
        let name = envelope.topic.rsplit('/').next().unwrap().to_owned();
        let event = match name.as_str() {
            "exit" => {
                let exit = TaskExit::parse_from_bytes(value).unwrap();
                (name, exit.id, exit.pid, exit.exit_status)
            }
            "delete" => {
                let delete =
                    containerd_shim_protos::events::task::TaskDelete::parse_from_bytes(value)
                        .unwrap();
                assert_eq!(delete.id, "");
                (name, delete.container_id, delete.pid, delete.exit_status)
            }
            "create" => {
                let create =
                    containerd_shim_protos::events::task::TaskCreate::parse_from_bytes(value)
                        .unwrap();
                (name, create.container_id, create.pid, 0)
            }
            "exec-added" | "exec-started" => {
                let exec =
                    containerd_shim_protos::events::task::TaskExecStarted::parse_from_bytes(value)
                        .unwrap();
                (name, exec.exec_id, exec.pid, 0)
            }
            _ => {
                let other = TaskStart::parse_from_bytes(value).unwrap();
                (name, other.container_id, other.pid, 0)
            }
        };
        self.0.lock().unwrap().push(event);
        Ok(Empty::new())
    }
}

/// A shim.
pub(super) struct World {
    directory: TempDir,
    pub(super) service: Arc<Service>,
    pub(super) client: TaskClient,
    publisher: Publisher,
    listener: Arc<Listener>,
    _servers: [Server; 2],
    pub(super) address: Address,
    _socket: Claim,
}

impl World {
    pub(super) async fn new() -> World {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("coaming-runc");
        fs::write(&script, include_str!("runtime.sh")).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let url = |name: &str| format!("unix://{}", directory.path().join(name).display());

        let listener = Arc::new(Listener::default());
        let events = Server::new().bind(&url("events")).unwrap();
        let mut events = events.register_service(create_events(Arc::clone(&listener) as _));
        events.start().await.unwrap();
        let address = directory.path().join("events").display().to_string();
        let publisher = Publisher::new(Some(address), "test".to_owned());

        let address = Address::new(directory.path().to_str(), "containerd", "test", "c");
        let socket = address.claim().unwrap();
        let setup = Setup {
            namespace: "test".to_owned(),
            publisher: publisher.clone(),
            configuration: Arc::new(Configuration::default()),
            shutdown: Shutdown::new(address.clone()),
        };
        let service = Service::with_programs(setup, directory.path().to_owned()).unwrap();
        let server = Server::new().bind(&url("shim")).unwrap();
        let mut server = server.register_service(create_task(Arc::clone(&service) as _));
        server.start().await.unwrap();
        let client = TaskClient::new(Client::connect(&url("shim")).await.unwrap());
        World {
            directory,
            service,
            client,
            publisher,
            listener,
            _servers: [events, server],
            address,
            _socket: socket,
        }
    }

    /// A bundle whose init is this script, in a pid namespace of its own or not.
    pub(super) fn bundle(&self, id: &str, init: &str) -> PathBuf {
        let bundle = self.directory.path().join("bundles").join(id);
        fs::create_dir_all(&bundle).unwrap();
        fs::write(bundle.join("init"), init).unwrap();
        fs::write(
            bundle.join("config.json"),
            r#"{"linux":{"namespaces":[{"type":"mount"},{"type":"pid"}]}}"#,
        )
        .unwrap();
        bundle
    }

    pub(super) fn request(&self, id: &str) -> CreateTaskRequest {
        let bundle = self.directory.path().join("bundles").join(id).display().to_string();
        CreateTaskRequest { id: id.to_owned(), bundle, ..CreateTaskRequest::default() }
    }

    pub(super) async fn create(&self, id: &str) -> ttrpc::Result<u32> {
        let response = self.client.create(long(), &self.request(id)).await?;
        Ok(response.pid)
    }

    pub(super) async fn start(&self, id: &str, exec: &str) -> ttrpc::Result<u32> {
        let request = StartRequest { id: id.into(), exec_id: exec.into(), ..Default::default() };
        Ok(self.client.start(long(), &request).await?.pid)
    }

    pub(super) async fn exec(&self, id: &str, exec: &str, command: &str) -> ttrpc::Result<()> {
        let spec = format!(r#"{{"args":["x"],"command":"{command}"}}"#);
        let spec = Any { value: spec.into_bytes(), ..Any::default() };
        let request = ExecProcessRequest {
            id: id.into(),
            exec_id: exec.into(),
            spec: MessageField::some(spec),
            ..Default::default()
        };
        self.client.exec(long(), &request).await.map(drop)
    }

    pub(super) async fn kill(
        &self,
        id: &str,
        exec: &str,
        signal: u32,
        all: bool,
    ) -> ttrpc::Result<()> {
        let request =
            KillRequest { id: id.into(), exec_id: exec.into(), signal, all, ..Default::default() };
        self.client.kill(long(), &request).await.map(drop)
    }

    pub(super) async fn delete(&self, id: &str, exec: &str) -> ttrpc::Result<DeleteResponse> {
        let request = DeleteRequest { id: id.into(), exec_id: exec.into(), ..Default::default() };
        self.client.delete(long(), &request).await
    }

    pub(super) async fn wait(&self, id: &str, exec: &str) -> ttrpc::Result<u32> {
        let request = WaitRequest { id: id.into(), exec_id: exec.into(), ..Default::default() };
        Ok(self.client.wait(long(), &request).await?.exit_status)
    }

    pub(super) async fn state(&self, id: &str, exec: &str) -> ttrpc::Result<StateResponse> {
        let request = StateRequest { id: id.into(), exec_id: exec.into(), ..Default::default() };
        self.client.state(context::with_timeout(2_000_000_000), &request).await
    }

    pub(super) async fn status(&self, id: &str, exec: &str) -> Status {
        self.state(id, exec).await.unwrap().status.unwrap()
    }

    /// The events so far.
    pub(super) async fn events(&self) -> Vec<Event> {
        self.publisher.drain(Duration::from_secs(10)).await;
        self.listener.0.lock().unwrap().clone()
    }

    /// Their names and what they are about.
    pub(super) async fn story(&self) -> Vec<String> {
        let told = |(name, about, _, status): Event| match name.as_str() {
            "exit" | "delete" => format!("{name} {about} {status}"),
            _ => format!("{name} {about}"),
        };
        self.events().await.into_iter().map(told).collect()
    }

    /// Waits for an event.
    pub(super) async fn until(&self, said: &str) {
        while !self.story().await.iter().any(|line| line == said) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// What this bundle's runtime does differently.
pub(super) fn on(bundle: &Path, verb: &str, script: &str) {
    fs::write(bundle.join(format!("on-{verb}")), script).unwrap();
}

pub(super) fn calls(bundle: &Path) -> String {
    fs::read_to_string(bundle.join("calls")).unwrap_or_default()
}

pub(super) async fn wait_for(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) fn long() -> Context {
    context::with_timeout(60_000_000_000)
}

pub(super) fn code<T: std::fmt::Debug>(result: ttrpc::Result<T>) -> (ttrpc::Code, String) {
    match result.unwrap_err() {
        ttrpc::Error::RpcStatus(status) => (status.code(), status.message().to_owned()),
        other => panic!("{other:?}"),
    }
}
