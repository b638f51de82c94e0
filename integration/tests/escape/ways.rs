//! The ways in which a process comes into a container, who can ask for each, and how each caller is asked.

use coaming_integration::cri::{ContainerSpec, Pod, Profile};
use coaming_integration::{
    BareRuntime, Bundle, Door, Error, Exec, Output, Run, default_spec, images, wait_for,
};
use serde_json::Value;

use crate::drive::{Side, verdicts};
use crate::ground::{FOLDER, Ground};
use crate::matrix::Place;
use crate::spec;

/// How a process comes into a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// The first process.
    Init,
    /// A process that joins it: `kubectl exec`, `ctr tasks exec`, `docker exec`.
    Exec,
    /// What CRI's ExecSync starts: exec probes.
    ExecProbe,
    /// A container that ends before the pod's others start.
    InitContainer,
    /// A container that joins a running pod, in the pid namespace of one of its containers: an ephemeral one.
    Second,
    /// The first process of a privileged container.
    Privileged,
}

impl Way {
    pub(crate) const ALL: [Way; 6] =
        [Way::Init, Way::Exec, Way::ExecProbe, Way::InitContainer, Way::Second, Way::Privileged];

    /// Whether another container's first process, or this one's, is there to be aimed at.
    pub(crate) fn is_beside(self) -> bool {
        matches!(self, Way::Exec | Way::ExecProbe | Way::Second)
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Way::Init => "init",
            Way::Exec => "exec",
            Way::ExecProbe => "exec probe",
            Way::InitContainer => "init container",
            Way::Second => "second container",
            Way::Privileged => "privileged",
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Caller {
    /// The runtime's own command line: `coaming-runc`.
    ByHand,
    /// containerd's own API, with a runtime spec.
    Ctr,
    /// CRI, as the kubelet.
    Cri,
    /// The command `docker`.
    Docker,
    /// The command `podman`.
    Podman,
}

impl Caller {
    pub(crate) const ALL: [Caller; 5] =
        [Caller::ByHand, Caller::Ctr, Caller::Cri, Caller::Docker, Caller::Podman];

    pub(crate) fn ways(self) -> &'static [Way] {
        match self {
            Caller::ByHand => &[Way::Init, Way::Exec],
            Caller::Ctr => &[Way::Init, Way::Exec, Way::Privileged],
            Caller::Cri => &Way::ALL,
            Caller::Docker | Caller::Podman => {
                &[Way::Init, Way::Exec, Way::Second, Way::Privileged]
            }
        }
    }

    /// Whether it can ask for devices and writable control groups in this way: a runtime spec can, always.
    pub(crate) fn is_wide(self, way: Way) -> bool {
        way == Way::Privileged || self == Caller::ByHand
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Caller::ByHand => "by hand",
            Caller::Ctr => "ctr",
            Caller::Cri => "CRI",
            Caller::Docker => "Docker",
            Caller::Podman => "Podman",
        }
    }
}

/// What is asked of a caller.
pub(crate) struct Request<'a> {
    /// For names of containers.
    pub(crate) name: &'a str,
    pub(crate) side: Side,
    /// The command of each way. What is to stay is told so here.
    pub(crate) command: &'a dyn Fn(Way) -> Vec<String>,
}

/// The probe's lines, by way.
pub(crate) type Said = Vec<(Way, Vec<Value>)>;

impl Place for Ground {
    fn callers(&self) -> &'static [Caller] {
        &[Caller::ByHand, Caller::Ctr, Caller::Cri]
    }

    fn doors(&self) -> &[Door] {
        &self.doors
    }

    fn enforce(&self, policy: &str) -> Result<(), Error> {
        Ground::enforce(self, "baseline", policy)
    }

    fn ask(&self, caller: Caller, request: &Request<'_>) -> Result<Said, Error> {
        match caller {
            Caller::ByHand => by_hand(self, request),
            Caller::Ctr => ctr(self, request),
            Caller::Cri => cri(self, request),
            // Not among this place's callers.
            Caller::Docker | Caller::Podman => Ok(Said::new()),
        }
    }
}

impl Request<'_> {
    /// The command of a container that stays for others to join it.
    pub(crate) fn staying(&self, way: Way) -> Vec<String> {
        let mut words = (self.command)(way);
        words.extend(["--", "pause"].map(str::to_owned));
        words
    }

    /// How many answers a way gives.
    fn expected(&self, way: Way) -> usize {
        let words = (self.command)(way);
        // `probe each` and one attempt, and one more after each `--`.
        words.iter().filter(|word| *word == "--").count() + 1
    }

    /// Waits until a container that stays has said all.
    pub(crate) fn answers(
        &self,
        way: Way,
        said: impl Fn() -> Result<String, Error>,
    ) -> Result<Vec<Value>, Error> {
        wait_for(way.title(), || {
            let lines = verdicts(&said()?);
            Ok((lines.len() >= self.expected(way)).then_some(lines))
        })
    }
}

