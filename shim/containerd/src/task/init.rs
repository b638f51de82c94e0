//! What is asked of a container as a whole, and so of its init.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use containerd_shim_protos::api::CheckpointTaskRequest;
use tokio::time::timeout;

use super::container::{Container, PATIENCE};
use super::exits::Running;
use super::process::{Ended, State};
use super::resources;
use crate::error::Error;
use crate::options::decode_checkpoint;
use crate::runtime::{self, CallError, Caller};
use crate::{log, mounts};

impl Container {
    /// The created init is let go. Returns its pid.
    pub(crate) async fn start(self: &Arc<Self>, caller: &mut Caller) -> Result<i32, Error> {
        let _turn = self.init.turn.lock().await;
        let state = self.init.state();
        let refused = |state| Error::State { action: "start", state, what: "process" };
        if state != State::Created {
            return Err(refused(state.name()));
        }
        let Some(starting) = self.exits.starting_again(self) else {
            return Err(refused(State::Stopped.name()));
        };
        let pid = self.init.pid();
        let started = self.runtime.start(caller).await;
        if started.is_ok() {
            // From created: its exit, if there was one, is looked at below.
            let _ = self.init.change(&[State::Created], State::Running);
            self.announcer.started(pid);
        }
        starting.started(pid, Running::Init(Arc::clone(self)));
        started.map_err(runtime_failed("OCI runtime start failed"))?;
        Ok(pid)
    }

    /// A signal for init, or for all processes. It takes no turn: it is what ends a call that hangs.
    pub(crate) async fn kill(
        &self,
        signal: u32,
        all: bool,
        caller: &mut Caller,
    ) -> Result<(), Error> {
        let finished = || Error::Finished { id: self.id.clone() };
        match self.init.state() {
            State::Deleted => return Err(finished()),
            // Others may be left.
            State::Stopped if !all => return Err(finished()),
            _ => {}
        }
        let Err(error) = self.runtime.kill(signal, all, caller).await else { return Ok(()) };
        // runc, Go's os package and the kernel; crun.
        const FINISHED: &[&str] = &[
            "process already finished",
            "container not running",
            "no such process",
            "is not running",
        ];
        if error.says(FINISHED) {
            Err(finished())
        } else if self.runtime.is_unknown(&error) {
            Err(Error::NoRuntimeContainer { id: self.id.clone() })
        } else {
            Err(Error::Runtime { doing: "unknown error after kill", error })
        }
    }

    /// A container that has stopped goes, but for the folder and the entry of its pod.
    pub(super) async fn delete(&self, caller: &mut Caller) -> Result<Ended, Error> {
        let _turn = self.init.turn.lock().await;
        let never_started = match self.init.state() {
            State::Stopped => false,
            // The runtime ends what waits for its start.
            State::Created => true,
            // Someone else had the turn before.
            State::Deleted => return Err(Error::NoContainer { id: self.id.clone() }),
            state => return Err(Error::NotStopped { id: self.id.clone(), state: state.name() }),
        };
        if !never_started {
            self.init.drain().await;
        }
        let deleted = self.runtime.delete(false, caller).await;
        if never_started && deleted.is_ok() {
            if timeout(PATIENCE, self.init.wait()).await.is_err() {
                log::warn!(
                    id = &self.id,
                    "it was deleted before its start, and its init has not ended"
                );
            }
            self.init.drain().await;
        }
        // These go in any case: containerd's next step is to remove the bundle.
        self.init.close_streams().await;
        let unmounted = unmount(self.rootfs.as_deref()).await;
        deleted.map_err(runtime_failed("failed to delete task"))?;
        unmounted?;
        let _ = self.init.change(&[State::Created, State::Stopped], State::Deleted);
        let ended = self.init.ended();
        self.announcer.deleted(ended);
        Ok(ended)
    }

