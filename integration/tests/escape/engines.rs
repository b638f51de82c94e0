//! The ways into a container through Docker and Podman.

use coaming_integration::{
    Brand, By, Door, ENGINES, Engine, Error, Runtime, Suite, can_run, images,
};

use crate::drive::Side;
use crate::ground;
use crate::matrix::{self, Place};
use crate::ways::{Caller, Request, Said, Way, told};
use crate::{page, results, spec};

#[test]
fn newest_docker_runc() -> Result<(), Error> {
    escape(6)
}

#[test]
fn podman_4_crun() -> Result<(), Error> {
    escape(1)
}

#[test]
fn newest_docker_crun() -> Result<(), Error> {
    escape(2)
}

#[test]
fn newest_podman_runc() -> Result<(), Error> {
    escape(3)
}

#[test]
fn docker_20_crun() -> Result<(), Error> {
    escape(4)
}

fn escape(number: usize) -> Result<(), Error> {
    if !can_run()? {
        return Ok(());
    }
    let config = ENGINES[number];
    let place = Fleet { engine: Engine::start(config, "baseline")?, doors: [Door::Wrapper] };
    let (rows, mut surprises) = matrix::hold(&place)?;
    surprises.extend(page::differences(&rows, place.callers(), place.left_out()));
    results::keep(&config.to_string(), &rows, &[])?;
    assert!(surprises.is_empty(), "{config}:\n{}", surprises.join("\n"));
    Ok(())
}

struct Fleet {
    engine: Engine,
    doors: [Door; 1],
}

impl Fleet {
    /// Docker asks for every capability that there is for a privileged container, and runc fails where the machine has
    /// less (a build machine in a container), and so does crun 1.8; crun of today gives what it can.
    fn left_out(&self) -> &'static [Way] {
        let config = self.engine.config();
        let is_less = !spec::own_capabilities().iter().any(|name| name == "SYS_RESOURCE");
        let fails = matches!(config.runtime, Runtime::Runc(_) | Runtime::Crun(Suite::Bookworm));
        if config.brand == Brand::Docker && fails && is_less {
            eprintln!("left out of {config}: privileged: this machine has no CAP_SYS_RESOURCE");
            return &[Way::Privileged];
        }
        &[]
    }
}

impl Place for Fleet {
    fn callers(&self) -> &'static [Caller] {
        match self.engine.config().brand {
            Brand::Docker => &[Caller::Docker],
            Brand::Podman => &[Caller::Podman],
        }
    }

    fn doors(&self) -> &[Door] {
        &self.doors
    }

    fn enforce(&self, policy: &str) -> Result<(), Error> {
        ground::enforce(self.engine.world(), self.engine.config().runtime, "baseline", policy)
    }

    fn ask(&self, caller: Caller, request: &Request<'_>) -> Result<Said, Error> {
        let engine = &self.engine;
        let by = match request.side {
            Side::Stock => By::Stock,
            Side::Coaming(_) => By::Coaming,
        };
        let name = request.name;
        let (second, last) = (format!("{name}-second"), format!("{name}-privileged"));
        let unmasked = match caller {
            Caller::Podman => "unmask=ALL",
            _ => "systempaths=unconfined",
        };
        let mut wide: Vec<String> =
            ["--security-opt", "seccomp=unconfined", "--security-opt", unmasked]
                .map(str::to_owned)
                .to_vec();
        // Docker 20.10 knows none that came after Linux 5.7; SYS_ADMIN, of which they are parts, stands for them.
        let newer = ["PERFMON", "BPF", "CHECKPOINT_RESTORE"];
        for capability in
            spec::own_capabilities().into_iter().filter(|name| !newer.contains(&name.as_str()))
        {
            wide.extend(["--cap-add".to_owned(), capability]);
        }
        let run = |name: &str, more: &[&str], command: Vec<String>| {
            let options: Vec<&str> =
                more.iter().copied().chain(wide.iter().map(String::as_str)).collect();
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            engine.run(by, name, images::PROBE, &options, &command)
        };
        let all = || -> Result<Said, Error> {
            run(name, &["--detach"], request.staying(Way::Init))?.ok("run --detach")?;
            let init = request.answers(Way::Init, || Ok(engine.call(["logs", name])?.stdout))?;
            let command = (request.command)(Way::Exec);
            let command: Vec<&str> = command.iter().map(String::as_str).collect();
            // Docker's exec has its container's capabilities; Podman's has the default ones, unless it asks for all.
            let options: &[&str] = match caller {
                Caller::Podman => &["--privileged"],
                _ => &[],
            };
            let exec = told(Way::Exec, &engine.exec(name, options, &command)?)?;
            let pids = format!("container:{name}");
            let joined = run(&second, &["--pid", &pids], (request.command)(Way::Second))?;
            let mut said = vec![
                (Way::Init, init),
                (Way::Exec, exec),
                (Way::Second, told(Way::Second, &joined)?),
            ];
            if self.left_out().is_empty() {
                let command = (request.command)(Way::Privileged);
                let command: Vec<&str> = command.iter().map(String::as_str).collect();
                let options = ["--privileged", "--security-opt", "seccomp=unconfined"];
                let output = engine.run(by, &last, images::PROBE, &options, &command)?;
                said.push((Way::Privileged, told(Way::Privileged, &output)?));
            }
            Ok(said)
        };
        let said = all();
        for name in [name, &second, &last] {
            // What did not start may not be there.
            let _ = engine.remove(name);
        }
        said
    }
}
