//! An exec: another process in a container, added first and started later.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use containerd_shim_protos::api::ExecProcessRequest;
use serde_json::{Map, Value};

use super::bundle;
use super::container::Container;
use super::exits::Running;
use super::process::{Ended, Process, State};
use crate::error::Error;
use crate::runtime::{self, Caller};
use crate::stdio::{Owner, RuntimeEnds, Stdio, Streams};
use crate::sys;

/// One exec of a container.
pub(crate) struct Exec {
    pub(crate) process: Process,
    /// The OCI process, until it has been handed to the runtime.
    spec: Mutex<Vec<u8>>,
}

impl Container {
    /// A process is added; it does not run yet.
    pub(crate) fn add_exec(&self, request: &ExecProcessRequest) -> Result<(), Error> {
        bundle::check_id("exec", &request.exec_id)?;
        if self.execs().contains_key(&request.exec_id) {
            return Err(Error::InUse { what: "exec", id: request.exec_id.clone() });
        }
        let state = self.init.state();
        if !matches!(state, State::Created | State::Running) {
            return Err(Error::State { action: "exec in", state: state.name(), what: "container" });
        }
        let spec = process_of(request)?;
        let streams = Streams {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let process = Process::new(request.exec_id.clone(), streams);
        let exec = Arc::new(Exec { process, spec: Mutex::new(spec) });
        // Nothing was awaited since the look above: the id is still free.
        self.execs().insert(request.exec_id.clone(), exec);
        self.announcer.exec_added(request);
        Ok(())
    }

    /// An added process is started. Returns its pid.
    pub(crate) async fn start_exec(
        self: &Arc<Self>,
        id: &str,
        caller: &mut Caller,
    ) -> Result<i32, Error> {
        let exec = self.exec(id)?;
        let _turn = exec.process.turn.lock().await;
        let state = exec.process.state();
        if state != State::Created || exec.process.is_over() {
            let state = if state == State::Created { "failed" } else { state.name() };
            return Err(Error::State { action: "start", state, what: "process" });
        }
        let place = self.places.take().ok_or_else(|| Error::InitGone { id: self.id.clone() })?;
        let starting = self.exits.starting();
        let pid = match self.run_exec(&exec, caller).await {
            Ok(pid) => pid,
            Err(error) => {
                exec.process.set_failed();
                exec.process.close_streams().await;
                return Err(error);
            }
        };
        exec.process.set_pid(pid);
        // From created: it has had its turn.
        let _ = exec.process.change(&[State::Created], State::Running);
        self.announcer.exec_started(id, pid);
        starting.started(pid, Running::Exec(Arc::clone(self), Arc::clone(&exec), place));
        if self.places.is_init_gone() && self.outlives_init {
            // It joined after the rest was killed.
            exec.kill_now();
        }
        Ok(pid)
    }

    async fn run_exec(&self, exec: &Exec, caller: &mut Caller) -> Result<i32, Error> {
        let id = exec.process.id();
        let failed = |doing| move |error| Error::Stdio { doing, id: id.to_owned(), error };
        let owner = Owner { exec: Some(id), ..self.owner() };
        let (stdio, ends) =
            Stdio::prepare(exec.process.streams(), &owner).await.map_err(failed("prepare"))?;
        exec.process.set_stdio(stdio).await;
        let number = self.runtime.next();
        let pid_file = self.bundle.join(format!("exec-{number}.pid"));
        let spec = self.bundle.join(format!("exec-{number}.json"));
        let result = self.call_exec(exec, &spec, &pid_file, ends, caller).await;
        // It holds the process's environment, and the runtime has read it.
        remove(&spec);
        let pid = result.and_then(|()| bundle::read_pid(&pid_file));
        remove(&pid_file);
        let pid = pid?;
        if let Err(error) = exec.process.connect().await {
            // Nobody would see what it does, and nobody would be told its pid.
            let _ = sys::kill(pid, nix::libc::SIGKILL);
            return Err(failed("connect")(error));
        }
        Ok(pid)
    }

    async fn call_exec(
        &self,
        exec: &Exec,
        spec: &Path,
        pid_file: &Path,
        ends: RuntimeEnds,
        caller: &mut Caller,
    ) -> Result<(), Error> {
        let bytes = std::mem::take(&mut *exec.spec.lock().unwrap_or_else(PoisonError::into_inner));
        bundle::write(spec, &bytes, false)?;
        drop(bytes);
        let call = runtime::Exec { process: spec, pid_file, ends };
        let failed = |error| Error::Runtime { doing: "OCI runtime exec failed", error };
        self.runtime.exec(call, caller).await.map_err(failed)
    }

    /// A signal for an exec, by kill(2).
    pub(crate) fn kill_exec(&self, id: &str, signal: u32) -> Result<(), Error> {
        let exec = self.exec(id)?;
        let pid = exec.process.pid();
        match exec.process.state() {
            State::Stopped | State::Deleted => return Err(Error::Finished { id: id.to_owned() }),
            _ if pid == 0 => return Err(Error::NotStarted { id: id.to_owned() }),
            _ => {}
        }
        match sys::kill(pid, signal.cast_signed()) {
            Ok(()) => Ok(()),
            Err(nix::errno::Errno::ESRCH) => Err(Error::Finished { id: id.to_owned() }),
            Err(error) => {
                Err(Error::Process { doing: "signal", id: id.to_owned(), error: error.into() })
            }
        }
    }

    /// An exec that does not run goes.
    pub(crate) async fn delete_exec(&self, id: &str) -> Result<Ended, Error> {
        let exec = self.exec(id)?;
        let _turn = exec.process.turn.lock().await;
        let gone = exec.process.change(&[State::Created, State::Stopped], State::Deleted);
        if let Err(state) = gone {
            return Err(match state {
                // Someone else had the turn before.
                State::Deleted => {
                    Error::NoProcess { container: self.id.clone(), exec: id.to_owned() }
                }
                state => Error::NotStopped { id: id.to_owned(), state: state.name() },
            });
        }
        // Who waits for one that was never started is let go.
        exec.process.set_failed();
        exec.process.drain().await;
        exec.process.close_streams().await;
        self.execs().remove(id);
        Ok(exec.process.ended())
    }

    pub(super) fn owner(&self) -> Owner<'_> {
        Owner {
            namespace: &self.namespace,
            container: &self.id,
            exec: None,
            io_uid: self.options.io_uid,
            io_gid: self.options.io_gid,
            reaper: &self.runtime.reaper,
        }
    }
}

impl Exec {
    /// The kernel kills it, if it runs: its pid is its own until it is reaped, on this very thread.
    pub(super) fn kill_now(&self) {
        let pid = self.process.pid();
        if pid > 0 && self.process.state() == State::Running {
            // It may have ended just now.
            let _ = sys::kill(pid, nix::libc::SIGKILL);
        }
    }
}

fn remove(path: &Path) {
    // The runtime may never have come to write it.
    let _ = fs::remove_file(path);
}

/// The OCI process of a request, with the terminal as the request has it. It is passed on as it came, unknown fields too:
/// the wrapper judges it.
fn process_of(request: &ExecProcessRequest) -> Result<Vec<u8>, Error> {
    let invalid = |problem: String| Error::Invalid { what: "spec of the process", problem };
    let mut process: Map<String, Value> = serde_json::from_slice(&request.spec.value)
        .map_err(|error| invalid(format!("no JSON object: {error}")))?;
    process.insert("terminal".to_owned(), request.terminal.into());
    serde_json::to_vec(&process).map_err(|error| invalid(error.to_string()))
}
