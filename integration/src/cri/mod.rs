//! A CRI client: what the kubelet says to containerd or CRI-O, one blocking call after another.

mod logs;
mod messages;
mod spec;

use std::time::{Duration, Instant};

use messages as wire;
use prost::Message;
use serde_json::Value;

pub use spec::{ContainerSpec, MountSpec, Pod, Profile, Propagation};

use crate::grpc::{self, Connection, LIMIT};
use crate::{Error, Node, Output, World, stream, wait_for};

/// A connection to a node's CRI.
pub struct Cri<'a> {
    world: &'a World,
    connection: Connection,
}

/// A pod sandbox that runs.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// containerd's ID of it.
    pub id: String,
    pod: Pod,
    config: wire::SandboxConfig,
}

impl Sandbox {
    /// Where the node's log of a container of this name is.
    pub fn log(&self, container: &str) -> String {
        format!("{}/{container}.log", self.config.log_directory)
    }
}

/// A container's state, in CRI's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Created, not started.
    Created,
    /// Running.
    Running,
    /// Ended, or never started because the start failed.
    Exited,
    /// Unknown to containerd.
    Unknown,
}

/// What CRI says of a container.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its state.
    pub state: State,
    /// Its exit code, once it has ended.
    pub exit_code: i32,
    /// Why, in a word: `Completed`, `Error`, `StartError`...
    pub reason: String,
    /// Why, in words: what `kubectl describe pod` shows.
    pub message: String,
    /// containerd's verbose part: `pid`, `runtimeSpec` and more.
    pub info: Value,
    log_path: String,
}

