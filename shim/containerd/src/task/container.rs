//! A container: its init, its execs, and the order in which they end.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::announce::Announcer;
use super::exec::Exec;
use super::exits::Exits;
use super::process::{Process, State};
use crate::cgroup::{Cgroup, OomWatch};
use crate::error::Error;
use crate::log;
use crate::options::Options;
use crate::reaper::Exit;
use crate::runtime::{Caller, Runtime};

/// How long the shim waits for a call of the runtime that it makes of its own accord.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long init's exit is held back for an exhausted memory that the kernel may have counted.
const OOM_PATIENCE: Duration = Duration::from_secs(2);

const SIGKILL: u32 = nix::libc::SIGKILL.cast_unsigned();

/// One container of the pod.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pub(crate) init: Process,
    pub(super) namespace: String,
    pub(super) options: Options,
    pub(super) runtime: Runtime,
    pub(super) announcer: Announcer,
    pub(super) exits: Arc<Exits>,
    /// Where the rootfs was mounted, if it was.
    pub(super) rootfs: Option<PathBuf>,
    /// Its processes outlive init, unless they are killed: they are in no pid namespace of its own.
    pub(super) outlives_init: bool,
    /// `None` where init had gone before it could be seen.
    pub(super) cgroup: Option<Cgroup>,
    pub(super) oom: Mutex<Option<OomWatch>>,
    pub(super) execs: Mutex<HashMap<String, Arc<Exec>>>,
    pub(super) places: Arc<Places>,
}

/// Execs that run or are being started, and whether there may be more.
#[derive(Default)]
pub(super) struct Places {
    init_gone: Mutex<bool>,
    taken: watch::Sender<usize>,
}

/// An exec's right to run; init's exit is not announced before each is given back.
pub(super) struct ExecPlace(Arc<Places>);

impl Container {
    /// The exec of this id, or without one the init.
    pub(crate) fn with_process<T>(
        &self,
        exec: &str,
        look: impl FnOnce(&Process) -> T,
    ) -> Result<T, Error> {
        match exec {
            "" => Ok(look(&self.init)),
            id => self.exec(id).map(|exec| look(&exec.process)),
        }
    }

    pub(crate) fn exec(&self, id: &str) -> Result<Arc<Exec>, Error> {
        let exec = self.execs().get(id).cloned();
        exec.ok_or_else(|| Error::NoProcess { container: self.id.clone(), exec: id.to_owned() })
    }

    /// A paused container's processes are paused, all of them.
    pub(crate) fn state_of(&self, process: &Process) -> State {
        match self.init.state() {
            state @ (State::Pausing | State::Paused) => state,
            _ => process.state(),
        }
    }

    /// The exec that has this pid.
    pub(crate) fn exec_of_pid(&self, pid: u32) -> Option<String> {
        let execs = self.execs();
        let found = execs.iter().find(|(_, exec)| exec.process.pid().cast_unsigned() == pid);
        found.map(|(id, _)| id.clone())
    }

    /// What it uses.
    pub(crate) fn cgroup(&self) -> Result<&Cgroup, Error> {
        self.cgroup.as_ref().ok_or_else(|| Error::NoCgroup { id: self.id.clone() })
    }

    pub(super) fn execs(&self) -> MutexGuard<'_, HashMap<String, Arc<Exec>>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Init has been reaped. From now on no exec is started, and when those that run have ended, its exit is announced
    /// as the container's last.
    pub(super) fn init_ended(self: Arc<Self>, exit: Exit) {
        *self.places.init_gone() = true;
        tokio::spawn(async move {
            if self.outlives_init {
                self.kill_rest().await;
            }
            self.places.emptied().await;
            let oom = self.oom.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(oom) = oom
                && timeout(OOM_PATIENCE, oom.flush()).await.is_err()
            {
                log::warn!(id = &self.id, "whether its memory ran out could not be learnt in time");
            }
            if self.init.state() == State::Paused {
                // What it left in the frozen cgroup could not be killed.
                if let Err(error) = self.runtime.resume(&mut Caller::shim(PATIENCE)).await {
                    log::warn!(
                        id = &self.id,
                        "it ended while paused, and was not resumed: {error}"
                    );
                }
            }
            self.init.set_exited(exit);
            self.announcer.exited(&self.id, exit);
            log::info!(id = &self.id, "init {} exited with status {}", exit.pid, exit.status);
        });
    }

    async fn kill_rest(&self) {
        let killed = self.runtime.kill(SIGKILL, true, &mut Caller::shim(PATIENCE)).await;
        if let Err(error) = killed {
            log::warn!(id = &self.id, "OCI runtime killall failed: {error}");
            // At least those that init's exit waits for.
            self.execs().values().for_each(|exec| exec.kill_now());
        }
    }
}

impl Places {
    /// A place for an exec that is about to be started; `None` when init has gone.
    pub(super) fn take(self: &Arc<Self>) -> Option<ExecPlace> {
        let init_gone = self.init_gone();
        if *init_gone {
            return None;
        }
        self.taken.send_modify(|taken| *taken = taken.saturating_add(1));
        Some(ExecPlace(Arc::clone(self)))
    }

    pub(super) fn is_init_gone(&self) -> bool {
        *self.init_gone()
    }

    async fn emptied(&self) {
        // The sender lives as long as this.
        let _ = self.taken.subscribe().wait_for(|taken| *taken == 0).await;
    }

    fn init_gone(&self) -> MutexGuard<'_, bool> {
        self.init_gone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ExecPlace {
    fn drop(&mut self) {
        self.0.taken.send_modify(|taken| *taken = taken.saturating_sub(1));
    }
}
