//! CRI-O in a world. Debian has none: who has built it names its folder, and the tests that need it run then.

use std::path::PathBuf;

use crate::engine::packaged;
use crate::{Cri, Engine, EngineConfig, Error, World, images, wait_for};

const SOCKET: &str = "/run/crio/crio.sock";
const LOG: &str = "/run/crio.log";
const PID_FILE: &str = "/run/crio.pid";

/// Its CRI's name for the real runtime, without coaming.
pub const STOCK: &str = "stock";

/// The folder of `crio` and `pinns`, as the environment variable COAMING_CRIO names it; none, where it names none.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("COAMING_CRIO").map(PathBuf::from)
}

/// A running CRI-O, with coaming installed by the packaged drop-in, in a world of its own; gone with the value.
///
/// Podman prepares the world: both keep their images in one store.
pub struct Crio {
    podman: Engine,
    path: String,
}

impl Crio {
    /// Starts CRI-O with Podman's storage of this configuration and its runtime, under a built-in floor.
    ///
    /// # Errors
    /// When no folder is named, or CRI-O does not come up; the error holds its log.
    pub fn start(config: EngineConfig, floor: &str) -> Result<Crio, Error> {
        let folder = folder().ok_or_else(|| {
            Error::Unavailable("COAMING_CRIO names no folder of crio and pinns".to_owned())
        })?;
        let podman = Engine::start(config, floor)?;
        podman.import(images::PAUSE)?;
        let world = podman.world();
        let bin = folder.display();
        let path = format!("{bin}:{}", podman.path());
        let text = format!(
            "[crio]\nstorage_driver = \"overlay\"\nroot = \"/var/lib/containers/storage\"\n\
             runroot = \"/run/containers/storage\"\nversion_file = \"/run/crio/version\"\n\
             [crio.api]\nlisten = {SOCKET:?}\nstream_address = \"127.0.0.1\"\nstream_port = \"0\"\n\
             [crio.runtime]\ncgroup_manager = \"cgroupfs\"\nconmon_cgroup = \"pod\"\npinns_path = \"{bin}/pinns\"\n\
             default_runtime = {STOCK:?}\n\
             [crio.runtime.runtimes.{STOCK}]\nruntime_path = {:?}\nruntime_type = \"oci\"\nruntime_root = \"/run/stock\"\n\
             [crio.image]\npause_image = {:?}\nsignature_policy = \"/etc/containers/policy.json\"\n\
             [crio.network]\nnetwork_dir = \"/etc/cni/net.d\"\nplugin_dirs = [\"/usr/lib/cni\"]\n",
            config.runtime.path(),
            images::PAUSE,
        );
        world.write("/etc/crio/crio.conf", text, 0o644)?;
        world.write("/etc/cni/net.d/10-coaming.conflist", crate::node::CNI, 0o644)?;
        world.write(
            "/etc/crio/crio.conf.d/10-coaming.conf",
            packaged("crio/10-coaming.conf")?,
            0o644,
        )?;
        let crio = Crio { podman, path };
        crio.up()?;
        Ok(crio)
    }

    /// Ends CRI-O and starts it again, as for new hooks; containers go on.
    ///
    /// # Errors
    /// When it does not end, or does not come up.
    pub fn restart(&self) -> Result<(), Error> {
        let world = self.world();
        let pid = world.read(PID_FILE)?.trim().to_owned();
        world.kill("TERM", [&pid])?.ok("kill CRI-O")?;
        let folder = world.path("/proc").join(&pid);
        wait_for("CRI-O's end", || Ok((!folder.exists()).then_some(())))?;
        self.up()
    }

    fn up(&self) -> Result<(), Error> {
        let line = format!("echo $$ >{PID_FILE} && exec crio --log-level info");
        self.world().spawn(LOG, &self.path, ["sh", "-c", &line])?;
        let answers = || Ok(self.cri().and_then(|cri| cri.version()).ok());
        wait_for("CRI-O", answers).map(drop).map_err(|_| Error::NotReady {
            what: "CRI-O".to_owned(),
            seconds: crate::PATIENCE.as_secs(),
            log: self.log(),
        })
    }

    /// A new connection to its CRI.
    ///
    /// # Errors
    /// When the socket does not answer.
    pub fn cri(&self) -> Result<Cri<'_>, Error> {
        Cri::connect_at(self.podman.world(), SOCKET)
    }

    /// Its world, with a Podman of the same store.
    pub fn engine(&self) -> &Engine {
        &self.podman
    }

    /// Its world.
    pub fn world(&self) -> &World {
        self.podman.world()
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        self.world().read(LOG).unwrap_or_else(|error| error.to_string())
    }
}
