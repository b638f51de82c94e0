//! Where a scenario is played: one shim, in a containerd namespace of its own, with all that is asked and answered
//! written down.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use coaming_integration::task_api::{Exit, RootMount, Shim, Streams};
use coaming_integration::{Error, Events, Tasks, default_spec, wait_for};
use serde_json::{Value, json};

use crate::transcript::Transcript;

/// Where scenarios keep their files in the world.
pub(crate) const FOLDER: &str = "/run/lifecycle";

/// One shim's stage.
pub(crate) struct Stage<'a> {
    pub(crate) tasks: Tasks<'a>,
    pub(crate) events: &'a Events,
    pub(crate) shim: Shim,
    /// The root file system that all containers of this stage share, in the world.
    pub(crate) rootfs: String,
    /// How long what is left may take to go, where that is known.
    patience: Cell<Option<Duration>>,
    /// Whether its events are compared.
    pub(crate) is_heard: bool,
    scenario: &'static str,
    transcript: RefCell<Transcript>,
    /// Who has which PID.
    pids: RefCell<BTreeMap<u32, String>>,
    /// Containers that were made, as scenarios name them.
    made: RefCell<BTreeSet<String>>,
    /// Processes that were started: (container, exec).
    started: RefCell<BTreeSet<(String, String)>>,
    /// Containers whose task was deleted, each time with the answer.
    deleted: RefCell<BTreeMap<String, Vec<String>>>,
}

