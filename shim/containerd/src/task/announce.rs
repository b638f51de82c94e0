//! The events of a container's life, with the fields that containerd's own shim gives them.

use std::time::{SystemTime, UNIX_EPOCH};

use containerd_shim_protos::api::{CreateTaskRequest, ExecProcessRequest};
use containerd_shim_protos::events::task::{
    TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskExit, TaskIO, TaskPaused,
    TaskResumed, TaskStart,
};
use protobuf::MessageField;
use protobuf::well_known_types::timestamp::Timestamp;

use super::process::Ended;
use crate::events::Publisher;
use crate::reaper::Exit;

/// Go's zero time, the first of January of the year 1: what containerd's shim sends for a time that has not come.
const NEVER: i64 = -62_135_596_800;

/// A container's voice.
pub(super) struct Announcer {
    publisher: Publisher,
    container: String,
}

impl Announcer {
    pub(super) fn new(publisher: Publisher, container: String) -> Announcer {
        Announcer { publisher, container }
    }

    pub(super) fn created(&self, request: &CreateTaskRequest, pid: i32) {
        let io = TaskIO {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
            ..TaskIO::default()
        };
        let event = TaskCreate {
            container_id: self.container.clone(),
            bundle: request.bundle.clone(),
            rootfs: request.rootfs.clone(),
            io: MessageField::some(io),
            checkpoint: request.checkpoint.clone(),
            pid: pid.cast_unsigned(),
            ..TaskCreate::default()
        };
        self.publisher.publish("/tasks/create", event);
    }

    pub(super) fn started(&self, pid: i32) {
        let event = TaskStart {
            container_id: self.container.clone(),
            pid: pid.cast_unsigned(),
            ..TaskStart::default()
        };
        self.publisher.publish("/tasks/start", event);
    }

    pub(super) fn exec_added(&self, request: &ExecProcessRequest) {
        let event = TaskExecAdded {
            container_id: self.container.clone(),
            exec_id: request.exec_id.clone(),
            ..TaskExecAdded::default()
        };
        self.publisher.publish("/tasks/exec-added", event);
    }

    pub(super) fn exec_started(&self, exec: &str, pid: i32) {
        let event = TaskExecStarted {
            container_id: self.container.clone(),
            exec_id: exec.to_owned(),
            pid: pid.cast_unsigned(),
            ..TaskExecStarted::default()
        };
        self.publisher.publish("/tasks/exec-started", event);
    }

    /// `id` is the exec's, or for init the container's.
    pub(super) fn exited(&self, id: &str, exit: Exit) {
        let event = TaskExit {
            container_id: self.container.clone(),
            id: id.to_owned(),
            pid: exit.pid.cast_unsigned(),
            exit_status: exit.status,
            exited_at: MessageField::some(timestamp(Some(exit.at))),
            ..TaskExit::default()
        };
        self.publisher.publish("/tasks/exit", event);
    }

    pub(super) fn paused(&self) {
        let container_id = self.container.clone();
        let event = TaskPaused { container_id, ..TaskPaused::default() };
        self.publisher.publish("/tasks/paused", event);
    }

    pub(super) fn resumed(&self) {
        let container_id = self.container.clone();
        let event = TaskResumed { container_id, ..TaskResumed::default() };
        self.publisher.publish("/tasks/resumed", event);
    }

    /// Of init only: the end of an exec is its exit.
    pub(super) fn deleted(&self, ended: Ended) {
        let event = TaskDelete {
            container_id: self.container.clone(),
            pid: ended.pid.cast_unsigned(),
            exit_status: ended.status,
            exited_at: MessageField::some(timestamp(ended.at)),
            ..TaskDelete::default()
        };
        self.publisher.publish("/tasks/delete", event);
    }
}

/// A moment as containerd expects it.
pub(crate) fn timestamp(at: Option<SystemTime>) -> Timestamp {
    let mut timestamp = Timestamp::new();
    match at.map(|at| at.duration_since(UNIX_EPOCH).unwrap_or_default()) {
        None => timestamp.seconds = NEVER,
        Some(since) => {
            timestamp.seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
            timestamp.nanos = since.subsec_nanos().cast_signed();
        }
    }
    timestamp
}
