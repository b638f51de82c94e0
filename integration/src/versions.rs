use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A Debian suite whose containerd, runc and crun are kept by `install.sh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    /// containerd 1.6, runc 1.1, crun 1.8.
    Bookworm,
    /// containerd 1.7, runc 1.1, crun 1.21.
    Trixie,
    /// containerd 2.x and the newest runc and crun that Debian has.
    Sid,
}

/// A line of containerd's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Containerd {
    /// 1.6: configuration version 2, task API v2 only.
    V1_6,
    /// 1.7: configuration version 2.
    V1_7,
    /// 2.x: configuration version 3.
    V2,
}

/// A real OCI runtime of a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    /// runc.
    Runc(Suite),
    /// crun.
    Crun(Suite),
}

/// Each containerd with each runtime of its own suite. Older crun does not run under newer containerd: crun 1.8 refuses
/// the `ociVersion` that containerd 2.x writes.
pub const PAIRS: [(Containerd, Runtime); 6] = [
    (Containerd::V1_6, Runtime::Runc(Suite::Bookworm)),
    (Containerd::V1_6, Runtime::Crun(Suite::Bookworm)),
    (Containerd::V1_7, Runtime::Runc(Suite::Trixie)),
    (Containerd::V1_7, Runtime::Crun(Suite::Trixie)),
    (Containerd::V2, Runtime::Runc(Suite::Sid)),
    (Containerd::V2, Runtime::Crun(Suite::Sid)),
];

impl Suite {
    /// All of them, oldest first.
    pub const ALL: [Suite; 3] = [Suite::Bookworm, Suite::Trixie, Suite::Sid];

    /// Where the suite's programs are.
    pub fn programs(self) -> PathBuf {
        self.folder().join("bin")
    }

    /// Where its libraries are, its own ld.so (`ld-linux-x86-64.so.2`) among them.
    pub fn libraries(self) -> PathBuf {
        self.folder().join("lib")
    }

    /// Whether `install.sh` has fetched it whole.
    pub fn is_fetched(self) -> bool {
        self.folder().join("versions").exists()
    }

    /// The package versions that were fetched, one `package version` a line.
    pub fn fetched_versions(self) -> String {
        fs::read_to_string(self.folder().join("versions")).unwrap_or_default()
    }

    fn folder(self) -> PathBuf {
        cache().join(self.to_string())
    }
}

impl Containerd {
    /// The suite that has it.
    pub fn suite(self) -> Suite {
        match self {
            Containerd::V1_6 => Suite::Bookworm,
            Containerd::V1_7 => Suite::Trixie,
            Containerd::V2 => Suite::Sid,
        }
    }

    /// The daemon; `ctr` and the stock shim lie beside it. A shim runs only under the daemon it came with.
    pub fn path(self) -> PathBuf {
        self.suite().programs().join("containerd")
    }
}

impl Runtime {
    /// The runtime's binary: readable in the host and in every world.
    pub fn path(self) -> PathBuf {
        match self {
            Runtime::Runc(suite) => suite.programs().join("runc"),
            Runtime::Crun(suite) => suite.programs().join("crun"),
        }
    }

    /// The name under which coaming's wrapper stands in for it.
    pub fn wrapper_name(self) -> &'static str {
        match self {
            Runtime::Runc(_) => "coaming-runc",
            Runtime::Crun(_) => "coaming-crun",
        }
    }

    /// Where coaming's wrapper for it is installed in a world.
    pub fn wrapper_path(self) -> PathBuf {
        Path::new("/usr/libexec/coaming").join(self.wrapper_name())
    }
}

/// criu, which takes and restores checkpoints.
pub fn criu() -> PathBuf {
    cache().join("criu/bin/criu")
}

/// Where `install.sh` keeps what dockerd of a suite needs to be an ordinary user's.
pub fn rootless(suite: Suite) -> PathBuf {
    cache().join("rootless").join(suite.to_string()).join("bin")
}

/// Podman's default seccomp profile, as Debian has it.
pub fn podmans_profile() -> PathBuf {
    cache().join("profiles/podman.json")
}

/// Docker's default seccomp profile, as Debian has it.
pub fn dockers_profile() -> PathBuf {
    cache().join("profiles/docker.json")
}

/// The folder that `install.sh` fills.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("COAMING_INTEGRATION_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/coaming-integration"), PathBuf::from)
}

impl fmt::Display for Suite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Suite::Bookworm => "bookworm",
            Suite::Trixie => "trixie",
            Suite::Sid => "sid",
        })
    }
}

impl fmt::Display for Containerd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Containerd::V1_6 => "containerd 1.6",
            Containerd::V1_7 => "containerd 1.7",
            Containerd::V2 => "containerd 2",
        })
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Runtime::Runc(suite) => write!(formatter, "runc of {suite}"),
            Runtime::Crun(suite) => write!(formatter, "crun of {suite}"),
        }
    }
}