/// What a container is asked to be.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) spec: Value,
    pub(crate) streams: Streams,
    pub(crate) mounts: Vec<RootMount>,
    pub(crate) shim: Shim,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(
        tasks: Tasks<'a>,
        events: &'a Events,
        shim: Shim,
        rootfs: String,
        scenario: &'static str,
    ) -> Stage<'a> {
        Stage {
            tasks,
            events,
            shim,
            rootfs,
            patience: Cell::new(None),
            is_heard: true,
            scenario,
            transcript: RefCell::default(),
            pids: RefCell::default(),
            made: RefCell::default(),
            started: RefCell::default(),
            deleted: RefCell::default(),
        }
    }

    /// What the world calls the container that this scenario calls `name`.
    pub(crate) fn id(&self, name: &str) -> String {
        format!("{}-{name}", self.scenario)
    }

    pub(crate) fn namespace(&self) -> &str {
        self.tasks.namespace()
    }

    /// How long what is left may take to go.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.patience.get()
    }

    /// A path of this scenario's own in the world; the folder is made.
    pub(crate) fn path(&self, name: &str) -> Result<String, Error> {
        let folder = format!("{FOLDER}/{}/{}", self.namespace(), self.scenario);
        let seen = self.tasks.node().world().path(&folder);
        std::fs::create_dir_all(&seen)
            .map_err(|error| Error::Unavailable(format!("make {folder}: {error}")))?;
        Ok(format!("{folder}/{name}"))
    }

    /// Where the host sees a file of the containers' root.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        self.tasks.node().world().path(format!("{}{path}", self.rootfs))
    }

    /// A container that runs `args`, without streams.
    pub(crate) fn plan(&self, name: &str, args: &[&str]) -> Result<Plan, Error> {
        let id = self.id(name);
        let mut spec = default_spec(&id, args.iter().copied())?;
        spec["root"]["path"] = json!(self.rootfs);
        spec["linux"]["cgroupsPath"] = json!(format!("/{}/{id}", self.namespace()));
        let (streams, mounts) = (Streams::default(), Vec::new());
        Ok(Plan { spec, streams, mounts, shim: self.shim.clone() })
    }

    /// A plan for a shell script that tells by a file of its container's root, `/tmp/ID`, that it is `ready`.
    pub(crate) fn script(&self, name: &str, script: &str) -> Result<Plan, Error> {
        let script = script.replace("READY", &format!("touch /tmp/{}", self.id(name)));
        self.plan(name, &["sh", "-c", &script])
    }

    /// The `process` object of an exec.
    pub(crate) fn process(&self, args: &[&str]) -> Result<Value, Error> {
        Ok(default_spec("unused", args.iter().copied())?["process"].take())
    }

    /// Waits for what a [`Stage::script`] says.
    pub(crate) fn ready(&self, name: &str) -> Result<(), Error> {
        let file = self.inside(&format!("/tmp/{}", self.id(name)));
        wait_for(&format!("{name} of {}", self.scenario), || Ok(file.exists().then_some(())))
    }

    /// Writes down a fact that must be equal on both stages.
    pub(crate) fn note(&self, what: &str, value: impl ToString) {
        self.transcript.borrow_mut().push(what, value.to_string(), String::new());
    }

    /// Writes down how a call ended: by its code, with the message beside it for the reader.
    pub(crate) fn told<T>(
        &self,
        what: &str,
        answer: Result<T, Error>,
        show: impl FnOnce(&T) -> String,
    ) -> Result<Option<T>, Error> {
        let (value, remark) = match &answer {
            Ok(answer) => (show(answer), String::new()),
            Err(Error::Containerd { code, message, .. }) => (code.clone(), message.clone()),
            Err(_) => (String::new(), String::new()),
        };
        match answer {
            Ok(answer) => {
                self.transcript.borrow_mut().push(what, value, remark);
                Ok(Some(answer))
            }
            Err(Error::Containerd { .. }) => {
                self.transcript.borrow_mut().push(what, value, remark);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// As [`Stage::told`], for calls that answer nothing.
    pub(crate) fn said(&self, what: &str, answer: Result<(), Error>) -> Result<bool, Error> {
        self.told(what, answer, |()| "ok".to_owned()).map(|answer| answer.is_some())
    }

    pub(crate) fn create(&self, name: &str, plan: &Plan) -> Result<bool, Error> {
        let id = self.id(name);
        if self.made.borrow_mut().insert(name.to_owned()) {
            self.tasks.create_container(&id, &plan.shim, &plan.spec)?;
        }
        let answer = self.tasks.create(&id, &plan.shim, &plan.streams, &plan.mounts);
        let pid = self.told(&format!("create {name}"), answer, |_| "ok".to_owned())?;
        if let Some(pid) = pid {
            self.pids.borrow_mut().insert(pid, name.to_owned());
        }
        Ok(pid.is_some())
    }

    /// Starts a container (`exec` empty) or an exec.
    pub(crate) fn start(&self, name: &str, exec: &str) -> Result<bool, Error> {
        let answer = self.tasks.start(&self.id(name), exec);
        let pid = self.told(&format!("start {name} {exec}"), answer, |_| "ok".to_owned())?;
        if let Some(pid) = pid {
            self.is_started(name, exec, pid);
        }
        Ok(pid.is_some())
    }

    /// For what was started without being written down.
    pub(crate) fn is_started(&self, name: &str, exec: &str, pid: u32) {
        let who = if exec.is_empty() { name.to_owned() } else { format!("{name}/{exec}") };
        self.pids.borrow_mut().insert(pid, who);
        self.started.borrow_mut().insert((name.to_owned(), exec.to_owned()));
    }

    /// Where the oracle is known to leave something: it is not waited for to go.
    pub(crate) fn leaves_something_if_stock(&self) {
        if self.is_stock() {
            self.patience.set(Some(Duration::from_secs(2)));
        }
    }

    /// Whether this is the oracle.
    pub(crate) fn is_stock(&self) -> bool {
        self.shim.runtime == "io.containerd.runc.v2"
    }

    /// No end of this process is to be told of.
    pub(crate) fn expect_nothing_of(&self, name: &str, exec: &str) {
        self.started.borrow_mut().remove(&(name.to_owned(), exec.to_owned()));
    }

    /// Creates and starts.
    pub(crate) fn run(&self, name: &str, plan: &Plan) -> Result<(), Error> {
        self.create(name, plan)?;
        self.start(name, "").map(drop)
    }

    /// As far as it goes: creates, starts, waits for the end of what has started, and deletes.
    pub(crate) fn attempt(&self, name: &str, plan: &Plan) -> Result<(), Error> {
        if !self.create(name, plan)? {
            return self.get(name, "");
        }
        if self.start(name, "")? {
            self.wait(name, "")?;
        } else {
            self.get(name, "")?;
        }
        self.delete(name, "").map(drop)
    }

    /// A sleeping container that runs.
    pub(crate) fn sleeper(&self, name: &str) -> Result<(), Error> {
        self.run(name, &self.plan(name, &["sleep", "1000"])?)
    }

    /// Adds an exec without streams and starts it.
    pub(crate) fn exec(&self, name: &str, exec: &str, args: &[&str]) -> Result<bool, Error> {
        self.exec_with(name, exec, &self.process(args)?, &Streams::default())
    }

    pub(crate) fn exec_with(
        &self,
        name: &str,
        exec: &str,
        process: &Value,
        streams: &Streams,
    ) -> Result<bool, Error> {
        Ok(self.add(name, exec, process, streams)? && self.start(name, exec)?)
    }

    /// Adds an exec.
    pub(crate) fn add(
        &self,
        name: &str,
        exec: &str,
        process: &Value,
        streams: &Streams,
    ) -> Result<bool, Error> {
        let answer = self.tasks.exec(&self.id(name), exec, process, streams);
        self.said(&format!("exec {name} {exec}"), answer)
    }

    pub(crate) fn kill(&self, name: &str, exec: &str, signal: u32) -> Result<bool, Error> {
        let answer = self.tasks.kill(&self.id(name), exec, signal, false);
        self.said(&format!("kill {name} {exec} {signal}"), answer)
    }

    pub(crate) fn wait(&self, name: &str, exec: &str) -> Result<(), Error> {
        let answer = self.tasks.wait(&self.id(name), exec);
        self.told(&format!("wait {name} {exec}"), answer, |exit| self.exit(*exit)).map(drop)
    }

    pub(crate) fn delete(&self, name: &str, exec: &str) -> Result<bool, Error> {
        let answer = self.tasks.delete(&self.id(name), exec);
        let exit = self.told(&format!("delete {name} {exec}"), answer, |exit| self.exit(*exit))?;
        if let (Some(exit), true) = (exit, exec.is_empty()) {
            let told = self.exit(exit).replace("exit", "delete");
            self.deleted.borrow_mut().entry(name.to_owned()).or_default().push(told);
        }
        Ok(exit.is_some())
    }

    /// Waits for the end of a process and deletes it.
    pub(crate) fn finish(&self, name: &str, exec: &str) -> Result<(), Error> {
        self.wait(name, exec)?;
        self.delete(name, exec).map(drop)
    }

    /// Kills a container, waits and deletes it.
    pub(crate) fn end(&self, name: &str) -> Result<(), Error> {
        self.kill(name, "", 9)?;
        self.finish(name, "")
    }

    pub(crate) fn get(&self, name: &str, exec: &str) -> Result<(), Error> {
        let answer = self.tasks.get(&self.id(name), exec);
        self.told(&format!("get {name} {exec}"), answer, |state| {
            let Streams { stdin, stdout, stderr, terminal } = &state.streams;
            let streams = [stdin, stdout, stderr].map(|path| self.own(path)).join(",");
            let dated = if state.dated { "dated" } else { "" };
            format!(
                "{} by {}, exit {} {dated}, streams {streams}, terminal {terminal}",
                state.status,
                self.who(state.pid),
                state.exit_status
            )
        })
        .map(drop)
    }

    fn exit(&self, exit: Exit) -> String {
        let dated = if exit.dated { "" } else { " undated" };
        format!("exit {} by {}{dated}", exit.status, self.who(exit.pid))
    }

    /// A PID by its owner's name.
    pub(crate) fn who(&self, pid: u32) -> String {
        let unknown = if pid == 0 { "0" } else { "unknown" };
        self.pids.borrow().get(&pid).cloned().unwrap_or_else(|| unknown.to_owned())
    }

    /// A text without what tells the stages apart.
    pub(crate) fn own(&self, text: &str) -> String {
        text.replace(&format!("/{}/", self.namespace()), "/NAMESPACE/")
    }

    /// Ends the play: all containers are removed, the events come in, and what is left is written down.
    pub(crate) fn close(self) -> Result<Transcript, Error> {
        let made: Vec<String> = self.made.borrow().iter().cloned().collect();
        for name in &made {
            let id = self.id(name);
            if self.tasks.get(&id, "").is_ok() {
                self.note(&format!("scenario left task {name}"), "");
                let _ = self.tasks.resume(&id);
                let _ = self.tasks.kill(&id, "", 9, true);
                let _ = self.tasks.wait(&id, "");
                let _ = self.tasks.delete(&id, "");
            }
            let answer = self.tasks.delete_container(&id);
            self.said(&format!("remove {name}"), answer)?;
        }
        if self.is_heard {
            crate::sequence::write_down(&self, &made)?;
        }
        crate::residue::write_down(&self, &made)?;
        Ok(self.transcript.into_inner())
    }

    /// The processes whose ends are to be told of: (container, exec).
    pub(crate) fn started(&self) -> BTreeSet<(String, String)> {
        self.started.borrow().clone()
    }

    /// The containers whose deletions are to be told of, each time with the answer.
    pub(crate) fn deleted(&self) -> BTreeMap<String, Vec<String>> {
        self.deleted.borrow().clone()
    }
}
