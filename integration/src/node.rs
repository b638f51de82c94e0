use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::{Containerd, Cri, Ctr, Door, Error, Guest, Runtime, Tasks, World, ctr, door, images};

/// How long containerd may take to answer. The processor of a guest may be a program on a busy machine.
fn start_limit() -> Duration {
    Duration::from_secs(if Guest::current().is_some() { 400 } else { 60 })
}

/// containerd's log in the node's world.
const LOG: &str = "/run/containerd.log";

/// Its PID in the world.
const PID_FILE: &str = "/run/containerd.pid";

/// Which containerd a node runs, and what its CRI offers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeConfig {
    /// The daemon; its own `ctr` and stock shim come with it.
    pub containerd: Containerd,
    /// The real runtime behind every handler.
    pub runtime: Runtime,
    /// CRI's runtime handlers; the first is the default one.
    pub handlers: Vec<Handler>,
}

/// A CRI runtime handler.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handler {
    /// The name that a pod's RuntimeClass gives.
    pub name: String,
    /// The shim's type. Only with `io.containerd.runc.v2` do the options, and so `binary`, reach the shim of every
    /// containerd (1.6 drops the options of other types).
    pub runtime_type: String,
    /// The shim's path, where the type alone is not to say it.
    pub runtime_path: Option<PathBuf>,
    /// What the shim calls as its OCI runtime.
    pub binary: PathBuf,
    /// Pod annotations that containerd passes on to the OCI spec, with wildcards.
    pub pod_annotations: Vec<String>,
}

impl NodeConfig {
    /// A node with the handler `runc` (the stock shim and the real runtime, whatever its name), and one for each
    /// [`Door`] to coaming, which the test installs.
    pub fn new(containerd: Containerd, runtime: Runtime) -> NodeConfig {
        let stock = Handler::stock("runc", runtime.path());
        let handlers = std::iter::once(stock)
            .chain(Door::ALL.map(|door| Handler::through(door, runtime)))
            .collect();
        NodeConfig { containerd, runtime, handlers }
    }

    /// With one more handler.
    pub fn with_handler(mut self, handler: Handler) -> NodeConfig {
        self.handlers.push(handler);
        self
    }

    /// With the handler of this name as the default one.
    pub fn with_default(mut self, name: &str) -> NodeConfig {
        self.handlers.sort_by_key(|handler| handler.name != name);
        self
    }
}

impl Handler {
    /// The handler of a door, under the door's name.
    pub fn through(door: Door, runtime: Runtime) -> Handler {
        let stock = Handler::stock(door.handler(), runtime.wrapper_path());
        match door {
            Door::Wrapper => stock,
            Door::ShimPath => Handler { runtime_path: Some(door::SHIM.into()), ..stock },
            Door::ShimType => Handler { runtime_type: door::SHIM_TYPE.to_owned(), ..stock },
        }
    }

    /// The stock shim with this OCI runtime binary.
    pub fn stock(name: &str, binary: PathBuf) -> Handler {
        Handler {
            name: name.to_owned(),
            runtime_type: "io.containerd.runc.v2".to_owned(),
            runtime_path: None,
            binary,
            pod_annotations: Vec::new(),
        }
    }
}

/// A running containerd with CRI, in a world of its own; gone with the value.
pub struct Node {
    world: World,
    config: NodeConfig,
    /// Where containerd looks for programs.
    path: String,
}

impl Node {
    /// Starts containerd in a new world and imports all of [`images`].
    ///
    /// # Errors
    /// When the world cannot be made or containerd does not come up; the error holds the end of its log.
    pub fn start(config: NodeConfig) -> Result<Node, Error> {
        Node::start_in(World::new()?, config)
    }