fn by_hand(ground: &Ground, request: &Request<'_>) -> Result<Said, Error> {
    let world = ground.node.world();
    let runtime = ground.node.config().runtime;
    let binary = match request.side {
        Side::Stock => runtime.path(),
        Side::Coaming(_) => runtime.wrapper_path(),
    };
    let runtime = BareRuntime::new(binary);
    let mut spec = default_spec(request.name, request.staying(Way::Init))?;
    spec::everything(&mut spec);
    let bundle = Bundle::new(world, request.name, &spec)?;
    runtime.start(&bundle)?.ok("run by hand")?;
    let file = bundle.path().join("stdout");
    let first = request.answers(Way::Init, || world.read(&file));
    let mut process = spec["process"].take();
    process["args"] = (request.command)(Way::Exec).into();
    let second = runtime.exec_process(&bundle, &process);
    runtime.delete(&bundle)?;
    Ok(vec![(Way::Init, first?), (Way::Exec, verdicts(&second?.stdout))])
}

fn ctr(ground: &Ground, request: &Request<'_>) -> Result<Said, Error> {
    let (node, id) = (&ground.node, request.name);
    let (world, runtime) = (node.world(), node.config().runtime);
    let log = format!("file://{FOLDER}/{id}.log");
    let mut spec = default_spec(id, request.staying(Way::Init))?;
    spec::all_capabilities(&mut spec);
    spec::unmasked(&mut spec);
    spec["root"]["path"] = ground.rootfs(id)?.into();
    let file = format!("{FOLDER}/{id}.json");
    world.write(&file, spec.to_string(), 0o644)?;
    let mut words = ["run", "--detach"].map(str::to_owned).to_vec();
    words.extend(match request.side {
        Side::Stock => Door::none(runtime),
        Side::Coaming(door) => door.ctr_flags(runtime),
    });
    words.extend(["--log-uri", &log, "--config", &file, id].map(str::to_owned));
    let started = node.ctr().raw(words)?;
    if !started.success() {
        node.ctr().raw(["containers", "delete", id])?;
    }
    started.ok("ctr run")?;
    let log = format!("{FOLDER}/{id}.log");
    let first = request.answers(Way::Init, || Ok(world.read(&log).unwrap_or_default()));
    let second = node.ctr().exec(&Exec::new(id, (request.command)(Way::Exec)));
    node.ctr().remove(id)?;
    ground.drop_rootfs(id)?;

    let run = Run::new(images::PROBE, &format!("{id}-privileged"))
        .flag("--privileged")
        .flag("--allow-new-privs")
        .args((request.command)(Way::Privileged));
    let run = match request.side {
        Side::Stock => run,
        Side::Coaming(door) => run.through(door),
    };
    let third = node.ctr().run(&run)?;
    Ok(vec![
        (Way::Init, first?),
        (Way::Exec, verdicts(&second?.stdout)),
        (Way::Privileged, told(Way::Privileged, &third)?),
    ])
}

fn cri(ground: &Ground, request: &Request<'_>) -> Result<Said, Error> {
    let cri = ground.node.cri()?;
    let handler = match request.side {
        Side::Stock => "runc",
        Side::Coaming(door) => door.handler(),
    };
    let pod = Pod { privileged: true, ..Pod::new(request.name, handler) };
    let sandbox = cri.run_pod(&pod)?;
    let container = |name: &str, command: Vec<String>| ContainerSpec {
        add_capabilities: spec::own_capabilities(),
        seccomp: Some(Profile::Unconfined),
        unmasked_proc: true,
        ..ContainerSpec::new(name, images::PROBE, command)
    };
    let all = || -> Result<Said, Error> {
        let mut said = Said::new();
        let ended =
            cri.run(&sandbox, &container("first", (request.command)(Way::InitContainer)))?;
        said.push((Way::InitContainer, told(Way::InitContainer, &ended)?));
        let main = cri.launch(&sandbox, &container("main", request.staying(Way::Init)))?;
        let first = request.answers(Way::Init, || Ok(cri.logs(&main)?.stdout))?;
        said.push((Way::Init, first));
        let exec = cri.exec(&main, (request.command)(Way::Exec), b"", false)?;
        said.push((Way::Exec, told(Way::Exec, &exec)?));
        let probe = cri.exec_sync(&main, (request.command)(Way::ExecProbe))?;
        said.push((Way::ExecProbe, told(Way::ExecProbe, &probe)?));
        let second = ContainerSpec {
            target: main.clone(),
            ..container("second", (request.command)(Way::Second))
        };
        said.push((Way::Second, told(Way::Second, &cri.run(&sandbox, &second)?)?));
        let last = ContainerSpec {
            privileged: true,
            ..container("privileged", (request.command)(Way::Privileged))
        };
        said.push((Way::Privileged, told(Way::Privileged, &cri.run(&sandbox, &last)?)?));
        Ok(said)
    };
    let said = all();
    cri.remove_pod(&sandbox)?;
    said
}

/// The probe's lines in what a container or an exec said; an error when there are none.
pub(crate) fn told(way: Way, output: &Output) -> Result<Vec<Value>, Error> {
    let lines = verdicts(&output.stdout);
    if lines.is_empty() {
        return Err(Error::Unavailable(format!("{} said nothing: {output:?}", way.title())));
    }
    Ok(lines)
}
