//! Docker and Podman, which one client drives alike: the same words run, exec, stop and inspect.

mod docker;
mod podman;

use std::process::Command;

use crate::versions::{Suite, cache};
use crate::{Error, Output, Runtime, World, door, images, output};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Brand {
    /// dockerd with a containerd of its own, and the command `docker`.
    Docker,
    /// Podman with conmon; there is no daemon.
    Podman,
}

/// Which engine a world has, and the real runtime behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineConfig {
    /// Docker or Podman.
    pub brand: Brand,
    /// The suite that it comes from: [`Suite::Bookworm`] or [`Suite::Sid`].
    pub suite: Suite,
    /// The real runtime, stock and behind coaming.
    pub runtime: Runtime,
    /// Whether coaming is what containers get that name no runtime, as the packaged files of that name have it.
    pub is_default: bool,
}

/// Docker's and Podman's versions with the runtimes of their suites.
pub const ENGINES: [EngineConfig; 8] = [
    EngineConfig::new(Brand::Docker, Suite::Bookworm, Runtime::Runc(Suite::Bookworm)),
    EngineConfig::new(Brand::Podman, Suite::Bookworm, Runtime::Crun(Suite::Bookworm)),
    EngineConfig::new(Brand::Docker, Suite::Sid, Runtime::Crun(Suite::Sid)),
    EngineConfig::new(Brand::Podman, Suite::Sid, Runtime::Runc(Suite::Sid)),
    EngineConfig::new(Brand::Docker, Suite::Bookworm, Runtime::Crun(Suite::Bookworm)),
    EngineConfig::new(Brand::Podman, Suite::Bookworm, Runtime::Runc(Suite::Bookworm)),
    EngineConfig::new(Brand::Docker, Suite::Sid, Runtime::Runc(Suite::Sid)),
    EngineConfig::new(Brand::Podman, Suite::Sid, Runtime::Crun(Suite::Sid)),
];

/// By which runtime a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The real one.
    Stock,
    /// coaming's wrapper before the same.
    Coaming,
    /// None is named: the engine's default.
    Default,
    /// Another of the engine's runtimes, by its name.
    Name(&'static str),
}

/// An engine in a world of its own, with coaming installed; gone with the value.
pub struct Engine {
    world: World,
    config: EngineConfig,
}

impl EngineConfig {
    /// An engine whose default is the real runtime.
    pub const fn new(brand: Brand, suite: Suite, runtime: Runtime) -> EngineConfig {
        EngineConfig { brand, suite, runtime, is_default: false }
    }

    /// With coaming as the default.
    #[must_use]
    pub const fn by_default(self) -> EngineConfig {
        EngineConfig { is_default: true, ..self }
    }

    /// Where `install.sh` keeps the engine's programs, libraries and configuration.
    pub(crate) fn folder(self) -> std::path::PathBuf {
        cache().join("engines").join(self.suite.to_string())
    }

    /// Where its programs are.
    pub fn programs(self) -> std::path::PathBuf {
        self.folder().join("bin")
    }

    /// Where the engine looks for programs: its own, and its suite's containerd and runtimes.
    pub fn path(self) -> String {
        format!(
            "{}:{}:/usr/sbin:/usr/bin:/sbin:/bin",
            self.folder().join("bin").display(),
            self.suite.programs().display()
        )
    }

    /// The engine's name for the real runtime.
    pub(crate) fn stock_name(self) -> &'static str {
        match self.runtime {
            Runtime::Runc(_) => "stock-runc",
            Runtime::Crun(_) => "stock-crun",
        }
    }
}

impl std::fmt::Display for EngineConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?} of {} with {}", self.brand, self.suite, self.runtime)
    }
}

impl Engine {
    /// Starts the engine in a new world, with coaming installed under the built-in floor `floor` and no policy, and
    /// imports [`images::PROBE`].
    ///
    /// # Errors
    /// When the world cannot be made or the engine does not come up; the error holds the end of its log.
    pub fn start(config: EngineConfig, floor: &str) -> Result<Engine, Error> {
        Engine::start_with(config, floor, |_| Ok(()))
    }

    /// As [`Engine::start`], in a world that `prepare` has changed: after coaming's installation, and before the
    /// engine's start.
    ///
    /// # Errors
    /// As [`Engine::start`], and those of `prepare`.
    pub fn start_with(
        config: EngineConfig,
        floor: &str,
        prepare: impl FnOnce(&World) -> Result<(), Error>,
    ) -> Result<Engine, Error> {
        let world = World::new()?;
        world.install_coaming()?;
        world.write(
            "/etc/coaming/config.toml",
            door::configuration(config.runtime, floor),
            0o644,
        )?;
        let engine = Engine { world, config };
        match config.brand {
            Brand::Docker => docker::configure(&engine)?,
            Brand::Podman => podman::configure(&engine)?,
        }
        prepare(&engine.world)?;
        if config.brand == Brand::Docker {
            docker::start(&engine)?;
        }
        engine.import(images::PROBE)?;
        Ok(engine)
    }

