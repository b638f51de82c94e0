//! A Debian as it is installed: coaming's packages are put into it, and nothing else is there but its containerd and runc.

use crate::versions::cache;
use crate::{Cri, Error, Output, World, images, wait_for};

const LOG: &str = "/run/containerd.log";
const PID_FILE: &str = "/run/containerd.pid";
const SOCKET: &str = "/run/containerd/containerd.sock";

/// A machine's root file system, in a world of its own: the machine's own suite of Debian, which `install.sh` has laid out, with
/// containerd and runc as packages.
pub struct Fresh {
    world: World,
}

impl Fresh {
    /// Makes it.
    ///
    /// # Errors
    /// When it was not fetched, or the world cannot be made.
    pub fn new() -> Result<Fresh, Error> {
        let root = cache().join("fresh/root");
        if !root.join("usr/bin/containerd").exists() {
            let why = format!("no fresh Debian in {}: run integration/install.sh", root.display());
            return Err(Error::Unavailable(why));
        }
        Ok(Fresh { world: World::of_root(&root)? })
    }

    /// The world that it is the root of.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Runs a line in the root's own shell.
    ///
    /// # Errors
    /// As [`World::run`]; how it ends is in the output.
    pub fn shell(&self, line: &str) -> Result<Output, Error> {
        self.world.run(["sh", "-c", line])
    }

    /// Starts the root's own containerd with this configuration, and a network for pods that ends at a bridge.
    ///
    /// # Errors
    /// When it does not come up; the error holds its log.
    pub fn start_containerd(&self, configuration: &str) -> Result<(), Error> {
        self.world.write("/etc/containerd/config.toml", configuration, 0o644)?;
        self.world.write("/etc/cni/net.d/10-pods.conflist", CNI, 0o644)?;
        let line = format!("echo $$ >{PID_FILE} && exec containerd");
        self.world.spawn(LOG, "/usr/sbin:/usr/bin:/sbin:/bin", ["sh", "-c", &line])?;
        wait_for("containerd", || Ok(self.shell("ctr version")?.success().then_some(())))
            .map_err(|error| self.with_log(&error))?;
        self.world.install(images::tar()?, "/run/images.tar", 0o644)?;
        self.shell("ctr --namespace k8s.io images import /run/images.tar")?
            .ok("ctr images import")?;
        let cri = self.cri()?;
        wait_for("CRI's image list", || {
            Ok(images::ALL.iter().all(|image| cri.has_image(image).unwrap_or(false)).then_some(()))
        })
        .map_err(|error| self.with_log(&error))
    }

    /// Ends containerd, whose containers must have been removed, and removes what it and this value wrote.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop_containerd(&self) -> Result<(), Error> {
        let script = format!(
            "pid=$(cat {PID_FILE}) && kill $pid && while kill -0 $pid 2>/dev/null; do sleep 0.01; done"
        );
        self.shell(&script)?.ok("stop containerd").map(drop)
    }

    /// A new connection to its CRI.
    ///
    /// # Errors
    /// When the socket does not answer.
    pub fn cri(&self) -> Result<Cri<'_>, Error> {
        Cri::connect_at(&self.world, SOCKET)
    }

    fn with_log(&self, error: &Error) -> Error {
        let log = self.world.read(LOG).unwrap_or_else(|error| error.to_string());
        Error::malformed("start containerd")(format!("{error}\n{log}"))
    }
}

const CNI: &str = r#"{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.89.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
"#;
