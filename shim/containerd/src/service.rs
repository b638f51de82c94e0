//! The task service: each method is a thin adaptor over what [`crate::task`] does. What changes something runs to its end
//! also when the client stops waiting.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use coaming_config::{Configuration, PROGRAMS};
use containerd_shim_protos::api::{
    CheckpointTaskRequest, CloseIORequest, ConnectRequest, ConnectResponse, CreateTaskRequest,
    CreateTaskResponse, DeleteRequest, DeleteResponse, Empty, ExecProcessRequest, KillRequest,
    PauseRequest, PidsRequest, PidsResponse, ProcessInfo, ResizePtyRequest, ResumeRequest,
    ShutdownRequest, StartRequest, StartResponse, StateRequest, StateResponse, StatsRequest,
    StatsResponse, Status, UpdateTaskRequest, WaitRequest, WaitResponse,
};
use containerd_shim_protos::shim::oci::ProcessDetails;
use containerd_shim_protos::shim_async::Task;
use protobuf::well_known_types::any::Any;
use protobuf::{EnumOrUnknown, Message, MessageField};
use ttrpc::asynchronous::TtrpcContext;

use crate::error::Error;
use crate::events::Publisher;
use crate::log;
use crate::runtime::{Caller, answer};
use crate::server::Shutdown;
use crate::task::{Container, Ended, Pod, Setting, State, timestamp};

/// A message's name as containerd's typeurl writes it, without a host.
const PROCESS_DETAILS: &str = "containerd.runc.v1.ProcessDetails";

/// What the service is made of.
pub(crate) struct Setup {
    pub(crate) namespace: String,
    pub(crate) publisher: Publisher,
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) shutdown: Shutdown,
}

/// `containerd.task.v2.Task` and `containerd.task.v3.Task`, whose messages are the same.
pub(crate) struct Service {
    pod: Arc<Pod>,
    shutdown: Shutdown,
}

impl Service {
    /// Must be called within the runtime, once in a process: it starts to reap children.
    pub(crate) fn new(setup: Setup) -> io::Result<Arc<Service>> {
        Service::with_programs(setup, PROGRAMS.into())
    }

    fn with_programs(setup: Setup, programs: PathBuf) -> io::Result<Arc<Service>> {
        let Setup { namespace, publisher, configuration, shutdown } = setup;
        let pod = Pod::new(Setting { namespace, configuration, programs, publisher })?;
        Ok(Arc::new(Service { pod: Arc::new(pod), shutdown }))
    }

    /// Whether there are containers: then the socket stays when the daemon is told to end.
    pub(crate) fn has_containers(&self) -> bool {
        !self.pod.is_empty()
    }

    /// Carries out a method that changes something.
    async fn carry_out<W, F, T>(&self, method: &str, id: &str, work: W) -> ttrpc::Result<T>
    where
        W: FnOnce(Arc<Pod>, Caller) -> F,
        F: Future<Output = Result<T, Error>> + Send + 'static,
        T: Send + 'static,
    {
        let pod = Arc::clone(&self.pod);
        let result = answer(|caller| work(pod, caller)).await.unwrap_or(Err(Error::Ending));
        match &result {
            Ok(_) => log::debug!(id = id, "{method}"),
            // Its text goes to the client alone: a runtime's may quote the workload's command.
            Err(error) => log::debug!(id = id, "{method} failed: {:?}", error.code()),
        }
        Ok(result?)
    }

    fn container(&self, id: &str) -> Result<Arc<Container>, Error> {
        self.pod.container(id)
    }
}

#[async_trait]
impl Task for Service {
    async fn create(
        &self,
        _: &TtrpcContext,
        request: CreateTaskRequest,
    ) -> ttrpc::Result<CreateTaskResponse> {
        let id = request.id.clone();
        let create =
            |pod: Arc<Pod>, mut caller| async move { pod.create(&request, &mut caller).await };
        let pid = self.carry_out("create", &id, create).await?.cast_unsigned();
        Ok(CreateTaskResponse { pid, ..CreateTaskResponse::default() })
    }

    async fn start(&self, _: &TtrpcContext, request: StartRequest) -> ttrpc::Result<StartResponse> {
        let id = request.id.clone();
        let start = |pod: Arc<Pod>, mut caller| async move {
            let container = pod.container(&request.id)?;
            match request.exec_id.as_str() {
                "" => container.start(&mut caller).await,
                exec => container.start_exec(exec, &mut caller).await,
            }
        };
        let pid = self.carry_out("start", &id, start).await?.cast_unsigned();
        Ok(StartResponse { pid, ..StartResponse::default() })
    }