    /// As [`Node::start`], in a world that was prepared before.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn start_in(world: World, config: NodeConfig) -> Result<Node, Error> {
        world.write("/etc/containerd/config.toml", toml(&config), 0o644)?;
        world.write("/etc/cni/net.d/10-coaming.conflist", CNI, 0o644)?;
        world.write(ctr::LOGGER_PATH, ctr::LOGGER, 0o755)?;
        world.install(images::tar()?, "/run/images.tar", 0o644)?;
        let programs = config.containerd.suite().programs();
        // containerd looks for shims in its PATH, and after that for the CNI plugins' iptables.
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display());
        let node = Node { world, config, path };
        node.start_containerd()?;
        for namespace in ["default", "k8s.io"] {
            node.ctr()
                .namespace(namespace)
                .raw(["images", "import", "/run/images.tar"])?
                .ok("ctr images import")?;
        }
        // CRI hears of images by events, some time after the import.
        let cri = node.cri()?;
        node.wait("CRI's image list", || {
            images::ALL
                .iter()
                .try_fold(true, |all, image| Ok(all && cri.has_image(image).unwrap_or(false)))
        })?;
        Ok(node)
    }

    /// Ends containerd by this signal, such as `KILL`; shims and containers go on.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop_containerd(&self, signal: &str) -> Result<(), Error> {
        let script = format!(
            "pid=$(cat {PID_FILE}) && kill -{signal} $pid && while kill -0 $pid 2>/dev/null; do sleep 0.01; done"
        );
        self.world.run(["sh", "-c", &script])?.ok("stop containerd").map(drop)
    }

    /// Starts containerd, again after [`Node::stop_containerd`], and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up; the error holds the end of its log.
    pub fn start_containerd(&self) -> Result<(), Error> {
        let daemon = self.config.containerd.path();
        let line = format!("echo $$ >{PID_FILE} && exec {}", daemon.display());
        self.world.spawn(LOG, &self.path, ["sh", "-c", &line])?;
        self.wait("containerd", || self.ctr().raw(["version"]).map(|output| output.success()))
    }

    /// The node's world.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// What it was started with.
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// The node's `ctr`.
    pub fn ctr(&self) -> Ctr<'_> {
        Ctr::new(self)
    }

    /// A new connection to the node's CRI.
    ///
    /// # Errors
    /// When the socket does not answer.
    pub fn cri(&self) -> Result<Cri<'_>, Error> {
        Cri::connect(self)
    }

    /// A new connection to containerd's own API, in a namespace of its.
    ///
    /// # Errors
    /// When the socket does not answer.
    pub fn tasks(&self, namespace: &str) -> Result<Tasks<'_>, Error> {
        Tasks::connect(self, namespace)
    }

    /// All that containerd has logged.
    pub fn log(&self) -> String {
        self.world.read(LOG).unwrap_or_else(|error| error.to_string())
    }

    fn wait(&self, what: &str, ready: impl Fn() -> Result<bool, Error>) -> Result<(), Error> {
        let start = Instant::now();
        while !ready()? {
            if start.elapsed() > start_limit() {
                let log = self.log();
                let log = log
                    .lines()
                    .rev()
                    .take(30)
                    .collect::<Vec<_>>()
                    .into_iter()
                    .rev()
                    .collect::<Vec<_>>()
                    .join("\n");
                return Err(Error::NotReady {
                    what: what.to_owned(),
                    seconds: start_limit().as_secs(),
                    log,
                });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn toml(config: &NodeConfig) -> String {
    match config.containerd {
        Containerd::V1_6 | Containerd::V1_7 => version_2(config),
        Containerd::V2 => version_3(config),
    }
}

/// Configuration version 2: containerd 1.6 and 1.7.
fn version_2(config: &NodeConfig) -> String {
    let cri = r#"plugins."io.containerd.grpc.v1.cri""#;
    format!(
        r#"version = 2
disabled_plugins = [{DISABLED}]
{timeouts}[{cri}]
sandbox_image = "{pause}"
stream_server_address = "127.0.0.1"
restrict_oom_score_adj = {RESTRICT_OOM}
[{cri}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/etc/cni/net.d"
[{cri}.containerd]
snapshotter = "overlayfs"
default_runtime_name = "{default}"
{handlers}"#,
        pause = images::PAUSE,
        timeouts = timeouts(),
        default = default_name(config),
        handlers = handlers(cri, config),
    )
}

/// Configuration version 3: containerd 2.x.
fn version_3(config: &NodeConfig) -> String {
    let runtime = r#"plugins."io.containerd.cri.v1.runtime""#;
    format!(
        r#"version = 3
disabled_plugins = [{DISABLED}]
{timeouts}[plugins."io.containerd.grpc.v1.cri"]
stream_server_address = "127.0.0.1"
[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"
[{runtime}]
restrict_oom_score_adj = {RESTRICT_OOM}
[{runtime}.cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "/etc/cni/net.d"
[{runtime}.containerd]
default_runtime_name = "{default}"
{handlers}"#,
        pause = images::PAUSE,
        timeouts = timeouts(),
        default = default_name(config),
        handlers = handlers(runtime, config),
    )
}

/// A sandbox asks for an oom_score_adj of -998, which takes CAP_SYS_RESOURCE: build machines often lack it.
const RESTRICT_OOM: bool = true;

/// Snapshotters and the like that only log that they cannot work here.
const DISABLED: &str = r#""io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp""#;

/// A guest is slower than any node: containerd kills the stock shim's `delete` after five seconds, and what that had not
/// removed by then stays.
fn timeouts() -> &'static str {
    match Guest::current() {
        Some(_) => "[timeouts]\n\"io.containerd.timeout.shim.cleanup\" = \"60s\"\n",
        None => "",
    }
}

fn default_name(config: &NodeConfig) -> &str {
    config.handlers.first().map_or("runc", |handler| &handler.name)
}

fn handlers(plugin: &str, config: &NodeConfig) -> String {
    let mut text = String::new();
    for handler in &config.handlers {
        let section = format!("{plugin}.containerd.runtimes.{}", handler.name);
        let _ = writeln!(text, "[{section}]\nruntime_type = {:?}", handler.runtime_type);
        if let Some(path) = &handler.runtime_path {
            let _ = writeln!(text, "runtime_path = {path:?}");
        }
        let _ = writeln!(text, "pod_annotations = {:?}", handler.pod_annotations);
        let _ = writeln!(text, "[{section}.options]\nBinaryName = {:?}", handler.binary);
    }
    text
}

pub(crate) const CNI: &str = r#"{"cniVersion": "0.4.0", "name": "coaming", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.89.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Suite;

    #[test]
    fn the_default_handler_is_the_first_or_the_one_named() {
        let config = NodeConfig::new(Containerd::V2, Runtime::Runc(Suite::Sid));
        assert!(toml(&config).contains("default_runtime_name = \"runc\""));
        assert!(
            toml(&config.with_default("coaming")).contains("default_runtime_name = \"coaming\"")
        );
    }
}
