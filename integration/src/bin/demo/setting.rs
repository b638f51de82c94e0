//! The node that the demo runs on: the newest containerd that was fetched, coaming installed, one policy.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use coaming_integration::{
    Containerd, Error, Node, NodeConfig, Runtime, Suite, World, binaries, images,
};

use crate::attacks::{self, Attack, NODE_PORT};

/// The folder's one policy.
pub(crate) const POLICY_PATH: &str = "/etc/coaming/policy.d/payments.yaml";

/// In `payments-*`, which the policy matches.
pub(crate) const NAMESPACE: &str = "payments-shop";

const POLICY: &str = include_str!("payments.yaml");
/// The ABI that has every right in it (`IOCTL_DEV` came last).
const POLICY_ABI: u32 = 5;
const BEST_EFFORT: &str = "  bestEffort: [landlock]\n";

/// How long the node's own server may take to listen.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Setting {
    config: NodeConfig,
    landlock: u32,
    attacks: Vec<Attack>,
}

impl Setting {
    /// Builds what is not built yet: the programs and the images.
    pub(crate) fn make() -> Result<Setting, Error> {
        let (containerd, suite) = [Containerd::V2, Containerd::V1_7, Containerd::V1_6]
            .map(|containerd| (containerd, containerd.suite()))
            .into_iter()
            .find(|(_, suite)| suite.is_fetched())
            .ok_or_else(|| {
                Error::Unavailable(
                    "no containerd was fetched: run integration/install.sh".to_owned(),
                )
            })?;
        binaries::binaries()?;
        images::tar()?;
        let release = "/proc/sys/kernel/osrelease";
        let release = fs::read_to_string(release).map_err(|source| Error::Io {
            operation: "read",
            object: release.to_owned(),
            source,
        })?;
        let landlock = landlock_abi(&release);
        Ok(Setting {
            config: NodeConfig::new(containerd, Runtime::Runc(suite)),
            landlock,
            attacks: attacks::five(landlock),
        })
    }

    pub(crate) fn attacks(&self) -> &[Attack] {
        &self.attacks
    }

    /// The policy for this kernel.
    pub(crate) fn policy(&self) -> String {
        if self.is_best_effort() { format!("{POLICY}{BEST_EFFORT}") } else { POLICY.to_owned() }
    }

    /// Whether this kernel lacks some of the policy's Landlock rights.
    pub(crate) fn is_best_effort(&self) -> bool {
        self.landlock < POLICY_ABI
    }

    /// Starts containerd with the handlers `runc` and `coaming`, and a server on a port of the node.
    pub(crate) fn start(&self) -> Result<Node, Error> {
        let world = World::new()?;
        world.install_coaming()?;
        let configuration =
            format!("[runtimes.coaming-runc]\npath = {:?}\n", self.config.runtime.path());
        world.write("/etc/coaming/config.toml", configuration, 0o644)?;
        world.write(POLICY_PATH, self.policy(), 0o644)?;
        serve(&world)?;
        Node::start_in(world, self.config.clone())
    }
}

/// As `containerd of trixie` has it: `containerd 1.7.24...`, one package a line.
pub(crate) fn versions(suite: Suite) -> String {
    suite
        .fetched_versions()
        .lines()
        .filter(|line| !line.starts_with("crun "))
        .collect::<Vec<_>>()
        .join(", ")
}

fn serve(world: &World) -> Result<(), Error> {
    const LOG: &str = "/run/server.log";
    world.install(binaries::probe()?, "/run/server", 0o755)?;
    world.spawn(LOG, "/bin", ["/run/server", "serve", NODE_PORT])?;
    let start = Instant::now();
    loop {
        let log = world.read(LOG).unwrap_or_default();
        if log.contains("listening") {
            return Ok(());
        }
        if start.elapsed() > LIMIT {
            return Err(Error::NotReady {
                what: format!("the server on port {NODE_PORT}"),
                seconds: LIMIT.as_secs(),
                log,
            });
        }
        sleep(Duration::from_millis(20));
    }
}

/// The Landlock ABI that a kernel of this release has where Landlock is switched on (landlock(7), "VERSIONS"). A
/// kernel without it shows: coaming refuses the container, and says why.
fn landlock_abi(release: &str) -> u32 {
    const SINCE: [(u32, u32); 6] = [(5, 13), (5, 19), (6, 2), (6, 7), (6, 10), (6, 12)];
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let abi = SINCE.iter().take_while(|since| version >= **since).count();
    u32::try_from(abi).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_their_landlock() {
        for (release, abi) in [
            ("5.10.0-28-amd64\n", 0),
            ("5.13.0", 1),
            ("6.1.0-18-amd64", 2),
            ("6.7.12+bpo-amd64", 4),
            ("6.10-rc3", 5),
            ("6.18.44", 6),
            ("7.0.0", 6),
        ] {
            assert_eq!(landlock_abi(release), abi, "{release}");
        }
    }

    #[test]
    fn the_line_for_older_kernels_belongs_to_the_spec() {
        assert!(POLICY.ends_with("    bind: [8080]\n") && BEST_EFFORT.starts_with("  best"));
    }
}
