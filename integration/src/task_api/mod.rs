//! containerd's own API for containers and tasks, which CRI and `ctr` are clients of: every call that a shim serves, with
//! the error codes as they are.

mod events;
pub(crate) mod messages;

use messages as wire;
use prost::Message;
use serde_json::Value;

pub use events::{Event, Events};

use crate::grpc::{self, Connection};
use crate::{Error, Node};

const TASKS: &str = "containerd.services.tasks.v1.Tasks";
const CONTAINERS: &str = "containerd.services.containers.v1.Containers";
const SPEC: &str = "types.containerd.io/opencontainers/runtime-spec/1";

/// A connection to a node's containerd, in one of its namespaces.
pub struct Tasks<'a> {
    node: &'a Node,
    namespace: String,
    connection: Connection,
}

/// Which shim a container is given, and what the shim is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shim {
    /// Its type, such as `io.containerd.runc.v2`; the shim's path works too.
    pub runtime: String,
    /// `BinaryName`: the OCI runtime that the shim calls. Empty: the shim's own choice.
    pub binary: String,
    /// `Root`: the OCI runtime's state folder. Empty: the shim's own choice.
    pub root: String,
    /// `ShimCgroup`. Empty: containerd's.
    pub cgroup: String,
    /// `IoUid` and `IoGid`: who owns a process's pipes.
    pub io_owner: u32,
}

/// Where a process's streams lead; an empty path is no stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// A FIFO.
    pub stdin: String,
    /// A FIFO's path, `file://` or `binary://`.
    pub stdout: String,
    /// As `stdout`; none with a terminal.
    pub stderr: String,
    /// A terminal.
    pub terminal: bool,
}

/// A mount that the shim makes for a container's root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootMount {
    /// `bind`, `overlay`...
    pub kind: String,
    /// What is mounted.
    pub source: String,
    /// Mount options.
    pub options: Vec<String>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The host's view of its PID within the world; 0 where the answer has none.
    pub pid: u32,
    /// The exit status, 128 + N for signal N.
    pub status: u32,
    /// Whether the answer says when.
    pub dated: bool,
}

/// What containerd says of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessState {
    /// Its PID in the world.
    pub pid: u32,
    /// `CREATED`, `RUNNING`, `STOPPED`, `PAUSED`, `PAUSING` or `UNKNOWN`.
    pub status: &'static str,
    /// The exit status, once it has ended.
    pub exit_status: u32,
    /// Whether the answer says when it ended.
    pub dated: bool,
    /// Its streams.
    pub streams: Streams,
}

impl Shim {
    /// The stock shim with this OCI runtime.
    pub fn stock(binary: impl AsRef<std::path::Path>) -> Shim {
        Shim {
            runtime: "io.containerd.runc.v2".to_owned(),
            binary: binary.as_ref().display().to_string(),
            ..Shim::default()
        }
    }

    fn options(&self) -> wire::Any {
        any(
            "containerd.runc.v1.Options",
            wire::RuncOptions {
                binary_name: self.binary.clone(),
                root: self.root.clone(),
                shim_cgroup: self.cgroup.clone(),
                io_uid: self.io_owner,
                io_gid: self.io_owner,
                ..wire::RuncOptions::default()
            }
            .encode_to_vec(),
        )
    }
}

impl<'a> Tasks<'a> {
    pub(crate) fn connect(node: &'a Node, namespace: &str) -> Result<Tasks<'a>, Error> {
        let connection = Connection::open(&grpc::socket(node.world()), Some(namespace))?;
        Ok(Tasks { node, namespace: namespace.to_owned(), connection })
    }

    /// The node.
    pub fn node(&self) -> &'a Node {
        self.node
    }