    async fn exec(&self, _: &TtrpcContext, request: ExecProcessRequest) -> ttrpc::Result<Empty> {
        self.container(&request.id)?.add_exec(&request)?;
        Ok(Empty::new())
    }

    async fn delete(
        &self,
        _: &TtrpcContext,
        request: DeleteRequest,
    ) -> ttrpc::Result<DeleteResponse> {
        let id = request.id.clone();
        let delete = |pod: Arc<Pod>, mut caller| async move {
            match request.exec_id.as_str() {
                "" => pod.delete(&request.id, &mut caller).await,
                exec => pod.container(&request.id)?.delete_exec(exec).await,
            }
        };
        let Ended { pid, status, at } = self.carry_out("delete", &id, delete).await?;
        Ok(DeleteResponse {
            pid: pid.cast_unsigned(),
            exit_status: status,
            exited_at: MessageField::some(timestamp(at)),
            ..DeleteResponse::default()
        })
    }

    async fn kill(&self, _: &TtrpcContext, request: KillRequest) -> ttrpc::Result<Empty> {
        let id = request.id.clone();
        let kill = |pod: Arc<Pod>, mut caller| async move {
            let container = pod.container(&request.id)?;
            match request.exec_id.as_str() {
                "" => container.kill(request.signal, request.all, &mut caller).await,
                exec => container.kill_exec(exec, request.signal),
            }
        };
        self.carry_out("kill", &id, kill).await?;
        Ok(Empty::new())
    }

    async fn pause(&self, _: &TtrpcContext, request: PauseRequest) -> ttrpc::Result<Empty> {
        let id = request.id.clone();
        let pause = |pod: Arc<Pod>, mut caller| async move {
            pod.container(&request.id)?.pause(&mut caller).await
        };
        self.carry_out("pause", &id, pause).await?;
        Ok(Empty::new())
    }

    async fn resume(&self, _: &TtrpcContext, request: ResumeRequest) -> ttrpc::Result<Empty> {
        let id = request.id.clone();
        let resume = |pod: Arc<Pod>, mut caller| async move {
            pod.container(&request.id)?.resume(&mut caller).await
        };
        self.carry_out("resume", &id, resume).await?;
        Ok(Empty::new())
    }

    async fn update(&self, _: &TtrpcContext, request: UpdateTaskRequest) -> ttrpc::Result<Empty> {
        let id = request.id.clone();
        let update = |pod: Arc<Pod>, mut caller| async move {
            let resources = request.resources.into_option().unwrap_or_default().value;
            pod.container(&request.id)?.update(resources, &mut caller).await
        };
        self.carry_out("update", &id, update).await?;
        Ok(Empty::new())
    }

    async fn checkpoint(
        &self,
        _: &TtrpcContext,
        request: CheckpointTaskRequest,
    ) -> ttrpc::Result<Empty> {
        let id = request.id.clone();
        let checkpoint = |pod: Arc<Pod>, mut caller| async move {
            pod.container(&request.id)?.checkpoint(&request, &mut caller).await
        };
        self.carry_out("checkpoint", &id, checkpoint).await?;
        Ok(Empty::new())
    }

    async fn pids(&self, _: &TtrpcContext, request: PidsRequest) -> ttrpc::Result<PidsResponse> {
        let id = request.id.clone();
        let pids = |pod: Arc<Pod>, mut caller| async move {
            let container = pod.container(&request.id)?;
            let pids = container.processes(&mut caller).await?;
            Ok(pids.into_iter().map(|pid| process_info(&container, pid)).collect::<Vec<_>>())
        };
        let processes = self.carry_out("pids", &id, pids).await?;
        Ok(PidsResponse { processes, ..PidsResponse::default() })
    }