    /// Its world.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What it was started as.
    pub fn config(&self) -> EngineConfig {
        self.config
    }

    /// Where the engine looks for programs.
    pub fn path(&self) -> String {
        self.config.path()
    }

    /// Ends dockerd by this signal, such as `TERM`, and starts it again.
    ///
    /// # Errors
    /// When it does not end or does not come up. Podman has no daemon: nothing is done.
    pub fn restart(&self, signal: &str) -> Result<(), Error> {
        if self.config.brand == Brand::Docker {
            docker::stop(self, signal)?;
            docker::start(self)?;
        }
        Ok(())
    }

    /// Brings one of [`images`] into the engine's store.
    ///
    /// # Errors
    /// When it does not take it.
    pub fn import(&self, image: &str) -> Result<(), Error> {
        let (layer, config) = images::layer(image)?;
        let list = |key: &str| config.get(key).filter(|value| value.is_array());
        let mut words = vec!["import".to_owned()];
        for (instruction, value) in [("CMD", list("Cmd")), ("ENTRYPOINT", list("Entrypoint"))] {
            if let Some(value) = value {
                words.extend(["--change".to_owned(), format!("{instruction} {value}")]);
            }
        }
        for variable in list("Env").and_then(|env| env.as_array()).into_iter().flatten() {
            let variable = variable.as_str().unwrap_or_default();
            words.extend(["--change".to_owned(), format!("ENV {variable}")]);
        }
        if let Some(user) = config.get("User").and_then(|user| user.as_str()) {
            words.extend(["--change".to_owned(), format!("USER {user}")]);
        }
        words.extend(["-".to_owned(), image.to_owned()]);
        self.call_with(words, &layer)?.ok("import").map(drop)
    }

    /// `run` with these options: in the foreground unless they say `--detach`. The container is named `name` and has
    /// no network but where the options name one.
    ///
    /// # Errors
    /// When the client cannot be started; how it ends is in the output.
    pub fn run(
        &self,
        by: By,
        name: &str,
        image: &str,
        options: &[&str],
        args: &[&str],
    ) -> Result<Output, Error> {
        let mut words = self.running(by, "run");
        words.extend(["--name", name].map(str::to_owned));
        if !options.iter().any(|option| ["--network", "--net", "--pod"].contains(option)) {
            words.extend(["--network", "none"].map(str::to_owned));
        }
        words.extend(options.iter().map(|option| (*option).to_owned()));
        words.push(image.to_owned());
        words.extend(args.iter().map(|arg| (*arg).to_owned()));
        self.call(words)
    }

    /// `exec` with these options, such as `--user 0` or `--privileged`.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn exec(&self, name: &str, options: &[&str], args: &[&str]) -> Result<Output, Error> {
        self.call([&["exec"], options, &[name], args].concat())
    }

    /// `rm --force`, and its volumes.
    ///
    /// # Errors
    /// When it is still there.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.call(["rm", "--force", "--volumes", name])?.ok("rm --force").map(drop)
    }

    /// Any words after `docker` or `podman`.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn call<A: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Output, Error> {
        self.call_with(args, b"")
    }

    /// The same, with `stdin` as all of its input.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn call_with<A: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        stdin: &[u8],
    ) -> Result<Output, Error> {
        output::run(self.client(&[]).args(args), stdin)
    }

    /// The same, by a client that has these variables (`NAME=value`) besides.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn call_in<A: AsRef<std::ffi::OsStr>>(
        &self,
        variables: &[&str],
        args: impl IntoIterator<Item = A>,
    ) -> Result<Output, Error> {
        output::run(self.client(variables).args(args), b"")
    }

    /// The words that begin `run` or `create` by a runtime: Docker's flag stands after the verb, Podman's before.
    pub fn running(&self, by: By, verb: &str) -> Vec<String> {
        let name = match by {
            By::Default => return vec![verb.to_owned()],
            By::Stock => self.config.stock_name(),
            By::Coaming => self.config.runtime.wrapper_name(),
            By::Name(name) => name,
        };
        let flag = ["--runtime".to_owned(), name.to_owned()];
        let verb = [verb.to_owned()];
        match self.config.brand {
            Brand::Docker => verb.into_iter().chain(flag).collect(),
            Brand::Podman => flag.into_iter().chain(verb).collect(),
        }
    }

    /// The client, without words.
    fn client(&self, variables: &[&str]) -> Command {
        let mut command = self.world.command_in_cgroups("env");
        command.arg(format!("PATH={}", self.config.path())).args(variables);
        match self.config.brand {
            Brand::Docker => docker::client(&mut command),
            Brand::Podman => podman::client(&mut command),
        }
        command
    }
}

/// A packaged file, as tests of the packaging read it.
///
/// # Errors
/// When it is not there.
pub(crate) fn packaged(path: &str) -> Result<String, Error> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(path);
    std::fs::read_to_string(&path).map_err(Error::io("read", path.display()))
}