impl<'a> Cri<'a> {
    /// To the CRI that listens at this socket of the world's.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn connect_at(world: &'a World, socket: &str) -> Result<Cri<'a>, Error> {
        Ok(Cri { world, connection: Connection::open(&world.path(socket), None)? })
    }

    pub(crate) fn connect(node: &'a Node) -> Result<Cri<'a>, Error> {
        let connection = Connection::open(&grpc::socket(node.world()), None)?;
        let cri = Cri { world: node.world(), connection };
        // containerd listens before its CRI plugin has read what there is, and then says so to each call.
        wait_for("containerd's CRI", || match cri.has_image("localhost/none:1") {
            Err(error) if error.to_string().contains("not initialized") => Ok(None),
            other => other.map(Some),
        })?;
        Ok(cri)
    }

    /// The runtime's name and version, as `containerd 1.6.20`.
    ///
    /// # Errors
    /// CRI's.
    pub fn version(&self) -> Result<String, Error> {
        let answer: wire::VersionResponse = self.call("Version", wire::Empty {})?;
        Ok(format!("{} {}", answer.runtime_name, answer.runtime_version))
    }

    /// Whether CRI knows the image.
    ///
    /// # Errors
    /// CRI's.
    pub fn has_image(&self, name: &str) -> Result<bool, Error> {
        let image = Some(wire::ImageSpec { image: name.to_owned(), ..Default::default() });
        let answer: wire::ImageStatusResponse =
            self.call_service("ImageService", "ImageStatus", wire::ImageStatusRequest { image })?;
        Ok(answer.image.is_some())
    }

    /// Runs a pod sandbox.
    ///
    /// # Errors
    /// CRI's: a refused sandbox is [`Error::Cri`] with the text that the kubelet would report.
    pub fn run_pod(&self, pod: &Pod) -> Result<Sandbox, Error> {
        let config = pod.config(&unique_uid());
        let request = wire::RunPodSandboxRequest {
            config: Some(config.clone()),
            runtime_handler: pod.handler.clone(),
        };
        let wire::Id { id } = self.call("RunPodSandbox", request)?;
        Ok(Sandbox { id, pod: pod.clone(), config })
    }

    /// Creates a container and returns its ID.
    ///
    /// # Errors
    /// CRI's.
    pub fn create(&self, sandbox: &Sandbox, container: &ContainerSpec) -> Result<String, Error> {
        let uid = sandbox.config.metadata.as_ref().map_or("", |metadata| &metadata.uid);
        let request = wire::CreateContainerRequest {
            pod_sandbox_id: sandbox.id.clone(),
            config: Some(container.config(&sandbox.pod, uid)),
            sandbox_config: Some(sandbox.config.clone()),
        };
        let wire::Id { id } = self.call("CreateContainer", request)?;
        Ok(id)
    }

    /// Starts a created container: here the OCI runtime is called, and refuses.
    ///
    /// # Errors
    /// CRI's.
    pub fn start(&self, container: &str) -> Result<(), Error> {
        self.call("StartContainer", id(container)).map(|wire::Empty {}| ())
    }

    /// Creates and starts a container and returns its ID.
    ///
    /// # Errors
    /// CRI's; the container that could not start is removed.
    pub fn launch(&self, sandbox: &Sandbox, container: &ContainerSpec) -> Result<String, Error> {
        let id = self.create(sandbox, container)?;
        match self.start(&id) {
            Ok(()) => Ok(id),
            Err(error) => {
                let _ = self.remove(&id);
                Err(error)
            }
        }
    }

    /// Runs a container to its end, removes it, and returns its logs and exit code.
    ///
    /// # Errors
    /// CRI's.
    pub fn run(&self, sandbox: &Sandbox, container: &ContainerSpec) -> Result<Output, Error> {
        let id = self.launch(sandbox, container)?;
        let code = self.wait(&id)?;
        let output = Output { code, ..self.logs(&id)? };
        self.remove(&id)?;
        Ok(output)
    }

    /// Waits until a container has ended and returns its exit code.
    ///
    /// # Errors
    /// CRI's; [`Error::NotReady`] after three minutes.
    pub fn wait(&self, container: &str) -> Result<i32, Error> {
        let start = Instant::now();
        loop {
            let status = self.status(container)?;
            if status.state == State::Exited {
                return Ok(status.exit_code);
            }
            if start.elapsed() > LIMIT {
                let what = format!("the end of container {container}");
                return Err(Error::NotReady {
                    what,
                    seconds: LIMIT.as_secs(),
                    log: self.logs(container)?.text(),
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A container's status, with containerd's verbose part.
    ///
    /// # Errors
    /// CRI's.
    pub fn status(&self, container: &str) -> Result<Status, Error> {
        let request = wire::StatusRequest { id: container.to_owned(), verbose: true };
        let answer: wire::ContainerStatusResponse = self.call("ContainerStatus", request)?;
        let status = answer.status.unwrap_or_default();
        let info = answer.info.get("info").map_or("null", String::as_str);
        Ok(Status {
            state: match status.state {
                0 => State::Created,
                1 => State::Running,
                2 => State::Exited,
                _ => State::Unknown,
            },
            exit_code: status.exit_code,
            reason: status.reason,
            message: status.message,
            info: serde_json::from_str(info).map_err(|error| {
                Error::malformed("CRI's verbose container status")(error.to_string())
            })?,
            log_path: status.log_path,
        })
    }

    /// What a container has written so far; the code is 0.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn logs(&self, container: &str) -> Result<Output, Error> {
        Ok(logs::parse(&self.world.read(self.status(container)?.log_path)?))
    }

    /// Runs a command in a running container, as probes do.
    ///
    /// # Errors
    /// CRI's, such as a refused or impossible command.
    pub fn exec_sync<A: Into<String>>(
        &self,
        container: &str,
        command: impl IntoIterator<Item = A>,
    ) -> Result<Output, Error> {
        let cmd = command.into_iter().map(Into::into).collect();
        let request =
            wire::ExecSyncRequest { container_id: container.to_owned(), cmd, timeout: 60 };
        let answer: wire::ExecSyncResponse = self.call("ExecSync", request)?;
        Ok(Output {
            code: answer.exit_code,
            stdout: String::from_utf8_lossy(&answer.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&answer.stderr).into_owned(),
        })
    }

    /// Runs a command in a running container over containerd's streaming server, as `kubectl exec` does. The protocol
    /// has no end of input: a command that reads to its end does not end.
    ///
    /// # Errors
    /// CRI's and the stream's: what the server reports instead of an exit code is [`Error::Cri`].
    pub fn exec<A: Into<String>>(
        &self,
        container: &str,
        command: impl IntoIterator<Item = A>,
        stdin: &[u8],
        tty: bool,
    ) -> Result<Output, Error> {
        let request = wire::ExecRequest {
            container_id: container.to_owned(),
            cmd: command.into_iter().map(Into::into).collect(),
            tty,
            // On a terminal without an input containerd closes the terminal itself (1.6 to 2.1), and output is lost.
            stdin: tty || !stdin.is_empty(),
            stdout: true,
            stderr: !tty,
        };
        let wire::Id { id: url } = self.call("Exec", request)?;
        stream::run("Exec", self.world.pid(), &url, stdin, None)
    }

    /// Attaches to a running container, as `kubectl attach` does: sends `stdin`, and reads until `until` has come or the
    /// container has ended.
    ///
    /// # Errors
    /// As [`Cri::exec`].
    pub fn attach(
        &self,
        container: &str,
        stdin: &[u8],
        tty: bool,
        until: &str,
    ) -> Result<Output, Error> {
        let request = wire::AttachRequest {
            container_id: container.to_owned(),
            stdin: tty || !stdin.is_empty(),
            tty,
            stdout: true,
            stderr: !tty,
        };
        let wire::Id { id: url } = self.call("Attach", request)?;
        stream::run("Attach", self.world.pid(), &url, stdin, Some(until))
    }

    /// Changes a running container's memory limit and CPU shares (0: as it is).
    ///
    /// # Errors
    /// CRI's.
    pub fn update(&self, container: &str, memory_limit: i64, cpu_shares: i64) -> Result<(), Error> {
        let linux = Some(wire::Resources { cpu_shares, memory_limit_in_bytes: memory_limit });
        let request = wire::UpdateContainerRequest { container_id: container.to_owned(), linux };
        self.call("UpdateContainerResources", request).map(|wire::Empty {}| ())
    }

    /// Stops a container: SIGTERM, and SIGKILL after `grace` seconds.
    ///
    /// # Errors
    /// CRI's.
    pub fn stop(&self, container: &str, grace: i64) -> Result<(), Error> {
        let request =
            wire::StopContainerRequest { container_id: container.to_owned(), timeout: grace };
        self.call("StopContainer", request).map(|wire::Empty {}| ())
    }

    /// Removes a container, killing it if need be.
    ///
    /// # Errors
    /// CRI's.
    pub fn remove(&self, container: &str) -> Result<(), Error> {
        self.call("RemoveContainer", id(container)).map(|wire::Empty {}| ())
    }

    /// Stops a sandbox with all of its containers and removes it.
    ///
    /// # Errors
    /// CRI's.
    pub fn remove_pod(&self, sandbox: &Sandbox) -> Result<(), Error> {
        let stop = || self.call("StopPodSandbox", id(&sandbox.id)).map(|wire::Empty {}| ());
        match stop() {
            // A container that ends by itself at this moment: containerd's own monitor deletes its task and closes the
            // connection on which the kill is under way, whichever shim it is (containerd's pull request 12399 has it
            // ask again; 2.1 has not). The kubelet asks again, and so does this.
            Err(Error::Cri { message, .. }) if message.contains("ttrpc: closed") => stop()?,
            other => other?,
        }
        self.call("RemovePodSandbox", id(&sandbox.id)).map(|wire::Empty {}| ())
    }

    /// The IDs of all containers, sandboxes not among them.
    ///
    /// # Errors
    /// CRI's.
    pub fn containers(&self) -> Result<Vec<String>, Error> {
        let answer: wire::ContainersResponse = self.call("ListContainers", wire::Empty {})?;
        Ok(answer.items.into_iter().map(|item| item.id).collect())
    }

    /// The IDs of all sandboxes.
    ///
    /// # Errors
    /// CRI's.
    pub fn sandboxes(&self) -> Result<Vec<String>, Error> {
        let answer: wire::ContainersResponse = self.call("ListPodSandbox", wire::Empty {})?;
        Ok(answer.items.into_iter().map(|item| item.id).collect())
    }

    fn call<Q, A>(&self, method: &'static str, request: Q) -> Result<A, Error>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.call_service("RuntimeService", method, request)
    }

    fn call_service<Q, A>(
        &self,
        service: &str,
        method: &'static str,
        request: Q,
    ) -> Result<A, Error>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.connection.call(&format!("runtime.v1.{service}"), method, request).map_err(|status| {
            Error::Cri { method, code: status.code() as i32, message: status.message().to_owned() }
        })
    }
}

fn id(id: &str) -> wire::Id {
    wire::Id { id: id.to_owned() }
}

fn unique_uid() -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("00000000-0000-4000-8000-{:08x}{count:04x}", std::process::id())
}