    /// containerd's namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A connection more, for another thread.
    ///
    /// # Errors
    /// When the socket does not answer.
    pub fn again(&self) -> Result<Tasks<'a>, Error> {
        Tasks::connect(self.node, &self.namespace)
    }

    /// Makes a container: what tasks are made of. No snapshot: the spec names a root file system.
    ///
    /// # Errors
    /// containerd's.
    pub fn create_container(&self, id: &str, shim: &Shim, spec: &Value) -> Result<(), Error> {
        let container = wire::Container {
            id: id.to_owned(),
            runtime: Some(wire::RuntimeName {
                name: shim.runtime.clone(),
                options: Some(shim.options()),
            }),
            spec: Some(any(&format!("{SPEC}/Spec"), spec.to_string().into_bytes())),
            ..wire::Container::default()
        };
        let request = wire::CreateContainerRequest { container: Some(container) };
        self.call_service(CONTAINERS, "Create", request).map(|wire::Empty {}| ())
    }

    /// Removes a container that has no task.
    ///
    /// # Errors
    /// containerd's.
    pub fn delete_container(&self, id: &str) -> Result<(), Error> {
        self.call_service(CONTAINERS, "Delete", name(id)).map(|wire::Empty {}| ())
    }

    /// Creates a task, and returns its PID.
    ///
    /// # Errors
    /// containerd's and the shim's.
    pub fn create(
        &self,
        id: &str,
        shim: &Shim,
        streams: &Streams,
        rootfs: &[RootMount],
    ) -> Result<u32, Error> {
        self.create_from(id, shim, streams, rootfs, None)
    }

    /// As [`Tasks::create`], from a checkpoint of this digest.
    ///
    /// # Errors
    /// containerd's and the shim's.
    pub fn create_from(
        &self,
        id: &str,
        shim: &Shim,
        streams: &Streams,
        rootfs: &[RootMount],
        checkpoint: Option<&str>,
    ) -> Result<u32, Error> {
        let request = wire::CreateTaskRequest {
            container: id.to_owned(),
            rootfs: rootfs
                .iter()
                .map(|mount| wire::Mount {
                    kind: mount.kind.clone(),
                    source: mount.source.clone(),
                    target: String::new(),
                    options: mount.options.clone(),
                })
                .collect(),
            stdin: streams.stdin.clone(),
            stdout: streams.stdout.clone(),
            stderr: streams.stderr.clone(),
            terminal: streams.terminal,
            checkpoint: checkpoint.map(|digest| wire::Descriptor {
                media_type: "application/vnd.containerd.container.checkpoint.criu.tar".to_owned(),
                digest: digest.to_owned(),
                size: 0,
            }),
            options: Some(shim.options()),
        };
        self.call("Create", request).map(|wire::CreateTaskResponse { pid, .. }| pid)
    }

    /// Starts a task's first process (`exec` empty) or a process that was added, and returns its PID.
    ///
    /// # Errors
    /// containerd's and the shim's.
    pub fn start(&self, id: &str, exec: &str) -> Result<u32, Error> {
        self.call("Start", process(id, exec)).map(|wire::StartResponse { pid }| pid)
    }

    /// Adds a process, a `process` object of a runtime spec, to be started.
    ///
    /// # Errors
    /// containerd's and the shim's.
    pub fn exec(&self, id: &str, exec: &str, what: &Value, streams: &Streams) -> Result<(), Error> {
        let request = wire::ExecRequest {
            container: id.to_owned(),
            exec: exec.to_owned(),
            stdin: streams.stdin.clone(),
            stdout: streams.stdout.clone(),
            stderr: streams.stderr.clone(),
            terminal: streams.terminal,
            spec: Some(any(&format!("{SPEC}/Process"), what.to_string().into_bytes())),
        };
        self.call("Exec", request).map(|wire::Empty {}| ())
    }

    /// Sends a signal to a process, or to all of the container.
    ///
    /// # Errors
    /// containerd's and the shim's.
    pub fn kill(&self, id: &str, exec: &str, signal: u32, all: bool) -> Result<(), Error> {
        let request =
            wire::KillRequest { container: id.to_owned(), exec: exec.to_owned(), signal, all };
        self.call("Kill", request).map(|wire::Empty {}| ())
    }

    /// Waits for a process to end.
    ///
    /// # Errors
    /// containerd's and the shim's.
    pub fn wait(&self, id: &str, exec: &str) -> Result<Exit, Error> {
        self.call("Wait", process(id, exec)).map(|wire::WaitResponse { exit_status, exited_at }| {
            Exit { pid: 0, status: exit_status, dated: is_dated(exited_at.as_ref()) }
        })
    }

    /// Deletes a task, or one of its other processes.
    ///
    /// # Errors
    /// containerd's and the shim's.
    pub fn delete(&self, id: &str, exec: &str) -> Result<Exit, Error> {
        let answer: wire::DeleteResponse = if exec.is_empty() {
            self.call("Delete", name(id))?
        } else {
            self.call("DeleteProcess", process(id, exec))?
        };
        let dated = is_dated(answer.exited_at.as_ref());
        Ok(Exit { pid: answer.pid, status: answer.exit_status, dated })
    }

    /// A process's state.
    ///
    /// # Errors
    /// containerd's and the shim's.
    pub fn get(&self, id: &str, exec: &str) -> Result<ProcessState, Error> {
        const STATES: [&str; 6] = ["UNKNOWN", "CREATED", "RUNNING", "STOPPED", "PAUSED", "PAUSING"];
        let answer: wire::GetResponse = self.call("Get", process(id, exec))?;
        let found = answer.process.unwrap_or_default();
        let state = usize::try_from(found.status).ok().and_then(|status| STATES.get(status));
        Ok(ProcessState {
            pid: found.pid,
            status: state.copied().unwrap_or("?"),
            exit_status: found.exit_status,
            dated: is_dated(found.exited_at.as_ref()),
            streams: Streams {
                stdin: found.stdin,
                stdout: found.stdout,
                stderr: found.stderr,
                terminal: found.terminal,
            },
        })
    }

    /// The IDs of all tasks of the namespace.
    ///
    /// # Errors
    /// containerd's.
    pub fn list(&self) -> Result<Vec<String>, Error> {
        let answer: wire::ListResponse = self.call("List", wire::Empty {})?;
        Ok(answer.tasks.into_iter().map(|task| task.id).collect())
    }

    /// The PIDs of a task, each with the ID of the exec that it is, where it is one.
    ///
    /// # Errors
    /// containerd's and the shim's.
    pub fn pids(&self, id: &str) -> Result<Vec<(u32, String)>, Error> {
        let answer: wire::PidsResponse = self.call("ListPids", name(id))?;
        let exec = |info: Option<wire::Any>| {
            let details = wire::ProcessDetails::decode(info.unwrap_or_default().value.as_slice());
            details.map(|details| details.exec).unwrap_or_else(|error| error.to_string())
        };
        Ok(answer.processes.into_iter().map(|found| (found.pid, exec(found.info))).collect())
    }

    /// Freezes a task.
    ///
    /// # Errors
    /// containerd's and the shim's.
    pub fn pause(&self, id: &str) -> Result<(), Error> {
        self.call("Pause", name(id)).map(|wire::Empty {}| ())
    }

    /// Thaws a task.
    ///
    /// # Errors
    /// containerd's and the shim's.
    pub fn resume(&self, id: &str) -> Result<(), Error> {
        self.call("Resume", name(id)).map(|wire::Empty {}| ())
    }

    /// Changes a task's limits: a `resources` object of a runtime spec.
    ///
    /// # Errors
    /// containerd's and the shim's.
    pub fn update(&self, id: &str, resources: &Value) -> Result<(), Error> {
        let resources = any(&format!("{SPEC}/LinuxResources"), resources.to_string().into_bytes());
        let request = wire::UpdateRequest { container: id.to_owned(), resources: Some(resources) };
        self.call("Update", request).map(|wire::Empty {}| ())
    }

    /// Checkpoints a task.
    ///
    /// # Errors
    /// containerd's and the shim's.
    pub fn checkpoint(&self, id: &str) -> Result<(), Error> {
        let request = wire::CheckpointRequest {
            container: id.to_owned(),
            ..wire::CheckpointRequest::default()
        };
        self.call("Checkpoint", request).map(|wire::Empty {}| ())
    }

    /// Closes a process's standard input.
    ///
    /// # Errors
    /// containerd's and the shim's.
    pub fn close_stdin(&self, id: &str, exec: &str) -> Result<(), Error> {
        let request =
            wire::CloseIoRequest { container: id.to_owned(), exec: exec.to_owned(), stdin: true };
        self.call("CloseIO", request).map(|wire::Empty {}| ())
    }

    /// Resizes a process's terminal.
    ///
    /// # Errors
    /// containerd's and the shim's.
    pub fn resize(&self, id: &str, exec: &str, width: u32, height: u32) -> Result<(), Error> {
        let request =
            wire::ResizeRequest { container: id.to_owned(), exec: exec.to_owned(), width, height };
        self.call("ResizePty", request).map(|wire::Empty {}| ())
    }

    /// The type and encoded form of each metric that there is of a task.
    ///
    /// # Errors
    /// containerd's.
    pub fn metrics(&self, id: &str) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let request = wire::MetricsRequest { filters: vec![format!("id=={id}")] };
        let answer: wire::MetricsResponse = self.call("Metrics", request)?;
        Ok(answer
            .metrics
            .into_iter()
            .filter(|metric| metric.id == id)
            .map(|metric| metric.data.unwrap_or_default())
            .map(|data| (data.type_url, data.value))
            .collect())
    }

    fn call<Q, A>(&self, method: &'static str, request: Q) -> Result<A, Error>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.call_service(TASKS, method, request)
    }

    fn call_service<Q, A>(
        &self,
        service: &'static str,
        method: &'static str,
        request: Q,
    ) -> Result<A, Error>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.connection.call(service, method, request).map_err(|status| Error::Containerd {
            method,
            code: format!("{:?}", status.code()),
            message: status.message().to_owned(),
        })
    }
}

fn any(kind: &str, value: Vec<u8>) -> wire::Any {
    wire::Any { type_url: kind.to_owned(), value }
}

fn name(id: &str) -> wire::Id {
    wire::Id { id: id.to_owned() }
}

fn process(id: &str, exec: &str) -> wire::ProcessId {
    wire::ProcessId { container: id.to_owned(), exec: exec.to_owned() }
}

/// Go's zero time is far before 1970.
fn is_dated(time: Option<&wire::Timestamp>) -> bool {
    time.is_some_and(|time| time.seconds > 0)
}
