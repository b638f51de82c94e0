//! The part of containerd's own API that the harness speaks: names and numbers from containerd's `api` (services/tasks/v1,
//! services/containers/v1, services/events/v1, events, types/runc/options), the same from 1.6 to 2.x. Fields left out keep
//! their default on the way out and are skipped on the way in.

use std::collections::HashMap;

macro_rules! messages {
    ($($(#[$meta:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, PartialEq, prost::Message)]
            pub(crate) struct $name { $($(#[$attribute])* pub(crate) $field: $type,)* }
        )*
    };
}

messages! {
    Empty {}
    /// google.protobuf.Any.
    Any {
        #[prost(string, tag = "1")] type_url: String,
        #[prost(bytes = "vec", tag = "2")] value: Vec<u8>,
    }
    Mount {
        #[prost(string, tag = "1")] kind: String,
        #[prost(string, tag = "2")] source: String,
        #[prost(string, tag = "3")] target: String,
        #[prost(string, repeated, tag = "4")] options: Vec<String>,
    }
    Descriptor {
        #[prost(string, tag = "1")] media_type: String,
        #[prost(string, tag = "2")] digest: String,
        #[prost(int64, tag = "3")] size: i64,
    }

    RuntimeName {
        #[prost(string, tag = "1")] name: String,
        #[prost(message, optional, tag = "2")] options: Option<Any>,
    }
    Container {
        #[prost(string, tag = "1")] id: String,
        #[prost(map = "string, string", tag = "2")] labels: HashMap<String, String>,
        #[prost(string, tag = "3")] image: String,
        #[prost(message, optional, tag = "4")] runtime: Option<RuntimeName>,
        #[prost(message, optional, tag = "5")] spec: Option<Any>,
    }
    CreateContainerRequest { #[prost(message, optional, tag = "1")] container: Option<Container>, }
    /// Any request that names one container or task.
    Id { #[prost(string, tag = "1")] id: String, }
    /// Any request that names one process.
    ProcessId {
        #[prost(string, tag = "1")] container: String,
        #[prost(string, tag = "2")] exec: String,
    }

    /// containerd.runc.v1.Options.
    RuncOptions {
        #[prost(bool, tag = "1")] no_pivot_root: bool,
        #[prost(bool, tag = "2")] no_new_keyring: bool,
        #[prost(string, tag = "3")] shim_cgroup: String,
        #[prost(uint32, tag = "4")] io_uid: u32,
        #[prost(uint32, tag = "5")] io_gid: u32,
        #[prost(string, tag = "6")] binary_name: String,
        #[prost(string, tag = "7")] root: String,
        #[prost(bool, tag = "9")] systemd_cgroup: bool,
    }
    CreateTaskRequest {
        #[prost(string, tag = "1")] container: String,
        #[prost(message, repeated, tag = "3")] rootfs: Vec<Mount>,
        #[prost(string, tag = "4")] stdin: String,
        #[prost(string, tag = "5")] stdout: String,
        #[prost(string, tag = "6")] stderr: String,
        #[prost(bool, tag = "7")] terminal: bool,
        #[prost(message, optional, tag = "8")] checkpoint: Option<Descriptor>,
        #[prost(message, optional, tag = "9")] options: Option<Any>,
    }
    CreateTaskResponse {
        #[prost(string, tag = "1")] container: String,
        #[prost(uint32, tag = "2")] pid: u32,
    }
    StartResponse { #[prost(uint32, tag = "1")] pid: u32, }
    Timestamp {
        #[prost(int64, tag = "1")] seconds: i64,
        #[prost(int32, tag = "2")] nanos: i32,
    }
    DeleteResponse {
        #[prost(string, tag = "1")] id: String,
        #[prost(uint32, tag = "2")] pid: u32,
        #[prost(uint32, tag = "3")] exit_status: u32,
        #[prost(message, optional, tag = "4")] exited_at: Option<Timestamp>,
    }
    Process {
        #[prost(string, tag = "1")] container: String,
        #[prost(string, tag = "2")] id: String,
        #[prost(uint32, tag = "3")] pid: u32,
        #[prost(int32, tag = "4")] status: i32,
        #[prost(string, tag = "5")] stdin: String,
        #[prost(string, tag = "6")] stdout: String,
        #[prost(string, tag = "7")] stderr: String,
        #[prost(bool, tag = "8")] terminal: bool,
        #[prost(uint32, tag = "9")] exit_status: u32,
        #[prost(message, optional, tag = "10")] exited_at: Option<Timestamp>,
    }
    GetResponse { #[prost(message, optional, tag = "1")] process: Option<Process>, }
    ListResponse { #[prost(message, repeated, tag = "1")] tasks: Vec<Process>, }
    KillRequest {
        #[prost(string, tag = "1")] container: String,
        #[prost(string, tag = "2")] exec: String,
        #[prost(uint32, tag = "3")] signal: u32,
        #[prost(bool, tag = "4")] all: bool,
    }
    ExecRequest {
        #[prost(string, tag = "1")] container: String,
        #[prost(string, tag = "2")] stdin: String,
        #[prost(string, tag = "3")] stdout: String,
        #[prost(string, tag = "4")] stderr: String,
        #[prost(bool, tag = "5")] terminal: bool,
        #[prost(message, optional, tag = "6")] spec: Option<Any>,
        #[prost(string, tag = "7")] exec: String,
    }
    ResizeRequest {
        #[prost(string, tag = "1")] container: String,
        #[prost(string, tag = "2")] exec: String,
        #[prost(uint32, tag = "3")] width: u32,
        #[prost(uint32, tag = "4")] height: u32,
    }
    CloseIoRequest {
        #[prost(string, tag = "1")] container: String,
        #[prost(string, tag = "2")] exec: String,
        #[prost(bool, tag = "3")] stdin: bool,
    }
    ProcessInfo {
        #[prost(uint32, tag = "1")] pid: u32,
        #[prost(message, optional, tag = "2")] info: Option<Any>,
    }
    PidsResponse { #[prost(message, repeated, tag = "1")] processes: Vec<ProcessInfo>, }
    /// containerd.runc.v1.ProcessDetails.
    ProcessDetails { #[prost(string, tag = "1")] exec: String, }
    CheckpointRequest {
        #[prost(string, tag = "1")] container: String,
        #[prost(string, tag = "2")] parent: String,
        #[prost(message, optional, tag = "3")] options: Option<Any>,
    }
    UpdateRequest {
        #[prost(string, tag = "1")] container: String,
        #[prost(message, optional, tag = "2")] resources: Option<Any>,
    }
    MetricsRequest { #[prost(string, repeated, tag = "1")] filters: Vec<String>, }
    Metric {
        #[prost(string, tag = "2")] id: String,
        #[prost(message, optional, tag = "3")] data: Option<Any>,
    }
    MetricsResponse { #[prost(message, repeated, tag = "1")] metrics: Vec<Metric>, }
    WaitResponse {
        #[prost(uint32, tag = "1")] exit_status: u32,
        #[prost(message, optional, tag = "2")] exited_at: Option<Timestamp>,
    }

    SubscribeRequest { #[prost(string, repeated, tag = "1")] filters: Vec<String>, }
    PublishRequest {
        #[prost(string, tag = "1")] topic: String,
        #[prost(message, optional, tag = "2")] event: Option<Any>,
    }
    Envelope {
        #[prost(string, tag = "2")] namespace: String,
        #[prost(string, tag = "3")] topic: String,
        #[prost(message, optional, tag = "4")] event: Option<Any>,
    }
    TaskIo {
        #[prost(string, tag = "1")] stdin: String,
        #[prost(string, tag = "2")] stdout: String,
        #[prost(string, tag = "3")] stderr: String,
        #[prost(bool, tag = "4")] terminal: bool,
    }
    TaskCreate {
        #[prost(string, tag = "1")] container: String,
        #[prost(string, tag = "2")] bundle: String,
        #[prost(message, repeated, tag = "3")] rootfs: Vec<Mount>,
        #[prost(message, optional, tag = "4")] io: Option<TaskIo>,
        #[prost(string, tag = "5")] checkpoint: String,
        #[prost(uint32, tag = "6")] pid: u32,
    }
    TaskStart {
        #[prost(string, tag = "1")] container: String,
        #[prost(uint32, tag = "2")] pid: u32,
    }
    TaskDelete {
        #[prost(string, tag = "1")] container: String,
        #[prost(uint32, tag = "2")] pid: u32,
        #[prost(uint32, tag = "3")] exit_status: u32,
        #[prost(message, optional, tag = "4")] exited_at: Option<Timestamp>,
        #[prost(string, tag = "5")] id: String,
    }
    TaskExit {
        #[prost(string, tag = "1")] container: String,
        #[prost(string, tag = "2")] id: String,
        #[prost(uint32, tag = "3")] pid: u32,
        #[prost(uint32, tag = "4")] exit_status: u32,
        #[prost(message, optional, tag = "5")] exited_at: Option<Timestamp>,
    }
    TaskExecAdded {
        #[prost(string, tag = "1")] container: String,
        #[prost(string, tag = "2")] exec: String,
    }
    TaskExecStarted {
        #[prost(string, tag = "1")] container: String,
        #[prost(string, tag = "2")] exec: String,
        #[prost(uint32, tag = "3")] pid: u32,
    }
    /// TaskOOM, TaskPaused, TaskResumed, TaskCheckpointed.
    TaskSimple { #[prost(string, tag = "1")] container: String, }
}