    async fn state(&self, _: &TtrpcContext, request: StateRequest) -> ttrpc::Result<StateResponse> {
        let container = self.container(&request.id)?;
        let response = container.with_process(&request.exec_id, |process| {
            let Ended { pid, status, at } = process.ended();
            let streams = process.streams();
            StateResponse {
                id: process.id().to_owned(),
                bundle: container.bundle.display().to_string(),
                pid: pid.cast_unsigned(),
                status: EnumOrUnknown::new(status_of(container.state_of(process))),
                stdin: streams.stdin.clone(),
                stdout: streams.stdout.clone(),
                stderr: streams.stderr.clone(),
                terminal: streams.terminal,
                exit_status: status,
                exited_at: MessageField::some(timestamp(at)),
                ..StateResponse::default()
            }
        });
        Ok(response?)
    }

    async fn wait(&self, _: &TtrpcContext, request: WaitRequest) -> ttrpc::Result<WaitResponse> {
        let container = self.container(&request.id)?;
        let ended = match request.exec_id.as_str() {
            "" => container.init.wait().await,
            exec => container.exec(exec)?.process.wait().await,
        };
        Ok(WaitResponse {
            exit_status: ended.status,
            exited_at: MessageField::some(timestamp(ended.at)),
            ..WaitResponse::default()
        })
    }

    async fn stats(&self, _: &TtrpcContext, request: StatsRequest) -> ttrpc::Result<StatsResponse> {
        let container = self.container(&request.id)?;
        let stats = container.cgroup()?.stats().map_err(|error| {
            let id = request.id.clone();
            Error::Process { doing: "measure the cgroup of", id, error }
        })?;
        Ok(StatsResponse { stats: MessageField::some(stats), ..StatsResponse::default() })
    }

    async fn resize_pty(
        &self,
        _: &TtrpcContext,
        request: ResizePtyRequest,
    ) -> ttrpc::Result<Empty> {
        let size = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        let (width, height) = (size(request.width), size(request.height));
        let container = self.container(&request.id)?;
        match request.exec_id.as_str() {
            "" => container.init.resize(width, height).await?,
            exec => {
                let exec = container.exec(exec)?;
                let state = exec.process.state();
                if matches!(state, State::Stopped | State::Deleted) {
                    let (action, state) = ("resize", state.name());
                    return Err(Error::State { action, state, what: "process" }.into());
                }
                exec.process.resize(width, height).await?;
            }
        }
        Ok(Empty::new())
    }

    async fn close_io(&self, _: &TtrpcContext, request: CloseIORequest) -> ttrpc::Result<Empty> {
        let container = self.container(&request.id)?;
        match request.exec_id.as_str() {
            "" => container.init.close_stdin().await,
            exec => container.exec(exec)?.process.close_stdin().await,
        }
        Ok(Empty::new())
    }

    async fn connect(
        &self,
        _: &TtrpcContext,
        request: ConnectRequest,
    ) -> ttrpc::Result<ConnectResponse> {
        let task = self.container(&request.id).map_or(0, |container| container.init.pid());
        Ok(ConnectResponse {
            shim_pid: std::process::id(),
            task_pid: task.cast_unsigned(),
            ..ConnectResponse::default()
        })
    }

    async fn shutdown(&self, _: &TtrpcContext, _: ShutdownRequest) -> ttrpc::Result<Empty> {
        // containerd asks after each container that it deletes; the pod's others may still be there.
        match self.pod.only_coming() {
            None => {}
            Some(none) if none.is_empty() => self.shutdown.request(),
            // A containerd that was started anew does not know of a create that its predecessor asked for.
            Some(coming) => {
                let (pod, shutdown) = (Arc::clone(&self.pod), self.shutdown.clone());
                tokio::spawn(async move {
                    pod.turn_away(&coming).await;
                    if pod.is_empty() {
                        shutdown.request();
                    }
                });
            }
        }
        Ok(Empty::new())
    }
}

fn status_of(state: State) -> Status {
    match state {
        State::Created => Status::CREATED,
        State::Running => Status::RUNNING,
        State::Pausing => Status::PAUSING,
        State::Paused => Status::PAUSED,
        State::Stopped | State::Deleted => Status::STOPPED,
    }
}

fn process_info(container: &Container, pid: u32) -> ProcessInfo {
    let details = container.exec_of_pid(pid).and_then(|exec_id| {
        let details = ProcessDetails { exec_id, ..ProcessDetails::default() };
        let value = details.write_to_bytes().ok()?;
        Some(Any { type_url: PROCESS_DETAILS.to_owned(), value, ..Any::default() })
    });
    ProcessInfo { pid, info: details.into(), ..ProcessInfo::default() }
}

#[cfg(test)]
mod tests;
