//! A node of one pair, with coaming installed and what attempts are aimed at.

use std::fs;

use coaming_integration::{
    Bundle, Containerd, Door, Error, Node, NodeConfig, Runtime, World, binaries, configuration,
    default_spec, wait_for,
};

use crate::attempts::NO_TIOCSTI;

/// The folder of the node that belongs to this suite.
pub(crate) const FOLDER: &str = "/run/escape";

pub(crate) struct Ground {
    pub(crate) node: Node,
    /// The ways to coaming that are tried.
    pub(crate) doors: Vec<Door>,
    /// Words of attempts that are known only now.
    words: Vec<(String, String)>,
}

impl Ground {
    /// # Errors
    /// When the node does not start or coaming does not build.
    pub(crate) fn prepare(
        containerd: Containerd,
        runtime: Runtime,
        doors: Vec<Door>,
    ) -> Result<Ground, Error> {
        let node = Node::start(NodeConfig::new(containerd, runtime))?;
        let world = node.world();
        world.install_coaming()?;
        let probe = format!("{FOLDER}/probe");
        world.install(binaries::probe()?, &probe, 0o755)?;
        world.write(format!("{FOLDER}/secret"), "of the node\n", 0o600)?;
        let path = "/usr/sbin:/usr/bin:/sbin:/bin";
        let start = format!("echo $$ >{FOLDER}/outsider; exec {probe} pause");
        world.spawn("/dev/null", path, ["sh", "-c", &start])?;
        world.spawn(&format!("{FOLDER}/tcp"), path, [&probe, "serve", "7007"])?;
        world.spawn(
            &format!("{FOLDER}/abstract"),
            path,
            [&probe, "serve-abstract", "coaming-escape"],
        )?;
        let mut words = vec![(
            "{outsider}".to_owned(),
            wait_for("the outsider", || Ok(read(&node, "outsider")))?,
        )];
        for server in ["tcp", "abstract"] {
            wait_for(server, || Ok(read(&node, server)))?;
        }
        for kind in ["pid", "net", "ipc", "uts"] {
            let path = format!("/proc/{}/ns/{kind}", node.world().pid());
            let link = fs::read_link(&path)
                .map_err(|error| Error::Unavailable(format!("read {path}: {error}")))?;
            let inode: String =
                link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
            words.push((format!("{{{kind}}}"), inode));
        }
        words.push(("{kubelet}".to_owned(), peer_group(&node, "/var/lib/kubelet")?));
        Ok(Ground { node, doors, words })
    }

    /// An attempt as the probe is to be given it.
    pub(crate) fn words(&self, attempt: &str) -> Vec<String> {
        let filled = self
            .words
            .iter()
            .fold(attempt.to_owned(), |text, (name, value)| text.replace(name, value));
        filled.split(' ').map(|word| word.replace('~', " ")).collect()
    }

    /// The policy in force from now on, above one of the built-in floors.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn enforce(&self, floor: &str, policy: &str) -> Result<(), Error> {
        enforce(self.node.world(), self.node.config().runtime, floor, policy)
    }

    /// A root file system for the containers of one group.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn rootfs(&self, group: &str) -> Result<String, Error> {
        let world = self.node.world();
        let bundle = Bundle::new(world, group, &default_spec(group, ["unused"])?)?;
        let root = bundle.path().join("rootfs").display().to_string();
        let furnish = format!(
            "cd {root} && mkdir opt && cp bin/probe bin/probe-setuid && chmod 4755 bin/probe-setuid && ln bin/probe opt/tool && echo content >var/file"
        );
        world.run(["sh", "-c", &furnish])?.ok("furnish the root file system")?;
        Ok(root)
    }

    /// # Errors
    /// The file system's.
    pub(crate) fn drop_rootfs(&self, group: &str) -> Result<(), Error> {
        let remove = format!(
            "grep -o '/run/bundles/{group}/[^ ]*' /proc/mounts | sort -r | xargs -r umount -l; rm -rf /run/bundles/{group}"
        );
        self.node.world().run(["sh", "-c", &remove])?.ok("remove the root file system").map(drop)
    }
}

/// Puts a policy's `spec` in force in a world with one runtime.
///
/// # Errors
/// The file system's.
pub(crate) fn enforce(
    world: &World,
    runtime: Runtime,
    floor: &str,
    policy: &str,
) -> Result<(), Error> {
    // Each group has a policy of its own, looser than the last in some things.
    let config = format!("{}[policy]\nloosening = \"free\"\n", configuration(runtime, floor));
    world.write("/etc/coaming/config.toml", config, 0o644)?;
    let spec = if policy.is_empty() {
        " {}\n".to_owned()
    } else {
        policy.lines().fold("\n".to_owned(), |text, line| text + "  " + line + "\n")
    };
    let document = format!(
        "apiVersion: coaming.dev/v1alpha1\nkind: Policy\nmetadata: {{name: escape}}\nspec:{spec}"
    );
    world.write("/etc/coaming/policy.d/profiles/no-tiocsti.json", NO_TIOCSTI, 0o644)?;
    world.write("/etc/coaming/policy.d/escape.yaml", document, 0o644)
}

/// The number of the peer group that mounts below a mount point of the node pass to: the same in every mount
/// namespace (proc_pid_mountinfo(5), the tag `shared`).
fn peer_group(node: &Node, point: &str) -> Result<String, Error> {
    let table = node.world().run(["cat", "/proc/self/mountinfo"])?.ok("cat mountinfo")?.stdout;
    table
        .lines()
        .filter(|line| line.split(' ').nth(4) == Some(point))
        .find_map(|line| line.split(' ').find_map(|tag| tag.strip_prefix("shared:")))
        .map(str::to_owned)
        .ok_or_else(|| Error::Unavailable(format!("{point} is not shared in:\n{table}")))
}

/// The first line of a file, once it is whole.
fn read(node: &Node, file: &str) -> Option<String> {
    let text = node.world().read(format!("{FOLDER}/{file}")).ok()?;
    text.split_once('\n').map(|(line, _)| line.to_owned())
}
