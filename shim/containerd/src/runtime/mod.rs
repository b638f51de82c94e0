//! The OCI runtime of one container, called by runc's command line, as the crate go-runc of containerd's shim does.
//!
//! It is always a wrapper of coaming that is called: it judges what may start a process and hands off to the real runtime.

mod call;
mod caller;
mod command;
pub(crate) mod log;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use call::CallError;
pub(crate) use caller::{Caller, answer};
pub(crate) use command::{BinaryNameError, command, state_directory, wrapper};

use crate::options::CheckpointOptions;
use crate::reaper::Reaper;
use crate::stdio::RuntimeEnds;
use call::Streams;

/// The runtime, as far as it is the same in each call.
pub(crate) struct Runtime {
    /// The container.
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    /// The wrapper's path.
    pub(crate) wrapper: PathBuf,
    /// Its state directory.
    pub(crate) root: PathBuf,
    pub(crate) systemd_cgroup: bool,
    pub(crate) reaper: Reaper,
    /// Calls so far: each has files of its own in the bundle.
    pub(crate) calls: AtomicU64,
}

/// What `create` is told beside the container.
pub(crate) struct Create<'a> {
    pub(crate) pid_file: &'a Path,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
    pub(crate) ends: RuntimeEnds,
}

/// What `exec` is told beside the container.
pub(crate) struct Exec<'a> {
    pub(crate) process: &'a Path,
    pub(crate) pid_file: &'a Path,
    pub(crate) ends: RuntimeEnds,
}

/// What `checkpoint` is told beside the container.
pub(crate) struct Checkpoint<'a> {
    pub(crate) image: &'a Path,
    pub(crate) work: &'a Path,
    pub(crate) options: &'a CheckpointOptions,
}

