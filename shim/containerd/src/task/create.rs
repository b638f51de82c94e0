//! How a container comes to be, and how all of it is undone where it does not.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use containerd_shim_protos::api::CreateTaskRequest;

use super::announce::Announcer;
use super::bundle;
use super::container::{Container, PATIENCE};
use super::exits::Running;
use super::init::unmount;
use super::pod::Pod;
use super::process::Process;
use crate::cgroup::{Cgroup, OomWatch};
use crate::error::Error;
use crate::log;
use crate::mounts::{self, Mount};
use crate::options::Options;
use crate::runtime::{self, Caller, Runtime};
use crate::stdio::{RuntimeEnds, Stdio, Streams};

impl Pod {
    /// A container is created; its init waits for the start. Returns init's pid.
    pub(crate) async fn create(
        &self,
        request: &CreateTaskRequest,
        caller: &mut Caller,
    ) -> Result<i32, Error> {
        bundle::check_id("container", &request.id)?;
        let bundle = bundle::check(&request.bundle)?;
        let options = Options::decode(request.options.as_ref())?;
        let setting = &self.setting;
        let wrapper =
            runtime::wrapper(&options.binary_name, &setting.configuration, &setting.programs)?;
        if !request.checkpoint.is_empty() {
            return Err(Error::Checkpoint { id: request.id.clone() });
        }
        let reservation = self.reserve(&request.id)?;

        // For `delete`, which another process of this program does when this one is gone. A wrapper's path is a name
        // that it takes.
        let as_json = serde_json::to_vec(&options)
            .map_err(|error| Error::Invalid { what: "options", problem: error.to_string() })?;
        bundle::write(&bundle.join("options.json"), &as_json, true)?;
        let path = wrapper.as_os_str().as_encoded_bytes();
        bundle::write(&bundle.join("runtime"), path, true)?;

        let runtime = Runtime {
            id: request.id.clone(),
            bundle: bundle.clone(),
            wrapper,
            root: runtime::state_directory(&options.root, &setting.namespace),
            systemd_cgroup: options.systemd_cgroup(&setting.configuration),
            reaper: self.reaper.clone(),
            calls: AtomicU64::new(0),
        };
        let streams = Streams {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let rootfs = (!request.rootfs.is_empty()).then(|| bundle.join("rootfs"));
        let mut container = Container {
            id: request.id.clone(),
            bundle,
            init: Process::new(request.id.clone(), streams),
            namespace: setting.namespace.clone(),
            options,
            runtime,
            announcer: Announcer::new(setting.publisher.clone(), request.id.clone()),
            exits: Arc::clone(&self.exits),
            rootfs,
            outlives_init: true,
            cgroup: None,
            oom: Mutex::default(),
            execs: Mutex::default(),
            places: Arc::default(),
        };
        let starting = self.exits.starting();
        let mounts = request.rootfs.iter().map(Mount::from).collect();
        let pid = match container.bring_up(mounts, caller).await {
            Ok(pid) => pid,
            Err(error) => {
                container.init.close_streams().await;
                if let Err(error) = unmount(container.rootfs.as_deref()).await {
                    log::warn!(id = &container.id, "after a failed create: {error}");
                }
                return Err(error);
            }
        };
        container.init.set_pid(pid);
        container.outlives_init = bundle::outlives_init(&container.bundle);
        container.find_cgroup(pid);

        let container = Arc::new(container);
        reservation.fill(Arc::clone(&container));
        container.announcer.created(request, pid);
        container.watch_memory(&setting.publisher);
        starting.started(pid, Running::Init(Arc::clone(&container)));
        log::info!(id = &container.id, "created with init {pid}");
        Ok(pid)
    }
}

impl Container {
    async fn bring_up(&self, mounts: Vec<Mount>, caller: &mut Caller) -> Result<i32, Error> {
        if let Some(rootfs) = self.rootfs.clone() {
            bundle::make_rootfs(&rootfs)?;
            // It can wait for a disk or a network.
            tokio::task::spawn_blocking(move || mounts::mount_rootfs(&mounts, &rootfs))
                .await
                .map_err(|_| Error::Ending)?
                .map_err(Error::Mount)?;
        }
        let id = self.id.as_str();
        let failed = |doing| move |error| Error::Stdio { doing, id: id.to_owned(), error };
        let (stdio, ends) =
            Stdio::prepare(self.init.streams(), &self.owner()).await.map_err(failed("prepare"))?;
        self.init.set_stdio(stdio).await;
        // `delete` reads it too.
        let pid_file = self.bundle.join("init.pid");
        self.call_create(&pid_file, ends, caller).await?;
        let connected = match bundle::read_pid(&pid_file) {
            Ok(pid) => self.init.connect().await.map(|()| pid).map_err(failed("connect")),
            Err(error) => Err(error),
        };
        if connected.is_err()
            && let Err(error) = self.runtime.delete(true, &mut Caller::shim(PATIENCE)).await
        {
            log::warn!(id = id, "it was created, could not be used, and was not deleted: {error}");
        }
        connected
    }

    async fn call_create(
        &self,
        pid_file: &Path,
        ends: RuntimeEnds,
        caller: &mut Caller,
    ) -> Result<(), Error> {
        let create = runtime::Create {
            pid_file,
            no_pivot: self.options.no_pivot_root,
            no_new_keyring: self.options.no_new_keyring,
            ends,
        };
        let failed = |error| Error::Runtime { doing: "OCI runtime create failed", error };
        self.runtime.create(create, caller).await.map_err(failed)
    }

    fn find_cgroup(&mut self, pid: i32) {
        match Cgroup::of_process(pid) {
            Ok(cgroup) => self.cgroup = Some(cgroup),
            Err(error) => {
                log::warn!(id = &self.id, "the cgroup of init {pid} is not known: {error}")
            }
        }
    }

    /// From its creation on, as init may run out of memory before its start returns.
    fn watch_memory(&self, publisher: &crate::events::Publisher) {
        let Some(cgroup) = &self.cgroup else { return };
        if let Err(error) = cgroup.enable_controllers() {
            log::debug!(id = &self.id, "controllers are not enabled for its children: {error}");
        }
        match OomWatch::start(cgroup, self.id.clone(), publisher.clone()) {
            Ok(watch) => {
                if let Ok(mut oom) = self.oom.lock() {
                    *oom = Some(watch);
                }
            }
            Err(error) => log::warn!(id = &self.id, "exhausted memory is not watched: {error}"),
        }
    }
}