    /// All its processes stand still.
    pub(crate) async fn pause(&self, caller: &mut Caller) -> Result<(), Error> {
        let _turn = self.init.turn.lock().await;
        let pausing = self.init.change(&[State::Running], State::Pausing);
        pausing.map_err(not_from("pause"))?;
        if let Err(error) = self.runtime.pause(caller).await {
            let _ = self.init.change(&[State::Pausing], State::Running);
            return Err(runtime_failed("OCI runtime pause failed")(error));
        }
        if self.init.change(&[State::Pausing], State::Paused).is_err() {
            // It ended meanwhile; what it left must not stay frozen, or could not be killed.
            if let Err(error) = self.runtime.resume(&mut Caller::shim(PATIENCE)).await {
                log::warn!(
                    id = &self.id,
                    "it ended while it was paused, and was not resumed: {error}"
                );
            }
        }
        self.announcer.paused();
        Ok(())
    }

    /// They go on.
    pub(crate) async fn resume(&self, caller: &mut Caller) -> Result<(), Error> {
        let _turn = self.init.turn.lock().await;
        self.allowed("resume", &[State::Paused])?;
        self.runtime.resume(caller).await.map_err(runtime_failed("OCI runtime resume failed"))?;
        // Unless it has ended meanwhile.
        let _ = self.init.change(&[State::Paused], State::Running);
        self.announcer.resumed();
        Ok(())
    }

    /// New limits, an OCI `linux.resources` object.
    pub(crate) async fn update(
        &self,
        resources: Vec<u8>,
        caller: &mut Caller,
    ) -> Result<(), Error> {
        let _turn = self.init.turn.lock().await;
        self.allowed("update", &[State::Created, State::Running, State::Paused])?;
        resources::check(&resources)
            .map_err(|problem| Error::Invalid { what: "resources", problem })?;
        self.runtime
            .update(resources, caller)
            .await
            .map_err(runtime_failed("OCI runtime update failed"))
    }

    /// Its processes, by their ids on the node.
    pub(crate) async fn processes(&self, caller: &mut Caller) -> Result<Vec<u32>, Error> {
        self.runtime.processes(caller).await.map_err(runtime_failed("OCI runtime ps failed"))
    }

    /// Its processes are written to an image, and ended if the options say so.
    pub(crate) async fn checkpoint(
        &self,
        request: &CheckpointTaskRequest,
        caller: &mut Caller,
    ) -> Result<(), Error> {
        let options = decode_checkpoint(request.options.as_ref())?;
        let _turn = self.init.turn.lock().await;
        self.allowed("checkpoint", &[State::Running, State::Paused])?;
        let (work, ours) = match options.work_path.as_str() {
            "" => (self.bundle.join("work").join("criu-work"), true),
            path => (path.into(), false),
        };
        let call =
            runtime::Checkpoint { image: Path::new(&request.path), work: &work, options: &options };
        let result = self.runtime.checkpoint(call, caller).await;
        let dump_log = self.bundle.join("criu-dump.log");
        if result.is_err()
            && let Err(error) = fs::copy(work.join("dump.log"), &dump_log)
        {
            log::debug!(id = &self.id, "CRIU left no log: {error}");
        }
        if ours {
            let _ = fs::remove_dir_all(&work);
        }
        result.map_err(runtime_failed("OCI runtime checkpoint failed"))
    }

    fn allowed(&self, action: &'static str, states: &[State]) -> Result<(), Error> {
        let state = self.init.state();
        if states.contains(&state) { Ok(()) } else { Err(not_from(action)(state)) }
    }
}

fn not_from(action: &'static str) -> impl FnOnce(State) -> Error {
    move |state| Error::State { action, state: state.name(), what: "container" }
}

fn runtime_failed(doing: &'static str) -> impl FnOnce(CallError) -> Error {
    move |error| Error::Runtime { doing, error }
}

/// The rootfs is unmounted, away from this thread: it can wait for a disk.
pub(super) async fn unmount(rootfs: Option<&Path>) -> Result<(), Error> {
    let Some(rootfs) = rootfs.map(Path::to_owned) else { return Ok(()) };
    tokio::task::spawn_blocking(move || mounts::unmount_all(&rootfs).map_err(Error::Unmount))
        .await
        .unwrap_or(Err(Error::Ending))
}