impl Runtime {
    /// A number that no other call of this container has.
    pub(crate) fn next(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// The container is created and waits for `start`.
    pub(crate) async fn create(
        &self,
        create: Create<'_>,
        caller: &mut Caller,
    ) -> Result<(), CallError> {
        let mut args = Args::of("create");
        args.option("--bundle", &self.bundle).option("--pid-file", create.pid_file);
        args.console(&create.ends);
        args.flag("--no-pivot", create.no_pivot).flag("--no-new-keyring", create.no_new_keyring);
        self.call(args, Streams::Passed(create.ends), caller).await.map(drop)
    }

    /// The created container's process runs.
    pub(crate) async fn start(&self, caller: &mut Caller) -> Result<(), CallError> {
        self.plain(Args::of("start"), caller).await
    }

    /// Another process runs in the container, and outlives the call.
    pub(crate) async fn exec(&self, exec: Exec<'_>, caller: &mut Caller) -> Result<(), CallError> {
        let mut args = Args::of("exec");
        args.option("--process", exec.process);
        args.console(&exec.ends);
        args.flag("--detach", true).option("--pid-file", exec.pid_file);
        self.call(args, Streams::Passed(exec.ends), caller).await.map(drop)
    }

    /// A signal for init, or for all processes.
    pub(crate) async fn kill(
        &self,
        signal: u32,
        all: bool,
        caller: &mut Caller,
    ) -> Result<(), CallError> {
        let mut args = Args::of("kill");
        args.flag("--all", all).word(&self.id).word(signal.to_string());
        self.run(args, Streams::Kept { input: None }, caller).await.map(drop)
    }

    /// What the runtime keeps of a container that has ended goes; with `force`, its processes too.
    pub(crate) async fn delete(&self, force: bool, caller: &mut Caller) -> Result<(), CallError> {
        let mut args = Args::of("delete");
        args.flag("--force", force);
        match self.plain(args, caller).await {
            // Gone already: after a checkpoint, or by someone else's hand.
            Err(error) if self.is_unknown(&error) => Ok(()),
            result => result,
        }
    }

    /// All processes of the container stand still.
    pub(crate) async fn pause(&self, caller: &mut Caller) -> Result<(), CallError> {
        self.plain(Args::of("pause"), caller).await
    }

    /// They go on.
    pub(crate) async fn resume(&self, caller: &mut Caller) -> Result<(), CallError> {
        self.plain(Args::of("resume"), caller).await
    }

    /// New limits, an OCI `linux.resources` object.
    pub(crate) async fn update(
        &self,
        resources: Vec<u8>,
        caller: &mut Caller,
    ) -> Result<(), CallError> {
        let mut args = Args::of("update");
        args.word("--resources=-");
        self.call(args, Streams::Kept { input: Some(resources) }, caller).await.map(drop)
    }

    /// The processes of the container, by their ids on the node.
    pub(crate) async fn processes(&self, caller: &mut Caller) -> Result<Vec<u32>, CallError> {
        let mut args = Args::of("ps");
        args.option("--format", "json");
        let printed = self.call(args, Streams::Kept { input: None }, caller).await?;
        // A runtime's warnings come on the same output, before.
        let start = printed.iter().position(|byte| *byte == b'[').unwrap_or(0);
        // runc writes `null` for no process.
        serde_json::from_slice::<Option<Vec<u32>>>(printed.get(start..).unwrap_or_default())
            .map(Option::unwrap_or_default)
            .map_err(|error| CallError::Output {
                program: self.wrapper.clone(),
                problem: error.to_string(),
            })
    }

    /// The container's processes, written to an image.
    pub(crate) async fn checkpoint(
        &self,
        checkpoint: Checkpoint<'_>,
        caller: &mut Caller,
    ) -> Result<(), CallError> {
        let options = checkpoint.options;
        let mut args = Args::of("checkpoint");
        args.option("--image-path", checkpoint.image).option("--work-path", checkpoint.work);
        args.flag("--tcp-established", options.open_tcp)
            .flag("--ext-unix-sk", options.external_unix_sockets)
            .flag("--shell-job", options.terminal)
            .flag("--file-locks", options.file_locks);
        for namespace in &options.empty_namespaces {
            args.option("--empty-ns", namespace);
        }
        args.flag("--leave-running", !options.exit);
        self.plain(args, caller).await
    }

    /// Whether the runtime said that it knows no such container. crun (1.8) names its state's files instead.
    pub(crate) fn is_unknown(&self, error: &CallError) -> bool {
        let directory = self.root.join(&self.id).display().to_string().to_lowercase();
        let file = format!("`{directory}/status`: no such file");
        error.says(&["does not exist", &file, &format!("cannot open directory '{directory}'")])
    }

    async fn plain(&self, args: Args, caller: &mut Caller) -> Result<(), CallError> {
        self.call(args, Streams::Kept { input: None }, caller).await.map(drop)
    }

    /// With the container as the last word.
    async fn call(
        &self,
        mut args: Args,
        streams: Streams,
        caller: &mut Caller,
    ) -> Result<Vec<u8>, CallError> {
        args.word(&self.id);
        self.run(args, streams, caller).await
    }

    async fn run(
        &self,
        args: Args,
        streams: Streams,
        caller: &mut Caller,
    ) -> Result<Vec<u8>, CallError> {
        let log = self.bundle.join(format!("runtime-{}.log", self.next()));
        let mut command = command(&self.wrapper, &self.root, &log, self.systemd_cgroup);
        // Not the shim's own folder, which is the bundle of the pod's first container, and may be gone.
        command.args(args.0).current_dir(&self.bundle);
        call::call(&self.reaper, command, log, streams, caller).await
    }
}

/// The words after the global flags.
struct Args(Vec<OsString>);

impl Args {
    fn of(verb: &str) -> Args {
        Args(vec![verb.into()])
    }

    fn word(&mut self, word: impl Into<OsString>) -> &mut Args {
        self.0.push(word.into());
        self
    }

    fn option(&mut self, name: &str, value: impl Into<OsString>) -> &mut Args {
        self.word(name).word(value)
    }

    fn flag(&mut self, name: &str, given: bool) -> &mut Args {
        if given { self.word(name) } else { self }
    }

    fn console(&mut self, ends: &RuntimeEnds) {
        if let Some(socket) = &ends.console_socket {
            self.option("--console-socket", socket);
        }
    }
}
